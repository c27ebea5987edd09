//! A process, held so that it can't be mistaken for another.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use glassdock_trace::{Body, Trace};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions};

use super::check;
use super::signal::Signal;
use crate::{Error, Result};

/// A process, held by a pidfd. The descriptor polls readable once the process has ended.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with a status.
    Status(u8),
    /// By a signal.
    Signal {
        /// Which one.
        signal: Signal,
        /// Whether it left a core file.
        core: bool,
    },
}

impl Exit {
    /// The status as a shell tells it: a signal is 128 and its number.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Status(status) => i32::from(status),
            Self::Signal { signal, .. } => 128 + signal.number(),
        }
    }
}

impl Process {
    /// Holds a running process: pidfd_open(2).
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is none of that number.
    pub fn open(pid: u32) -> Result<Self> {
        let subject = || format!("process {pid}");
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| Error::call("pidfd_open", subject(), Errno::SRCH))?;
        let fd = rustix::process::pidfd_open(number, PidfdFlags::empty())
            .map_err(|error| Error::call("pidfd_open", subject(), error))?;
        Ok(Self { pid, fd })
    }

    /// A process from its number and a pidfd of it.
    #[must_use]
    pub fn from_fd(pid: u32, fd: OwnedFd) -> Self {
        Self { pid, fd }
    }

    /// Its number, in this process's pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal: pidfd_send_signal(2).
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has ended.
    pub fn signal(&self, trace: &Trace, signal: Signal) -> Result<()> {
        let body = Body::ProcessSignal { pid: self.pid, signal: signal.name() };
        trace.step(body, |_| {
            // SAFETY: the descriptor is open, a null siginfo and no flags are allowed; see pidfd_send_signal(2).
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    self.fd.as_raw_fd(),
                    signal.number(),
                    std::ptr::null::<libc::siginfo_t>(),
                    0,
                )
            };
            check("pidfd_send_signal", &format!("{} to process {}", signal.name(), self.pid), answer)?;
            Ok(())
        })
    }

    /// Whether it has ended (its parent may not have collected it yet).
    ///
    /// # Errors
    ///
    /// Those of poll(2).
    pub fn has_ended(&self) -> Result<bool> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
            .map_err(|error| Error::call("poll", format!("process {}", self.pid), error))?;
        Ok(ready > 0)
    }

    /// Waits until it ends, and collects it; only its parent can. waitid(2) with `P_PIDFD`.
    ///
    /// # Errors
    ///
    /// `ECHILD` if it is no child of this process, or collected already.
    pub fn wait(&self, trace: &Trace) -> Result<Exit> {
        loop {
            if let Some(exit) = self.collect(trace, WaitIdOptions::EXITED)? {
                return Ok(exit);
            }
        }
    }

    /// As [`Process::wait`], without waiting: `None` while it runs.
    ///
    /// # Errors
    ///
    /// As [`Process::wait`].
    pub fn try_wait(&self, trace: &Trace) -> Result<Option<Exit>> {
        self.collect(trace, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn collect(&self, trace: &Trace, options: WaitIdOptions) -> Result<Option<Exit>> {
        let status =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.fd.as_fd()), options))
                .map_err(|error| Error::call("waitid", format!("process {}", self.pid), error))?;
        let exit = status.as_ref().map(exit_of);
        if let Some(exit) = exit {
            tell(trace, self.pid, exit);
        }
        Ok(exit)
    }
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    match status.terminating_signal() {
        Some(number) => Exit::Signal {
            signal: Signal::from_number(number).unwrap_or(Signal::KILL),
            core: status.dumped(),
        },
        // The kernel keeps the low eight bits of what a process says.
        None => Exit::Status(u8::try_from(status.exit_status().unwrap_or(0) & 0xff).unwrap_or(0)),
    }
}

/// Tells of an end as it was observed, and of the collecting.
fn tell(trace: &Trace, pid: u32, exit: Exit) {
    let signal = match exit {
        Exit::Status(_) => None,
        Exit::Signal { signal, .. } => Some(signal.name()),
    };
    trace.point(Body::ProcessExit { pid, status: exit.code(), signal });
    trace.point(Body::ProcessReap { pid });
}

/// Collects one child that has ended, whichever it is; `None` if there is none now.
///
/// # Errors
///
/// Those of waitid(2), but not `ECHILD`: no children is `None`.
pub fn reap_any(trace: &Trace) -> Result<Option<(u32, Exit)>> {
    let reaped = match rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG)) {
        Ok(reaped) => reaped,
        Err(Errno::CHILD) => None,
        Err(error) => return Err(Error::call("wait4", "any child", error)),
    };
    Ok(reaped.map(|(pid, status)| {
        let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
        let exit = match status.terminating_signal() {
            Some(number) => Exit::Signal {
                signal: Signal::from_number(number).unwrap_or(Signal::KILL),
                core: libc::WCOREDUMP(status.as_raw()),
            },
            None => Exit::Status(u8::try_from(status.exit_status().unwrap_or(0) & 0xff).unwrap_or(0)),
        };
        tell(trace, pid, exit);
        (pid, exit)
    }))
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
