//! The daemon's side of a container's life: [`Shim`] asks a container's shim for
//! things, over `BUNDLE/shim.sock`.
//!
//! Each request is a connection of its own: one JSON line there, one JSON line
//! back. After [`Shim::attach`], [`Shim::exec`] and [`Shim::watch`] the connection
//! stays, as the stream that was asked for.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use glassdock_trace::{Body, Channel, Trace};
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, Exit};
use crate::error::Error;
use crate::oci::Process;
use crate::wire::{self, Carried, Reply, Request};

/// A container's shim.
#[derive(Clone, Debug)]
pub struct Shim {
    bundle: Bundle,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The shim's process.
    pub shim_pid: u32,
    /// The container's first process, in the host's numbering.
    pub init_pid: u32,
    /// Where it stands.
    pub status: Status,
    /// When the program was started, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Whether the kernel killed something in it because its memory limit was reached.
    #[serde(default)]
    pub oom_killed: bool,
}

/// Where a container stands, while its shim lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Init sets itself up.
    Creating,
    /// Init waits for the start.
    Created,
    /// The program runs.
    Running,
    /// The program is frozen.
    Paused,
    /// The program has ended; the shim cleans up.
    Stopped,
}

/// Which streams an attached client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Streams {
    /// What the client sends is the process's standard input.
    pub stdin: bool,
    /// The client gets standard output.
    pub stdout: bool,
    /// The client gets standard error.
    pub stderr: bool,
}

/// A further process in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Its id, unique in the container.
    pub id: String,
    /// The program, its environment, directory, capabilities and terminal.
    pub process: Process,
    /// The user in Docker's words, looked up in the container; goes before `process.user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether the container's seccomp filter is left away (a privileged exec).
    #[serde(default)]
    pub privileged: bool,
    /// Whether its standard input is what the attached client sends; else `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// What the connection carries from the first byte; `None` starts it detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Streams>,
}

/// A further process that was started.
#[derive(Debug)]
pub struct Execed {
    /// Its number, in the host's numbering.
    pub pid: u32,
    /// Its streams, as with [`Shim::attach`]; `None` if it was started detached.
    pub stream: Option<UnixStream>,
}

/// A line of [`Shim::watch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The program runs.
    Started {
        /// When, RFC 3339 in UTC.
        at: String,
    },
    /// The container ended; `exit.json` says the same. More may follow, the end
    /// of the stream says that everything is cleaned up.
    Exited(Exit),
    /// A process of [`Shim::exec`] ended.
    ExecExited {
        /// Its id.
        id: String,
        /// Its exit status, 128 + the signal's number if a signal ended it.
        status: i32,
    },
    /// The kernel killed a process because the memory limit was reached.
    Oom,
}

impl Shim {
    /// The shim of a bundle. Only finds out whether it answers; there is no
    /// connection to keep.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if nobody answers there.
    pub fn connect(bundle: &Bundle) -> Result<Self, Error> {
        let shim = Self { bundle: bundle.clone() };
        shim.dial()?;
        Ok(shim)
    }

    /// What the container is doing.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`], [`Error::Talk`].
    pub fn state(&self) -> Result<State, Error> {
        match self.ask(&Request::State)?.1 {
            Reply::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until init's set-up is over and it only waits for the start.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] with the step that failed; nothing is left behind then.
    pub fn ready(&self) -> Result<(), Error> {
        self.ask(&Request::Ready).map(drop)
    }

    /// Lets the program begin, once init's set-up is over; returns when execve has
    /// succeeded.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] with the step that failed (with Docker's message and exit
    /// status for a program that can't be executed); nothing is left behind then.
    pub fn start(&self) -> Result<(), Error> {
        self.ask(&Request::Start).map(drop)
    }

    /// Sends a signal to the first process; `all` to every process of the container.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`], or [`Error::Step`] for a signal that doesn't exist.
    pub fn kill(&self, signal: i32, all: bool, trace: &Trace) -> Result<(), Error> {
        let name = glassdock_kernel::process::Signal::from_number(signal)
            .map_or_else(|| signal.to_string(), glassdock_kernel::process::Signal::name);
        let pid = if trace.is_on() { self.state()?.init_pid } else { 0 };
        trace.step(Body::ProcessSignal { pid, signal: name }, |_| {
            self.ask(&Request::Kill { signal, all }).map(drop)
        })
    }

    /// Sends a signal to a process of [`Shim::exec`].
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]; [`Error::Step`] if there is no such process any more.
    pub fn kill_exec(&self, exec: &str, signal: i32) -> Result<(), Error> {
        self.ask(&Request::KillExec { exec: exec.to_owned(), signal }).map(drop)
    }

    /// Freezes every process of the container.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] if the machine has no freezer.
    pub fn pause(&self, trace: &Trace) -> Result<(), Error> {
        trace.step(self.freezer("frozen"), |_| self.ask(&Request::Pause).map(drop))
    }

    /// Lets them go on.
    ///
    /// # Errors
    ///
    /// As [`Shim::pause`].
    pub fn unpause(&self, trace: &Trace) -> Result<(), Error> {
        trace.step(self.freezer("thawed"), |_| self.ask(&Request::Unpause).map(drop))
    }

    /// Sets the size of the terminal of the container, or of its process `exec`.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] if there is no such process or it has no terminal.
    pub fn resize(&self, exec: Option<&str>, rows: u16, columns: u16) -> Result<(), Error> {
        self.ask(&Request::Resize { exec: exec.map(str::to_owned), rows, columns }).map(drop)
    }

    /// Attaches to the container's streams. From the shim come frames as Docker
    /// multiplexes them (a header of 8 bytes: stream 1 or 2, three zeros, the
    /// length in big endian), raw bytes for a terminal. To the shim go the raw
    /// bytes of standard input; shutting the writing half down ends them.
    ///
    /// A client that stops reading holds the container's output up for at most
    /// ten seconds, then it is cut off; others, and the log, lose nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`], [`Error::Talk`].
    pub fn attach(&self, streams: Streams) -> Result<UnixStream, Error> {
        self.ask(&Request::Attach(streams)).map(|(stream, _)| stream)
    }

    /// Starts a further process in the container; returns when its execve has succeeded.
    ///
    /// `channel` is the far end of a trace channel that is read meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] with the step that failed, as for [`Shim::start`].
    pub fn exec(&self, spec: &ExecSpec, trace: &Trace, channel: Option<Channel>) -> Result<Execed, Error> {
        let carried = channel.as_ref().and_then(|_| Carried::from_trace(trace));
        let request = Request::Exec { spec: Box::new(spec.clone()), carried };
        let (stream, reply) = self.ask_with(&request, channel)?;
        match reply {
            Reply::Execed { pid } => Ok(Execed { pid, stream: spec.attach.map(|_| stream) }),
            other => Err(unexpected(&other)),
        }
    }

    /// The exit status of a process of [`Shim::exec`]; `None` while it runs. The
    /// shim keeps the last 256 of them.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]; [`Error::Step`] if there is no such process.
    pub fn exec_status(&self, id: &str) -> Result<Option<i32>, Error> {
        match self.ask(&Request::ExecStatus(id.to_owned()))?.1 {
            Reply::ExecStatus(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Hears of what happens, as lines of JSON ([`Notice`]). The stream ends when
    /// the shim has cleaned everything up.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`], [`Error::Talk`].
    pub fn watch(&self) -> Result<UnixStream, Error> {
        self.ask(&Request::Watch).map(|(stream, _)| stream)
    }

    /// The bundle that the shim serves.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    fn freezer(&self, to: &str) -> Body {
        let container = self.bundle.folder().file_name().map(|name| name.to_string_lossy().into_owned());
        Body::CgroupSet { path: container.unwrap_or_default(), file: "freezer".into(), value: to.into() }
    }

    fn dial(&self) -> Result<UnixStream, Error> {
        let gone = || Error::Gone { bundle: self.bundle.folder().to_owned() };
        let folder = File::open(self.bundle.folder()).map_err(|_| gone())?;
        UnixStream::connect(wire::socket_path(folder.as_fd(), "shim.sock")).map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => gone(),
                _ => Error::Talk { call: "connect", source: error },
            }
        })
    }

    fn ask(&self, request: &Request) -> Result<(UnixStream, Reply), Error> {
        self.ask_with(request, None)
    }

    fn ask_with(&self, request: &Request, channel: Option<Channel>) -> Result<(UnixStream, Reply), Error> {
        let mut stream = self.dial()?;
        let mut line = serde_json::to_vec(request)
            .map_err(|error| Error::Talk { call: "encoding the request", source: error.into() })?;
        line.push(b'\n');
        let fds: Vec<_> = channel.iter().map(AsFd::as_fd).collect();
        wire::send_bytes(&stream, &line, &fds).map_err(|source| Error::Talk { call: "sendmsg", source })?;
        drop(channel);
        let line = read_line(&mut stream).map_err(|source| match source.kind() {
            // The shim ended before it answered: it has nothing to serve any more.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                Error::Gone { bundle: self.bundle.folder().to_owned() }
            }
            _ => Error::Talk { call: "read", source },
        })?;
        match serde_json::from_slice(&line) {
            Ok(Reply::Failed(failed)) => Err(Error::Step(failed)),
            Ok(reply) => Ok((stream, reply)),
            Err(error) => Err(Error::Talk { call: "decoding the reply", source: error.into() }),
        }
    }
}

/// Reads one line, and no byte beyond it: what follows is the stream that was asked for.
fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut buffer = [0_u8; 512];
    loop {
        let (length, _) = rustix::net::recv(&*stream, &mut buffer, rustix::net::RecvFlags::PEEK)?;
        let seen = buffer.get(..length).unwrap_or_default();
        if seen.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line_end = seen.iter().position(|byte| *byte == b'\n');
        let take = line_end.map_or(length, |place| place + 1);
        stream.read_exact(buffer.get_mut(..take).unwrap_or_default())?;
        line.extend_from_slice(buffer.get(..take).unwrap_or_default());
        if line_end.is_some() {
            return Ok(line);
        }
        if line.len() > wire::MESSAGE_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Talk { call: "reading the reply", source: io::Error::other(format!("unexpected {reply:?}")) }
}
