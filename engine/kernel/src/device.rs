//! Device nodes and links in a container's `/dev`.
//!
//! A container has the few devices that every program expects, and no others: see
//! OCI runtime-spec `config-linux.md`, "Default Devices"; null(4), random(4), pts(4).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use glassdock_trace::{Body, Trace};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;

use crate::mount::{Attributes, bind};
use crate::path::{Place, Root};
use crate::{Error, Result};

/// What kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read and written in bytes.
    Character,
    /// Read and written in blocks.
    Block,
    /// A named pipe.
    Fifo,
}

impl Kind {
    fn file_type(self) -> FileType {
        match self {
            Self::Character => FileType::CharacterDevice,
            Self::Block => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
        }
    }

    /// The letter that `ls -l` shows.
    fn letter(self) -> char {
        match self {
            Self::Character => 'c',
            Self::Block => 'b',
            Self::Fifo => 'p',
        }
    }
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it lies in the container.
    pub path: PathBuf,
    /// What kind it is.
    pub kind: Kind,
    /// The number of its driver.
    pub major: u32,
    /// The number that the driver knows it by.
    pub minor: u32,
    /// Permission bits, such as 0o666.
    pub mode: u32,
    /// The owner, inside.
    pub uid: u32,
    /// The group, inside.
    pub gid: u32,
}

/// Path, major and minor of the devices that every container has.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The devices that every container has: null, zero, full, random, urandom, tty, for all to read and write.
#[must_use]
pub fn defaults() -> Vec<Device> {
    let device = |(path, major, minor): (&str, u32, u32)| Device {
        path: path.into(),
        kind: Kind::Character,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    DEFAULTS.into_iter().map(device).collect()
}

/// The links that every container has: where they lie, and what they lead to.
pub const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Makes a device node: mknodat(2). Where that is refused (in a user namespace), the
/// host's node of the same path is bound there instead.
///
/// # Errors
///
/// Those of mknodat(2) and, for the second way, of move_mount(2). A node that is there already with
/// the same numbers is fine; anything else is `EEXIST`.
pub fn create(trace: &Trace, root: &Root, device: &Device) -> Result<()> {
    let path = device.path.display().to_string();
    let shown = match device.kind {
        Kind::Fifo => "p".to_owned(),
        kind => format!("{} {}:{}", kind.letter(), device.major, device.minor),
    };
    let body = Body::DeviceCreate { path: path.clone(), device: Some(shown), link: None };
    trace.step(body, |span| {
        let (folder, name) = root.parent_of(&device.path)?;
        // The mode goes past the umask with chmod below.
        let mode = Mode::from_raw_mode(device.mode & 0o7777);
        let number = makedev(device.major, device.minor);
        match rustix::fs::mknodat(&folder, name, device.kind.file_type(), mode, number) {
            Ok(()) => set_owner(&folder, name, device, mode),
            Err(Errno::EXIST) if is_same(root, device)? => Ok(()),
            Err(Errno::PERM) if device.kind != Kind::Fifo => {
                let host = Place::open(&device.path)?;
                let target = root.create_file(&device.path, 0o666)?;
                bind(span.trace(), &host, &target, false, Attributes::default())
            }
            Err(error) => Err(Error::call("mknodat", path, error)),
        }
    })
}

fn set_owner(folder: &Place, name: &OsStr, device: &Device, mode: Mode) -> Result<()> {
    let subject = || device.path.display().to_string();
    if (device.uid, device.gid) != (0, 0) {
        let (owner, group) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(folder, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| Error::call("fchownat", subject(), error))?;
    }
    rustix::fs::chmodat(folder, name, mode, AtFlags::empty())
        .map_err(|error| Error::call("fchmodat", subject(), error))
}

fn is_same(root: &Root, device: &Device) -> Result<bool> {
    let stat = root.resolve(&device.path)?.stat()?;
    let kind = FileType::from_raw_mode(stat.st_mode) == device.kind.file_type();
    Ok(kind && (device.kind == Kind::Fifo || stat.st_rdev == makedev(device.major, device.minor)))
}

/// Makes a symbolic link: symlinkat(2). One that is there already with the same target is fine.
///
/// # Errors
///
/// `EEXIST` if something else is there.
pub fn link(trace: &Trace, root: &Root, path: &Path, target: &Path) -> Result<()> {
    let body = Body::DeviceCreate {
        path: path.display().to_string(),
        device: None,
        link: Some(target.display().to_string()),
    };
    trace.step(body, |_| root.symlink(target, path))
}
