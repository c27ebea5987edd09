//! Namespaces: what a process sees of the machine.
//!
//! Each kind of namespace holds one thing of which every process otherwise sees
//! the same: the mounts, the process numbers, the network, the names of the
//! machine, the System V and POSIX queues, the control groups, the users, the
//! clocks. clone3(2) makes new ones with a new process in them
//! ([`crate::process::clone_child`]); setns(2) moves a process into those of another.
//!
//! See namespaces(7), setns(2), unshare(2), user_namespaces(7); OCI runtime-spec
//! `config-linux.md`, "Namespaces".

use std::fs::{self, File};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use glassdock_trace::{Body, Evidence, Trace};

use crate::process::check;
use crate::{Error, Result, files};

/// One kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Users, groups and capabilities; user_namespaces(7).
    User,
    /// The tree of mounts; mount_namespaces(7).
    Mount,
    /// Host and domain name; uts_namespaces(7).
    Uts,
    /// System V objects and POSIX queues; ipc_namespaces(7).
    Ipc,
    /// Links, addresses, routes, ports; network_namespaces(7).
    Network,
    /// Process numbers; pid_namespaces(7).
    Pid,
    /// The root of the control groups; cgroup_namespaces(7).
    Cgroup,
    /// Offsets of the monotonic clocks; time_namespaces(7).
    Time,
}

impl Kind {
    /// All kinds, in the order in which setns(2) must join them one by one.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Cgroup, Self::Ipc, Self::Uts, Self::Network, Self::Pid, Self::Time, Self::Mount];

    /// The name of its link in `/proc/PID/ns`, such as `mnt`.
    #[must_use]
    pub fn link(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Network => "net",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The kind that the OCI runtime-spec calls so: `mount`, `network`, ….
    #[must_use]
    pub fn from_oci(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.oci() == name)
    }

    /// The OCI runtime-spec's name.
    #[must_use]
    pub fn oci(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Network => "network",
            other => other.link(),
        }
    }

    /// Its `CLONE_NEW…` flag.
    pub(crate) fn flag(self) -> i32 {
        match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Network => libc::CLONE_NEWNET,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => CLONE_NEWTIME,
        }
    }
}

/// Not in libc for this target; `linux/sched.h`.
const CLONE_NEWTIME: i32 = 0x80;

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(i32);

impl Set {
    /// None of them.
    pub const EMPTY: Self = Self(0);

    /// Whether there is none in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with one more kind.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.flag())
    }

    /// The set without a kind.
    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self(self.0 & !kind.flag())
    }

    /// Whether a kind is in it.
    #[must_use]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & kind.flag() != 0
    }

    /// The kinds in it.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// Their names, for a trace.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        self.kinds().map(|kind| kind.oci().to_owned()).collect()
    }

    /// The `CLONE_NEW…` flags.
    pub(crate) fn flags(self) -> i32 {
        self.0
    }
}

impl FromIterator<Kind> for Set {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Moves this process into namespaces of a running process, all at once: setns(2)
/// with a pidfd. A pid namespace counts only for children made afterwards.
///
/// The calling process must have one thread.
///
/// # Errors
///
/// `EPERM` without CAP_SYS_ADMIN there and here, `ESRCH` if the process is gone.
pub fn join_process(trace: &Trace, process: BorrowedFd<'_>, pid: u32, kinds: Set) -> Result<()> {
    let body = Body::NamespaceJoin { namespaces: kinds.names(), path: Some(format!("/proc/{pid}/ns")) };
    trace.step(body, |span| {
        span.evidence(|| files::namespace_links(pid, kinds));
        setns(process, kinds.flags(), &format!("namespaces of process {pid}"))
    })
}

/// Moves this process into the namespace that a file stands for, such as
/// `/proc/4711/ns/net`: setns(2).
///
/// # Errors
///
/// Those of open(2) and setns(2); `EINVAL` if the file is no such namespace.
pub fn join_path(trace: &Trace, path: &Path, kind: Kind) -> Result<()> {
    let subject = path.display().to_string();
    let body = Body::NamespaceJoin { namespaces: vec![kind.oci().to_owned()], path: Some(subject.clone()) };
    trace.step(body, |span| {
        let file = File::open(path).map_err(|error| Error::call("open", subject.clone(), error))?;
        setns(std::os::fd::AsFd::as_fd(&file), kind.flag(), &subject)?;
        span.evidence(|| files::namespace_links(files::host_pid(), Set::EMPTY.with(kind)));
        Ok(())
    })
}

/// As [`join_path`], by a file that was opened before.
///
/// # Errors
///
/// Those of setns(2).
pub(crate) fn join_open(trace: &Trace, file: &File, kind: Kind) -> Result<()> {
    let body = Body::NamespaceJoin { namespaces: vec![kind.oci().to_owned()], path: None };
    trace.step(body, |span| {
        setns(std::os::fd::AsFd::as_fd(file), kind.flag(), kind.oci())?;
        span.evidence(|| files::namespace_links(files::host_pid(), Set::EMPTY.with(kind)));
        Ok(())
    })
}

fn setns(descriptor: BorrowedFd<'_>, flags: i32, subject: &str) -> Result<()> {
    // SAFETY: the descriptor is open; setns changes what the thread sees of the system, and no memory.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    let answer = unsafe { libc::setns(descriptor.as_raw_fd(), flags) };
    check("setns", subject, answer.into())?;
    Ok(())
}

/// Leaves namespaces for new ones, without a new process: unshare(2).
///
/// The calling process must have one thread, but for mount namespaces: those each thread may have for
/// itself ([`crate::mount::apart`]).
///
/// # Errors
///
/// `EPERM` without CAP_SYS_ADMIN, `EINVAL` where the kernel lacks one of the kinds.
pub fn unshare(trace: &Trace, kinds: Set) -> Result<()> {
    let body = Body::NamespaceCreate { namespaces: kinds.names(), pid: None };
    trace.step(body, |span| {
        // SAFETY: only CLONE_NEW… flags are in a Set: they change what the thread sees of the system, and no memory.
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let answer = unsafe { libc::unshare(kinds.flags()) };
        check("unshare", &kinds.names().join(", "), answer.into())?;
        if span.trace().is_on() {
            let own = files::traced_tid(span.trace());
            if let Body::NamespaceCreate { pid, .. } = span.body_mut() {
                *pid = Some(own);
            }
            span.evidence(|| files::namespace_links(own, kinds));
        }
        Ok(())
    })
}

/// Gives the calling thread a working directory and a root of its own, without which it can't join
/// another mount namespace: unshare(2) with `CLONE_FS`.
pub(crate) fn unshare_directories() -> Result<()> {
    // SAFETY: the flag changes what the thread shares with others, and no memory.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    let answer = unsafe { libc::unshare(libc::CLONE_FS) };
    check("unshare", "working directory", answer.into())?;
    Ok(())
}

/// The kernel's bound on both names, in bytes; uname(2).
const NAME_LIMIT: usize = 64;

/// Sets the names of this process's UTS namespace: sethostname(2), setdomainname(2).
///
/// # Errors
///
/// [`crate::Error::Invalid`] for a name longer than 64 bytes, `EPERM` without privilege.
pub fn set_names(trace: &Trace, hostname: Option<&str>, domainname: Option<&str>) -> Result<()> {
    for name in [hostname, domainname].into_iter().flatten() {
        if name.len() > NAME_LIMIT {
            return Err(Error::Invalid {
                what: "name of a machine",
                value: name.to_owned(),
                reason: "it is longer than 64 bytes",
            });
        }
    }
    let body = Body::HostnameSet {
        hostname: hostname.map(str::to_owned),
        domainname: domainname.map(str::to_owned),
    };
    trace.step(body, |_| {
        if let Some(name) = hostname {
            rustix::system::sethostname(name.as_bytes())
                .map_err(|error| Error::call("sethostname", name, error))?;
        }
        if let Some(name) = domainname {
            rustix::system::setdomainname(name.as_bytes())
                .map_err(|error| Error::call("setdomainname", name, error))?;
        }
        Ok(())
    })
}

/// Sets a kernel parameter of this process's namespaces, by its dotted or slashed
/// name (`net.ipv4.ip_forward`): a write under `/proc/sys`; sysctl(8).
///
/// # Errors
///
/// [`crate::Error::Invalid`] for a name with `..`, those of open(2) and write(2).
pub fn set_sysctl(trace: &Trace, name: &str, value: &str) -> Result<()> {
    let path = sysctl_path(name)?;
    let body = Body::SysctlSet { name: name.to_owned(), value: value.to_owned() };
    trace.step(body, |_| {
        fs::write(&path, value).map_err(|error| Error::call("write", path.display().to_string(), error))
    })
}

/// The file of a parameter. As sysctl(8) has it, the first separator decides: after a dot,
/// dots part and slashes are dots (`net.ipv4.conf.eth0/1.forwarding`); after a slash, the reverse.
fn sysctl_path(name: &str) -> Result<PathBuf> {
    let relative = if name.find(['.', '/']).and_then(|at| name.get(at..=at)) == Some(".") {
        name.chars()
            .map(|character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    } else {
        name.to_owned()
    };
    let path = Path::new(&relative);
    if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::Invalid {
            what: "kernel parameter",
            value: name.to_owned(),
            reason: "it is no name below /proc/sys",
        });
    }
    Ok(Path::new("/proc/sys").join(path))
}

/// One line of a `uid_map` or `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// Maps the ids of a process's user namespace, from its parent namespace:
/// `/proc/PID/uid_map` and `gid_map`. Where privilege for groups lacks, `setgroups` is denied
/// in the namespace first, as user_namespaces(7) asks for.
///
/// # Errors
///
/// `EPERM` where the kernel's rules for unprivileged maps are not met.
pub fn write_idmap(trace: &Trace, pid: u32, users: &[IdRange], groups: &[IdRange]) -> Result<()> {
    write_map(trace, &format!("/proc/{pid}/uid_map"), users)?;
    let path = format!("/proc/{pid}/gid_map");
    match write_map(trace, &path, groups) {
        Err(error) if error.errno() == Some(libc::EPERM) => {
            let deny = format!("/proc/{pid}/setgroups");
            fs::write(&deny, "deny").map_err(|error| Error::call("write", deny, error))?;
            write_map(trace, &path, groups)
        }
        result => result,
    }
}

fn write_map(trace: &Trace, path: &str, ranges: &[IdRange]) -> Result<()> {
    let line = |range: &IdRange| format!("{} {} {}", range.inside, range.outside, range.length);
    let lines: Vec<_> = ranges.iter().map(line).collect();
    let text = lines.join("\n");
    trace.step(Body::IdmapWrite { path: path.to_owned(), lines }, |span| {
        // The kernel takes the whole map in one write, and only once.
        fs::write(path, text).map_err(|error| Error::call("write", path, error))?;
        span.evidence(|| {
            let there = fs::read_to_string(path).unwrap_or_default();
            Evidence::new(path, there.lines().map(str::to_owned))
        });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_files_below_proc_sys() {
        let path = |name| sysctl_path(name).expect("a name").display().to_string();
        assert_eq!(path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
        for name in ["", "/etc/passwd", "net/../../etc/passwd", "..", "kernel.//../etc"] {
            assert!(sysctl_path(name).is_err(), "{name}");
        }
    }

    #[test]
    fn kinds_have_two_names() {
        assert_eq!(Kind::from_oci("mount"), Some(Kind::Mount));
        assert_eq!(Kind::from_oci("mnt"), None);
        let set: Set = [Kind::Mount, Kind::Pid].into_iter().collect();
        assert_eq!(set.names(), ["pid", "mount"]);
        assert!(set.without(Kind::Pid).without(Kind::Mount).is_empty());
    }

    #[test]
    fn a_name_may_be_too_long() {
        let long = "x".repeat(65);
        assert!(matches!(set_names(&Trace::off(), Some(&long), None), Err(Error::Invalid { .. })));
    }
}
