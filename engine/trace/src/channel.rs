//! The way from a shim, or a container's init, to the daemon: a socket pair whose
//! messages are whole (`SOCK_SEQPACKET`, unix(7)): events in short (`shorthand`), one a line, or one JSON text
//! of another kind.
//!
//! ```text
//!   shim, init                               daemon
//!     ~1180,41,40, …        ────────────►    into the operation's recording
//!     {"ask": …}            ────────────►    to the operation's gate
//!                           ◄────────────    "g" go on, "a" abort
//! ```
//!
//! A shim outlives the daemon: an event that nobody takes (a full or broken
//! channel) is counted, and never holds the container up. The count goes out
//! with the next event that gets through.
//!
//! A message costs more than its event. Init, which tells a hundred of them within a few
//! milliseconds, puts them on a [`Tape`] that its shim reads and sends on; the shim gathers its
//! own ([`Gathering`]) and sends them when it has nothing better to do. Evidence that takes long to read is read by the
//! shim while init goes on, and goes before what init told. Init may be killed at
//! any moment then; only with its shim, what was not sent on is lost, uncounted.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, recv, send, sendmsg,
    socketpair,
};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::gate::Aborted;
use crate::shorthand::{self, Proof};
use crate::tracer::Sink;

/// A message is at most this long, in bytes; a longer one is dropped and counted.
pub const MESSAGE_LIMIT: usize = 128 * 1024;

/// So many bytes may wait in a channel, if `net.core.wmem_max` (socket(7)) allows it.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// As much as a shim tells of a start, in bytes.
const USUAL: usize = 4 * 1024;

/// What goes from the acting process to the daemon, beside events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// Something is about to happen, if the gate lets it: the sender waits for an answer.
    Ask(Box<Event>),
    /// So many events were lost before this.
    Dropped(u64),
}

/// A message as it was taken from the channel.
#[derive(Debug)]
pub enum Received<'a> {
    /// Events in short, a line each, for [`crate::Unfinished`].
    Events(&'a str),
    /// Anything else.
    Other(Message),
}

/// How events in short begin.
const SHORT: &str = "~";

/// One end of a trace channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    dropped: AtomicU64,
}

impl Channel {
    /// Both ends of a new channel, closed on exec.
    ///
    /// # Errors
    ///
    /// socketpair(2)'s.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // A busy daemon takes its time. As much as the host allows a socket to hold may wait for it.
        set_socket_send_buffer_size(&near, SEND_BUFFER)?;
        set_socket_send_buffer_size(&far, SEND_BUFFER)?;
        Ok((Self::from_fd(near), Self::from_fd(far)))
    }

    /// The end that a descriptor is, inherited from the parent process.
    #[must_use]
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self { socket, dropped: AtomicU64::new(0) }
    }

    /// Gives the descriptor up, for handing it to a child or another message.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Takes the next message without waiting: `WouldBlock` if there is none, `None` once the other
    /// end is closed. `buffer` is scratch space of [`MESSAGE_LIMIT`] bytes, kept by the caller.
    ///
    /// # Errors
    ///
    /// recv(2)'s, and `InvalidData` for a message that is no message.
    pub fn try_receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Received<'a>>> {
        self.receive_with(buffer, RecvFlags::DONTWAIT)
    }

    /// As [`Channel::try_receive`], but waits for a message.
    ///
    /// # Errors
    ///
    /// As [`Channel::try_receive`].
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Received<'a>>> {
        self.receive_with(buffer, RecvFlags::empty())
    }

    fn receive_with<'a>(&self, buffer: &'a mut [u8], flags: RecvFlags) -> io::Result<Option<Received<'a>>> {
        let length = loop {
            match recv(&self.socket, &mut *buffer, flags) {
                Ok((length, _)) => break length,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
        let message = buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        let message = std::str::from_utf8(message).map_err(invalid)?;
        if let Some(events) = message.strip_prefix(SHORT) {
            return Ok(Some(Received::Events(events)));
        }
        parsed(message).map(Received::Other).map(Some)
    }

    /// Answers an [`Message::Ask`].
    ///
    /// # Errors
    ///
    /// send(2)'s.
    pub fn answer(&self, verdict: Result<(), Aborted>) -> io::Result<()> {
        let word = if verdict.is_ok() { b"g" } else { b"a" };
        send(&self.socket, word, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Asks the daemon's gate, and waits. Without a daemon nobody steps through.
    pub(crate) fn ask(&self, event: &Event) -> Result<(), Aborted> {
        let Ok(text) = serde_json::to_vec(&Message::Ask(Box::new(event.clone()))) else { return Ok(()) };
        if send(&self.socket, &text, SendFlags::NOSIGNAL).is_err() {
            return Ok(());
        }
        let mut word = [0_u8; 1];
        loop {
            match recv(&self.socket, &mut word, RecvFlags::empty()) {
                Ok((1, _)) if word == *b"a" => return Err(Aborted),
                Err(rustix::io::Errno::INTR) => {}
                _ => return Ok(()),
            }
        }
    }

    /// Sends lines of events, in one message whose parts lie in several places; those that don't get through are
    /// counted.
    fn tell_parts(&self, parts: &[&[u8]]) {
        let lost = self.dropped.swap(0, Ordering::Relaxed);
        let count = || serde_json::to_vec(&Message::Dropped(lost)).unwrap_or_default();
        if lost > 0 && !self.try_send(&[&count()]) {
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        if !self.try_send(parts) {
            let lost =
                parts.iter().map(|part| part.iter().filter(|byte| **byte == b'\n').count()).sum::<usize>();
            self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }

    fn try_send(&self, parts: &[&[u8]]) -> bool {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut nothing = SendAncillaryBuffer::default();
        length <= MESSAGE_LIMIT && sendmsg(&self.socket, &slices, &mut nothing, flags).is_ok()
    }

    /// Sends what is on a tape and was not sent before; first short lines that came `before`
    /// ([`Gathering::take`]), and the evidence for what is on it.
    pub fn forward(&self, mut before: Vec<u8>, proofs: &[Proof], tape: &dyn Tape) {
        proofs.iter().for_each(|proof| proof.write(&mut before));
        while tape.take(&mut |new| self.tell_short(&std::mem::take(&mut before), new)) {}
        if !before.is_empty() {
            self.tell_short(&before, &[]);
        }
    }

    /// Sends short lines that lie in two places: in one message, if they fit.
    fn tell_short(&self, before: &[u8], lines: &[u8]) {
        if SHORT.len() + before.len() + lines.len() <= MESSAGE_LIMIT {
            return self.tell_parts(&[SHORT.as_bytes(), before, lines]);
        }
        for mut rest in [before, lines] {
            while !rest.is_empty() {
                let (message, after) = rest.split_at(whole_lines(rest, MESSAGE_LIMIT / 2));
                self.tell_parts(&[SHORT.as_bytes(), message]);
                rest = after;
            }
        }
    }
}

/// Memory that a process shares with the one that it was cloned from: lines of events go there, and
/// are read by the other even when their writer was killed.
pub trait Tape: Send + Sync + std::fmt::Debug {
    /// Adds a line, with its line end. False if there is no room, or the tape isn't this process's to write.
    fn add(&self, line: &[u8]) -> bool;

    /// Takes the lines that nobody has taken yet, and gives them to `give`. False if there are none.
    fn take(&self, give: &mut dyn FnMut(&[u8])) -> bool;
}

/// How many bytes of `lines` go into one message: whole lines, about `limit` bytes of them, and one at
/// least.
fn whole_lines(lines: &[u8], limit: usize) -> usize {
    let Some(within) = lines.get(..limit) else { return lines.len() };
    let is_end = |byte: &u8| *byte == b'\n';
    let end = within.iter().rposition(is_end).or_else(|| lines.iter().position(is_end));
    end.map_or(lines.len(), |end| end + 1)
}

/// Adds the line of an event.
fn add_line(event: &Event, lines: &mut Vec<u8>) {
    let begin = lines.len();
    // Typed fields have no way to fail; what is no event would be counted as lost.
    if shorthand::write(event, lines).is_err() {
        lines.truncate(begin);
        lines.push(b'\n');
    }
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> io::Result<T> {
    serde_json::from_str(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends events through a channel.
#[derive(Debug)]
pub struct ChannelSink(pub Arc<Channel>);

impl Sink for ChannelSink {
    fn record(&self, event: &Event) {
        let mut line = Vec::new();
        add_line(event, &mut line);
        self.0.tell_short(&[], &line);
    }

    fn is_short(&self) -> bool {
        true
    }
}

/// Keeps events until they are [flushed](Gathering::flush): one message for many.
#[derive(Debug)]
pub struct Gathering {
    channel: Arc<Channel>,
    /// Events in short.
    kept: Mutex<Vec<u8>>,
}

impl Gathering {
    /// Events that will go through `channel`.
    #[must_use]
    pub fn new(channel: Arc<Channel>) -> Self {
        Self { channel, kept: Mutex::default() }
    }

    /// Sends what was gathered.
    pub fn flush(&self) {
        let mut kept = self.lock();
        if !kept.is_empty() {
            self.channel.tell_short(&[], &kept);
            kept.clear();
        }
    }

    /// Takes what was gathered, to be sent with more.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Gathering {
    fn record(&self, event: &Event) {
        let mut kept = self.lock();
        if kept.capacity() == 0 {
            // Once, rather than doubled a few times: every move touches new memory.
            kept.reserve(USUAL);
        }
        add_line(event, &mut kept);
        let is_much = kept.len() > MESSAGE_LIMIT / 4;
        drop(kept);
        if is_much {
            self.flush();
        }
    }

    fn is_short(&self) -> bool {
        true
    }
}

/// Puts events on a tape, from which another process sends them on. Without room there, it sends
/// them itself.
#[derive(Debug)]
pub struct TapeSink {
    tape: Arc<dyn Tape>,
    channel: Arc<Channel>,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Where a line is written first.
    line: Vec<u8>,
    /// The tape had no room for one: no more are put there, so that all that is on it happened before.
    full: bool,
}

impl TapeSink {
    /// Events that go on `tape`; those that it has no room for go through `channel`.
    #[must_use]
    pub fn new(tape: Arc<dyn Tape>, channel: Arc<Channel>) -> Self {
        Self { tape, channel, writing: Mutex::default() }
    }
}

impl Sink for TapeSink {
    fn record(&self, event: &Event) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Writing { line, full } = &mut *writing;
        line.clear();
        add_line(event, line);
        if !*full && self.tape.add(line) {
            return;
        }
        if !std::mem::replace(full, true) {
            self.channel.forward(Vec::new(), &[], &*self.tape);
        }
        self.channel.tell_short(&[], line);
    }

    fn is_short(&self) -> bool {
        true
    }

    fn takes_proofs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_whole_lines() {
        let lines = b"one\ntwo\nthree\n";
        assert_eq!(whole_lines(lines, 9), 8);
        assert_eq!(whole_lines(lines.get(8..).expect("a line"), 2), 6, "a line that is too long comes alone");
        assert_eq!(whole_lines(lines, 100), lines.len());
        assert_eq!(whole_lines(b"no end", 2), 6);
    }
}
