//! What is written: events, the header before them, results and evidence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::errno;
use crate::line::Written;
use crate::vocabulary::Body;

/// The version of the format of a trace file. It changes when a reader must.
pub const SCHEMA_VERSION: u32 = 1;

/// The first line of a trace file: what recorded it, and on what kind of host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Header {
    /// The format's version, [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The engine's version.
    pub engine: String,
    /// The operation's id.
    pub op: String,
    /// When the operation began, RFC 3339 with milliseconds, in UTC.
    pub started: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// Facts about the host that change what a trace looks like: the machine's
    /// architecture, the version of control groups, and the like.
    pub host: BTreeMap<String, String>,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Event {
    /// Order within the operation, from 1, without gaps.
    pub seq: u64,
    /// Nanoseconds since the operation began, on the machine's monotonic clock.
    pub t_ns: u64,
    /// The operation's id.
    pub op: String,
    /// The step that the event belongs to; a `begin` and its `end` share it.
    pub span: u64,
    /// The step around that one; 0 is the operation itself.
    pub parent: u64,
    /// Which part of the engine acted.
    pub actor: Actor,
    /// The acting process, in the host's numbering.
    pub pid: u32,
    /// Where in the step's life this event stands.
    pub phase: Phase,
    /// What was done, to what: `kind` and its `fields`.
    #[serde(flatten)]
    pub body: Body,
    /// How it went; on `end`, and on a `point` whose act could have failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// How long the act took, in nanoseconds; beside `result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dur_ns: Option<u64>,
    /// Why a step was not needed; on `skip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What proves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The body's text, where it is known already. Whoever changes the body sets it to its default.
    #[serde(skip)]
    pub written: Written,
}

/// Which part of the engine acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// The command line.
    Client,
    /// The daemon.
    Daemon,
    /// The builder of images.
    Builder,
    /// The registry's server.
    Registry,
    /// The small process beside each container.
    Shim,
    /// The container's first process, before it becomes the user's program.
    Init,
}

/// Where in a step's life an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The step is about to be done.
    Begin,
    /// The step is over; the event has its result.
    End,
    /// A thing without steps inside: done, or observed.
    Point,
    /// A step that was not needed; the event has the reason.
    Skip,
}

/// How an act went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Outcome {
    /// Whether it succeeded.
    pub ok: bool,
    /// The kernel's error, by its symbolic name, where the kernel refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// What failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Outcome {
    /// A success.
    #[must_use]
    pub fn success() -> Self {
        Self { ok: true, errno: None, message: None }
    }
}

/// A failure, as a trace tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kernel's error by its name, such as `ENOENT`.
    pub errno: Option<String>,
    /// The whole chain of what failed, outermost first.
    pub message: String,
}

impl Failure {
    /// Reads a failure from an error and the errors that caused it. The error
    /// number comes from the first [`std::io::Error`] of the chain that has one.
    #[must_use]
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut errno = None;
        let mut next = Some(error);
        while let Some(error) = next {
            if errno.is_none()
                && let Some(io) = error.downcast_ref::<std::io::Error>()
                && let Some(code) = io.raw_os_error()
            {
                errno = Some(errno::name(code).map_or_else(|| code.to_string(), str::to_owned));
            }
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            next = error.source();
        }
        Self { errno, message }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self { ok: false, errno: failure.errno, message: Some(failure.message) }
    }
}

/// A literal piece of the world that proves an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Evidence {
    /// Where it was read: `/proc/4711/mountinfo`, `response headers`.
    pub source: String,
    /// The lines as they stood there.
    pub lines: Vec<String>,
}

impl Evidence {
    /// Lines read at `source`.
    pub fn new(source: impl Into<String>, lines: impl IntoIterator<Item = String>) -> Self {
        Self { source: source.into(), lines: lines.into_iter().collect() }
    }
}
