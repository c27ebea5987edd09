//! Processes: born with clone3(2), held by a pidfd, ended by a signal, collected by
//! waitid(2).
//!
//! ```text
//!   spawn           another program beside us (the shim): posix_spawn(3)
//!   clone_child     a copy of us, in new namespaces: it sets the container up, and ends as
//!   exec            the user's program
//!   Process         a pidfd: signals and waits can't hit a stranger that got the number
//!   tape            memory in which a child leaves words for us, whatever becomes of it
//!   reap_any        what a shim collects: its children, and orphans (set_subreaper)
//! ```
//!
//! See clone3(2), pidfd_open(2), pidfd_send_signal(2), waitid(2), prctl(2), execve(2).

mod child;

mod exec;

mod memory;

mod signal;

mod spawn;

mod tape;

mod wait;

pub use child::{Child, Untold, clone_child, clone_child_quietly};
pub use exec::{Program, exec, reset_signals};
pub use memory::trim_memory;
pub use signal::{Signal, SignalFd};
pub use spawn::{Spawn, spawn};
pub use tape::{TapeReader, TapeWriter, tape, tape_memory};
pub use wait::{Exit, Process, reap_any};

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use rustix::process::{DumpableBehavior, Pid};

use crate::{Error, Result};

/// Makes this process the one that orphans below it fall to: `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
///
/// Those of prctl(2).
pub fn set_subreaper() -> Result<()> {
    // Any pid means "yes".
    rustix::process::set_child_subreaper(Some(Pid::INIT))
        .map_err(|error| Error::call("prctl", "PR_SET_CHILD_SUBREAPER", error))
}

/// Has the kernel send a signal to this process when its parent thread ends: `PR_SET_PDEATHSIG`.
/// A parent that ended before this call is not noticed; ask getppid(2) afterwards.
///
/// # Errors
///
/// Those of prctl(2).
pub fn set_parent_death_signal(signal: Option<Signal>) -> Result<()> {
    let number = signal.map_or(0, Signal::number);
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory.
    let answer = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number) };
    check("prctl", "PR_SET_PDEATHSIG", answer.into())?;
    Ok(())
}

/// Whether other processes of the same user may look into this one (ptrace(2), `/proc/PID/mem`,
/// `/proc/PID/exe`): `PR_SET_DUMPABLE`. An exec sets it again.
///
/// # Errors
///
/// Those of prctl(2).
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    rustix::process::set_dumpable_behavior(behavior)
        .map_err(|error| Error::call("prctl", "PR_SET_DUMPABLE", error))
}

/// Leaves the parent's session and terminal for a session of its own: setsid(2).
///
/// # Errors
///
/// `EPERM` for a process that leads a group already.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().map_err(|error| Error::call("setsid", "", error))?;
    Ok(())
}

/// Names this thread, as `ps -o comm` and `top` show it: prctl(2), `PR_SET_NAME`. Of the name 15 bytes are kept.
///
/// # Errors
///
/// Those of prctl(2).
pub fn set_name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name)
        .map_err(|error| Error::call("prctl", format!("PR_SET_NAME {}", name.to_string_lossy()), error))
}

/// Lets no gain of privilege through execve(2) any more: `PR_SET_NO_NEW_PRIVS`.
///
/// # Errors
///
/// Those of prctl(2).
pub fn set_no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(|error| Error::call("prctl", "PR_SET_NO_NEW_PRIVS", error))
}

/// Sets how readily the kernel ends this process when memory is short: `oom_score_adj`,
/// -1000 to 1000; proc(5).
///
/// # Errors
///
/// `EACCES` for going lower without CAP_SYS_RESOURCE.
pub fn set_oom_score(adjustment: i32) -> Result<()> {
    fs::write(OOM_SCORE, adjustment.to_string()).map_err(|error| Error::call("write", OOM_SCORE, error))
}

/// What [`set_oom_score`] set for this process, or for the one that it descends from; 0 where the kernel does not say.
#[must_use]
pub fn oom_score() -> i32 {
    fs::read_to_string(OOM_SCORE).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Makes a directory the working directory: chdir(2). It must lie inside the process's root: one that
/// was reached through a descriptor from outside (CVE-2024-21626) is refused.
///
/// # Errors
///
/// Those of chdir(2), and `ENOENT` for a directory outside the root.
pub fn enter_directory(path: &Path) -> Result<()> {
    let subject = || path.display().to_string();
    rustix::process::chdir(path).map_err(|error| Error::call("chdir", subject(), error))?;
    // The kernel marks a directory outside the root with "(unreachable)"; std makes that ENOENT.
    let here = std::env::current_dir().map_err(|error| Error::call("getcwd", subject(), error))?;
    if here.is_absolute() {
        Ok(())
    } else {
        Err(Error::Invalid {
            what: "working directory",
            value: subject(),
            reason: "it lies outside the root",
        })
    }
}

/// A system call's answer as a result: -1 is errno.
pub(crate) fn check(call: &'static str, subject: &str, answer: i64) -> Result<i64> {
    if answer == -1 { Err(Error::call(call, subject, std::io::Error::last_os_error())) } else { Ok(answer) }
}
