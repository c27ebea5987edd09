//! # The trace: what the engine does, told as it happens
//!
//! Everything that the engine does to the world goes through a door (the kernel,
//! the network, the disk), and each door tells a [`Trace`] what it is about to do
//! and how it went. The result is a stream of typed [`Event`]s: a tree of steps
//! with their evidence, one stream an *operation* (one command of a user, or one
//! API request).
//!
//! ```text
//!   door (kernel, transport, store)
//!     │  trace.step(body, |inside| act)        the act, between begin and end
//!     ▼
//!   Trace ──► Gate        waits before the act while someone steps through
//!     │
//!     ▼
//!   Sink ──► Recording    traces/OP.jsonl, and live subscribers
//!        └─► Channel      from a shim or a container's init to the daemon
//! ```
//!
//! Reading order: the words ([`vocabulary`]), what is written ([`event`], [`mod@line`]), who
//! writes ([`tracer`]), who may hold the writer ([`gate`]), where it goes
//! ([`recording`], [`channel`]); then how a trace is read: ([`reading`], [`tree`]),
//! in words ([`narration`], [`template`], [`render`]), by questions ([`query`]), and made
//! comparable ([`redact`], [`normalise`], [`diff`]); the format itself is `schema.json`.
//!
//! Invariants:
//!
//! - An event is emitted at the act, with the act's own result; nothing is told
//!   that did not happen, and a step that was not needed says so ([`Phase::Skip`]).
//! - Secrets never enter an event: whoever builds a [`Body`] leaves them out.
//! - A lost event is counted, and the count is in the operation's last event.
//! - This stream is for learners. Logging is separate and may change freely.

pub mod vocabulary;

pub mod event;

pub mod line;

pub mod tracer;

pub mod gate;

pub mod recording;

pub mod channel;

pub mod narration;

pub mod template;

pub mod reading;

pub mod tree;

pub mod render;

pub mod query;

#[cfg(test)]
mod schema;

pub mod redact;

pub mod normalise;

pub mod diff;

mod clock;

mod errno;

mod fields;

mod scribe;
mod shorthand;

#[cfg(test)]
mod samples;

pub use channel::{Channel, ChannelSink, Gathering, Tape, TapeSink};
pub use event::{Actor, Event, Evidence, Failure, Header, Outcome, Phase, SCHEMA_VERSION};
pub use gate::{Aborted, Answer, Gate, Stepping};
pub use reading::Reading;
pub use recording::{Recorder, Recording, Subscription};
pub use shorthand::{Proof, Unfinished};
pub use tracer::{OpId, Sink, Span, Trace};
pub use tree::{Node, Tree};
pub use vocabulary::{Body, Kind, Level};
