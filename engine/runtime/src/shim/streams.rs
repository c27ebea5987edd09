//! The standard streams of one process: read, logged, and handed to clients.
//!
//! ```text
//!   process ─ stdout ─► read ─┬─► log
//!           ─ stderr ─►       ├─► client: buffer ─► socket
//!                             └─► client: buffer ─► socket
//!   process ◄─ stdin ── buffer ◄── clients
//! ```
//!
//! Memory is bounded: a client whose buffer holds [`CLIENT_LIMIT`] bytes stops the
//! reading, the pipe fills, and the process waits, as it would for a slow terminal.
//! A client that was full and took less than that many bytes in [`PATIENCE`] is cut
//! off, so that one that hangs, or sips, holds nobody up for longer; a slow one that
//! goes on reading sets the pace. The log loses nothing either way.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use glassdock_kernel::pty;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::bundle::Stdin;
use crate::client::Streams as Wanted;
use crate::log::{Output, Writer};

/// So much output may wait for one client, in bytes.
const CLIENT_LIMIT: usize = 128 * 1024;

/// So much input may wait for the process, in bytes.
const INPUT_LIMIT: usize = 64 * 1024;

/// So long has a client with a full buffer to take as much again.
const PATIENCE: Duration = Duration::from_secs(10);

/// One read takes at most so much, in bytes.
const CHUNK: usize = 32 * 1024;

/// The standard streams of one process, seen from outside.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Standard output and error; a terminal's other side is the first of them.
    outputs: [Option<OwnedFd>; 2],
    /// Standard input; for a terminal, the same as the first output.
    input: Option<OwnedFd>,
    mode: Stdin,
    tty: bool,
    waiting_input: Vec<u8>,
    input_ends: bool,
    clients: Vec<Client>,
    log: Option<Writer>,
    /// The size that was asked for before the terminal came.
    early_size: Option<pty::Size>,
    /// Nothing more will come: clients go once their buffers are empty.
    over: bool,
}

/// What of the streams is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Output(Output),
    Input,
    Client(usize),
}

/// Someone who is attached.
#[derive(Debug)]
struct Client {
    socket: UnixStream,
    wanted: Wanted,
    /// What waits to be sent, from `sent` on.
    buffer: Vec<u8>,
    sent: usize,
    /// When it was full first since its buffer was empty, or since it was last judged, and what it had taken by then.
    full_since: Option<(Instant, u64)>,
    /// What it took in all, in bytes.
    taken: u64,
    /// It shut its writing half down; it may still listen.
    silent: bool,
    gone: bool,
}

/// The process's ends of its streams; for a terminal it makes its own.
#[derive(Debug)]
pub(crate) struct ProcessEnds {
    pub(crate) input: Option<OwnedFd>,
    pub(crate) outputs: Option<(OwnedFd, OwnedFd)>,
}

impl Streams {
    /// The streams of a process without a terminal: pipes, see pipe(7).
    pub(crate) fn pipes(mode: Stdin, log: Option<Writer>) -> io::Result<(Self, ProcessEnds)> {
        let (input_process, input) = match mode {
            Stdin::Closed => (None, None),
            Stdin::Open | Stdin::Once => {
                let (read, write) = pipe()?;
                (Some(read), Some(write))
            }
        };
        let (output, output_process) = pipe()?;
        let (error, error_process) = pipe()?;
        for end in [input.as_ref(), Some(&output), Some(&error)].into_iter().flatten() {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let streams = Self { outputs: [Some(output), Some(error)], input, ..Self::empty(mode, false, log) };
        let ends = ProcessEnds { input: input_process, outputs: Some((output_process, error_process)) };
        Ok((streams, ends))
    }

    /// The streams of a process that will send its terminal's other side.
    pub(crate) fn terminal(mode: Stdin, log: Option<Writer>) -> Self {
        Self::empty(mode, true, log)
    }

    fn empty(mode: Stdin, tty: bool, log: Option<Writer>) -> Self {
        Self {
            outputs: [None, None],
            input: None,
            mode,
            tty,
            waiting_input: Vec::new(),
            input_ends: false,
            clients: Vec::new(),
            log,
            early_size: None,
            over: false,
        }
    }

    /// Takes the terminal's other side.
    pub(crate) fn set_terminal(&mut self, controller: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&controller, true)?;
        self.input = Some(controller.try_clone()?);
        if let Some(size) = self.early_size.take() {
            pty::resize(controller.as_fd(), size).map_err(io::Error::other)?;
        }
        self.outputs[0] = Some(controller);
        Ok(())
    }

    /// Sets the terminal's size; false if there is none and none will come. A client may ask as soon as it is attached,
    /// which is before the process has made its terminal.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) -> Result<bool, glassdock_kernel::Error> {
        let size = pty::Size { rows, columns };
        match &self.outputs[0] {
            Some(controller) if self.tty => pty::resize(controller.as_fd(), size)?,
            None if self.tty => self.early_size = Some(size),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Attaches a client; what it sent early is the first input.
    pub(crate) fn attach(&mut self, socket: UnixStream, wanted: Wanted, early: &[u8]) {
        if wanted.stdin {
            self.waiting_input.extend_from_slice(early);
        }
        let client = Client {
            socket,
            wanted,
            buffer: Vec::new(),
            sent: 0,
            full_since: None,
            taken: 0,
            silent: false,
            gone: false,
        };
        self.clients.push(client);
        self.write_input();
    }

    /// What must be watched, and for what.
    pub(crate) fn interests(&self) -> Vec<(What, BorrowedFd<'_>, PollFlags)> {
        let mut list = Vec::new();
        if !self.is_held_up() {
            for output in [Output::Stdout, Output::Stderr] {
                if let Some(fd) = &self.outputs[output as usize] {
                    list.push((What::Output(output), fd.as_fd(), PollFlags::IN));
                }
            }
        }
        if let Some(input) = &self.input
            && !self.waiting_input.is_empty()
        {
            list.push((What::Input, input.as_fd(), PollFlags::OUT));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::OUT, client.waits());
            // Also a client that has no input to give is read: what it sends goes nowhere.
            let room = !client.wanted.stdin || self.waiting_input.len() < INPUT_LIMIT;
            flags.set(PollFlags::IN, !client.silent && room);
            list.push((What::Client(index), client.socket.as_fd(), flags));
        }
        list
    }

    /// Whether a client's full buffer keeps the outputs from being read.
    pub(crate) fn is_held_up(&self) -> bool {
        self.clients.iter().any(Client::is_full)
    }

    /// Does what is ready.
    pub(crate) fn handle(&mut self, what: What, flags: PollFlags) {
        match what {
            What::Output(output) => {
                self.read_output(output);
            }
            What::Input => self.write_input(),
            What::Client(index) => self.handle_client(index, flags),
        }
    }

    /// After a round: clients that left, or hang, go.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for client in &mut self.clients {
            client.judge(now);
            if self.over && !client.waits() {
                client.gone = true;
            }
        }
        self.clients.retain(|client| !client.gone);
        if self.outputs.iter().all(Option::is_none) && self.over {
            self.input = None;
        }
    }

    /// The process ended: takes what its pipes still hold, and nothing after that,
    /// whoever else may hold them open. Clients go when they have it all.
    pub(crate) fn drain(&mut self) {
        for output in [Output::Stdout, Output::Stderr] {
            // A pipe holds 64 KiB, or what its owner asked for, at most 1 MiB.
            let mut rounds = 0;
            while rounds < 64 && self.read_output(output) {
                rounds += 1;
            }
            self.end_output(output);
        }
        self.input = None;
        self.waiting_input = Vec::new();
        self.over = true;
        self.sweep(Instant::now());
    }

    /// Whether nobody waits for anything any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.clients.is_empty()
    }

    /// Reads once; true if there may be more.
    fn read_output(&mut self, output: Output) -> bool {
        let Some(fd) = &self.outputs[output as usize] else { return false };
        // Not zeroed before: a read of a few words then takes no more than a page of memory.
        let mut chunk = Vec::with_capacity(CHUNK);
        match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut chunk)) {
            Ok(1..) => {
                self.deliver(output, &chunk);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // A terminal whose last user has left says EIO.
            Ok(0) | Err(_) => {
                self.end_output(output);
                false
            }
        }
    }

    fn deliver(&mut self, output: Output, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(output, bytes);
        }
        for client in &mut self.clients {
            let wanted = match output {
                Output::Stdout => client.wanted.stdout,
                Output::Stderr => client.wanted.stderr,
            };
            if wanted {
                client.give(output, bytes, self.tty);
            }
        }
    }

    fn end_output(&mut self, output: Output) {
        if self.outputs[output as usize].take().is_none() {
            return;
        }
        if let Some(log) = &mut self.log {
            log.end(output);
        }
        if self.outputs.iter().all(Option::is_none) {
            self.over = true;
        }
    }

    fn write_input(&mut self) {
        let Some(input) = &self.input else {
            // A terminal that is still to come keeps what was typed; otherwise nobody will read it.
            if !self.tty {
                self.waiting_input.clear();
            }
            return;
        };
        while !self.waiting_input.is_empty() {
            match rustix::io::write(input, &self.waiting_input) {
                Ok(length) => drop(self.waiting_input.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    // The process closed its standard input.
                    self.waiting_input = Vec::new();
                    self.input = None;
                    return;
                }
            }
        }
        if self.input_ends && !self.tty {
            self.input = None;
        }
    }

    fn handle_client(&mut self, index: usize, flags: PollFlags) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        let left = flags.intersects(PollFlags::HUP | PollFlags::ERR);
        while flags.contains(PollFlags::IN) || left {
            // Of a client that left, all that it sent is taken: its socket's buffer is the bound.
            if !self.read_client(index) || !left {
                break;
            }
        }
        if left && let Some(client) = self.clients.get_mut(index) {
            client.gone = true;
        }
    }

    /// Reads once from a client; true if there may be more.
    fn read_client(&mut self, index: usize) -> bool {
        let Some(client) = self.clients.get_mut(index).filter(|client| !client.silent) else { return false };
        let mut chunk = [0_u8; 8 * 1024];
        let wants = client.wanted.stdin;
        match recv(&client.socket, &mut chunk, RecvFlags::DONTWAIT) {
            Ok((length @ 1.., _)) => {
                if wants && !self.input_ends {
                    self.waiting_input.extend_from_slice(chunk.get(..length).unwrap_or_default());
                    self.write_input();
                }
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => return false,
            // It shut its writing half down, and may still listen; poll(2) tells when it has left whole.
            Ok((0, _)) => client.silent = true,
            Err(_) => client.gone = true,
        }
        if wants {
            self.end_input();
        }
        false
    }

    fn end_input(&mut self) {
        // Whoever leaves a terminal may come back to it.
        if self.mode == Stdin::Once && !self.tty {
            self.input_ends = true;
            self.write_input();
        }
    }
}

impl Client {
    fn waits(&self) -> bool {
        self.sent < self.buffer.len()
    }

    fn is_full(&self) -> bool {
        self.buffer.len() - self.sent >= CLIENT_LIMIT
    }

    /// Whether it still reads, or holds the others up.
    fn judge(&mut self, now: Instant) {
        match self.full_since {
            None if self.is_full() => self.full_since = Some((now, self.taken)),
            Some((since, taken)) if now.duration_since(since) >= PATIENCE => {
                self.gone |= self.taken - taken < CLIENT_LIMIT as u64;
                self.full_since = Some((now, self.taken));
            }
            _ => {}
        }
    }

    /// Takes output for the client, in a frame unless it is a terminal's, and sends what goes.
    fn give(&mut self, output: Output, bytes: &[u8], raw: bool) {
        if !raw {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let stream = match output {
                Output::Stdout => 1,
                Output::Stderr => 2,
            };
            self.buffer.extend_from_slice(&[stream, 0, 0, 0]);
            self.buffer.extend_from_slice(&length.to_be_bytes());
        }
        self.buffer.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while let Some(rest) = self.buffer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(&self.socket, rest, flags) {
                Ok(length) => {
                    self.sent += length;
                    self.taken += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.gone = true;
                    self.sent = self.buffer.len();
                }
            }
        }
        if self.sent == self.buffer.len() {
            self.buffer = Vec::new();
            self.sent = 0;
            self.full_since = None;
        } else if self.sent > CLIENT_LIMIT {
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// A pipe whose ends close on exec: reading, writing.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}
