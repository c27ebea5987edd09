//! The execs that an engine knows: what was asked for, and where each stands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::error::Error;
use crate::operations::Receiver;

/// An ended exec is remembered until its container has so many newer ones.
const KEPT: usize = 256;

/// An exec that closed its output has so long to end before its client is let go.
const SETTLING: Duration = Duration::from_secs(1);

/// All execs of an engine.
#[derive(Debug, Default)]
pub struct Execs {
    known: Mutex<BTreeMap<String, Exec>>,
    changed: Notify,
}

/// An exec, from its creation on.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    pub(super) container: String,
    pub(super) request: ExecRequest,
    pub(super) running: bool,
    pub(super) started: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) pid: u32,
    /// The order of their making.
    pub(super) number: u64,
    /// Hears what its process tells the trace.
    pub(super) receiver: Option<Arc<Receiver>>,
}

/// `ContainerExec`'s body.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ExecRequest {
    pub(super) user: String,
    pub(super) privileged: bool,
    pub(super) tty: bool,
    pub(super) console_size: Option<[u16; 2]>,
    pub(super) attach_stdin: bool,
    pub(super) attach_stdout: bool,
    pub(super) attach_stderr: bool,
    pub(super) detach_keys: String,
    pub(super) env: Vec<String>,
    pub(super) working_dir: String,
    pub(super) cmd: Vec<String>,
}

impl Execs {
    /// The ids of a container's execs that run, for `inspect`; `null` for none.
    #[must_use]
    pub fn running_in(&self, container: &str) -> Option<Vec<String>> {
        let execs = self.lock();
        let running: Vec<String> = execs
            .iter()
            .filter(|(_, exec)| exec.container == container && exec.running)
            .map(|(id, _)| id.clone())
            .collect();
        (!running.is_empty()).then_some(running)
    }

    /// An exec's process has ended.
    pub(crate) fn ended(&self, engine: &Engine, id: &str, status: i32) {
        // What led to the end is told in the operation that still waits for it.
        let receiver = self.lock().get_mut(id).and_then(|exec| exec.receiver.take());
        if let Some(receiver) = receiver {
            receiver.drain();
        }
        let container = {
            let mut execs = self.lock();
            let Some(exec) = execs.get_mut(id) else { return };
            exec.running = false;
            exec.exit_code = Some(status);
            exec.container.clone()
        };
        self.changed.notify_waiters();
        if let Ok(container) = engine.containers.find(&container) {
            container.emit(
                engine,
                "exec_die",
                &[("execID", id.to_owned()), ("exitCode", status.to_string())],
            );
        }
    }

    /// A container has ended, and its execs with it.
    pub(crate) fn container_ended(&self, container: &str) {
        for exec in self.lock().values_mut().filter(|exec| exec.container == container && exec.running) {
            exec.running = false;
            exec.receiver = None;
            exec.exit_code.get_or_insert(137);
        }
        // Those that were only created belong to the run that is over.
        self.lock().retain(|_, exec| exec.container != container || exec.started);
        self.changed.notify_waiters();
    }

    /// Waits until an exec has ended.
    pub(crate) async fn over(&self, id: &str) {
        loop {
            let changed = self.changed.notified();
            if !self.lock().get(id).is_some_and(|exec| exec.running) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the process of an exec that was asked to start is there, or nothing comes of it.
    pub(super) async fn begun(&self, id: &str) {
        loop {
            let changed = self.changed.notified();
            if !self.lock().get(id).is_some_and(|exec| exec.running && exec.pid == 0) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until an exec has ended, for a little while. Its output ends before
    /// its status is told; a client asks for that as soon as it sees the end.
    pub(super) async fn settled(&self, id: &str) {
        let _ = tokio::time::timeout(SETTLING, self.over(id)).await;
    }

    /// The exit status of an exec that has ended.
    pub(crate) fn exit_code(&self, id: &str) -> Option<i32> {
        self.lock().get(id)?.exit_code
    }

    /// An exec that nobody will ask for again.
    pub(crate) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// A container is gone, and its execs with it.
    pub(crate) fn container_removed(&self, container: &str) {
        self.lock().retain(|_, exec| exec.container != container);
    }

    /// Remembers a new exec, and forgets the oldest of its container's ended ones if there are many.
    pub(super) fn add(&self, id: String, container: &str, request: ExecRequest) {
        let mut execs = self.lock();
        let number = execs.values().map(|exec| exec.number).max().unwrap_or(0) + 1;
        let mut over: Vec<(u64, String)> = execs
            .iter()
            .filter(|(_, exec)| exec.container == container && !exec.running)
            .map(|(id, exec)| (exec.number, id.clone()))
            .collect();
        over.sort_unstable();
        for (_, id) in over.iter().take(over.len().saturating_sub(KEPT)) {
            execs.remove(id);
        }
        let container = container.to_owned();
        execs.insert(
            id,
            Exec {
                container,
                request,
                running: false,
                started: false,
                exit_code: None,
                pid: 0,
                number,
                receiver: None,
            },
        );
    }

    /// Takes an exec for its one start.
    pub(super) fn claim(&self, id: &str) -> Result<(), Error> {
        let mut execs = self.lock();
        let exec = execs.get_mut(id).ok_or_else(|| no_such(id))?;
        if exec.started {
            let state = if exec.running { "already running" } else { "has already run" };
            return Err(Error::conflict(format!("Error: Exec command {id} is {state}")));
        }
        (exec.started, exec.running) = (true, true);
        Ok(())
    }

    /// What is known of an exec.
    pub(super) fn get(&self, id: &str) -> Result<Exec, Error> {
        self.lock().get(id).cloned().ok_or_else(|| no_such(id))
    }

    /// Changes what is known of it.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Exec)) {
        if let Some(exec) = self.lock().get_mut(id) {
            change(exec);
        }
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exec>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client is told of an id that is none.
pub(super) fn no_such(id: &str) -> Error {
    Error::not_found(format!("No such exec instance: {id}"))
}
