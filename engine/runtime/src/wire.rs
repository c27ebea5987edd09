//! How the runtime's processes talk: JSON, with descriptors beside it where needed.
//!
//! ```text
//!   daemon ── Order ──► shim        the launch: SOCK_SEQPACKET, the shim's standard input
//!   daemon ◄─ Birth ─── shim
//!   shim   ── Word ───► init        SOCK_SEQPACKET, close-on-exec: its end without a word is
//!   shim   ◄─ Report ── init        the news that execve succeeded
//!   daemon ── Request ► shim        BUNDLE/shim.sock: SOCK_STREAM, one line each way
//!   daemon ◄─ Reply ─── shim
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glassdock_kernel::process::TapeWriter;
use glassdock_kernel::unproven::Unproven;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Channel, ChannelSink, Gathering, OpId, Sink, TapeSink, Trace, gate::Hold};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{ExecSpec, State, Streams};
use crate::error::Failed;

/// A message is at most this long, in bytes.
pub(crate) const MESSAGE_LIMIT: usize = 256 * 1024;

/// The descriptor that a new shim is executed from; it closes it at once.
pub(crate) const OWN_IMAGE: i32 = 3;

/// How many step numbers a process gets for its own events.
const SPANS: u64 = 4096;

/// What the daemon wants from a new shim; a trace channel may come with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) bundle: PathBuf,
    pub(crate) carried: Option<Carried>,
}

/// What a new shim answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Birth {
    Created { shim_pid: u32, init_pid: u32 },
    Failed(Failed),
}

/// What the shim says to init.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// You are on record (and your users are mapped): set yourself up.
    Begin,
    /// Become the program.
    Start,
}

/// What init says to the shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The terminal's other side comes with this.
    Terminal,
    /// Set up; only the start is missing. What is still to be proven is left to the shim.
    Ready { unproven: Unproven },
    /// execve(2) is next; the step ends when this socket closes.
    Executing { span: u64, began_ns: u64 },
    /// execve(2) was refused; the process says so itself, on its standard error, and ends.
    Refused,
    /// A step failed; init is about to end.
    Failed(Failed),
}

/// What the daemon asks a shim that runs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    State,
    Ready,
    Start,
    Kill {
        signal: i32,
        all: bool,
    },
    /// The exec's process only; those that it made may go on.
    KillExec {
        exec: String,
        signal: i32,
    },
    Pause,
    Unpause,
    Resize {
        exec: Option<String>,
        rows: u16,
        columns: u16,
    },
    Attach(Streams),
    /// A trace channel may come with it.
    Exec {
        spec: Box<ExecSpec>,
        carried: Option<Carried>,
    },
    ExecStatus(String),
    Watch,
}

/// What the shim answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    State(State),
    Execed { pid: u32 },
    ExecStatus(Option<i32>),
    Failed(Failed),
}

/// A place in an operation's trace, on its way to another process. The channel's
/// descriptor goes beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Carried {
    op: OpId,
    origin: Origin,
    stepping: bool,
}

impl Carried {
    /// The place of `trace`, with step numbers set aside for the process that gets it;
    /// `None` where nothing is recorded.
    pub(crate) fn from_trace(trace: &Trace) -> Option<Self> {
        let op = trace.op()?.clone();
        let origin = Origin {
            start_ns: trace.start_ns(),
            spans_from: trace.reserve_spans(SPANS * 4),
            parent: trace.span(),
        };
        Some(Self { op, origin, stepping: !matches!(trace.hold(), Hold::Never) })
    }

    /// The trace in the process that got it. `share` is which part of the step
    /// numbers it takes: shim and init write to the same operation.
    pub(crate) fn open(&self, channel: &Arc<Channel>, actor: Actor, share: u64) -> Trace {
        self.open_into(Arc::new(ChannelSink(Arc::clone(channel))), channel, actor, share)
    }

    /// As [`Carried::open`], with events that go on a tape; not where someone steps through, who
    /// waits for each.
    pub(crate) fn open_on(
        &self,
        tape: TapeWriter,
        channel: &Arc<Channel>,
        actor: Actor,
        share: u64,
    ) -> Trace {
        let sink = TapeSink::new(Arc::new(tape), Arc::clone(channel));
        self.open_into(Arc::new(sink), channel, actor, share)
    }

    /// As [`Carried::open`], with events that are gathered until somebody sends them on; not where
    /// someone steps through.
    pub(crate) fn open_gathering(
        &self,
        gathering: &Arc<Gathering>,
        channel: &Arc<Channel>,
        actor: Actor,
        share: u64,
    ) -> Trace {
        self.open_into(Arc::<Gathering>::clone(gathering), channel, actor, share)
    }

    fn open_into(&self, sink: Arc<dyn Sink>, channel: &Arc<Channel>, actor: Actor, share: u64) -> Trace {
        let hold = if self.stepping { Hold::There(channel.clone()) } else { Hold::Never };
        let origin = Origin { spans_from: self.origin.spans_from + share * SPANS, ..self.origin };
        Trace::root(self.op.clone(), actor, origin, sink, hold)
    }

    /// Whether someone steps through the operation.
    pub(crate) fn is_stepping(&self) -> bool {
        self.stepping
    }
}

/// Sends one message, with descriptors.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_bytes(socket, &serde_json::to_vec(message)?, fds)
}

/// Sends bytes with descriptors; on a stream it goes on until all are sent.
pub(crate) fn send_bytes(socket: impl AsFd, mut bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        let sent = match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => continue,
            sent => sent?,
        };
        bytes = bytes.get(sent..).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        control.clear();
    }
}

/// Takes one message; `None` once the other end is closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    // Asked for its length first, so that a small message takes a small buffer: what a
    // shim once touched of its heap, it may keep for a container's whole life.
    let ask = RecvFlags::PEEK | RecvFlags::TRUNC;
    let length = match rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut [0_u8; 0][..], ask)) {
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        asked => asked?.1,
    };
    if length > MESSAGE_LIMIT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut buffer = vec![0_u8; length.max(1)];
    let (length, fds) = receive_bytes(socket, &mut buffer)?;
    match buffer.get(..length) {
        None | Some([]) => Ok(None),
        Some(message) => Ok(Some((serde_json::from_slice(message)?, fds))),
    }
}

/// Takes bytes and the descriptors beside them, which close on exec. 0 bytes: the
/// other end is closed.
pub(crate) fn receive_bytes(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // The other end is gone with words of ours unread: as good as closed.
            Err(rustix::io::Errno::CONNRESET) => return Ok((0, Vec::new())),
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((message.bytes, fds))
}

/// A path for a Unix socket in a folder: an address holds only 108 bytes, and a root
/// may be deeper than that, so the way leads over the folder's descriptor.
pub(crate) fn socket_path(folder: BorrowedFd<'_>, name: &str) -> PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)
}
