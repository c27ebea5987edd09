//! What a door says when the kernel refuses: which call, on what, why, and what to do.

use std::fmt;
use std::io;

use glassdock_trace::Aborted;

/// A refusal of the kernel, or of the one who steps through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{call} {subject}{advice}")]
    Call {
        /// The call as its manual page names it: `move_mount`, `open`.
        call: &'static str,
        /// What it was about: a path, a process, an option.
        subject: String,
        /// What to do about it, where that is known.
        advice: Advice,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A value that no system call was tried with, because it can't be right.
    #[error("invalid {what} {value:?}: {reason}")]
    Invalid {
        /// What the value is: `hostname`, `capability`.
        what: &'static str,
        /// The value as it was given.
        value: String,
        /// Why it can't be right.
        reason: &'static str,
    },
    /// This host can't do it.
    #[error("{what} is not possible here: {reason}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What is missing.
        reason: String,
    },
    /// The one who steps through said abort; the act did not happen.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// What to do about a refusal; empty where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice(pub &'static str);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// The class of an [`Error`], for whoever maps it to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The thing is not there.
    NotFound,
    /// It is there already, or busy.
    Conflict,
    /// The request can't be right.
    Invalid,
    /// This host can't do it.
    Unsupported,
    /// It takes more privilege.
    Denied,
    /// The one who steps through said abort.
    Aborted,
    /// Anything else.
    Internal,
}

/// A thing that was asked for, could not be had, and was not worth failing for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error {
    /// A failed call. Advice is looked up by call and error number.
    pub fn call(call: &'static str, subject: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let advice = Advice(source.raw_os_error().map_or("", |errno| advice_for(call, errno)));
        Self::Call { call, subject: subject.into(), advice, source }
    }

    /// The kernel's error number, if the kernel refused; see errno(3).
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Aborted(_) => ErrorKind::Aborted,
            Self::Call { .. } => match self.errno() {
                Some(libc::ENOENT | libc::ESRCH) => ErrorKind::NotFound,
                Some(libc::EEXIST | libc::EBUSY) => ErrorKind::Conflict,
                Some(libc::EINVAL | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG) => ErrorKind::Invalid,
                Some(libc::ENOSYS | libc::ENODEV | libc::EOPNOTSUPP) => ErrorKind::Unsupported,
                Some(libc::EPERM | libc::EACCES) => ErrorKind::Denied,
                _ => ErrorKind::Internal,
            },
        }
    }
}

/// What to do when `call` fails with `errno`, where experience knows.
fn advice_for(call: &str, errno: i32) -> &'static str {
    match (call, errno) {
        (
            "clone3" | "unshare" | "setns" | "mount" | "fsopen" | "fsmount" | "move_mount" | "mount_setattr"
            | "open_tree",
            libc::EPERM,
        ) => "this takes root: CAP_SYS_ADMIN in the user namespace",
        ("clone3" | "unshare", libc::ENOSPC | libc::EUSERS) => {
            "too many namespaces: see /proc/sys/user/max_*_namespaces"
        }
        ("clone3" | "unshare", libc::EINVAL) => "the kernel lacks one of these kinds of namespace",
        ("clone3", libc::EAGAIN) => "too many processes: see `ulimit -u`, pids.max and kernel.pid_max",
        ("fsopen" | "mount", libc::ENODEV) => {
            "the kernel does not have this file system: try `modprobe`, or another kernel"
        }
        (
            "fsopen" | "open_tree" | "mount_setattr" | "move_mount" | "openat2" | "clone3" | "pidfd_open",
            libc::ENOSYS,
        ) => {
            "this call takes Linux 5.12 or newer, and a seccomp filter around the engine that lets it through"
        }
        ("mknod", libc::EPERM) => "device nodes take CAP_MKNOD in the first user namespace",
        ("openat2", libc::EXDEV) => "the path leads out of the root",
        ("openat2", libc::ELOOP) => "too many symbolic links, or one where none may be",
        ("execve", libc::ENOEXEC) => {
            "not a program for this machine: wrong architecture, or a script without `#!`"
        }
        ("prlimit", libc::EPERM) => "raising a hard limit takes CAP_SYS_RESOURCE",
        ("mkdir", libc::EROFS) => "the file system is mounted read-only",
        ("RTM_NEWLINK", libc::EOPNOTSUPP) => {
            "the kernel lacks this kind of link: try `modprobe bridge veth`, or another kernel"
        }
        (
            "NFT_TRANSACTION" | "NETLINK_NETFILTER",
            libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::ENOENT,
        ) => {
            "the kernel lacks nftables or a part of it: try `modprobe nf_tables nft_chain_nat nft_masq nft_fib_ipv4`"
        }
        (
            "RTM_NEWLINK" | "RTM_SETLINK" | "RTM_DELLINK" | "RTM_NEWADDR" | "RTM_NEWROUTE"
            | "NFT_TRANSACTION",
            libc::EPERM,
        ) => "networks take CAP_NET_ADMIN",
        ("seccomp", libc::EACCES) => "a filter takes CAP_SYS_ADMIN or no_new_privs",
        _ => "",
    }
}
