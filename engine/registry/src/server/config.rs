//! What a server is told before it begins, and why it may not begin.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use glassdock_trace::Trace;

use super::auth::AuthConfig;
use super::manifest;
use super::mirror::MirrorConfig;
use super::storage::Where;
use super::storage::collect::Collecting;

/// What a server is told before it begins.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where everything is kept; a folder is made where it is missing.
    pub place: Where,
    /// Where `registry.serve` events go.
    pub trace: Trace,
    /// A connection that says nothing for so long is closed.
    pub idle: Duration,
    /// How many connections are served at a time; more wait to be accepted.
    pub connections: usize,
    /// Certificate chain and private key, both PEM files; without them the server speaks plain http.
    pub tls: Option<TlsFiles>,
    /// Whether what was answered for outlives a loss of power.
    pub durable: bool,
    /// How long requests that run may go on after the server was told to stop.
    pub grace: Duration,
    /// The largest blob, in bytes.
    pub largest_blob: u64,
    /// The largest manifest, in bytes.
    pub largest_manifest: usize,
    /// Whether manifests may name blobs and manifests that aren't here (yet).
    pub sparse: bool,
    /// Where a line is written for each request; `-` is standard output.
    pub access_log: Option<PathBuf>,
    /// How often garbage is collected, and how.
    pub collect_every: Option<Duration>,
    /// What is garbage.
    pub collecting: Collecting,
    /// Who may do what; without it, everybody everything.
    pub auth: Option<AuthConfig>,
    /// The registry that this one stands in for.
    pub mirror: Option<MirrorConfig>,
}

/// Where a server's certificate lies.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those that signed it, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

impl Config {
    /// A server of what is kept at `place`, at a free port of the loopback address.
    #[must_use]
    pub fn new(place: impl Into<Where>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            place: place.into(),
            trace: Trace::off(),
            idle: Duration::from_secs(60),
            connections: 4096,
            tls: None,
            durable: true,
            grace: Duration::from_secs(10),
            largest_blob: u64::MAX,
            largest_manifest: manifest::MANIFEST_LIMIT,
            sparse: false,
            access_log: None,
            collect_every: None,
            collecting: Collecting::default(),
            auth: None,
            mirror: None,
        }
    }
}

/// A server that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or the bucket can't be used.
    #[error("cannot open the registry's {place}")]
    Storage {
        /// Which one.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The address can't be used.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The users or the key for tokens can't be used.
    #[error("cannot tell users apart")]
    Auth(#[source] io::Error),
    /// The access log can't be written.
    #[error("cannot write the access log {}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The mirrored registry's address can't be used.
    #[error(transparent)]
    Mirror(#[from] crate::client::Error),
    /// The certificate or its key can't be used.
    #[error("cannot use the certificate {} with the key {}: {why}", files.certificate.display(), files.key.display())]
    Tls {
        /// The files.
        files: TlsFiles,
        /// What is wrong with them.
        why: String,
    },
}
