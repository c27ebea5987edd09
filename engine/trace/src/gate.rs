//! The step gate: someone who steps through an operation holds it before each act.
//!
//! ```text
//!   running ──begin──► waiting ──next──► running        stops at the next step
//!                         │ ──over──► running           not again inside this step
//!                         │ ──continue──► running       never again
//!                         └ ──abort──► Aborted          the act does not happen
//! ```
//!
//! Whoever waits here holds no lock that another operation needs; that is a duty
//! of the callers of [`crate::Trace::begin`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event as Signal;
use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::event::Event;
use crate::vocabulary::{Kind, Level};

/// Where an operation stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stepping {
    /// Before each step.
    Steps,
    /// Before each step and each evidence event that has a begin.
    Syscalls,
    /// Before each of these kinds.
    Break(Vec<Kind>),
}

impl Stepping {
    fn stops_at(&self, kind: Kind) -> bool {
        match self {
            Self::Steps => kind.level() == Level::Step,
            Self::Syscalls => true,
            Self::Break(kinds) => kinds.contains(&kind),
        }
    }
}

/// What the one who steps through says to a held step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Do it, and stop at the next.
    Next,
    /// Do it with all that is inside, and stop at the next after it.
    Over,
    /// Do it, and stop nowhere any more.
    Continue,
    /// Don't do it: the operation fails and cleans up.
    Abort,
}

/// The one who steps through said abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("aborted at the step gate")]
pub struct Aborted;

impl From<Aborted> for std::io::Error {
    fn from(aborted: Aborted) -> Self {
        Self::other(aborted)
    }
}

/// The gate of one operation, in the process that talks with the one who steps
/// through (the daemon).
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Debug)]
struct State {
    /// `None` once nothing is held any more.
    stepping: Option<Stepping>,
    aborted: bool,
    /// Held steps, the oldest first; several where the operation works in parallel.
    waiting: VecDeque<Event>,
    answered: HashMap<u64, Answer>,
    /// The step around each running step, to know what is inside of what.
    parents: HashMap<u64, u64>,
    /// Steps that are done whole.
    over: HashSet<u64>,
}

impl Gate {
    /// A gate that stops as `stepping` says.
    #[must_use]
    pub fn new(stepping: Stepping) -> Arc<Self> {
        let state = State {
            stepping: Some(stepping),
            aborted: false,
            waiting: VecDeque::new(),
            answered: HashMap::new(),
            parents: HashMap::new(),
            over: HashSet::new(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Signal::new() })
    }

    /// The oldest held step: what is about to be done.
    #[must_use]
    pub fn held(&self) -> Option<Event> {
        self.lock().waiting.front().cloned()
    }

    /// Waits until a step is held that is not the one numbered `not`.
    pub async fn held_after(&self, not: Option<u64>) -> Event {
        loop {
            let listener = self.changed.listen();
            if let Some(event) = self.held().filter(|event| Some(event.span) != not) {
                return event;
            }
            listener.await;
        }
    }

    /// Answers the held step numbered `span`. Returns false if it is not held.
    pub fn answer(&self, span: u64, answer: Answer) -> bool {
        let mut state = self.lock();
        let Some(place) = state.waiting.iter().position(|event| event.span == span) else { return false };
        state.waiting.remove(place);
        state.answered.insert(span, answer);
        match answer {
            Answer::Next => {}
            Answer::Over => {
                state.over.insert(span);
            }
            Answer::Continue => state.stepping = None,
            Answer::Abort => state.aborted = true,
        }
        drop(state);
        self.changed.notify(usize::MAX);
        true
    }

    /// Lets everything go on: the one who stepped through has left.
    pub fn release(&self) {
        self.lock().stepping = None;
        self.changed.notify(usize::MAX);
    }

    /// Ends the operation at its next step.
    pub fn abort(&self) {
        self.lock().aborted = true;
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn wait(&self, event: &Event) -> Result<(), Aborted> {
        if let Some(settled) = self.arrive(event) {
            return settled;
        }
        loop {
            let listener = self.changed.listen();
            if let Some(settled) = self.settled(event.span) {
                return settled;
            }
            event_listener::Listener::wait(listener);
        }
    }

    /// As a waiting thread would, without holding one.
    ///
    /// # Errors
    ///
    /// [`Aborted`] if the answer is abort.
    pub async fn wait_async(&self, event: &Event) -> Result<(), Aborted> {
        if let Some(settled) = self.arrive(event) {
            return settled;
        }
        // A task that is dropped while it waits must not stay in the queue.
        let mut leaver = Leaver { gate: self, span: event.span, armed: true };
        loop {
            let listener = self.changed.listen();
            if let Some(settled) = self.settled(event.span) {
                leaver.armed = false;
                return settled;
            }
            listener.await;
        }
    }

    /// A step comes to the gate: it passes at once, or is queued (`None`).
    fn arrive(&self, event: &Event) -> Option<Result<(), Aborted>> {
        let mut state = self.lock();
        if state.aborted {
            return Some(Err(Aborted));
        }
        state.parents.insert(event.span, event.parent);
        let stops = state.stepping.as_ref().is_some_and(|stepping| stepping.stops_at(event.body.kind()));
        if !stops || state.is_inside_over(event.parent) {
            return Some(Ok(()));
        }
        state.waiting.push_back(event.clone());
        drop(state);
        self.changed.notify(usize::MAX);
        None
    }

    fn settled(&self, span: u64) -> Option<Result<(), Aborted>> {
        let mut state = self.lock();
        let answer = state.answered.remove(&span);
        if state.aborted || answer == Some(Answer::Abort) {
            state.leave(span);
            return Some(Err(Aborted));
        }
        if answer.is_some() || state.stepping.is_none() {
            state.leave(span);
            return Some(Ok(()));
        }
        None
    }

    /// A step is over; what was inside of it is forgotten.
    pub fn ended(&self, span: u64) {
        let mut state = self.lock();
        state.parents.remove(&span);
        state.over.remove(&span);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave(&mut self, span: u64) {
        self.waiting.retain(|event| event.span != span);
    }

    fn is_inside_over(&self, mut span: u64) -> bool {
        while span != 0 {
            if self.over.contains(&span) {
                return true;
            }
            match self.parents.get(&span) {
                Some(parent) => span = *parent,
                None => return false,
            }
        }
        false
    }
}

struct Leaver<'a> {
    gate: &'a Gate,
    span: u64,
    armed: bool,
}

impl Drop for Leaver<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.gate.lock().leave(self.span);
            self.gate.changed.notify(usize::MAX);
        }
    }
}

/// What can hold the acts of an operation in this process.
#[derive(Clone, Debug)]
pub enum Hold {
    /// Nobody steps through.
    Never,
    /// The gate is in this process.
    Here(Arc<Gate>),
    /// The gate is in the daemon, at the other end of the trace channel.
    There(Arc<Channel>),
}

impl Hold {
    pub(crate) fn wait(&self, event: &Event) -> Result<(), Aborted> {
        match self {
            Self::Never => Ok(()),
            Self::Here(gate) => gate.wait(event),
            Self::There(channel) => channel.ask(event),
        }
    }

    pub(crate) async fn wait_async(&self, event: &Event) -> Result<(), Aborted> {
        match self {
            Self::Never => Ok(()),
            Self::Here(gate) => gate.wait_async(event).await,
            // Only shims and inits are at the far end of a channel, and they have no tasks.
            Self::There(channel) => channel.ask(event),
        }
    }

    pub(crate) fn ended(&self, span: u64) {
        if let Self::Here(gate) = self {
            gate.ended(span);
        }
    }
}
