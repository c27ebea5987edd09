//! A netlink socket that asks and waits for the answer.

use std::io;

use netlink_sys::SocketAddr;

use crate::error::Error;
use crate::netlink::message::{HEADER, Message, Reply, attribute, text};

/// `NLM_F_ACK`: answer even when all went well.
pub(super) const ACK: u16 = 4;
/// `NLM_F_DUMP`: not one thing but the whole table.
const DUMP: u16 = 0x300;

/// `NLMSG_ERROR`; with the number 0 it is an acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLM_F_ACK_TLVS`: attributes follow in the acknowledgement.
const ACK_TLVS: u16 = 0x200;
/// `NLM_F_CAPPED`: the request itself is not repeated in the acknowledgement.
const CAPPED: u16 = 0x100;
/// `NLMSGERR_ATTR_MSG`: the kernel's reason in words.
const REASON: u16 = 1;

/// A netlink socket of one family. It belongs to the network namespace that the
/// thread was in when it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
}

impl Socket {
    /// Opens a socket for a family, such as `NETLINK_ROUTE`.
    pub(crate) fn open(family: i32) -> io::Result<Self> {
        let mut inner = netlink_sys::Socket::new(family as isize)?;
        inner.bind_auto()?;
        inner.connect(&SocketAddr::new(0, 0))?;
        // Both only make errors better; kernels before 4.12 lack them.
        let _ = inner.set_ext_ack(true);
        let _ = inner.set_cap_ack(true);
        Ok(Self { inner, sequence: 0 })
    }

    /// Sends one message and waits until the kernel has done what it asks.
    pub(crate) fn request(&mut self, message: Message) -> Result<(), Refusal> {
        self.batch([message])
    }

    /// Sends several messages at once. Which of them the kernel does when one is
    /// refused depends on the family; the first refusal is the error.
    pub(crate) fn batch(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(message.sealed(self.sequence, true));
        }
        self.send(&bytes)?;
        // The kernel works through the messages inside of send(2), so by now every
        // answer waits here. Which messages get one is the family's affair.
        let mut refused = None;
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(replies) => {
                    for reply in replies {
                        if let Err(error) = acknowledgement(&reply) {
                            refused.get_or_insert(error);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Asks for one thing; its description is the first reply.
    pub(crate) fn get(&mut self, message: Message) -> Result<Option<Reply>, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&message.sealed(self.sequence, false))?;
        for reply in self.receive(0)? {
            acknowledgement(&reply)?;
            if reply.kind != ERROR {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Asks for a whole table.
    pub(crate) fn dump(&mut self, kind: u16, fixed: &[u8]) -> Result<Vec<Reply>, Refusal> {
        self.dump_where(Message::new(kind, DUMP, fixed))
    }

    /// Asks for the part of a table that the message's attributes name.
    pub(crate) fn dump_where(&mut self, message: Message) -> Result<Vec<Reply>, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&message.sealed(self.sequence, false))?;
        let mut table = Vec::new();
        loop {
            for reply in self.receive(0)? {
                acknowledgement(&reply)?;
                match reply.kind {
                    DONE => return Ok(table),
                    ERROR => {}
                    _ => table.push(reply),
                }
            }
        }
    }

    /// The flags of a message that asks for a table.
    pub(crate) const DUMP: u16 = DUMP;

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What an interrupted exchange may have left must not be taken for our answer.
        while self.receive(libc::MSG_DONTWAIT).is_ok() {}
        let sent = self.inner.send(bytes, 0)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EMSGSIZE)) }
    }

    fn receive(&self, flags: i32) -> io::Result<Vec<Reply>> {
        // The kernel fills at most 32 KiB at once in a dump.
        let mut bytes: Vec<u8> = Vec::with_capacity(32 * 1024);
        loop {
            match self.inner.recv(&mut bytes, flags) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(replies(&bytes))
    }
}

/// The messages in what was received.
fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((header, _)) = bytes.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = bytes.get(HEADER..length) else { break };
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let flags = u16::from_ne_bytes([header[6], header[7]]);
        let mut reply = Reply { kind, body: body.to_vec() };
        if kind == ERROR && flags & (ACK_TLVS | CAPPED) != ACK_TLVS | CAPPED {
            // Only a capped answer has its attributes at a known place.
            reply.body.truncate(4);
        }
        replies.push(reply);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    replies
}

/// The error in a reply, if it is one.
fn acknowledgement(reply: &Reply) -> Result<(), Refusal> {
    if !matches!(reply.kind, ERROR | DONE) {
        return Ok(());
    }
    let code = reply.body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code >= 0 {
        return Ok(());
    }
    let source = io::Error::from_raw_os_error(-code);
    let words = reply.body.get(4 + HEADER..).and_then(|rest| attribute(rest, REASON)).map(text);
    Err(Refusal { source, words })
}

/// The kernel's no: the error number, and its reason in words where it gives one.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) source: io::Error,
    words: Option<String>,
}

impl Refusal {
    /// The error of a door: which call was refused, about what.
    pub(crate) fn of(self, call: &'static str, subject: impl Into<String>) -> Error {
        let mut subject = subject.into();
        if let Some(words) = self.words {
            subject.push_str(": ");
            subject.push_str(&words);
        }
        Error::call(call, subject, self.source)
    }
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self { source, words: None }
    }
}
