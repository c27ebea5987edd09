//! What is behind all handlers: the rooms' handles and the objects in memory.

use std::sync::Arc;
use std::time::Duration;

use glassdock_image::Images;
use glassdock_kernel::features::Facts;
use glassdock_network::Networks;
use glassdock_registry::client::Client;
use glassdock_registry::task;
use glassdock_trace::{Recorder, Trace};

use crate::config::Config;
use crate::containers::execs::Execs;
use crate::containers::{Containers, adopt, networks};
use crate::error::Error;
use crate::events::Events;
use crate::operations::Operations;
use crate::saved::Saved;
use crate::volumes::Volumes;

/// The engine: one a daemon.
pub struct Engine {
    /// What tells this engine from others; it stays with the root.
    pub id: String,
    /// What the daemon was started with.
    pub config: Config,
    /// What the machine's kernel can do.
    pub facts: Facts,
    /// The operations and their traces.
    pub operations: Arc<Operations>,
    /// What happened to objects, for `docker events`.
    pub events: Events,
    /// The images.
    pub images: Images,
    /// The client of registries.
    pub registry: Client,
    /// The containers.
    pub containers: Containers,
    /// The further processes in containers.
    pub execs: Execs,
    /// The volumes.
    pub volumes: Volumes,
    /// The networks.
    pub networks: Networks,
    /// What builds share.
    pub builds: crate::build::Builds,
}

impl Engine {
    /// Opens the engine in its root, and takes up what an earlier daemon left.
    ///
    /// # Errors
    ///
    /// Whatever a room says that can't be opened.
    pub async fn open(config: Config) -> Result<Arc<Self>, Error> {
        let engine = task::spawn_blocking(move || Self::open_rooms(config)).await??;
        let engine = Arc::new(engine);
        let operations = Arc::clone(&engine.operations);
        task::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                operations.end_idle();
            }
        });
        adopt::all(&engine).await?;
        Ok(engine)
    }

    fn open_rooms(config: Config) -> Result<Self, Error> {
        let facts = Facts::probe();
        let recorder = Recorder::new(config.root.join("traces"), crate::VERSION, facts.host())?;
        let images = Images::open(&config.root)?;
        crate::trash::empty(&config.root);
        crate::build::sweep(&config)?;
        let saved = Saved::new(images.state().clone());
        let bip = config.bip.as_deref().map(str::parse).transpose();
        let network = glassdock_network::Config {
            root: config.root.clone(),
            bridge: config.bridge.clone(),
            bip: bip.map_err(|error| Error::invalid(format!("invalid --bip: {error}")))?,
        };
        Ok(Self {
            id: saved.engine_id()?,
            facts,
            operations: Operations::new(recorder, config.traces),
            events: Events::default(),
            images,
            registry: Client::new(crate::images::client(&config)),
            builds: crate::build::Builds::default(),
            containers: Containers::open(config.root.join("containers"), saved.clone())?,
            execs: Execs::default(),
            volumes: Volumes::open(config.root.join("volumes"), saved.clone())?,
            networks: Networks::open(&Trace::off(), network, Arc::new(saved)).map_err(networks::failed)?,
            config,
        })
    }

    /// Lets go of everything, before the daemon's end. Containers stay with their
    /// shims, unless the daemon was told to stop them.
    pub async fn close(self: &Arc<Self>) {
        if self.config.stop_containers {
            self.stop_containers().await;
        }
        self.operations.end_all();
        let closed =
            self.blocking(|engine| engine.networks.close(&Trace::off()).map_err(networks::failed)).await;
        if let Err(error) = closed {
            tracing::warn!(%error, "something of the networks stays on the host");
        }
    }

    async fn stop_containers(self: &Arc<Self>) {
        let mut stops = tokio::task::JoinSet::new();
        for container in self.containers.all() {
            if container.status().has_process() {
                let engine = Arc::clone(self);
                stops.spawn(async move {
                    let part = engine.operations.own(vec!["daemon".to_owned(), "stop".to_owned()]);
                    let ended =
                        crate::containers::signal::end(&engine, &container, part.trace(), None, None).await;
                    if let Err(error) = ended {
                        tracing::warn!(id = container.id, %error, "a container goes on after the daemon");
                    }
                    // It was the daemon's wish, not the user's: policies act at the next start.
                    container.change(|record| record.stopped_by_hand = false);
                });
            }
        }
        while stops.join_next().await.is_some() {}
    }

    /// Does blocking work (files, the database, the kernel) off the tasks' threads.
    ///
    /// # Errors
    ///
    /// Those of the work; internal, if it panics.
    pub async fn blocking<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        E: Into<Error> + Send + 'static,
    {
        let engine = Arc::clone(self);
        let done = task::run(move || work(&engine)).await;
        done.ok_or_else(Error::panicked)?.map_err(Into::into)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("root", &self.config.root).finish_non_exhaustive()
    }
}
