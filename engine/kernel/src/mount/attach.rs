//! Detached mounts, their attributes, and their way into the tree.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use glassdock_trace::{Body, Evidence, Trace};
use rustix::mount::{
    MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount,
};

use crate::path::{Place, Root};
use crate::process::check;
use crate::{Error, Result, files};

/// A mount that is nowhere in the tree yet: only this descriptor holds it.
#[derive(Debug)]
pub struct Detached {
    pub(super) fd: OwnedFd,
    pub(super) what: Description,
}

/// What a trace tells of a mount.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    /// Its type, `overlay`; `bind` for a part of another tree.
    pub(super) fstype: Option<String>,
    pub(super) source: Option<String>,
    pub(super) flags: Vec<String>,
    pub(super) data: Option<String>,
}

impl Detached {
    /// The mount's top directory as a root for lookups, before or after it is attached.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn root(&self) -> Result<Root> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)
            .map_err(|error| Error::call("fcntl", "F_DUPFD_CLOEXEC", error))?;
        Ok(Root::from_fd(fd, self.what.source.as_deref().unwrap_or("the mount")))
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a mount allows; everything, by default. See mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Nor through the mounts below it, where `read_only` is set for a copy of a tree.
    pub read_only_below: bool,
    /// Set-user-id bits and file capabilities don't count.
    pub no_suid: bool,
    /// Device nodes don't open.
    pub no_dev: bool,
    /// Nothing can be executed from it.
    pub no_exec: bool,
    /// Reading leaves the access time alone.
    pub no_atime: bool,
    /// Each reading is noted as the access time.
    pub strict_atime: bool,
}

impl Attributes {
    /// As fsmount(2) and mount_setattr(2) take them.
    pub(super) fn bits(self) -> MountAttrFlags {
        let all = [
            (self.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (self.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (self.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
            (self.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
            (self.no_atime, MountAttrFlags::MOUNT_ATTR_NOATIME),
            (self.strict_atime, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        ];
        all.into_iter()
            .filter(|(wanted, _)| *wanted)
            .fold(MountAttrFlags::empty(), |bits, (_, bit)| bits | bit)
    }

    /// As mount(8) calls them.
    pub(super) fn names(self) -> Vec<String> {
        let all = [
            (self.read_only, "ro"),
            (self.no_suid, "nosuid"),
            (self.no_dev, "nodev"),
            (self.no_exec, "noexec"),
            (self.no_atime, "noatime"),
            (self.strict_atime, "strictatime"),
        ];
        all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name.to_owned()).collect()
    }
}

/// Whether mounts made below a mount are seen through its copies in other namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing goes out or comes in.
    Private,
    /// Comes in, does not go out.
    Slave,
    /// Both ways.
    Shared,
    /// As private, and can't be bound elsewhere.
    Unbindable,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Slave => "slave",
            Self::Shared => "shared",
            Self::Unbindable => "unbindable",
        }
    }
}

/// Copies the tree below a place, as `mount --bind` (one mount) or `--rbind` (`recursive`) does,
/// without attaching it: open_tree(2) with `OPEN_TREE_CLONE`. The attributes go to all copies, but
/// `read_only` only to the uppermost unless `read_only_below` says more.
///
/// Not traced: nothing in the tree changes before [`attach`].
///
/// # Errors
///
/// Those of open_tree(2) and mount_setattr(2); `EINVAL` for a mount of another namespace.
pub fn clone_tree(source: &Place, recursive: bool, attributes: Attributes) -> Result<Detached> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let path = source.path().display().to_string();
    let fd = open_tree(source, "", flags).map_err(|error| Error::call("open_tree", &path, error))?;
    let set = |attributes: Attributes, recursive| match attributes.bits() {
        bits if bits.is_empty() => Ok(()),
        bits => {
            let change = Change { set: bits.bits().into(), recursive, ..Change::default() };
            set_attributes(fd.as_fd(), &path, change)
        }
    };
    let everywhere = attributes.read_only && attributes.read_only_below;
    set(Attributes { read_only: everywhere, ..attributes }, recursive)?;
    if attributes.read_only && !everywhere {
        set(Attributes { read_only: true, ..Attributes::default() }, false)?;
    }
    let mut names = vec![if recursive { "rbind" } else { "bind" }.to_owned()];
    names.extend(attributes.names());
    let what = Description { fstype: Some("bind".to_owned()), source: Some(path), flags: names, data: None };
    Ok(Detached { fd, what })
}

/// A folder or file of a volume, from which nothing leads out: what lies there may be swapped at any moment by whoever
/// writes into the volume, so it is opened once, and never named again.
///
/// # Errors
///
/// `EXDEV` if a link leads out of the volume, and those of openat2(2).
pub fn part_of(volume: &std::path::Path, inside: &std::path::Path) -> Result<Place> {
    Root::open(volume)?.resolve_beneath(inside)
}

/// Copies the tree below a place to another: [`clone_tree`] and [`attach`].
///
/// # Errors
///
/// Those of both.
pub fn bind(
    trace: &Trace,
    source: &Place,
    target: &Place,
    recursive: bool,
    attributes: Attributes,
) -> Result<()> {
    attach(trace, &clone_tree(source, recursive, attributes)?, target)
}

/// Attaches a mount at a place: move_mount(2). The descriptor goes on standing for it.
///
/// # Errors
///
/// Those of move_mount(2).
pub fn attach(trace: &Trace, mount: &Detached, target: &Place) -> Result<()> {
    attach_unproven(trace, mount, target).map(drop)
}

/// As [`attach`]. Where the trace takes it later, another process is to read the evidence
/// ([`Unproven`](crate::unproven::Unproven)), for the step whose number is given.
///
/// # Errors
///
/// Those of [`attach`].
pub fn attach_unproven(trace: &Trace, mount: &Detached, target: &Place) -> Result<Option<u64>> {
    let path = target.path().display().to_string();
    let body = Body::MountAttach {
        target: path.clone(),
        fstype: mount.what.fstype.clone(),
        source: mount.what.source.clone(),
        flags: mount.what.flags.clone(),
        data: mount.what.data.clone(),
    };
    trace.step(body, |span| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount, "", target, "", flags).map_err(|error| Error::call("move_mount", &path, error))?;
        // The line of every mount is in the evidence of the pivot; one by one, each would read the whole table.
        if span.trace().is_on()
            && !span.trace().takes_proofs()
            && mount.what.fstype.as_deref() == Some("overlay")
            && let Some(line) = files::mount_line(&path)
        {
            let tid = files::traced_tid(span.trace());
            span.evidence(|| Evidence::new(format!("/proc/{tid}/mountinfo"), [line]));
        }
        Ok(span.trace().takes_proofs().then(|| span.trace().span()))
    })
}

/// Takes the mount at a path of this process out of the tree, also while it is in use: umount2(2)
/// with `MNT_DETACH`.
///
/// # Errors
///
/// `EINVAL` if nothing is mounted there.
pub fn detach(trace: &Trace, target: &Path) -> Result<()> {
    let path = target.display().to_string();
    let body = Body::MountDetach { target: path.clone(), flags: vec!["MNT_DETACH".to_owned()] };
    trace.step(body, |_| {
        unmount(target, UnmountFlags::DETACH).map_err(|error| Error::call("umount2", path, error))
    })
}

/// Changes the propagation of the mount at a place, and of all mounts below it if `recursive`.
///
/// # Errors
///
/// `EINVAL` if the place is no mount.
pub fn set_propagation(
    trace: &Trace,
    target: &Place,
    propagation: Propagation,
    recursive: bool,
) -> Result<()> {
    let path = target.path().display().to_string();
    let body = Body::MountPropagation {
        target: path.clone(),
        propagation: propagation.name().to_owned(),
        recursive,
    };
    let change = Change { propagation: propagation.flag(), recursive, ..Change::default() };
    trace.step(body, |_| set_attributes(target.as_fd(), &path, change))
}

/// Cuts this process's mount namespace off from the one it was copied from: nothing that is
/// mounted here is seen there, or the reverse.
///
/// # Errors
///
/// Those of [`set_propagation`].
pub fn make_private(trace: &Trace) -> Result<()> {
    set_propagation(trace, &Place::open(Path::new("/"))?, Propagation::Private, true)
}

/// Makes the mount at a place read-only, and all mounts below it if `recursive`: mount_setattr(2).
/// The other attributes stay.
///
/// # Errors
///
/// `EINVAL` if the place is no mount.
pub fn remount_readonly(trace: &Trace, target: &Place, recursive: bool) -> Result<()> {
    let path = target.path().display().to_string();
    let body = Body::MountReadonly { target: path.clone(), recursive };
    let change =
        Change { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), recursive, ..Change::default() };
    trace.step(body, |_| set_attributes(target.as_fd(), &path, change))
}

/// Makes a path of the container read-only where it lies: it is bound onto itself, and the
/// copy allows no writing. A path that does not exist needs none of it.
///
/// # Errors
///
/// Those of openat2(2), open_tree(2), mount_setattr(2) and move_mount(2).
pub fn readonly_path(trace: &Trace, root: &Root, inside: &Path) -> Result<()> {
    let body = Body::MountReadonly { target: inside.display().to_string(), recursive: true };
    let place = match root.resolve(inside) {
        Err(error) if error.errno() == Some(libc::ENOENT) => {
            trace.skip(body, "it does not exist");
            return Ok(());
        }
        found => found?,
    };
    trace.step(body, |span| {
        let sealed = Attributes { read_only: true, read_only_below: true, ..Attributes::default() };
        bind(span.trace(), &place, &place, true, sealed)
    })
}

/// What mount_setattr(2) shall change.
#[derive(Clone, Copy, Default)]
struct Change {
    set: u64,
    propagation: u64,
    recursive: bool,
}

/// The argument of mount_setattr(2), as `linux/mount.h` lays it out.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// The field of access times is no flag but a choice: setting one takes clearing the field.
const ATIME_FIELD: u64 = 0x70;

fn set_attributes(mount: BorrowedFd<'_>, subject: &str, change: Change) -> Result<()> {
    let clear = if change.set & ATIME_FIELD == 0 { 0 } else { ATIME_FIELD };
    let attributes =
        MountAttr { attr_set: change.set, attr_clr: clear, propagation: change.propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open, the path is an empty C string, and attributes is a mount_attr of the size given
    // that outlives the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    check("mount_setattr", subject, answer)?;
    Ok(())
}
