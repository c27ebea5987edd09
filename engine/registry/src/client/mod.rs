//! The client: images come from registries, and go there.
//!
//! ```text
//!   pull ──► endpoints ──► session ──► transport ──► the network
//!    │       mirrors,      auth,       one request,
//!    │       schemes,      retries,    one event
//!    │       certificates  redirects
//!    ├─ manifests   which image does the name mean, for this platform?
//!    └─ layers      fetch ─► verify ─► decompress ─► verify ─► unpack, some at a time
//! ```
//!
//! Reading order: where to ask (`endpoint`), the door to the network (`transport`), who asks
//! (`challenge`, `auth`), how a request gets through (`session`, `retry`), what is asked for
//! (`manifests`, `blobs`), and the whole ([`pull`], [`push`], [`search`]) with what it tells meanwhile
//! ([`progress`]).
//!
//! Invariants:
//!
//! - Every HTTP request, each redirect and each retry included, is one `registry.request`
//!   event; there is no other way to the network than `transport`.
//! - Credentials go to the registry and to the token service that it names, never along
//!   with a redirect to another host.
//! - A future of this module that is dropped leaves what it fetched for the next try.

pub mod progress;

pub mod error;

mod endpoint;

mod certificates;

mod transport;

mod failure;

mod challenge;

mod auth;

mod retry;

mod session;

mod refusal;

pub mod fetch;

mod manifests;

mod blobs;

pub mod pull;

mod distribution;

pub mod push;

mod login;

mod inspect;

pub mod search;

pub(crate) mod upstream;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use error::{Error, Kind};
pub use fetch::Download;
pub use inspect::{Inspected, Part};
pub use progress::{LayerState, Progress, Silent, Update};
pub use pull::Pulled;
pub use push::Pushed;
pub use search::Found;

/// What a client is waited for. It is boxed, so that what is behind it is compiled here, once, and not
/// in every crate that waits for it.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// How a client finds and treats registries.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses that are asked for images of `docker.io` before Docker Hub itself, in this order.
    pub mirrors: Vec<String>,
    /// Whether Docker Hub itself is asked when no mirror has an image. A classroom without
    /// internet says no.
    pub hub: bool,
    /// Registries (`HOST`, `HOST:PORT` or a network such as `10.0.0.0/8`) whose certificates
    /// are not checked and that may speak plain http. Loopback addresses always may.
    pub insecure: Vec<String>,
    /// Folders with `HOST[:PORT]/ca.crt`, `client.cert` and `client.key`, as Docker has them.
    pub certificates: Vec<PathBuf>,
    /// How many layers are fetched at a time.
    pub parallel: usize,
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long the other side may say nothing in the middle of an answer.
    pub idle: Duration,
    /// How often a request is tried in all.
    pub attempts: u32,
    /// The pause before the second try; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause, also where a registry asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            hub: true,
            insecure: Vec::new(),
            certificates: vec![PathBuf::from("/etc/glassdock/certs.d"), PathBuf::from("/etc/docker/certs.d")],
            parallel: 3,
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Who asks. Shown as its kind only, never with its secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user's name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that a token service gave at login, in place of a password.
    IdentityToken(String),
    /// A token that is sent to the registry as it is.
    RegistryToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Credentials::Basic",
            Self::IdentityToken(_) => "Credentials::IdentityToken",
            Self::RegistryToken(_) => "Credentials::RegistryToken",
        })
    }
}

/// A client of registries. Cheap to clone; connections are shared by all clones.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    transport: transport::Transport,
}

impl Client {
    /// A client that is set up as `config` says.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let transport = transport::Transport::new(config.connect, config.idle);
        Self { config: Arc::new(config), transport }
    }
}
