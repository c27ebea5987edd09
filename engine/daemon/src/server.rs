//! The server: from `run` to a clean stop, and from a connection to a handler.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use glassdock_kernel::capability;
use glassdock_registry::task;
use http::header::{HeaderValue, SERVER};
use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::call::{ApiVersion, Call};
use crate::config::Config;
use crate::drain::Drained;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply, Response};
use crate::request_line::Mended;
use crate::socket::{self, Socket};
use crate::{API_VERSION, MIN_API_VERSION, VERSION, router};

/// Requests that are under way get so long to end when the daemon stops.
const GRACE: Duration = Duration::from_secs(5);

/// A client gets so long to send a request's head, so that those who never do
/// don't gather. Long enough for a connection that a client keeps for its next request.
const HEAD: Duration = Duration::from_secs(120);

/// Threads that run tasks. The work itself is done in blocking threads and in
/// other processes, so two are enough, and an idle daemon stays small.
const WORKERS: usize = 2;

/// Threads for blocking work at one time. A stepped operation may keep one
/// waiting for as long as a student looks around.
const BLOCKING: usize = 256;

/// Why a daemon could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The user may not do what an engine does.
    #[error(
        "the daemon needs the privileges of root ({missing} is missing): it makes namespaces, mounts, control groups and links; start it as root, with sudo for example"
    )]
    Unprivileged {
        /// The capabilities that are missing.
        missing: String,
    },
    /// Its place on the host could not be had.
    #[error(transparent)]
    Place(#[from] socket::Error),
    /// The engine behind it could not be opened.
    #[error("cannot open the engine in {root}: {source}")]
    Engine {
        /// The root.
        root: String,
        /// What failed.
        source: Error,
    },
    /// The machinery of tasks could not be set up.
    #[error("cannot set up the daemon's tasks")]
    Tasks(#[source] io::Error),
}

/// Runs a daemon until SIGTERM or SIGINT, and stops it cleanly: requests under way
/// are finished, containers stay with their shims.
///
/// # Errors
///
/// [`Failed`], before it listens.
pub fn run(config: Config) -> Result<(), Failed> {
    privileged()?;
    let lock = socket::lock_root(&config.root)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(5))
        .thread_name("glassdock")
        .enable_all()
        .build()
        .map_err(Failed::Tasks)?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(lock);
    result
}

/// Whether this process has what no container can be started without. Said at once,
/// because what fails later says it less well.
fn privileged() -> Result<(), Failed> {
    // A kernel that doesn't tell will say no by itself.
    let Ok(sets) = capability::current() else { return Ok(()) };
    match missing(sets.effective) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(Failed::Unprivileged { missing }),
    }
}

fn missing(held: capability::Set) -> String {
    let needed = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID"];
    let missing: Vec<_> = needed.into_iter().filter(|name| !held.contains(name)).collect();
    missing.join(", ")
}

async fn serve(config: Config) -> Result<(), Failed> {
    let root = config.root.display().to_string();
    let mut terminated = signal(SignalKind::terminate()).map_err(Failed::Tasks)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failed::Tasks)?;
    let mut sockets = Vec::new();
    for host in &config.hosts {
        let (socket, listener) = Socket::bind(host)?;
        sockets.push((socket, UnixListener::from_std(listener).map_err(Failed::Tasks)?));
    }
    let engine = Engine::open(config).await.map_err(|source| Failed::Engine { root, source })?;
    let connections = Connections::default();
    let (guards, listeners): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| task::spawn(accept(listener, Arc::clone(&engine), connections.clone())))
        .collect();
    tracing::info!(version = VERSION, api = %API_VERSION, "the daemon is ready");

    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    tracing::info!("the daemon stops");
    for task in accepting {
        task.abort();
        let _ = task.await;
    }
    drop(guards);
    engine.operations.end_all();
    connections.end().await;
    engine.close().await;
    Ok(())
}

/// The connections of a daemon, and the word that ends them.
#[derive(Clone, Default)]
struct Connections {
    tasks: TaskTracker,
    ending: watch::Sender<bool>,
}

impl Connections {
    /// Serves one connection: its requests one after the other, until the client
    /// leaves or the daemon stops.
    fn serve(&self, stream: UnixStream, engine: Arc<Engine>) {
        let service = service_fn(move |request| answer(Arc::clone(&engine), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(Mended::new(stream)), service)
            .with_upgrades();
        let mut ending = self.ending.subscribe();
        self.tasks.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let stopping = async { ending.wait_for(|ending| *ending).await.is_ok() };
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = stopping => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // A client that left in the middle; its request knows what that means.
                tracing::debug!(%error, "a connection broke");
            }
        });
    }

    /// Lets requests that are under way end, for a while, and idle connections at once.
    async fn end(&self) {
        self.ending.send_replace(true);
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "requests were cut off by the daemon's end");
        }
    }
}

async fn accept(listener: UnixListener, engine: Arc<Engine>, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.serve(stream, Arc::clone(&engine)),
            Err(error) => {
                // Out of descriptors, most likely: those who have one will let go of it.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(engine: Arc<Engine>, request: Request<Incoming>) -> Result<Response, Infallible> {
    let mut response = match dispatch(engine, request).await {
        Ok(response) => response,
        Err(error) => reply::error(&error),
    };
    let headers = response.headers_mut();
    headers.insert("api-version", HeaderValue::from_static("1.50"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("Glassdock/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    Ok(response)
}

async fn dispatch(engine: Arc<Engine>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let waits = parts.headers.contains_key(http::header::EXPECT);
    let body = if waits { Body::new(body) } else { Body::new(Drained::new(body)) };
    let (version, path) = versioned(&parts.uri)?;
    let page_not_found = || Error::not_found("page not found");
    let (route, params) = router::find(&parts.method, path).ok_or_else(page_not_found)?;
    let query = crate::route::query(parts.uri.query().unwrap_or_default());
    if !router::is_traced(route) {
        let (trace, operation) = (glassdock_trace::Trace::off(), None);
        return (route.handler)(Call { engine, trace, operation, version, parts, params, query, body }).await;
    }
    router::traced(
        route,
        Call {
            trace: glassdock_trace::Trace::off(),
            operation: None,
            engine,
            version,
            parts,
            params,
            query,
            body,
        },
    )
    .await
}

/// The version that a path asks for, and the path without it.
fn versioned(uri: &Uri) -> Result<(ApiVersion, &str), Error> {
    let path = uri.path();
    let Some((first, _)) = path.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
        return Ok((API_VERSION, path));
    };
    if let Some(other) = ApiVersion::other_major(first) {
        return Err(Error::invalid(format!(
            "client version {other} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    let Some(version) = first.starts_with('v').then(|| ApiVersion::parse(first)).flatten() else {
        return Ok((API_VERSION, path));
    };
    if version > API_VERSION {
        return Err(Error::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    let rest = path.get(1 + first.len()..).unwrap_or("/");
    if version < MIN_API_VERSION && !(version >= OF_ARCHIVES && is_archive(rest)) {
        return Err(Error::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {MIN_API_VERSION}, \
             please upgrade your client to a newer version"
        )));
    }
    Ok((version, rest))
}

/// What Skopeo and Podman of a few years ago ask for images with, whatever they are told of versions.
const OF_ARCHIVES: ApiVersion = ApiVersion(22);

/// Whether a path is that of `save` or `load`, which are today what they were long before the oldest
/// version that is spoken here.
fn is_archive(path: &str) -> bool {
    let image = path.strip_prefix("/images/").unwrap_or_default();
    matches!(image, "get" | "load") || image.ends_with("/get")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_may_save_and_load() {
        let version =
            |text: &'static str| versioned(&Uri::from_static(text)).map(|(version, _)| version.0).ok();
        assert_eq!(version("/v1.22/images/get?names=a"), Some(22));
        assert_eq!(version("/v1.22/images/a/b/get"), Some(22));
        assert_eq!(version("/v1.23/images/load"), Some(23));
        assert_eq!(version("/v1.24/images/json"), Some(24));
        for refused in
            ["/v1.22/images/json", "/v1.22/images/get/json", "/v1.21/images/load", "/v1.23/version"]
        {
            assert_eq!(version(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_user_without_privileges_is_told_what_is_missing() {
        let docker = capability::Set::docker_default();
        assert_eq!(missing(docker), "CAP_SYS_ADMIN, CAP_NET_ADMIN");
        assert_eq!(missing(capability::Set::all()), "");
        let failed = Failed::Unprivileged { missing: missing(capability::Set::EMPTY) }.to_string();
        assert!(failed.contains("CAP_SYS_ADMIN") && failed.contains("sudo"), "{failed}");
    }
}
