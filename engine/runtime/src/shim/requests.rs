//! What the daemon asks, over `BUNDLE/shim.sock`.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use glassdock_kernel::process::{Process, Signal};
use glassdock_trace::Trace;

use super::birth::kernel_step;
use super::proc::{Phase, Proc, reply};
use super::serve::Server;
use crate::client::{State, Status};
use crate::error::Failed;
use crate::plan::invalid;
use crate::wire::{self, MESSAGE_LIMIT, Reply, Request};

/// So many requests may be half said at a time.
const CONNECTIONS: usize = 64;

/// A connection whose request is still to come.
pub(super) struct Conn {
    pub(super) stream: UnixStream,
    text: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Answered, handed on, or gone.
    pub(super) done: bool,
}

impl Server {
    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.conns.len() >= CONNECTIONS {
                // Whoever said nothing for longest makes room.
                self.conns.remove(0);
            }
            self.conns.push(Conn { stream, text: Vec::new(), fds: Vec::new(), done: false });
            // Nearly always the request is there already: that saves a round.
            self.read_request(self.conns.len() - 1);
        }
    }

    /// Reads what is there of a request; a whole one is done.
    pub(super) fn read_request(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index).filter(|conn| !conn.done) else { return };
        let mut chunk = vec![0_u8; 4096];
        if conn.stream.set_nonblocking(true).is_err() {
            conn.done = true;
            return;
        }
        loop {
            match wire::receive_bytes(&conn.stream, &mut chunk) {
                Ok((0, _)) => {
                    conn.done = true;
                    return;
                }
                Ok((length, fds)) => {
                    conn.text.extend_from_slice(chunk.get(..length).unwrap_or_default());
                    conn.fds.extend(fds);
                    if conn.text.len() > MESSAGE_LIMIT || conn.fds.len() > 4 {
                        conn.done = true;
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    conn.done = true;
                    return;
                }
            }
            if let Some(end) = conn.text.iter().position(|byte| *byte == b'\n') {
                let early = conn.text.split_off(end + 1);
                let text = std::mem::take(&mut conn.text);
                let fds = std::mem::take(&mut conn.fds);
                conn.done = true;
                let Ok(stream) = conn.stream.try_clone() else { return };
                if stream.set_nonblocking(false).is_err() {
                    return;
                }
                match serde_json::from_slice(&text) {
                    Ok(request) => self.answer(request, stream, fds, &early),
                    Err(error) => reply(&stream, &Reply::Failed(invalid("request", error.to_string()))),
                }
                return;
            }
        }
    }

    fn answer(&mut self, request: Request, stream: UnixStream, fds: Vec<OwnedFd>, early: &[u8]) {
        let result = match request {
            Request::State => Ok(Reply::State(self.state())),
            Request::Ready => return self.ready(stream),
            Request::Start => return self.start(stream),
            Request::Kill { signal, all } => self.kill(signal, all).map(|()| Reply::Done),
            Request::KillExec { exec, signal } => self.kill_exec(&exec, signal).map(|()| Reply::Done),
            Request::Pause => self.freeze(true).map(|()| Reply::Done),
            Request::Unpause => self.freeze(false).map(|()| Reply::Done),
            Request::Resize { exec, rows, columns } => {
                self.resize(exec.as_deref(), rows, columns).map(|()| Reply::Done)
            }
            Request::Attach(wanted) => {
                reply(&stream, &Reply::Done);
                if let Some(first) = self.procs.first_mut() {
                    first.streams.attach(stream, wanted, early);
                }
                return;
            }
            Request::Exec { spec, carried } => return self.exec(*spec, carried.as_ref(), fds, stream),
            Request::ExecStatus(id) => self.exec_status(&id).map(Reply::ExecStatus),
            Request::Watch => {
                reply(&stream, &Reply::Done);
                self.watchers.push(stream);
                return;
            }
        };
        reply(&stream, &result.unwrap_or_else(Reply::Failed));
    }

    fn state(&self) -> State {
        let phase = self.procs.first().map_or(Phase::Ended, |first| first.phase);
        State {
            shim_pid: std::process::id(),
            init_pid: self.init_pid(),
            status: match phase {
                Phase::SettingUp => Status::Creating,
                Phase::Ready | Phase::Starting => Status::Created,
                Phase::Running if self.paused => Status::Paused,
                Phase::Running => Status::Running,
                Phase::Ended => Status::Stopped,
            },
            started_at: self.started_at.clone(),
            oom_killed: self.oom_killed,
        }
    }

    fn ready(&mut self, stream: UnixStream) {
        if let Some(failed) = &self.failed {
            reply(&stream, &Reply::Failed(failed.clone()));
            self.deadline = Some(Instant::now());
            return;
        }
        let Some(first) = self.procs.first_mut() else { return };
        if first.phase == Phase::SettingUp {
            first.wait_ready.push(stream);
        } else {
            reply(&stream, &Reply::Done);
        }
    }

    fn start(&mut self, stream: UnixStream) {
        if let Some(failed) = &self.failed {
            reply(&stream, &Reply::Failed(failed.clone()));
            self.deadline = Some(Instant::now());
            return;
        }
        let Some(first) = self.procs.first_mut() else { return };
        match first.phase {
            Phase::SettingUp | Phase::Starting => first.wait_start.push(stream),
            Phase::Ready => {
                first.wait_start.push(stream);
                if let Some(failed) = first.release() {
                    first.failed.get_or_insert(failed);
                }
            }
            Phase::Running => reply(&stream, &Reply::Done),
            Phase::Ended => reply(&stream, &Reply::Failed(invalid("start", "the container has ended"))),
        }
    }

    pub(super) fn kill(&mut self, signal: i32, all: bool) -> Result<(), Failed> {
        let signal = Signal::from_number(signal)
            .ok_or_else(|| invalid("kill", format!("there is no signal {signal}")))?;
        let Some(first) = self.procs.first().filter(|first| first.phase != Phase::Ended) else {
            return Err(invalid("kill", "the container has ended"));
        };
        let off = Trace::off();
        if first.phase != Phase::Running {
            // Before its program, init has nothing that another signal could tell.
            self.killed = true;
        }
        match (&self.cgroup, all) {
            (Some(cgroup), true) if signal == Signal::KILL => {
                // It may not have entered the group yet; its end is that of all in its pid namespace.
                let _ = first.process.signal(&off, signal);
                cgroup.kill(&off).map_err(|error| kernel_step("kill", error))?;
            }
            (Some(cgroup), true) => {
                for pid in cgroup.processes().unwrap_or_default() {
                    // One that ended meanwhile needs no signal.
                    let _ = Process::open(pid).and_then(|process| process.signal(&off, signal));
                }
            }
            _ => first.process.signal(&off, signal).map_err(|error| kernel_step("kill", error))?,
        }
        // A frozen process takes no signal, not even this one.
        if self.paused && signal == Signal::KILL {
            self.freeze(false)?;
        }
        Ok(())
    }

    fn kill_exec(&self, id: &str, signal: i32) -> Result<(), Failed> {
        let signal = Signal::from_number(signal)
            .ok_or_else(|| invalid("kill", format!("there is no signal {signal}")))?;
        let is = |proc: &&Proc| !id.is_empty() && proc.id == id && proc.phase != Phase::Ended;
        let proc = self.procs.iter().find(is).ok_or_else(|| invalid("kill", "there is no such process"))?;
        proc.process.signal(&Trace::off(), signal).map_err(|error| kernel_step("kill", error))
    }

    fn freeze(&mut self, freeze: bool) -> Result<(), Failed> {
        let cgroup =
            self.cgroup.as_ref().ok_or_else(|| invalid("pause", "the container has no control group"))?;
        let off = Trace::off();
        let result = if freeze { cgroup.freeze(&off) } else { cgroup.thaw(&off) };
        result.map_err(|error| kernel_step("pause", error))?;
        self.paused = freeze;
        Ok(())
    }

    fn resize(&mut self, exec: Option<&str>, rows: u16, columns: u16) -> Result<(), Failed> {
        let id = exec.unwrap_or_default();
        let proc = self.procs.iter_mut().find(|proc| proc.id == id && proc.phase != Phase::Ended);
        let proc = proc.ok_or_else(|| invalid("resize", "there is no such process"))?;
        match proc.streams.resize(rows, columns) {
            Ok(true) => Ok(()),
            Ok(false) => Err(invalid("resize", "the process has no terminal")),
            Err(error) => Err(kernel_step("resize", error)),
        }
    }

    fn exec_status(&self, id: &str) -> Result<Option<i32>, Failed> {
        if let Some((_, status)) = self.ended_execs.iter().rev().find(|(known, _)| known == id) {
            return Ok(Some(*status));
        }
        if self.procs.iter().any(|proc| proc.id == id && !id.is_empty()) {
            return Ok(None);
        }
        Err(invalid("exec", format!("there is no process {id:?}")))
    }
}
