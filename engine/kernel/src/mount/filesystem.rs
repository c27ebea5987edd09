//! The kernel's own file systems in a container: proc, sys, devpts, mqueue, tmpfs, cgroup.
//!
//! Each function makes the file system and attaches it at a place of the container's tree.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use glassdock_trace::Trace;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use super::attach::{Attributes, Description, Detached, attach, remount_readonly};
use super::words::shown;
use crate::cgroup::Hierarchy;
use crate::path::{Place, Root};
use crate::{Error, Result};

/// Processes, as the present pid namespace numbers them; proc(5).
///
/// # Errors
///
/// Those of fsopen(2) to move_mount(2).
pub fn proc(trace: &Trace, target: &Place, attributes: Attributes) -> Result<()> {
    filesystem(trace, "proc", "proc", &[], target, attributes)
}

/// Devices and the network's, as the present network namespace has them; sysfs(5).
///
/// # Errors
///
/// `EPERM` where the network namespace is not owned by this user namespace.
pub fn sysfs(trace: &Trace, target: &Place, attributes: Attributes) -> Result<()> {
    filesystem(trace, "sysfs", "sysfs", &[], target, attributes)
}

/// A set of pseudo-terminals of the container's own; pts(4).
///
/// # Errors
///
/// Those of fsopen(2) to move_mount(2).
pub fn devpts(trace: &Trace, target: &Place, options: &[(&str, &str)], attributes: Attributes) -> Result<()> {
    filesystem(trace, "devpts", "devpts", options, target, attributes)
}

/// The POSIX message queues of the present ipc namespace; mq_overview(7).
///
/// # Errors
///
/// Those of fsopen(2) to move_mount(2).
pub fn mqueue(trace: &Trace, target: &Place, attributes: Attributes) -> Result<()> {
    filesystem(trace, "mqueue", "mqueue", &[], target, attributes)
}

/// Control groups, as seen from the present cgroup namespace: one file system with v2, a tmpfs
/// with a directory per hierarchy with v1; cgroups(7). Nothing where the host has none.
///
/// # Errors
///
/// Those of fsopen(2) to move_mount(2).
pub fn cgroup(trace: &Trace, hierarchy: &Hierarchy, target: &Place, attributes: Attributes) -> Result<()> {
    match hierarchy {
        Hierarchy::None(_) => Ok(()),
        Hierarchy::V2 { .. } => filesystem(trace, "cgroup2", "cgroup", &[], target, attributes),
        Hierarchy::V1(trees) => {
            // Writable while the directories are made.
            let open = Attributes { read_only: false, ..attributes };
            let top = filesystem_detached("tmpfs", "tmpfs", &[("mode", "755")], open)?;
            attach(trace, &top, target)?;
            let root = top.root()?;
            for (name, mount) in trees {
                // Trees that have several controllers are mounted by the name of their directory: `cpu,cpuacct`.
                let folder = mount.file_name().map_or_else(|| name.into(), std::ffi::OsStr::to_os_string);
                let folder = Path::new(&folder);
                if root.resolve(folder).is_ok() {
                    continue;
                }
                let inside = root.create_dir_all(folder, 0o755)?;
                let inside = Place::from_fd(duplicate(&inside)?, target.path().join(folder));
                let shared: Vec<_> = trees.iter().filter(|(_, other)| *other == mount).collect();
                let options: Vec<_> = shared.iter().map(|(name, _)| option_of(name)).collect();
                filesystem(trace, "cgroup", "cgroup", &options, &inside, attributes)?;
                link_controllers(&root, folder, &shared)?;
            }
            if attributes.read_only {
                remount_readonly(trace, &Place::from_fd(duplicate(&top)?, target.path()), false)?;
            }
            Ok(())
        }
    }
}

/// A v1 tree is asked for by a flag for each of its controllers, or by its name.
fn option_of(name: &str) -> (&str, &str) {
    name.strip_prefix("name=").map_or((name, ""), |name| ("name", name))
}

/// `cpu -> cpu,cpuacct`, where a tree has several controllers.
fn link_controllers(root: &Root, folder: &Path, shared: &[(&String, &std::path::PathBuf)]) -> Result<()> {
    for (name, _) in shared {
        let name = name.strip_prefix("name=").unwrap_or(name);
        if Path::new(name) != folder {
            root.symlink(folder, Path::new(name))?;
        }
    }
    Ok(())
}

fn duplicate(descriptor: &impl AsFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 3)
        .map_err(|error| Error::call("fcntl", "F_DUPFD_CLOEXEC", error))
}

/// Any file system by its type, with its options: an OCI mount of a type that has no function of its own, as
/// tmpfs(5). `options` are key and value, `size` and `64m`; a flag has an empty value.
///
/// # Errors
///
/// `ENODEV` for a type that the kernel lacks, `EINVAL` for options that it does not take.
pub fn filesystem(
    trace: &Trace,
    fstype: &str,
    source: &str,
    options: &[(&str, &str)],
    target: &Place,
    attributes: Attributes,
) -> Result<()> {
    attach(trace, &filesystem_detached(fstype, source, options, attributes)?, target)
}

/// As [`filesystem`], without attaching it.
///
/// # Errors
///
/// As [`filesystem`].
pub fn filesystem_detached(
    fstype: &str,
    source: &str,
    options: &[(&str, &str)],
    attributes: Attributes,
) -> Result<Detached> {
    let context = Context::open(fstype)?;
    if !source.is_empty() {
        context.set("source", source)?;
    }
    for (key, value) in options {
        if value.is_empty() {
            context.set_flag(key)?;
        } else {
            context.set(key, *value)?;
        }
    }
    let fd = context.mount(attributes)?;
    let words: Vec<_> = options.iter().map(|(key, value)| shown(key, value)).collect();
    let what = Description {
        fstype: Some(fstype.to_owned()),
        source: Some(source.to_owned()).filter(|source| !source.is_empty()),
        flags: attributes.names(),
        data: Some(words.join(",")).filter(|data| !data.is_empty()),
    };
    Ok(Detached { fd, what })
}

/// Whether the kernel has a file system of this type, or a module for it.
pub(crate) fn knows_filesystem(fstype: &str) -> bool {
    Context::open(fstype).is_ok()
}

/// A file system that is being put together: fsopen(2).
pub(super) struct Context {
    fd: OwnedFd,
    fstype: String,
}

impl Context {
    pub(super) fn open(fstype: &str) -> Result<Self> {
        let fd = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|error| Error::call("fsopen", fstype, error))?;
        Ok(Self { fd, fstype: fstype.to_owned() })
    }

    /// Sets an option to a value of at most 255 bytes, the bound of fsconfig(2).
    pub(super) fn set(&self, key: &str, value: impl rustix::path::Arg) -> Result<()> {
        let shown = shown(key, &value.to_string_lossy());
        fsconfig_set_string(&self.fd, key, value).map_err(|error| self.refused("fsconfig", &shown, error))
    }

    pub(super) fn set_flag(&self, key: &str) -> Result<()> {
        fsconfig_set_flag(&self.fd, key).map_err(|error| self.refused("fsconfig", key, error))
    }

    pub(super) fn mount(self, attributes: Attributes) -> Result<OwnedFd> {
        fsconfig_create(&self.fd).map_err(|error| self.refused("fsconfig", "create", error))?;
        fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes.bits())
            .map_err(|error| self.refused("fsmount", "", error))
    }

    /// An error with what the file system itself says of it: the context can be read for that.
    fn refused(&self, call: &'static str, what: &str, error: Errno) -> Error {
        let mut subject = self.fstype.clone();
        for part in [what, &self.words()] {
            if !part.is_empty() {
                subject.push_str(": ");
                subject.push_str(part);
            }
        }
        Error::call(call, subject, error)
    }

    fn words(&self) -> String {
        let Ok(copy) = self.fd.try_clone() else { return String::new() };
        let mut file = std::fs::File::from(copy);
        let mut words = Vec::new();
        let mut buffer = [0_u8; 1024];
        // One message a read, with `e ` (error), `w ` or `i ` before it; ENODATA at the end.
        while let Ok(length @ 1..) = file.read(&mut buffer) {
            let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            words.push(message.get(2..).unwrap_or(&message).trim_end().to_owned());
        }
        words.join("; ")
    }
}
