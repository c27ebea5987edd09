//! An archive's entries become files.
//!
//! The order for each: make it under a name that is free, write it, then owner,
//! mode, attributes, times. chown(2) clears setuid bits and capabilities, so both
//! come after it; writing changes times, so they come last, and a directory's
//! times when all is written.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use glassdock_trace::{Body, Trace};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsetxattr, ftruncate, futimens, linkat, lsetxattr, makedev, mkdirat, mknodat, openat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::archive::{Archive, Entry, Kind};
use super::extract::Target;
use super::tree::{Clean, Place, Tree};
use super::{Error, Limits, Unpacked, shown};

const WHITEOUT: &[u8] = b".wh.";
/// Marks of aufs, of which only the opaque one means anything here.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Unpacks the archive `source` into the empty directory `folder`.
pub(super) fn unpack(
    trace: &Trace,
    source: impl Read,
    folder: &Path,
    limits: Limits,
) -> Result<Unpacked, Error> {
    let tree = Tree::open(folder).map_err(super::disk("open", folder))?;
    let mut unpack = Unpack {
        trace,
        tree,
        target: None,
        unpacked: Unpacked::default(),
        limits,
        later: Vec::new(),
        buffer: vec![0; 128 * 1024],
    };
    let mut archive = Archive::new(source, limits.bytes);
    while let Some(entry) = archive.next()? {
        unpack.count(&entry)?;
        unpack.entry(&entry, &mut archive)?;
    }
    unpack.finish()
}

/// Unpacks the archive `source` below a folder of a tree that is there already.
pub(super) fn extract(
    root: OwnedFd,
    target: &Target,
    source: impl Read,
    limits: Limits,
) -> Result<Unpacked, Error> {
    let trace = Trace::off();
    let mut unpack = Unpack {
        trace: &trace,
        tree: Tree::from_fd(root),
        target: Some(target),
        unpacked: Unpacked::default(),
        limits,
        later: Vec::new(),
        buffer: vec![0; 128 * 1024],
    };
    let mut archive = Archive::new(source, limits.bytes);
    while let Some(mut entry) = archive.next()? {
        unpack.count(&entry)?;
        if let Some((uid, gid)) = target.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        unpack.plain(&entry, target, &mut archive)?;
    }
    unpack.finish()
}

struct Unpack<'a> {
    trace: &'a Trace,
    tree: Tree,
    /// Where it goes, if it is no layer.
    target: Option<&'a Target>,
    unpacked: Unpacked,
    limits: Limits,
    /// Directories' paths and times, for the end.
    later: Vec<(Clean, (i64, u32))>,
    buffer: Vec<u8>,
}

impl Unpack<'_> {
    fn count(&mut self, entry: &Entry) -> Result<(), Error> {
        self.unpacked.entries += 1;
        self.unpacked.bytes = self.unpacked.bytes.saturating_add(entry.size);
        if self.unpacked.entries > self.limits.entries {
            return Err(Error::TooMuch { what: "entries", limit: self.limits.entries });
        }
        if self.unpacked.bytes > self.limits.bytes {
            return Err(Error::TooMuch { what: "bytes", limit: self.limits.bytes });
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), Error> {
        let refused = |reason| Err(Error::Refused { path: shown(&entry.path), reason });
        let clean = Clean::new(&entry.path)?;
        let Some((parent, name)) = clean.split() else {
            if entry.kind != Kind::Directory {
                return refused("the layer's root must be a directory");
            }
            return self.root(entry, clean);
        };
        if parent.iter().any(|part| part.starts_with(WHITEOUT)) {
            return refused("it lies below the mark of a deletion");
        }
        if name == OPAQUE {
            return self.opaque(parent, entry);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return refused("it is the mark of a deletion that names nothing");
            }
            return self.whiteout(parent, hidden, entry);
        }
        let place = self.tree.place(parent, name).map_err(failed("make the parent of", entry))?;
        self.make(entry, &clean, &place, archive)
    }

    /// An entry that is no mark of a layer, and goes below a folder that is there already.
    fn plain<R: Read>(
        &mut self,
        entry: &Entry,
        target: &Target,
        archive: &mut Archive<R>,
    ) -> Result<(), Error> {
        let clean = target.place(&entry.path)?;
        let Some((parent, name)) = clean.split().filter(|_| clean.depth() > target.depth()) else {
            // The folder itself stays as it is.
            return if entry.kind == Kind::Directory { Ok(()) } else { Err(target.outside(&entry.path)) };
        };
        if entry.kind == Kind::Symlink {
            target.check_link(&clean, entry)?;
        }
        let place = self.tree.place(parent, name).map_err(failed("make the parent of", entry))?;
        let there = place.kind().map_err(failed("look at", entry))?;
        target.check_overwrite(&clean, there, entry.kind)?;
        self.make(entry, &clean, &place, archive)
    }

    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        clean: &Clean,
        place: &Place,
        archive: &mut Archive<R>,
    ) -> Result<(), Error> {
        match entry.kind {
            Kind::Directory => {
                self.directory(entry, place)?;
                self.later.push((clean.clone(), entry.mtime));
                return Ok(());
            }
            Kind::File => self.file(entry, place, archive)?,
            Kind::HardLink => return self.hard_link(entry, place),
            Kind::Symlink => self.symlink(entry, place)?,
            Kind::Char | Kind::Block | Kind::Fifo => self.node(entry, place)?,
        }
        Ok(())
    }

    fn root(&mut self, entry: &Entry, clean: Clean) -> Result<(), Error> {
        let root = self.tree.root();
        fchown(root, owner(entry).0, owner(entry).1).map_err(failed("change the owner of", entry))?;
        fchmod(root, Mode::from_raw_mode(entry.mode)).map_err(failed("change the mode of", entry))?;
        attributes(entry, |name, value| fsetxattr(root, name, value, XattrFlags::empty()))?;
        self.later.push((clean, entry.mtime));
        Ok(())
    }

    /// Makes something under a name; what an earlier entry made there gives way.
    fn fresh<T>(
        &mut self,
        entry: &Entry,
        place: &Place,
        make: impl Fn(&Place) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        match make(place) {
            Err(Errno::EXIST) => {
                place.clear().map_err(failed("replace", entry))?;
                self.tree.forget();
                make(place).map_err(failed("make", entry))
            }
            other => other.map_err(failed("make", entry)),
        }
    }

    fn file<R: Read>(&mut self, entry: &Entry, place: &Place, archive: &mut Archive<R>) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.fresh(entry, place, |place| {
            openat(&*place.parent, &*place.name, flags, Mode::from_raw_mode(0o600))
        })?;
        self.content(entry, &file, archive)?;
        let (uid, gid) = owner(entry);
        if uid.is_some() || gid.is_some() {
            fchown(&file, uid, gid).map_err(failed("change the owner of", entry))?;
        }
        fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(failed("change the mode of", entry))?;
        attributes(entry, |name, value| fsetxattr(&file, name, value, XattrFlags::empty()))?;
        futimens(&file, &times(entry.mtime)).map_err(failed("set the times of", entry))
    }

    /// Writes what is stored; the holes of a sparse file stay holes.
    fn content<R: Read>(
        &mut self,
        entry: &Entry,
        file: &OwnedFd,
        archive: &mut Archive<R>,
    ) -> Result<(), Error> {
        let whole = [(0, entry.size)];
        for (offset, length) in entry.pieces.as_deref().unwrap_or(&whole) {
            let (mut at, end) = (*offset, offset + length);
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
                let count = archive.read(&mut self.buffer[..wanted])?;
                let mut rest = &self.buffer[..count];
                while !rest.is_empty() {
                    let written = rustix::io::pwrite(file, rest, at).map_err(failed("write", entry))?;
                    at += written as u64;
                    rest = &rest[written..];
                }
            }
        }
        if entry.pieces.is_some() {
            ftruncate(file, entry.size).map_err(failed("write", entry))?;
        }
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        match mkdirat(&*place.parent, &*place.name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => match place.kind().map_err(failed("look at", entry))? {
                Some(FileType::Directory) => {}
                found => {
                    place.clear().map_err(failed("replace", entry))?;
                    self.tree.forget();
                    mkdirat(&*place.parent, &*place.name, Mode::from_raw_mode(0o700))
                        .map_err(failed("make", entry))?;
                    if found == Some(FileType::CharacterDevice) && self.target.is_none() {
                        // The layer deleted what was below and made it anew: nothing below shows through.
                        set_opaque(place, entry)?;
                    }
                }
            },
            Err(errno) => return Err(failed("make", entry)(errno)),
        }
        self.owned(entry, place)?;
        self.mode(entry, place)?;
        attributes(entry, |name, value| lsetxattr(place.proc_path(), name, value, XattrFlags::empty()))
    }

    fn symlink(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        self.fresh(entry, place, |place| symlinkat(entry.link.as_slice(), &*place.parent, &*place.name))?;
        self.owned(entry, place)?;
        attributes(entry, |name, value| lsetxattr(place.proc_path(), name, value, XattrFlags::empty()))?;
        self.timed(entry, place)
    }

    fn node(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        let kind = match entry.kind {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = makedev(entry.device.0, entry.device.1);
        self.fresh(entry, place, |place| {
            mknodat(&*place.parent, &*place.name, kind, Mode::from_raw_mode(0o600), device)
        })?;
        self.owned(entry, place)?;
        self.mode(entry, place)?;
        attributes(entry, |name, value| lsetxattr(place.proc_path(), name, value, XattrFlags::empty()))?;
        self.timed(entry, place)
    }

    /// Another name for a file of the same layer; links to what lies below can't be made.
    fn hard_link(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        let (own, target) = match self.target {
            Some(folder) => (folder.place(&entry.path)?, folder.link(&entry.link)?),
            None => (Clean::new(&entry.path)?, Clean::new(&entry.link)?),
        };
        let Some((parent, name)) = target.split() else {
            return Err(Error::Refused {
                path: shown(&entry.path),
                reason: "it is a hard link to the layer's root",
            });
        };
        let target =
            self.tree.existing(parent, name).map_err(failed("find the target of the hard link", entry))?;
        if own == Clean::with_base(&[], parent, name) {
            return Ok(());
        }
        self.fresh(entry, place, |place| {
            linkat(&*target.parent, &*target.name, &*place.parent, &*place.name, AtFlags::empty())
        })
    }

    /// Hides a name of the layers below: a character device 0/0. What this same
    /// layer has under that name hides them already.
    fn whiteout(&mut self, parent: &[Vec<u8>], hidden: &[u8], entry: &Entry) -> Result<(), Error> {
        let place = self.tree.place(parent, hidden).map_err(failed("make the parent of", entry))?;
        match place.kind().map_err(failed("look at", entry))? {
            None => {
                mknodat(&*place.parent, &*place.name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(failed("make the whiteout", entry))?;
            }
            Some(FileType::Directory) => set_opaque(&place, entry)?,
            Some(_) => {}
        }
        let mut path = parent.to_vec();
        path.push(hidden.to_vec());
        self.trace
            .point(Body::LayerWhiteout { path: format!("/{}", shown(&path.join(&b'/'))), opaque: false });
        Ok(())
    }

    /// Hides all that the layers below have in a directory.
    fn opaque(&mut self, parent: &[Vec<u8>], entry: &Entry) -> Result<(), Error> {
        match parent.split_last() {
            // Nothing is above the root, where the mark would be read: it says what is true anyway for a
            // lowest layer, and can't be said of another.
            None => {}
            Some((name, above)) => {
                // The directory is made if its own entry comes later.
                self.tree.place(parent, b"x").map_err(failed("make the parent of", entry))?;
                let place = self.tree.place(above, name).map_err(failed("find the parent of", entry))?;
                set_opaque(&place, entry)?;
            }
        }
        self.trace
            .point(Body::LayerWhiteout { path: format!("/{}", shown(&parent.join(&b'/'))), opaque: true });
        Ok(())
    }

    fn owned(&self, entry: &Entry, place: &Place) -> Result<(), Error> {
        let (uid, gid) = owner(entry);
        chownat(&*place.parent, &*place.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("change the owner of", entry))
    }

    /// Only for what was just made and is no link: `fchmodat(2)` follows links.
    fn mode(&self, entry: &Entry, place: &Place) -> Result<(), Error> {
        chmodat(&*place.parent, &*place.name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .map_err(failed("change the mode of", entry))
    }

    fn timed(&self, entry: &Entry, place: &Place) -> Result<(), Error> {
        utimensat(&*place.parent, &*place.name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the times of", entry))
    }

    /// Sets the directories' times, now that nothing is written into them any more.
    fn finish(mut self) -> Result<Unpacked, Error> {
        for (clean, mtime) in std::mem::take(&mut self.later).into_iter().rev() {
            let Some((parent, name)) = clean.split() else {
                futimens(self.tree.root(), &times(mtime)).map_err(|errno| root_failed(errno.into()))?;
                continue;
            };
            // It may have been replaced by a later entry: then it has that one's times.
            let Ok(place) = self.tree.existing(parent, name) else { continue };
            if matches!(place.kind(), Ok(Some(FileType::Directory))) {
                utimensat(&*place.parent, &*place.name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| root_failed(errno.into()))?;
            }
        }
        Ok(self.unpacked)
    }
}

fn root_failed(source: std::io::Error) -> Error {
    Error::Entry { act: "set the times of a directory", path: "/".to_owned(), source }
}

fn failed<E: Into<std::io::Error>>(act: &'static str, entry: &Entry) -> impl FnOnce(E) -> Error {
    let path = shown(&entry.path);
    move |error| Error::Entry { act, path, source: error.into() }
}

fn set_opaque(place: &Place, entry: &Entry) -> Result<(), Error> {
    lsetxattr(place.proc_path(), "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .map_err(failed("mark as opaque", entry))
}

/// Sets the extended attributes that an archive may set. Those of overlayfs could
/// make a layer show what is not its own, so they are left out; those that the
/// file system does not take, or that need a privilege that is not there, too, as Docker does.
fn attributes(entry: &Entry, set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Result<(), Error> {
    for (name, value) in &entry.xattrs {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") || name.contains(&0) {
            continue;
        }
        match set(name, value) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(errno) => return Err(failed("set an extended attribute of", entry)(errno)),
        }
    }
    Ok(())
}

/// Who is to own an entry. The file of a fresh tree belongs to who unpacks it, which is mostly root.
fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    static OURS: std::sync::OnceLock<(u32, u32)> = std::sync::OnceLock::new();
    let ours =
        OURS.get_or_init(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let uid = (entry.uid != ours.0).then(|| Uid::from_raw(entry.uid));
    let gid = (entry.gid != ours.1).then(|| Gid::from_raw(entry.gid));
    (uid, gid)
}

fn times((tv_sec, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: i64::from(nanos) };
    Timestamps { last_access: time, last_modification: time }
}
