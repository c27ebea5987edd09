//! What every container has beside its image's files: the places that the engine mounts something at, and two
//! marks that programs look for.
//!
//! ```text
//!   /.dockerenv                                a program can tell by it that it runs in a container
//!   /proc  /sys  /dev/pts  /dev/shm            empty directories
//!   /dev/console  /etc/hostname  /etc/hosts  /etc/resolv.conf      empty files
//!   /etc/mtab -> /proc/mounts                  what is mounted, under the name that older programs know
//! ```
//!
//! What the image has stays as it is, but for the marks: an `/etc/mtab` of its own would tell of the machine that
//! the image was made on. Nothing is looked up by a path: a directory that the image has as a link stays that link,
//! and nothing is made behind it. None of this is anybody's change, see [`super::changes`].
//!
//! Docker keeps the same in a layer of its own between the image's and the container's ("init layer").

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    FileType, Gid, Mode, OFlags, Uid, XattrFlags, fchmod, fchown, fsetxattr, mkdirat, open, openat, symlinkat,
};

use super::below::Below;
use super::write::{attributes, failed};
use super::{Error, disk};

/// The mark of a container's upper directory.
pub(super) const MARK: &CStr = c".dockerenv";
/// Where `/etc/mtab` leads to.
pub(super) const MOUNTS: &CStr = c"/proc/mounts";

/// Whether a file of a container's upper directory is the link that it is furnished with; all else of it is empty.
#[must_use]
pub fn is_furnished(upper: &Path, file: &Path) -> bool {
    file.strip_prefix(upper).is_ok_and(|place| place == Path::new("etc/mtab"))
        && std::fs::read_link(file)
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes() == MOUNTS.to_bytes())
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

enum Piece {
    Folder(&'static CStr),
    File(&'static CStr),
    Link(&'static CStr, &'static CStr),
}

/// Directories of the root, and what is in each.
const INSIDE: [(&CStr, &[Piece]); 2] = [
    (c"dev", &[Piece::File(c"console"), Piece::Folder(c"pts"), Piece::Folder(c"shm")]),
    (
        c"etc",
        &[
            Piece::File(c"hostname"),
            Piece::File(c"hosts"),
            Piece::File(c"resolv.conf"),
            Piece::Link(c"mtab", MOUNTS),
        ],
    ),
];

/// Furnishes the empty upper directory of a container on the layers `lower`, the uppermost first.
pub(super) fn furnish(upper: &Path, lower: &[PathBuf]) -> Result<(), Error> {
    let root = open(upper, FOLDER, Mode::empty()).map_err(|errno| disk("open", upper)(errno.into()))?;
    let below = Below::open(lower)?;
    let at = |path: &CStr| {
        let path = path.to_bytes().to_vec();
        move |error| failed("furnish", &path, error)
    };
    file(&root, MARK).map_err(at(MARK))?;
    for name in [c"proc", c"sys"] {
        put(&root, &below, &Piece::Folder(name)).map_err(at(name))?;
    }
    for (name, pieces) in INSIDE {
        let Some(folder) = folder(&root, &below, name)? else { continue };
        let inside = below.enter(&name.to_owned()).map_err(at(name))?;
        for piece in pieces {
            put(&folder, &inside, piece).map_err(at(name))?;
        }
    }
    Ok(())
}

/// Makes a directory of the root as the layers below have it, as overlayfs does before something in it changes;
/// `None` if they have something else there.
fn folder(root: &OwnedFd, below: &Below, name: &'static CStr) -> Result<Option<OwnedFd>, Error> {
    let at = |error| failed("furnish", name.to_bytes(), error);
    let before = below.find(name).map_err(at)?;
    if before.as_ref().is_some_and(|(stat, _)| !FileType::from_raw_mode(stat.st_mode).is_dir()) {
        return Ok(None);
    }
    let make = || -> io::Result<OwnedFd> {
        mkdirat(root, name, Mode::from_raw_mode(0o755))?;
        Ok(openat(root, name, FOLDER, Mode::empty())?)
    };
    let made = make().map_err(at)?;
    if let Some((stat, layer)) = before {
        let xattrs = attributes(layer, name, name.to_bytes())?;
        let look_alike = || -> io::Result<()> {
            fchown(&made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
            fchmod(&made, Mode::from_raw_mode(stat.st_mode))?;
            for (key, value) in &xattrs {
                fsetxattr(&made, key.as_slice(), value, XattrFlags::empty())?;
            }
            Ok(())
        };
        look_alike().map_err(at)?;
    }
    Ok(Some(made))
}

fn put(folder: &OwnedFd, below: &Below, piece: &Piece) -> io::Result<()> {
    let before = |name: &CStr| -> io::Result<Option<FileType>> {
        Ok(below.find(name)?.map(|(stat, _)| FileType::from_raw_mode(stat.st_mode)))
    };
    match piece {
        Piece::Folder(name) if before(name)?.is_none() => {
            Ok(mkdirat(folder, *name, Mode::from_raw_mode(0o755))?)
        }
        Piece::File(name) if before(name)?.is_none() => file(folder, name),
        // In an image that was made of a whole container, the link is there.
        Piece::Link(name, target)
            if !leads_to(below, name, target)? && before(name)? != Some(FileType::Directory) =>
        {
            Ok(symlinkat(*target, folder, *name)?)
        }
        _ => Ok(()),
    }
}

fn leads_to(below: &Below, name: &CStr, target: &CStr) -> io::Result<bool> {
    match below.find(name)? {
        Some((stat, layer)) if FileType::from_raw_mode(stat.st_mode).is_symlink() => {
            is_link(layer, name, target)
        }
        _ => Ok(false),
    }
}

/// Whether the link `name` leads to `target`.
pub(super) fn is_link(folder: &OwnedFd, name: &CStr, target: &CStr) -> io::Result<bool> {
    let found: CString = rustix::fs::readlinkat(folder, name, Vec::new())?;
    Ok(found.as_c_str() == target)
}

fn file(folder: &OwnedFd, name: &CStr) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::from_raw_mode(0o755)).map(drop)?)
}
