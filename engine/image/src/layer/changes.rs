//! What a container changed, held against the layers below it: `docker diff`.
//!
//! ```text
//!   upper directory        layers below            kind
//!   a file, a directory    nothing                 added
//!   a file                 a file                  modified
//!   a directory            a directory             modified, if it differs or something in it does
//!   a whiteout, or nothing in an opaque directory  deleted
//! ```
//!
//! Places that the engine itself makes in each container, for what it mounts there
//! (`/etc/hosts`, `/proc`), are nobody's change: see [`FURNITURE`].

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, lgetxattr, open, openat, statat};
use rustix::io::Errno;

use super::below::{Below, is_whiteout};
use super::furnish::{MARK, MOUNTS, is_link};
use super::walk::is_opaque;
use super::write::{failed, proc_path};
use super::{Error, disk};

/// Where the engine puts something into each container: empty files and directories that are
/// mounted over, and two marks, see [`super::furnish`].
const FURNITURE: [&[u8]; 12] = [
    b".dockerenv",
    b"dev",
    b"etc",
    b"proc",
    b"sys",
    b"dev/console",
    b"dev/pts",
    b"dev/shm",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/mtab",
    b"etc/resolv.conf",
];

/// Deeper than any real tree; the rest of a hostile one is left out. Each level holds descriptors.
const DEEPEST: usize = 256;

/// What became of a path; the numbers are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is there, and was, but differs; or something in it does.
    Modified = 0,
    /// It was not there.
    Added = 1,
    /// It is not there any more.
    Deleted = 2,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path inside the container, from `/` on.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: Kind,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// All changes, each directory before what is in it, names sorted.
pub(super) fn changes(upper: &Path, lower: &[PathBuf]) -> Result<Vec<Change>, Error> {
    let left_out = furniture(upper, lower, &[])?;
    let mut found = Vec::new();
    let root = open(upper, FOLDER, Mode::empty()).map_err(|errno| disk("open", upper)(errno.into()))?;
    let mut levels = vec![Level::new(root, Below::open(lower)?, Vec::new(), false)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            levels.pop();
            continue;
        };
        let mut path = level.path.clone();
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        if left_out.contains(&path[1..]) {
            continue;
        }
        let at = found.len();
        if let Some(inner) =
            level.one(&name, &path, &mut found).map_err(|error| failed("compare", &path, error))?
            && levels.len() < DEEPEST
        {
            levels.push(inner);
        }
        if found.len() > at {
            tell_parents(&mut levels, &mut found, at);
        }
    }
    Ok(found)
}

/// A directory in which something changed is itself changed: it gets its line before them, if it has none.
fn tell_parents(levels: &mut [Level], found: &mut Vec<Change>, at: usize) {
    let mut missing = Vec::new();
    let changed = found.get(at).map(|change| change.path.clone()).unwrap_or_default();
    for level in levels.iter_mut().filter(|level| !level.told && changed.starts_with(&level.path)) {
        // The level of the change itself may have been pushed already.
        if level.path.len() < changed.len() {
            level.told = true;
            if !level.path.is_empty() {
                missing.push(Change { path: level.path.clone(), kind: Kind::Modified });
            }
        }
    }
    found.splice(at..at, missing);
}

/// A directory that is being compared.
struct Level {
    folder: OwnedFd,
    below: Below,
    path: Vec<u8>,
    /// Whether nothing of the layers below shows through.
    opaque: bool,
    /// Whether the directory has its line.
    told: bool,
    /// What is still to be compared, the next one last.
    names: Vec<CString>,
}

impl Level {
    fn new(folder: OwnedFd, below: Below, path: Vec<u8>, told: bool) -> Result<Self, Error> {
        let failed = |act| {
            let path = path.clone();
            move |error| failed(act, &path, error)
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder).map_err(|errno| failed("list")(errno.into()))? {
            let name = entry.map_err(|errno| failed("list")(errno.into()))?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        Ok(Self { folder, below, path, opaque: false, told, names }.sorted())
    }

    fn sorted(mut self) -> Self {
        self.names.sort_unstable_by(|a, b| b.cmp(a));
        self.names.dedup();
        self
    }

    /// Compares one name, and goes on into it if it is a directory.
    fn one(&self, name: &CString, path: &[u8], found: &mut Vec<Change>) -> io::Result<Option<Self>> {
        let mut tell = |kind| found.push(Change { path: path.to_vec(), kind });
        let before = self.below.find(name)?;
        let now = match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It is of the layers below, and this directory hides them.
            Err(Errno::NOENT) if self.opaque => None,
            Err(Errno::NOENT) => return Ok(None),
            other => Some(other?).filter(|stat| !is_whiteout(stat)),
        };
        let Some(now) = now else {
            if before.is_some() {
                tell(Kind::Deleted);
            }
            return Ok(None);
        };
        let is_dir = |stat: &Stat| FileType::from_raw_mode(stat.st_mode).is_dir();
        let told = match &before {
            None => {
                tell(Kind::Added);
                true
            }
            Some((before, folder)) => {
                let differs =
                    differs(before, &now) || capability(folder, name) != capability(&self.folder, name);
                if differs {
                    tell(Kind::Modified);
                }
                differs
            }
        };
        let was_dir = before.as_ref().is_some_and(|(stat, _)| is_dir(stat));
        let below = if was_dir { self.below.enter(name)? } else { Below::nothing() };
        if is_dir(&now) {
            let inner = openat(&self.folder, name, FOLDER, Mode::empty())?;
            let opaque = is_opaque(&self.folder, name);
            let mut level = Self::new(inner, below, path.to_vec(), told).map_err(io::Error::other)?;
            if opaque {
                level.names.extend(level.below.names()?);
                level.opaque = true;
            }
            return Ok(Some(level.sorted()));
        }
        // A file took a directory's place: what was in it is gone.
        for gone in below.names()? {
            let mut path = path.to_vec();
            path.push(b'/');
            path.extend_from_slice(gone.as_bytes());
            found.push(Change { path, kind: Kind::Deleted });
        }
        Ok(None)
    }
}

/// Whether two states of a path differ in what an archive would say of them. The size and time of a
/// directory say nothing of it.
fn differs(before: &Stat, now: &Stat) -> bool {
    let same = before.st_mode == now.st_mode && before.st_uid == now.st_uid && before.st_gid == now.st_gid;
    if !same || before.st_rdev != now.st_rdev {
        return true;
    }
    if FileType::from_raw_mode(now.st_mode).is_dir() {
        return false;
    }
    // A time without a fraction comes from an archive that keeps none.
    let nanos = (before.st_mtime_nsec, now.st_mtime_nsec);
    let same_time = before.st_mtime == now.st_mtime && (nanos.0 == nanos.1 || nanos.0 == 0 || nanos.1 == 0);
    before.st_size != now.st_size || !same_time
}

fn capability(folder: &OwnedFd, name: &CStr) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = lgetxattr(&*proc_path(folder, name), "security.capability", &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// The paths of the upper directory that are nothing but the engine's own furniture: what the layers
/// below don't have, and nobody filled. `mounts` are places of further mounts.
pub(super) fn furniture(
    upper: &Path,
    lower: &[PathBuf],
    mounts: &[String],
) -> Result<HashSet<Vec<u8>>, Error> {
    let root = open(upper, FOLDER, Mode::empty()).map_err(|errno| disk("open", upper)(errno.into()))?;
    let below = Below::open(lower)?;
    let mut places: Vec<Vec<u8>> = FURNITURE.into_iter().map(<[u8]>::to_vec).collect();
    for mount in mounts {
        let mount = mount.trim_matches('/').as_bytes();
        let ends = mount.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        places.extend(ends.chain([mount.len()]).map(|end| mount[..end].to_vec()));
    }
    places.sort_unstable();
    places.dedup();
    let mut left_out = HashSet::new();
    // A step of a build isn't furnished: what it links is its own.
    let marked = is_empty_file(&root, MARK);
    // The inner first: a directory is furniture if all in it is.
    for path in places.iter().rev().filter(|path| !path.is_empty()) {
        if is_furniture(&root, &below, path, &left_out, marked)
            .map_err(|error| failed("compare", path, error))?
        {
            left_out.insert(path.clone());
        }
    }
    Ok(left_out)
}

fn is_empty_file(folder: &OwnedFd, name: &CStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0)
}

fn is_furniture(
    root: &OwnedFd,
    below: &Below,
    path: &[u8],
    left_out: &HashSet<Vec<u8>>,
    marked: bool,
) -> io::Result<bool> {
    let mut parts = path.split(|byte| *byte == b'/').map(CString::new).peekable();
    let (mut opened, mut entered) = (None, None);
    let name = loop {
        let Some(Ok(part)) = parts.next() else { return Ok(false) };
        if parts.peek().is_none() {
            break part;
        }
        let folder = match openat(opened.as_ref().unwrap_or(root), &part, FOLDER, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            folder => folder?,
        };
        entered = Some(entered.as_ref().unwrap_or(below).enter(&part)?);
        opened = Some(folder);
    };
    let (folder, below) = (opened.as_ref().unwrap_or(root), entered.as_ref().unwrap_or(below));
    let now = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        stat => stat?,
    };
    let before = below.find(&name)?.map(|(stat, _)| stat);
    match (FileType::from_raw_mode(now.st_mode), before) {
        (FileType::RegularFile, None) => Ok(now.st_size == 0),
        (FileType::RegularFile, Some(_)) if path == MARK.to_bytes() => Ok(now.st_size == 0),
        (FileType::Symlink, _) if marked && path == b"etc/mtab" => is_link(folder, &name, MOUNTS),
        (FileType::Directory, before) if before.is_none_or(|before| !differs(&before, &now)) => {
            if is_opaque(folder, &name) {
                return Ok(before.is_none());
            }
            let inside = openat(folder, &name, FOLDER, Mode::empty())?;
            for entry in Dir::read_from(&inside)? {
                let entry = entry?;
                let entry = entry.file_name().to_bytes();
                let whole = [path, b"/", entry].concat();
                if entry != b"." && entry != b".." && !left_out.contains(&whole) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}
