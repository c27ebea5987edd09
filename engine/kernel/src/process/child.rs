//! A child in new namespaces.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use glassdock_trace::{Body, Span, Trace};

use super::check;
use super::wait::Process;
use crate::namespace::Set;
use crate::{Error, Result, files};

/// What a new child gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Child<'a> {
    /// What the trace calls it: `init`, `exec`.
    pub role: &'a str,
    /// The namespaces that are made for it. None: it shares ours, and the trace has a
    /// `process.spawn` in place of a `namespace.create`.
    pub namespaces: Set,
    /// The v2 control group that it is born in ([`crate::cgroup::Cgroup::birthplace`]).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Makes a child, as fork(2) does, that runs `body` and ends with the status that
/// `body` returns. The parent gets a handle on it.
///
/// The child has a copy of this process's memory, and one thread. It ends by
/// `_exit`: nothing of the parent's is run or flushed twice. A panic in it ends it with
/// status 101. It has no span of its own: the parent's span for the clone ends in the parent.
///
/// # Errors
///
/// [`crate::Error::Unsupported`] if this process has several threads, since the child could find
/// their locks held for ever; those of clone3(2).
pub fn clone_child(trace: &Trace, child: &Child<'_>, body: impl FnOnce() -> u8) -> Result<Process> {
    let (process, untold) = clone_child_quietly(trace, child, body)?;
    untold.tell();
    Ok(process)
}

/// A birth that was begun in the trace and is over; its end is still to be [told](Untold::tell).
#[derive(Debug)]
pub struct Untold {
    span: Span,
    pid: u32,
    namespaces: Set,
}

impl Untold {
    /// Tells the end of the birth, with the child's namespaces as evidence.
    pub fn tell(self) {
        let Self { mut span, pid, namespaces } = self;
        if !namespaces.is_empty() {
            span.evidence(|| files::namespace_links(pid, namespaces));
        }
        span.ok();
    }
}

/// As [`clone_child`], but what follows need not wait until the evidence is read.
///
/// # Errors
///
/// As [`clone_child`].
pub fn clone_child_quietly(
    trace: &Trace,
    child: &Child<'_>,
    body: impl FnOnce() -> u8,
) -> Result<(Process, Untold)> {
    check_single_thread()?;
    let mut span = trace.begin(body_of(child, None))?;
    let (answer, pidfd) = clone3(child);
    if answer == 0 {
        // The span belongs to the parent; dropped here, it would record an end of its own.
        std::mem::forget(span);
        let status = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
        // SAFETY: _exit ends the process at once, running nothing of what the parent registered.
        unsafe { libc::_exit(status.into()) };
    }
    let result = check("clone3", child.role, answer).map(|pid| {
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel put a new descriptor there that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Process::from_fd(u32::try_from(pid).unwrap_or(0), fd)
    });
    span.acted();
    let process = match result {
        Ok(process) => process,
        Err(error) => return span.finish(Err(error)),
    };
    let pid = process.pid();
    *span.body_mut() = body_of(child, Some(pid));
    Ok((process, Untold { span, pid, namespaces: child.namespaces }))
}

fn body_of(child: &Child<'_>, pid: Option<u32>) -> Body {
    if child.namespaces.is_empty() {
        Body::ProcessSpawn { role: child.role.to_owned(), argv: Vec::new(), pid }
    } else {
        Body::NamespaceCreate { namespaces: child.namespaces.names(), pid }
    }
}

/// The arguments of clone3(2), as `linux/sched.h` lays them out.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Not in libc for this target; `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2) without a stack of its own for the child: it goes on where the parent is, on
/// a copy of its memory. Gives the call's answer, and the pidfd that the parent got.
fn clone3(child: &Child<'_>) -> (i64, RawFd) {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: u64::from(child.namespaces.flags().cast_unsigned())
            | u64::from(libc::CLONE_PIDFD.cast_unsigned()),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArgs::default()
    };
    if let Some(directory) = child.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(directory.as_raw_fd().cast_unsigned());
    }
    // SAFETY: args is a clone_args of the size given, and pidfd is an int that outlives the call. CLONE_VM is not
    // set, so the child has a copy of all memory and goes on with it as after fork(2); the caller made sure that there
    // is one thread, so the copy has no lock held by a thread that is not there.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    (answer, pidfd)
}

/// Asks the kernel whether this process has one thread: unshare(2) with `CLONE_THREAD` changes
/// nothing then, and is refused with `EINVAL` otherwise.
fn check_single_thread() -> Result<()> {
    // SAFETY: CLONE_THREAD alone changes nothing; see unshare(2).
    #[expect(clippy::disallowed_methods, reason = "this is the door, and it makes no namespace")]
    let answer = unsafe { libc::unshare(libc::CLONE_THREAD) };
    if answer == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        return Err(Error::Unsupported {
            what: "cloning this process",
            reason: "it has several threads, and a copy could find their locks held for ever".to_owned(),
        });
    }
    Ok(())
}
