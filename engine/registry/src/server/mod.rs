//! The server: `glassdock registry serve`.
//!
//! ```text
//!   connection ──► routes ──► auth ──► handlers ──► storage
//!        │         which       may      what          files
//!        │         end point?  they?     │
//!        │                               └► mirror ──► another registry
//!        └─ a task a connection; one that sends nothing for too long is closed
//! ```
//!
//! Reading order: the names and their grammar (`name`), where things lie (`storage`), what
//! a manifest may be (`manifest`), which paths there are (`routes`), who may do what (`auth`),
//! what each does (`handlers`), how answers and refusals look (`body`, `error`), how bytes come
//! in and go out (`round`, `received`, `connection`, `wire`), search and pages for people (`hub`), what is fetched
//! from elsewhere (`mirror`), and what all of it is told ([`settings`]). [`plant`] fills a folder
//! before it is served, [`collect`] takes out what nothing needs, also while it is served.
//!
//! What real registries do differently: distribution (Docker's) keeps a link file for each
//! layer and revision too, but reads them through a storage driver with a dozen back ends;
//! zot keeps an OCI layout per repository.

mod config;

mod name;

mod storage;

mod manifest;

mod routes;

mod auth;

mod handlers;

mod hub;

mod body;

mod round;

mod received;

mod error;

mod connection;

mod wire;

mod mirror;

mod access_log;

pub mod settings;

mod tls;

mod planting;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::task;

use glassdock_trace::{Actor, Trace};
use tokio::net::TcpListener;

use access_log::AccessLog;
use auth::Auth;
pub use auth::{Action, Anonymous, AuthConfig, Method, Rule};
pub use config::{Config, Error, TlsFiles};
use mirror::Mirror;
pub use mirror::MirrorConfig;
pub use planting::plant;
use storage::Storage;
pub use storage::collect::{Collected, Collecting};
pub use storage::{BucketConfig, Secret, Where};

/// So often it is noted how often images were pulled.
const COUNTED: Duration = Duration::from_secs(10);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    storage: Arc<Storage>,
    trace: Trace,
    idle: Duration,
    /// Whether clients come by https.
    secure: bool,
    largest_blob: u64,
    largest_manifest: usize,
    sparse: bool,
    access_log: Option<AccessLog>,
    auth: Option<Auth>,
    mirror: Option<Mirror>,
    /// What the hub searches in.
    cards: Arc<hub::Cards>,
}

/// A server that has its address and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
    connections: usize,
    grace: Duration,
    collect: Option<(Duration, Collecting)>,
    shared: Arc<Shared>,
}

/// What a server is waited for. It is boxed, so that what is behind it is compiled here, once, and not
/// in every crate that waits for it.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Server {
    /// Opens the folder and takes the address. Clients can connect from now on; they
    /// are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    ///
    /// If the folder, the address, or one of the files can't be used.
    #[inline(never)]
    pub fn bind(config: Config) -> Boxed<Result<Self, Error>> {
        Box::pin(Self::bound(config))
    }

    async fn bound(config: Config) -> Result<Self, Error> {
        let tls = config.tls.map(|files| tls::acceptor(&files)).transpose()?;
        let (place, durable, guarded) = (config.place.clone(), config.durable, config.auth.is_some());
        let port = config.listen.port();
        let trace = config.trace.as_actor(Actor::Registry);
        let traced = trace.clone();
        let opening = task::spawn_blocking(move || {
            let storage = Storage::open_traced(&place, durable, port, &traced)?;
            let key = if guarded { storage.secret("token.key") } else { Ok(Vec::new()) };
            Ok::<_, io::Error>((storage, key))
        });
        let opened = opening.await.map_err(io::Error::other).and_then(|opened| opened);
        let (storage, key) =
            opened.map_err(|source| Error::Storage { place: config.place.to_string(), source })?;
        let storage = Arc::new(storage);
        let auth = config.auth.map(|auth| Auth::new(auth, &key?)).transpose().map_err(Error::Auth)?;
        let access_log = config
            .access_log
            .map(|path| AccessLog::open(&path).map_err(|source| Error::AccessLog { path, source }))
            .transpose()?;
        let mirror = config
            .mirror
            .map(|mirror| Mirror::new(mirror, Arc::clone(&storage), trace.clone()))
            .transpose()?;
        let failed = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            storage,
            trace,
            idle: config.idle,
            secure: tls.is_some(),
            largest_blob: config.largest_blob,
            largest_manifest: config.largest_manifest,
            sparse: config.sparse,
            access_log,
            auth,
            mirror,
            cards: Arc::default(),
        };
        Ok(Self {
            listener,
            address,
            tls,
            connections: config.connections.max(1),
            grace: config.grace,
            collect: config.collect_every.map(|every| (every, config.collecting)),
            shared: Arc::new(shared),
        })
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
    /// come to their end (for [`Config::grace`] at most), and returns.
    pub fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Boxed<()> {
        self.serve_until(Box::pin(shutdown))
    }

    /// Not generic: what is behind it is compiled here.
    #[inline(never)]
    fn serve_until(self, shutdown: Boxed<()>) -> Boxed<()> {
        Box::pin(self.served(shutdown))
    }

    async fn served(self, shutdown: Boxed<()>) {
        let storage = Arc::clone(&self.shared.storage);
        let collector = self.collect.map(|(every, how)| {
            let storage = Arc::clone(&storage);
            task::spawn(async move {
                loop {
                    tokio::time::sleep(every).await;
                    let storage = Arc::clone(&storage);
                    match task::spawn_blocking(move || storage.collect(how)).await {
                        Ok(Ok(done)) => tracing::info!("collected garbage: {done:?}"),
                        // What could not be collected now is collected the next time.
                        Ok(Err(refusal)) => tracing::error!("cannot collect garbage: {}", refusal.reason()),
                        Err(_) => tracing::error!("cannot collect garbage: it failed in the middle"),
                    }
                }
            })
        });
        let counting = Arc::clone(&storage);
        let counter = task::spawn(async move {
            loop {
                tokio::time::sleep(COUNTED).await;
                let storage = Arc::clone(&counting);
                if let Ok(Err(refusal)) = task::spawn_blocking(move || storage.note_pulls()).await {
                    // They are noted the next time.
                    tracing::warn!("cannot note how often images are pulled: {}", refusal.reason());
                }
            }
        });
        connection::accept(self, shutdown).await;
        counter.abort();
        if let Some(collector) = collector {
            collector.abort();
        }
        // What isn't written out now is read from the journal after the next start.
        let _ = task::spawn_blocking(move || {
            // That some pulls aren't counted matters to nobody at this point.
            let _ = storage.note_pulls();
            storage.settle()
        })
        .await;
    }
}

/// Collects garbage in the registry at a place, also while servers serve it.
///
/// # Errors
///
/// If the place can't be read or written, or a manifest in it can't be understood: what that
/// needs is not known then, and nothing more is removed.
pub fn collect(place: impl Into<Where>, how: Collecting) -> Result<Collected, Error> {
    let place = place.into();
    let failed = |source| Error::Storage { place: place.to_string(), source };
    if matches!(&place, Where::Folder(root) if !root.join("repositories").is_dir()) {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "there is no registry in it")));
    }
    let storage = Storage::open(&place, true, 0).map_err(failed)?;
    let collected = storage.collect(how).map_err(|refusal| failed(io::Error::other(refusal.reason())))?;
    storage.settle().map_err(failed)?;
    Ok(collected)
}

/// Binds and serves, in one: see [`Server::bind`] and [`Server::serve`].
///
/// # Errors
///
/// As [`Server::bind`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    Server::bind(config).await?.serve(shutdown).await;
    Ok(())
}
