//! One operation: its recording, its gate, and who takes part in it.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{
    Actor, Body, Event, Gate, OpId, Outcome, Recorder, Recording, Sink, Span, Stepping, Trace,
};

use super::Operations;

/// An operation that has begun.
#[derive(Debug)]
pub struct Operation {
    id: OpId,
    recording: Arc<Recording>,
    gate: Option<Arc<Gate>>,
    trace: Trace,
    /// The step around everything else, until the operation has ended.
    root: Mutex<Option<Span>>,
    ended: AtomicBool,
    users: AtomicUsize,
    last_used: Mutex<Instant>,
}

impl Operation {
    pub(super) fn begin(
        recorder: &Recorder,
        on: bool,
        id: OpId,
        command: Vec<String>,
        stepping: Option<Stepping>,
    ) -> Self {
        let recording = recorder.open(&id);
        let (users, last_used, ended) =
            (AtomicUsize::new(0), Mutex::new(Instant::now()), AtomicBool::new(false));
        if !on {
            let (trace, root) = (Trace::off(), Mutex::new(None));
            return Self { id, recording, gate: None, trace, root, ended, users, last_used };
        }
        let sink: Arc<dyn Sink> = Arc::new(Bridged(Arc::clone(&recording)));
        let gate = stepping.map(Gate::new);
        let hold = gate.clone().map_or(Hold::Never, Hold::Here);
        let start = Origin { spans_from: 0, ..Origin::now() };
        // The operation itself is step 0 and is never held: its first step is.
        let outside = Trace::root(id.clone(), Actor::Daemon, start, Arc::clone(&sink), Hold::Never);
        let root = outside.begin(Body::Operation { command, status: None, dropped: None }).ok();
        let trace = Trace::root(id.clone(), Actor::Daemon, Origin { spans_from: 1, ..start }, sink, hold);
        Self { id, recording, gate, trace, root: Mutex::new(root), ended, users, last_used }
    }

    /// The operation's id.
    #[must_use]
    pub fn id(&self) -> &OpId {
        &self.id
    }

    /// The place at the root of the operation's tree.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What it is recorded in.
    #[must_use]
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// The gate, if someone steps through.
    #[must_use]
    pub fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    /// Whether the operation is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Records an event that another process of the operation sent.
    pub(super) fn record(&self, event: &Event) {
        bridge(event);
        self.recording.record(event);
    }

    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        if self.users.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.last_used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the operation. Without a status its client was not there any more:
    /// what still waits at the gate is aborted then, else it goes on.
    pub(super) fn end(&self, status: Option<i32>) {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(gate) = &self.gate {
            if status.is_some() { gate.release() } else { gate.abort() }
        }
        let lost = self.recording.dropped();
        let Some(mut root) = root else { return self.recording.close() };
        if let Body::Operation { status: field, dropped, .. } = root.body_mut() {
            *field = status;
            *dropped = Some(lost);
        }
        let failed = |status| format!("ended with status {status}");
        let message = status.filter(|status| *status != 0).map(failed);
        root.end(Outcome { ok: message.is_none(), errno: None, message });
        self.recording.close();
    }
}

/// Someone who takes part in an operation and so keeps it open: a request, its
/// reply's stream, a task.
#[derive(Debug)]
pub struct Use {
    operations: Arc<Operations>,
    operation: Arc<Operation>,
    /// Whether the operation ends with this use.
    whole: bool,
    status: AtomicI32,
}

impl Use {
    pub(super) fn of(operations: &Arc<Operations>, operation: Arc<Operation>, whole: bool) -> Self {
        operation.users.fetch_add(1, Ordering::AcqRel);
        Self { operations: Arc::clone(operations), operation, whole, status: AtomicI32::new(0) }
    }

    /// The operation.
    #[must_use]
    pub fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    /// The place at the root of the operation's tree.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        self.operation.trace()
    }

    /// What the operation ends with, if it ends with this use.
    pub fn set_status(&self, status: i32) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        *self.operation.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.operation.users.fetch_sub(1, Ordering::AcqRel);
        if self.whole {
            self.operations.end(&self.operation, Some(self.status.load(Ordering::Relaxed)));
        }
    }
}

/// The recording, with a second way out to `tracing`.
struct Bridged(Arc<Recording>);

impl Sink for Bridged {
    fn record(&self, event: &Event) {
        bridge(event);
        self.0.record(event);
    }
}

/// Whether anyone subscribes to `tracing` for events.
pub(super) fn bridges() -> bool {
    tracing::enabled!(target: "glassdock::trace", tracing::Level::DEBUG)
}

/// Hands an event to whoever subscribes to `tracing`, under the target
/// `glassdock::trace`. The log has the event's text, not its evidence.
fn bridge(event: &Event) {
    if !bridges() {
        return;
    }
    let fields = serde_json::to_string(&event.body).unwrap_or_default();
    let failed = event.result.as_ref().and_then(|result| result.message.as_deref());
    tracing::debug!(
        target: "glassdock::trace",
        op = event.op, span = event.span, parent = event.parent, pid = event.pid,
        phase = ?event.phase, actor = ?event.actor, failed, "{fields}",
    );
}
