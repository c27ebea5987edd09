//! A container in memory: its record, who waits for it, and its shim.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glassdock_runtime::{Bundle, Shim, Streams};
use glassdock_trace::{Body, Trace};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::record::{Record, Status};
use crate::engine::Engine;
use crate::error::Error;
use crate::operations::Receiver;

/// A container of the engine.
#[derive(Debug)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its folder.
    pub bundle: Bundle,
    record: Mutex<Record>,
    /// How often the record was changed; moves with the record's lock held.
    changes: AtomicU64,
    /// How the list showed it last.
    pub(super) shown: Mutex<Option<super::list::Shown>>,
    /// Held by whoever starts, stops or removes it: one at a time. Never locked
    /// by those who only look.
    pub(crate) life: tokio::sync::Mutex<()>,
    progress: watch::Sender<Progress>,
    waiting_clients: Mutex<Vec<Waiting>>,
    live: Mutex<Option<Live>>,
    /// Ends the task that watches its health.
    monitor: Mutex<Option<CancellationToken>>,
}

/// What those who wait for a container hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether there is a first process.
    pub running: bool,
    /// How often it has ended.
    pub exits: u64,
    /// The status that it ended with last.
    pub code: i32,
    /// Whether it is gone.
    pub removed: bool,
}

/// A client that attached before the container was started.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) streams: Streams,
    /// Gets the streams as soon as there are any; is dropped if the start fails.
    pub(crate) give: oneshot::Sender<std::os::unix::net::UnixStream>,
}

/// What there is while the container has a process.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) shim: Shim,
    /// Takes in the trace of shim and init; none for a shim that an earlier daemon started.
    pub(crate) receiver: Option<Arc<Receiver>>,
}

impl Container {
    /// A container of that record, in its folder below `containers`.
    #[must_use]
    pub fn new(containers: &Path, record: Record) -> Arc<Self> {
        let status = record.state.status;
        let progress =
            Progress { running: status.has_process(), code: record.state.exit_code, ..Progress::default() };
        Arc::new(Self {
            id: record.id.clone(),
            bundle: Bundle::new(containers.join(&record.id)),
            record: Mutex::new(record),
            changes: AtomicU64::new(0),
            shown: Mutex::default(),
            life: tokio::sync::Mutex::new(()),
            progress: watch::channel(progress).0,
            waiting_clients: Mutex::new(Vec::new()),
            live: Mutex::new(None),
            monitor: Mutex::new(None),
        })
    }

    /// A copy of the record as it is now.
    #[must_use]
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Looks at the record, for a moment.
    pub fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the record, in memory only.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.lock();
        self.changes.fetch_add(1, Ordering::Relaxed);
        change(&mut record)
    }

    /// As [`Container::look`], and how often the record was changed until then.
    pub(super) fn look_at_change<T>(&self, look: impl FnOnce(&Record, u64) -> T) -> T {
        let record = self.lock();
        look(&record, self.changes.load(Ordering::Relaxed))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.look(|record| record.name.clone())
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.look(|record| record.state.status)
    }

    /// The file with its output.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.bundle.path("container.log")
    }

    /// Hears of its ends.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn advance(&self, advance: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(advance);
    }

    pub(crate) fn live(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_live(&self, live: Option<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Puts another monitor of its health in the place of the one there is, and returns that.
    pub(crate) fn set_monitor(&self, monitor: Option<CancellationToken>) -> Option<CancellationToken> {
        std::mem::replace(&mut self.monitor.lock().unwrap_or_else(PoisonError::into_inner), monitor)
    }

    /// The shim.
    ///
    /// # Errors
    ///
    /// Conflict, in Docker's words, if the container is not running.
    pub(crate) fn shim(&self) -> Result<Shim, Error> {
        self.live().map(|live| live.shim).ok_or_else(|| self.not_running())
    }

    pub(crate) fn not_running(&self) -> Error {
        Error::conflict(format!("container {} is not running", self.id))
    }

    pub(crate) fn waiting_clients(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting_clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the trace that the container goes to another state.
    pub(crate) fn tell_state(&self, trace: &Trace, from: Option<Status>, to: &str) {
        trace.point(Body::ContainerState {
            container: self.id.clone(),
            name: Some(self.name()),
            from: from.map(|status| status.word().to_owned()),
            to: to.to_owned(),
        });
    }

    /// Tells `docker events` what happened to the container.
    pub(crate) fn emit(&self, engine: &Engine, action: &str, more: &[(&str, String)]) {
        let mut attributes: BTreeMap<String, String> = self.look(|record| {
            let mut attributes = record.config.labels.clone();
            attributes.insert("image".to_owned(), record.config.image.clone());
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        });
        attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        engine.events.emit("container", action, &self.id, attributes);
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
