//! # Operations: which trace a request belongs to
//!
//! An operation is one command of a user, or one request of a client that knows
//! nothing of traces. Our own client names the operation in a header of each of
//! its requests, so that all that `run` asks for becomes one trace; every other
//! request is an operation of its own, open until its reply is sent whole.
//!
//! ```text
//!   X-Glassdock-Operation: OP ─┐
//!   POST …/operations/OP ──────┼─► open ──► end      by the client, or when nobody
//!   a request without either ──┘    │                has used it for a while
//!                                   │
//!     daemon's events ──────────────┤
//!     shim's and init's (receiver) ─┴──► recording ──► traces/OP.jsonl, followers
//! ```
//!
//! What happens to a container after the operation that started it (its exit, most
//! of all) belongs to an operation of the daemon's own: [`receiver`] opens it.
//!
//! Invariants: an operation ends once; whoever waits at its gate goes on (or is
//! aborted) then; the map of open operations is locked for look-ups only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use glassdock_trace::{OpId, Recorder, Stepping};
use http::HeaderMap;

use crate::error::Error;

pub mod operation;

pub mod receiver;

pub mod endpoints;

pub mod files;

pub use operation::{Operation, Use};
pub use receiver::Receiver;

/// The header that names the operation of a request.
pub const OPERATION_HEADER: &str = "x-glassdock-operation";

/// The header with the user's command: a JSON list of its words, percent-encoded.
pub const COMMAND_HEADER: &str = "x-glassdock-command";

/// The header that says whether the operation is recorded: `off` for one that is not. It says nothing about an operation
/// that is open already.
pub const TRACE_HEADER: &str = "x-glassdock-trace";

/// An operation that nobody has used for so long is ended: its client has gone.
const IDLE: Duration = Duration::from_secs(60);

/// All operations of a daemon.
#[derive(Debug)]
pub struct Operations {
    recorder: Recorder,
    /// Whether anything is recorded.
    on: bool,
    open: Mutex<HashMap<OpId, Arc<Operation>>>,
    scratch: Mutex<Box<[u8]>>,
}

impl Operations {
    /// Operations that are recorded by `recorder`, unless they are not to be (`on`).
    #[must_use]
    pub fn new(recorder: Recorder, on: bool) -> Arc<Self> {
        let scratch = vec![0; glassdock_trace::channel::MESSAGE_LIMIT].into_boxed_slice();
        Arc::new(Self { recorder, on, open: Mutex::new(HashMap::new()), scratch: Mutex::new(scratch) })
    }

    /// Where recordings are made.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The open operation of that id.
    #[must_use]
    pub fn get(&self, op: &OpId) -> Option<Arc<Operation>> {
        self.lock().get(op).cloned()
    }

    /// Opens an operation, or finds the one that is open by that id already.
    pub fn open(
        self: &Arc<Self>,
        op: OpId,
        command: Vec<String>,
        stepping: Option<Stepping>,
    ) -> Arc<Operation> {
        self.open_as(op, command, stepping, false)
    }

    /// As [`Operations::open`]; nothing is recorded of one that is `silent`.
    fn open_as(
        self: &Arc<Self>,
        op: OpId,
        command: Vec<String>,
        stepping: Option<Stepping>,
        silent: bool,
    ) -> Arc<Operation> {
        let on = self.on && !silent;
        let mut open = self.lock();
        let operation = open
            .entry(op.clone())
            .or_insert_with(|| Arc::new(Operation::begin(&self.recorder, on, op, command, stepping)));
        Arc::clone(operation)
    }

    /// Takes part in the operation that a request belongs to.
    ///
    /// # Errors
    ///
    /// Invalid, if the request names an operation by something that is no id, or says of the trace what it does not
    /// know.
    pub fn of_request(
        self: &Arc<Self>,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Arc<Use>, Error> {
        let silent = is_silent(headers)?;
        let request = || vec![method.to_owned(), path.to_owned()];
        let Some(named) = headers.get(OPERATION_HEADER) else {
            return Ok(self.own_as(request(), silent));
        };
        let op = named.to_str().ok().and_then(OpId::parse).ok_or_else(|| {
            Error::invalid(format!(
                "invalid {OPERATION_HEADER} header: an id is 1 to 64 letters, digits or '-'"
            ))
        })?;
        let command = headers
            .get(COMMAND_HEADER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| serde_json::from_str(&crate::route::decode(text)).ok())
            .unwrap_or_else(request);
        let operation = self.open_as(op, command, None, silent);
        Ok(Arc::new(Use::of(self, operation, false)))
    }

    /// A new operation that ends when its last user lets go of it.
    #[must_use]
    pub fn own(self: &Arc<Self>, command: Vec<String>) -> Arc<Use> {
        self.own_as(command, false)
    }

    /// As [`Operations::own`]; nothing is recorded of one that is `silent`.
    fn own_as(self: &Arc<Self>, command: Vec<String>, silent: bool) -> Arc<Use> {
        let operation = self.open_as(OpId::new(), command, None, silent);
        Arc::new(Use::of(self, operation, true))
    }

    /// A new operation that ends when its last user lets go of it, and goes on with what `earlier` began: nothing is
    /// recorded of it if nothing was of that.
    #[must_use]
    pub fn after(self: &Arc<Self>, earlier: &Operation, command: Vec<String>) -> Arc<Use> {
        self.own_as(command, !earlier.trace().is_on())
    }

    /// Takes part in an operation once more, or, if it has ended, in a new one of
    /// the daemon's own.
    #[must_use]
    pub fn again(
        self: &Arc<Self>,
        operation: &Arc<Operation>,
        command: impl FnOnce() -> Vec<String>,
    ) -> Arc<Use> {
        if operation.has_ended() {
            self.after(operation, command())
        } else {
            Arc::new(Use::of(self, Arc::clone(operation), false))
        }
    }

    /// Ends an operation, with the status that its client ended with.
    pub fn end(&self, operation: &Operation, status: Option<i32>) {
        self.lock().remove(operation.id());
        operation.end(status);
    }

    /// Ends what nobody has used for a while. Called every few seconds.
    pub fn end_idle(&self) {
        let now = Instant::now();
        let idle: Vec<_> =
            self.lock().values().filter(|operation| operation.idle_for(now) > IDLE).cloned().collect();
        for operation in idle {
            self.end(&operation, None);
        }
    }

    /// Ends everything: the daemon stops.
    pub fn end_all(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for operation in all {
            self.end(&operation, None);
        }
        self.recorder.settle();
    }

    pub(crate) fn scratch(&self) -> MutexGuard<'_, Box<[u8]>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OpId, Arc<Operation>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request asks that nothing be recorded.
fn is_silent(headers: &HeaderMap) -> Result<bool, Error> {
    match headers.get(TRACE_HEADER).map(http::HeaderValue::as_bytes) {
        None | Some(b"on") => Ok(false),
        Some(b"off") => Ok(true),
        Some(_) => Err(Error::invalid(format!("invalid {TRACE_HEADER} header: it is on or off"))),
    }
}
