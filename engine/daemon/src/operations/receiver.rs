//! Takes in what shims and inits tell: their events into the operation that they
//! work for, their questions to its gate.
//!
//! ```text
//!   Event ──► the operation is open?  yes ──► its recording
//!                                     no  ──► an operation of the daemon's own
//!   Ask   ──► the operation's gate ──► answer
//! ```
//!
//! A container outlives the operation that started it. Its later events go into a
//! new operation, with times counted from that one's begin, and under its root
//! where the step around them is in the old trace.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glassdock_registry::task;
use glassdock_trace::channel::{Message, Received};
use glassdock_trace::{Channel, Event, Phase, Unfinished};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::operation::bridges;
use super::{Operation, Operations, Use};

/// So long a channel isn't watched at its begin and after each message: whoever watches the trace sees
/// events so much later at most.
const PAUSE: Duration = Duration::from_millis(20);

/// The daemon's end of one trace channel.
#[derive(Debug)]
pub struct Receiver {
    operations: Arc<Operations>,
    channel: Arc<Channel>,
    /// What an operation of the daemon's own is called: the container's story.
    story: Vec<String>,
    first: Arc<Operation>,
    later: Mutex<Option<Later>>,
    /// What is known of the steps of those who tell in short.
    known: Mutex<Unfinished>,
}

#[derive(Debug)]
struct Later {
    place: Arc<Use>,
    begun: HashSet<u64>,
}

impl Receiver {
    /// Receives from `channel` for `operation`, until its other end is closed.
    pub fn spawn(
        operations: &Arc<Operations>,
        operation: &Arc<Operation>,
        channel: Channel,
        story: Vec<String>,
    ) -> Arc<Self> {
        let receiver = Arc::new(Self {
            operations: Arc::clone(operations),
            channel: Arc::new(channel),
            story,
            first: Arc::clone(operation),
            later: Mutex::new(None),
            known: Mutex::default(),
        });
        task::spawn(Arc::clone(&receiver).run());
        receiver
    }

    /// Takes messages in as they come, many with one wake-up: that costs more than the event itself,
    /// also in the process that tells it. So the channel isn't watched all the time; at a start, most
    /// is told while it is not, and taken in by the one who starts ([`Receiver::drain`]).
    async fn run(self: Arc<Self>) {
        // Whoever steps through waits for each answer.
        let pause = if self.first.gate().is_some() { Duration::ZERO } else { PAUSE };
        loop {
            tokio::time::sleep(pause).await;
            if self.drain() {
                return;
            }
            match watch(Watched(Arc::clone(&self.channel))) {
                Ok(watched) => {
                    let Ok(mut ready) = watched.readable().await else { return };
                    ready.retain_ready();
                }
                // Without a place among the watched it is looked at now and then.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Takes everything in that has arrived. True once the other end is closed.
    ///
    /// Whoever learns of an exit by another way calls this first, so that the
    /// trace tells what led to the exit before what followed from it.
    pub fn drain(self: &Arc<Self>) -> bool {
        // The lock is held until what was read is recorded, so that order is kept.
        let mut scratch = self.operations.scratch();
        loop {
            match self.channel.try_receive(&mut scratch) {
                Ok(Some(Received::Events(short))) => self.record_all(short),
                Ok(Some(Received::Other(message))) => self.take(message),
                Ok(None) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => self.first.recording().lost(1),
                Err(_) => return true,
            }
        }
    }

    /// Records what was told. Only where an event has to be looked at is its text read:
    /// for a gate, for a log, or to move it to a later operation.
    fn record_all(&self, short: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.first.gate().is_none() && !self.first.has_ended() && !bridges() {
            return self.first.recording().record_short(short, &mut known);
        }
        let (lines, lost) = known.lines(self.first.id(), short);
        drop(known);
        self.first.recording().lost(lost);
        for line in lines.lines() {
            match serde_json::from_str(line) {
                Ok(event) => self.record(event),
                Err(_) => self.first.recording().lost(1),
            }
        }
    }

    /// Takes part in the operation that the container's next events belong to.
    #[must_use]
    pub fn place(&self) -> Arc<Use> {
        if !self.first.has_ended() {
            return self.operations.again(&self.first, || self.story.clone());
        }
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        match &*later {
            Some(later) => Arc::clone(&later.place),
            None => {
                let place = self.operations.after(&self.first, self.story.clone());
                *later = Some(Later { place: Arc::clone(&place), begun: HashSet::new() });
                place
            }
        }
    }

    /// Lets go of the operation of the daemon's own, so that it can end.
    pub fn settle(&self) {
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(later);
    }

    fn take(self: &Arc<Self>, message: Message) {
        match message {
            Message::Dropped(count) => self.first.recording().lost(count),
            Message::Ask(event) => {
                let receiver = Arc::clone(self);
                task::spawn(async move {
                    let verdict = match receiver.first.gate() {
                        Some(gate) => gate.wait_async(&event).await,
                        None => Ok(()),
                    };
                    // A shim that has gone needs no answer.
                    let _ = receiver.channel.answer(verdict);
                });
            }
        }
    }

    fn record(&self, event: Event) {
        if let (Some(gate), Phase::End) = (self.first.gate(), event.phase) {
            gate.ended(event.span);
        }
        if !self.first.has_ended() {
            self.first.record(&event);
            return;
        }
        let place = self.place();
        let event = self.moved(event, place.operation());
        place.operation().record(&event);
    }

    /// An event of the first operation, as one of the later operation.
    fn moved(&self, mut event: Event, to: &Operation) -> Event {
        let happened = self.first.trace().start_ns().saturating_add(event.t_ns);
        event.t_ns = happened.saturating_sub(to.trace().start_ns());
        to.id().as_str().clone_into(&mut event.op);
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(later) = &mut *later {
            if !later.begun.contains(&event.parent) {
                event.parent = 0;
            }
            if event.phase == Phase::Begin {
                later.begun.insert(event.span);
            }
        }
        event
    }
}

struct Watched(Arc<Channel>);

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that could change their descriptor; an Arc can't"
)]
fn watch(watched: Watched) -> io::Result<AsyncFd<Watched>> {
    AsyncFd::with_interest(watched, Interest::READABLE)
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
