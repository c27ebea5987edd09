//! A server of a temporary folder, and a client that speaks plain HTTP to it.

use std::time::Duration;

use glassdock_registry::server::{Config, Server};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A registry that is stopped and removed with the value.
pub(crate) struct Registry {
    pub(crate) url: String,
    pub(crate) root: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        Self::at(root, change).await
    }

    pub(crate) async fn at(root: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(root.path());
        config.idle = Duration::from_secs(5);
        // Waiting for the disk is for the tests that are about it.
        config.durable = false;
        change(&mut config);
        let server = Server::bind(config).await.expect("the server begins");
        let url = server.url();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { url, root, stop: Some(stop), serving: Some(serving) }
    }

    /// Stops the server; its folder stays for another.
    pub(crate) async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            serving.await.expect("the server stops cleanly");
        }
        std::mem::replace(&mut self.root, tempfile::tempdir().expect("a temporary folder"))
    }
}

/// A client without any cleverness.
pub(crate) fn http() -> reqwest::Client {
    // Another test may have set it already; either way there is a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Plain http needs none of the system's certificates, and reading them takes its time.
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only([]).build().expect("a client")
}

/// A sink that keeps its events.
#[derive(Default)]
pub(crate) struct Kept(std::sync::Mutex<Vec<glassdock_trace::Event>>);

impl glassdock_trace::Sink for Kept {
    fn record(&self, event: &glassdock_trace::Event) {
        self.0.lock().expect("no panic").push(event.clone());
    }
}

impl Kept {
    /// A trace into memory.
    pub(crate) fn trace() -> (glassdock_trace::Trace, std::sync::Arc<Self>) {
        use glassdock_trace::{Actor, OpId, Trace, gate::Hold, tracer::Origin};

        let kept = std::sync::Arc::new(Self::default());
        let sink = std::sync::Arc::clone(&kept) as std::sync::Arc<dyn glassdock_trace::Sink>;
        (Trace::root(OpId::new(), Actor::Daemon, Origin::now(), sink, Hold::Never), kept)
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.0.lock().expect("no panic").iter().map(|event| event.body.kind().name()).collect()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(&*self.0.lock().expect("no panic")).expect("plain data")
    }
}
