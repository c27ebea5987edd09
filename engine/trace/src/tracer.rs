//! Who writes: a [`Trace`] is a place in an operation's tree of steps, handed
//! down to whoever acts there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::event::{Actor, Event, Evidence, Failure, Outcome, Phase};
use crate::gate::{Aborted, Hold};
use crate::line::Written;
use crate::vocabulary::Body;

/// The id of an operation: milliseconds since 1970 and a random part, in hex, so
/// that names sort by time and two operations of one moment differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(String);

impl OpId {
    /// A new id.
    #[must_use]
    pub fn new() -> Self {
        let mut random = [0_u8; 4];
        // Without the kernel's randomness the clock alone must do: ids name files, they are no secret.
        let _ = getrandom::fill(&mut random);
        let millis = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_millis());
        Self(format!("{millis:012x}{:08x}", u32::from_be_bytes(random)))
    }

    /// Reads an id that came from outside: 1 to 64 letters, digits or `-`, so
    /// that it can name a file. Anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for OpId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where events go. `record` never blocks for long and never fails: what can't
/// be written is counted by the sink.
pub trait Sink: Send + Sync {
    /// Takes one event. The sink gives it its `seq`.
    fn record(&self, event: &Event);

    /// Whether what it keeps is made into lines later: a step's end needs not repeat what its begin said.
    fn is_short(&self) -> bool {
        false
    }

    /// Whether another process makes those lines, and may add evidence there ([`crate::Proof`]).
    fn takes_proofs(&self) -> bool {
        false
    }
}

/// What all places of one operation's tree share in one process.
struct Operation {
    id: OpId,
    start_ns: u64,
    pid: u32,
    next_span: AtomicU64,
    sink: Arc<dyn Sink>,
    hold: Hold,
}

/// A place in an operation's tree of steps. Cheap to clone; safe to use from
/// many threads.
///
/// # Examples
///
/// ```
/// use glassdock_trace::{Body, Trace};
///
/// fn tag(trace: &Trace) -> Result<(), std::io::Error> {
///     let body = Body::ImageTag { reference: "motd:1".into(), image: "sha256:12".into() };
///     trace.step(body, |_inside| Ok(()))
/// }
/// tag(&Trace::off())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Trace {
    operation: Option<Arc<Operation>>,
    span: u64,
    actor: Actor,
}

impl Trace {
    /// A trace that records nothing and stops nowhere.
    #[must_use]
    pub fn off() -> Self {
        Self { operation: None, span: 0, actor: Actor::Daemon }
    }

    /// The root of an operation's tree in this process.
    ///
    /// `start_ns` is the operation's begin on `CLOCK_MONOTONIC` ([`Trace::clock`]),
    /// `spans_from` the first number for steps of this process (each process of
    /// an operation has a range of its own), `parent` the step around it.
    #[must_use]
    pub fn root(id: OpId, actor: Actor, origin: Origin, sink: Arc<dyn Sink>, hold: Hold) -> Self {
        let operation = Operation {
            id,
            start_ns: origin.start_ns,
            pid: std::process::id(),
            next_span: AtomicU64::new(origin.spans_from),
            sink,
            hold,
        };
        Self { operation: Some(Arc::new(operation)), span: origin.parent, actor }
    }

    /// The present moment on the clock of traces, in nanoseconds.
    #[must_use]
    pub fn clock() -> u64 {
        clock::now_ns()
    }

    /// The operation's id, unless the trace is off.
    #[must_use]
    pub fn op(&self) -> Option<&OpId> {
        self.operation.as_ref().map(|operation| &operation.id)
    }

    /// The operation's begin on the clock of traces; 0 where the trace is off.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.operation.as_ref().map_or(0, |operation| operation.start_ns)
    }

    /// The number of the step that this place is inside of.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.span
    }

    /// The number that events of this place have as their process's; `None` where the trace is off.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.operation.as_ref().map(|operation| operation.pid)
    }

    /// Whether anything is recorded, so that evidence need not be gathered in vain.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.operation.is_some()
    }

    /// Whether evidence may be left to another process to read, and to add later as a [`crate::Proof`].
    #[must_use]
    pub fn takes_proofs(&self) -> bool {
        self.operation.as_ref().is_some_and(|operation| operation.sink.takes_proofs())
    }

    /// What holds this operation's acts, for handing on to another process.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.operation.as_ref().map_or(Hold::Never, |operation| operation.hold.clone())
    }

    /// Sets `count` numbers of steps aside for another process; returns the first.
    #[must_use]
    pub fn reserve_spans(&self, count: u64) -> u64 {
        self.operation.as_ref().map_or(0, |operation| operation.next_span.fetch_add(count, Ordering::Relaxed))
    }

    /// The same place, with another actor.
    #[must_use]
    pub fn as_actor(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// The same place, in a process that the host knows by the number `pid`: inside a
    /// new pid namespace, getpid(2) tells another.
    #[must_use]
    pub fn with_pid(&self, pid: u32) -> Self {
        let operation = self.operation.as_ref().map(|operation| {
            Arc::new(Operation {
                id: operation.id.clone(),
                start_ns: operation.start_ns,
                pid,
                next_span: AtomicU64::new(operation.next_span.load(Ordering::Relaxed)),
                sink: operation.sink.clone(),
                hold: operation.hold.clone(),
            })
        });
        Self { operation, ..self.clone() }
    }

    /// A step that another process began and this one sees the end of: a successful
    /// execve(2) leaves nobody there to tell it. `span` is the step's number, `began_ns` the
    /// clock at its begin; this place is the one around it. Both tell
    /// in short, on their way to one reader, who has what the step is from its begin.
    #[must_use]
    pub fn adopt(&self, span: u64, began_ns: u64) -> Span {
        let Some(operation) = &self.operation else { return Span::off(Body::nothing()) };
        let mut event = self.event(operation, span, Phase::Begin, Body::nothing());
        event.written = Written::begun_by_another();
        self.span_of(Box::new(event), began_ns)
    }

    /// Records a thing that was observed, or done without being able to fail.
    pub fn point(&self, body: Body) {
        self.point_with(body, Vec::new);
    }

    /// As [`Trace::point`], with evidence that is only gathered if it is recorded.
    pub fn point_with(&self, body: Body, evidence: impl FnOnce() -> Vec<Evidence>) {
        let Some(operation) = &self.operation else { return };
        let span = operation.next_span.fetch_add(1, Ordering::Relaxed);
        let mut event = self.event(operation, span, Phase::Point, body);
        event.evidence = evidence();
        operation.sink.record(&event);
    }

    /// Records that a step was not needed, and why.
    pub fn skip(&self, body: Body, reason: impl Into<String>) {
        let Some(operation) = &self.operation else { return };
        let span = operation.next_span.fetch_add(1, Ordering::Relaxed);
        let mut event = self.event(operation, span, Phase::Skip, body);
        event.reason = Some(reason.into());
        operation.sink.record(&event);
    }

    /// Begins a step: waits at the gate if someone steps through, then records
    /// the `begin`. The caller acts and ends the [`Span`].
    ///
    /// # Errors
    ///
    /// [`Aborted`] if the one who steps through says abort; nothing is recorded
    /// as begun then, and the act must not happen.
    pub fn begin(&self, body: Body) -> Result<Span, Aborted> {
        let Some(operation) = &self.operation else { return Ok(Span::off(body)) };
        let event = self.next_begin(operation, body);
        operation.hold.wait(&event)?;
        Ok(self.begun(operation, event))
    }

    /// As [`Trace::begin`], for asynchronous code: the wait holds no thread.
    ///
    /// # Errors
    ///
    /// As [`Trace::begin`].
    pub async fn begin_async(&self, body: Body) -> Result<Span, Aborted> {
        let Some(operation) = &self.operation else { return Ok(Span::off(body)) };
        let event = self.next_begin(operation, body);
        operation.hold.wait_async(&event).await?;
        Ok(self.begun(operation, event))
    }

    /// Does one step: begins it, acts, and ends it with the act's result. The act
    /// gets the place inside the step, for what it does in turn.
    ///
    /// # Errors
    ///
    /// Those of the act, and [`Aborted`] turned into the act's error type.
    pub fn step<T, E>(&self, body: Body, act: impl FnOnce(&mut Span) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Aborted> + std::error::Error + 'static,
    {
        let mut span = self.begin(body)?;
        let result = act(&mut span);
        span.finish(result)
    }

    fn next_begin(&self, operation: &Operation, body: Body) -> Box<Event> {
        let span = operation.next_span.fetch_add(1, Ordering::Relaxed);
        Box::new(self.event(operation, span, Phase::Begin, body))
    }

    fn begun(&self, operation: &Operation, mut event: Box<Event>) -> Span {
        // The clock is read after the gate: time spent looking around is not the act's.
        let began_ns = clock::now_ns();
        event.t_ns = began_ns.saturating_sub(operation.start_ns);
        event.written = if operation.sink.is_short() { Written::begun() } else { Written::of(&event.body) };
        operation.sink.record(&event);
        self.span_of(event, began_ns)
    }

    fn span_of(&self, event: Box<Event>, began_ns: u64) -> Span {
        let inside = Self { span: event.span, ..self.clone() };
        Span { inside, step: Step::Told(event), began_ns, acted_ns: None, ended: false }
    }

    fn event(&self, operation: &Operation, span: u64, phase: Phase, body: Body) -> Event {
        let never_held = matches!(operation.hold, Hold::Never);
        // When a step begins is told by who begins it.
        let t_ns = match phase {
            Phase::Begin if never_held => 0,
            _ => clock::now_ns().saturating_sub(operation.start_ns),
        };
        // The reader of short lines knows the operation; the gate is told it.
        let op = if operation.sink.is_short() && never_held { "" } else { operation.id.as_str() };
        Event {
            seq: 0,
            t_ns,
            op: op.to_owned(),
            span,
            parent: self.span,
            actor: self.actor,
            pid: operation.pid,
            phase,
            body,
            result: None,
            dur_ns: None,
            reason: None,
            evidence: Vec::new(),
            written: Written::default(),
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("op", &self.op()).field("span", &self.span).finish_non_exhaustive()
    }
}

/// Where an operation stands for a process that joins it: when it began, which
/// numbers its steps get, and which step is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The operation's begin on `CLOCK_MONOTONIC`, in nanoseconds.
    pub start_ns: u64,
    /// The first number for steps of this process; the operation itself is 0.
    pub spans_from: u64,
    /// The step around everything that this process does.
    pub parent: u64,
}

impl Origin {
    /// The origin of a new operation that begins now.
    #[must_use]
    pub fn now() -> Self {
        Self { start_ns: clock::now_ns(), spans_from: 1, parent: 0 }
    }
}

/// A step that has begun. Dropped without an end, it records that it was cancelled.
#[derive(Debug)]
pub struct Span {
    inside: Trace,
    step: Step,
    began_ns: u64,
    /// When the act was over, if it was before the end is told.
    acted_ns: Option<u64>,
    ended: bool,
}

/// What a step is.
#[derive(Debug)]
enum Step {
    /// Nothing is told of it.
    Silent(Body),
    /// The event of its begin, which becomes that of its end. In a place of its own, so that the span is handed on
    /// without it: a start has a hundred of them.
    Told(Box<Event>),
}

impl Span {
    fn off(body: Body) -> Self {
        Self { inside: Trace::off(), step: Step::Silent(body), began_ns: 0, acted_ns: None, ended: true }
    }

    /// The place inside the step.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.inside
    }

    /// What the step is, for filling in what only the act could tell (a size, a pid).
    pub fn body_mut(&mut self) -> &mut Body {
        match &mut self.step {
            Step::Silent(body) => body,
            Step::Told(event) => {
                event.written = Written::default();
                &mut event.body
            }
        }
    }

    /// The act is over: its end is told as of now, whenever that is. For evidence that nobody should
    /// have to wait for.
    pub fn acted(&mut self) {
        self.acted_ns = Some(clock::now_ns());
    }

    /// Adds evidence, gathered only if it is recorded.
    pub fn evidence(&mut self, gather: impl FnOnce() -> Evidence) {
        if let Step::Told(event) = &mut self.step {
            event.evidence.push(gather());
        }
    }

    /// Ends the step with a result, and hands the result on.
    ///
    /// # Errors
    ///
    /// Exactly the error that was handed in.
    pub fn finish<T, E: std::error::Error + 'static>(self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.end(Outcome::success()),
            Err(error) => {
                let outcome =
                    if self.inside.is_on() { Failure::of(error).into() } else { Outcome::success() };
                self.end(outcome);
            }
        }
        result
    }

    /// Ends the step with success.
    pub fn ok(self) {
        self.end(Outcome::success());
    }

    /// Ends the step with an outcome.
    pub fn end(mut self, outcome: Outcome) {
        self.record_end(outcome);
    }

    fn record_end(&mut self, outcome: Outcome) {
        let (Some(operation), Step::Told(event)) = (&self.inside.operation, &mut self.step) else { return };
        self.ended = true;
        let ended_ns = self.acted_ns.unwrap_or_else(clock::now_ns);
        event.phase = Phase::End;
        event.t_ns = ended_ns.saturating_sub(operation.start_ns);
        event.dur_ns = Some(ended_ns.saturating_sub(self.began_ns));
        event.result = Some(outcome);
        operation.hold.ended(event.span);
        operation.sink.record(event);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.ended {
            self.record_end(Outcome {
                ok: false,
                errno: None,
                message: Some("cancelled before it was over".to_owned()),
            });
        }
    }
}
