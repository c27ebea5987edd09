//! The way from a shim, or a container's init, to the daemon: a socket pair whose
//! messages are whole (`SOCK_SEQPACKET`, unix(7)), one JSON text each.
//!
//! ```text
//!   shim, init                               daemon
//!     {"event": …}          ────────────►    into the operation's recording
//!     {"ask": …}            ────────────►    to the operation's gate
//!                           ◄────────────    "g" go on, "a" abort
//! ```
//!
//! A shim outlives the daemon: an event that nobody takes (a full or broken
//! channel) is counted, and never holds the container up. The count goes out
//! with the next event that gets through.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::gate::Aborted;
use crate::tracer::Sink;

/// A message is at most this long, in bytes; a longer one is dropped and counted.
pub const MESSAGE_LIMIT: usize = 128 * 1024;

/// So many bytes may wait in a channel, if `net.core.wmem_max` (socket(7)) allows it.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// What goes from the acting process to the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// Something happened.
    Event(Box<Event>),
    /// Something is about to happen, if the gate lets it: the sender waits for an answer.
    Ask(Box<Event>),
    /// So many events were lost before this.
    Dropped(u64),
}

/// A message as it was taken from the channel.
#[derive(Debug)]
pub enum Received<'a> {
    /// An event, still as the text that its sender wrote: most are recorded as they are.
    Event(&'a str),
    /// Anything else.
    Other(Message),
}

/// What stands around an event's text in a message.
const EVENT: (&str, &str) = ("{\"event\":", "}");

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

    /// Takes the next message; waits for one. `None` once the other end is closed.
    ///
    /// # Errors
    ///
    /// recv(2)'s, and `InvalidData` for a message that is no message.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        let mut buffer = vec![0_u8; MESSAGE_LIMIT];
        let message = match self.receive_with(&mut buffer, RecvFlags::empty())? {
            Some(Received::Event(text)) => Message::Event(Box::new(parsed(text)?)),
            Some(Received::Other(message)) => message,
            None => return Ok(None),
        };
        Ok(Some(message))
    }

    /// As [`Channel::receive`], without waiting: `WouldBlock` if there is none.
    /// `buffer` is scratch space of [`MESSAGE_LIMIT`] bytes, kept by the caller.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive`].
    pub fn try_receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Received<'a>>> {
        self.receive_with(buffer, RecvFlags::DONTWAIT)
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
        if let Some(event) = message.strip_prefix(EVENT.0).and_then(|text| text.strip_suffix(EVENT.1)) {
            return Ok(Some(Received::Event(event)));
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

    fn tell(&self, event: Event) {
        let lost = self.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 && !self.try_send(&Message::Dropped(lost)) {
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        if !self.try_send(&Message::Event(Box::new(event))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_send(&self, message: &Message) -> bool {
        let Ok(text) = serde_json::to_vec(message) else { return false };
        text.len() <= MESSAGE_LIMIT
            && send(&self.socket, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
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
pub struct ChannelSink(pub std::sync::Arc<Channel>);

impl Sink for ChannelSink {
    fn record(&self, event: Event) {
        self.0.tell(event);
    }
}
