//! A process that the shim keeps, from its birth to its end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use glassdock_kernel::process::Process;
use glassdock_kernel::unproven::Opened;
use glassdock_trace::Trace;

use super::birth::{Told, io_step};
use super::streams::Streams;
use crate::client::Streams as Wanted;
use crate::error::Failed;
use crate::wire::{self, Reply, Report, Word};

/// A process that the shim keeps: init, or one of exec.
pub(super) struct Proc {
    /// The id of an exec; empty for the container's first process.
    pub(super) id: String,
    pub(super) process: Process,
    /// Until execve(2).
    pub(super) sync: Option<OwnedFd>,
    pub(super) streams: Streams,
    pub(super) trace: Trace,
    pub(super) phase: Phase,
    /// The step that ends when execve(2) closes the sync socket.
    pub(super) executing: Option<(u64, u64)>,
    /// Whether execve(2) was refused.
    pub(super) refused: bool,
    pub(super) failed: Option<Failed>,
    /// Those who wait for the set-up, and for the program.
    pub(super) wait_ready: Vec<UnixStream>,
    pub(super) wait_start: Vec<UnixStream>,
    /// The client of an exec that is attached from the first byte.
    pub(super) attach: Option<Wanted>,
    /// Where init tells what it does, until it is the program.
    pub(super) tape: Option<Told>,
    /// What is still to be read for it.
    pub(super) unproven: Option<Opened>,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    SettingUp,
    Ready,
    Starting,
    Running,
    Ended,
}

impl Proc {
    /// The container's first process.
    pub(super) fn first(process: Process, sync: OwnedFd, streams: Streams, trace: Trace) -> Self {
        Self {
            id: String::new(),
            process,
            sync: Some(sync),
            streams,
            trace,
            phase: Phase::SettingUp,
            executing: None,
            refused: false,
            failed: None,
            wait_ready: Vec::new(),
            wait_start: Vec::new(),
            attach: None,
            tape: None,
            unproven: None,
        }
    }

    /// Takes a report; gives back a failure.
    pub(super) fn take(&mut self, report: Report, fds: Vec<OwnedFd>) -> Option<Failed> {
        match report {
            Report::Terminal => {
                let controller = fds.into_iter().next()?;
                self.streams.set_terminal(controller).err().map(|error| io_step("console", &error))
            }
            Report::Ready { unproven } => {
                // Open it stays, whatever becomes of the process; read it is when that needs nothing more from here.
                self.unproven = Some(unproven.open(self.process.pid()));
                self.phase = Phase::Ready;
                for waiter in self.wait_ready.drain(..) {
                    reply(&waiter, &Reply::Done);
                }
                if self.wait_start.is_empty() { None } else { self.release() }
            }
            Report::Executing { span, began_ns } => {
                self.executing = Some((span, began_ns));
                None
            }
            Report::Refused => {
                // How the step ended was told by init.
                self.executing = None;
                self.refused = true;
                None
            }
            Report::Failed(failed) => Some(failed),
        }
    }

    /// Whether it has told all that it does: until then init may still add evidence to what is on its tape.
    pub(super) fn has_told(&self) -> bool {
        let is_over = matches!(self.phase, Phase::Running | Phase::Ended);
        is_over || self.executing.is_some() || self.refused || self.failed.is_some()
    }

    /// Lets init become the program.
    pub(super) fn release(&mut self) -> Option<Failed> {
        self.phase = Phase::Starting;
        let sync = self.sync.as_ref()?;
        wire::send(sync, &Word::Start, &[]).err().map(|error| io_step("start", &error))
    }
}

/// Answers one request. A client that left misses its answer; that is its own affair.
pub(super) fn reply(stream: &UnixStream, reply: &Reply) {
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        let _ = wire::send_bytes(stream, &line, &[]);
    }
}
