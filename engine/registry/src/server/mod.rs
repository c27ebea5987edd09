//! The server: `glassdock registry serve`.
//!
//! ```text
//!   connection ──► routes ──► handlers ──► storage
//!        │            which end point?        files
//!        └─ a task a connection; one that sends nothing for too long is closed
//! ```
//!
//! Reading order: the names and their grammar (`name`), where things lie (`storage`), what
//! a manifest may be (`manifest`), which paths there are (`routes`), what each does
//! (`handlers`), how answers and refusals look (`body`, `error`), and how bytes come in and
//! go out (`connection`). Search and pages for people are the [`hub`]'s. [`plant`] fills a folder before it is served.
//!
//! What real registries do differently: distribution (Docker's) keeps a link file for each
//! layer and revision too, but reads them through a storage driver with a dozen back ends;
//! zot keeps an OCI layout per repository.

mod name;

mod storage;

mod manifest;

mod routes;

mod handlers;

mod hub;

mod body;

mod error;

mod connection;

mod tls;

mod planting;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use glassdock_trace::{Actor, Trace};
use tokio::net::TcpListener;

pub use planting::plant;
use storage::Storage;

/// What a server is told before it begins.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that everything is kept in; made where it is missing.
    pub root: PathBuf,
    /// Where `registry.serve` events go.
    pub trace: Trace,
    /// A connection that says nothing for so long is closed.
    pub idle: Duration,
    /// How many connections are served at a time; more wait to be accepted.
    pub connections: usize,
    /// Certificate chain and private key, both PEM files; without them the server speaks plain http.
    pub tls: Option<TlsFiles>,
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
    /// A server of `root` at a free port of the loopback address.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            root: root.into(),
            trace: Trace::off(),
            idle: Duration::from_secs(60),
            connections: 4096,
            tls: None,
        }
    }
}

/// A server that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be used.
    #[error("cannot open the registry's folder {}", path.display())]
    Storage {
        /// The folder.
        path: PathBuf,
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
    /// The certificate or its key can't be used.
    #[error("cannot use the certificate {} with the key {}: {why}", files.certificate.display(), files.key.display())]
    Tls {
        /// The files.
        files: TlsFiles,
        /// What is wrong with them.
        why: String,
    },
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    storage: Arc<Storage>,
    trace: Trace,
    idle: Duration,
}

/// A server that has its address and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
    connections: usize,
    shared: Arc<Shared>,
}

impl Server {
    /// Opens the folder and takes the address. Clients can connect from now on; they
    /// are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    ///
    /// If the folder, the address or the certificate can't be used.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let tls = config.tls.map(|files| tls::acceptor(&files)).transpose()?;
        let storage = Storage::open(&config.root)
            .map_err(|source| Error::Storage { path: config.root.clone(), source })?;
        let failed = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            storage: Arc::new(storage),
            trace: config.trace.as_actor(Actor::Registry),
            idle: config.idle,
        };
        Ok(Self { listener, address, tls, connections: config.connections.max(1), shared: Arc::new(shared) })
    }

    /// The address that was taken, with its port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients find the server, such as `http://127.0.0.1:5000`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `shutdown` is ready; then takes no new request, lets those that run
    /// come to their end (for ten seconds at most), and returns.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        connection::accept(self, shutdown).await;
    }
}

/// Binds and serves, in one: see [`Server::bind`] and [`Server::serve`].
///
/// # Errors
///
/// As [`Server::bind`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    Server::bind(config).await?.serve(shutdown).await;
    Ok(())
}
