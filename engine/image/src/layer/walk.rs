//! A tree of files becomes an archive: a container's changes as a layer, or what a
//! container has at a place as a plain archive.
//!
//! The same tree gives the same bytes: names are sorted. A directory is written
//! before what is in it, and read after it; one is open at a time, so depth costs nothing.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, lgetxattr, readlinkat, statat};
use rustix::io::Errno;
use tar::EntryType;

use super::tree::open_in;
use super::write::{Writer, attributes, failed, proc_path};
use super::{Error, shown};

/// The longest path that the kernel takes, less what stands before it in an archive.
const LONGEST_PATH: usize = 4000;

/// How a tree is read.
pub(super) enum Flavour<'a> {
    /// overlayfs's own marks become whiteouts; what is named here is left out.
    Layer(&'a HashSet<Vec<u8>>),
    /// What is there is there. The tree may change meanwhile: what vanishes is passed over.
    Plain,
}

/// A tree on its way into an archive.
pub(super) struct Walk<'a, W: Write> {
    root: OwnedFd,
    pub(super) out: Writer<W>,
    flavour: Flavour<'a>,
    /// What stands before each name in the archive.
    prefix: Vec<u8>,
    /// The first path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    pub(super) whiteouts: u64,
    /// Sockets, which are left out.
    pub(super) passed_over: u64,
}

impl<'a, W: Write> Walk<'a, W> {
    pub(super) fn new(root: OwnedFd, out: Writer<W>, flavour: Flavour<'a>, prefix: &[u8]) -> Self {
        Self {
            root,
            out,
            flavour,
            prefix: prefix.to_vec(),
            links: HashMap::new(),
            whiteouts: 0,
            passed_over: 0,
        }
    }

    /// Writes all that is below the root, but not the root itself.
    pub(super) fn all(&mut self) -> Result<(), Error> {
        // Directories to be read, the next one last.
        let mut waiting = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            self.directory(&path, &mut waiting)?;
        }
        Ok(())
    }

    /// Writes the root's own entry under a name that ends with a slash.
    pub(super) fn top(&mut self, name: &[u8]) -> Result<(), Error> {
        let stat = rustix::fs::fstat(&self.root).map_err(|errno| failed("stat", name, errno.into()))?;
        let xattrs = attributes(&self.root, c".", name)?;
        self.out.header(name, &stat, EntryType::Directory, 0, None, &xattrs)
    }

    /// Writes one entry of the root that is no directory, under that name.
    pub(super) fn single(&mut self, name: &CString) -> Result<(), Error> {
        let root = self.root.try_clone().map_err(|error| failed("open", name.as_bytes(), error))?;
        // Its name in the archive is the prefix alone.
        self.one(&root, name, b"", b"").map(drop)
    }

    fn plain(&self) -> bool {
        matches!(self.flavour, Flavour::Plain)
    }

    /// Writes what is in a directory, sorted; its own directories are written here and read later.
    fn directory(&mut self, path: &[u8], waiting: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        let at = |act| move |errno: io::Error| failed(act, path, errno);
        let place = CString::new(if path.is_empty() { b"." } else { path })
            .map_err(|error| at("open")(error.into()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = match open_in(&self.root, &place, flags) {
            Err(error) if self.plain() && gone(&error) => return Ok(()),
            other => other.map_err(at("open"))?,
        };
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(&fd).map_err(|errno| at("list")(errno.into()))? {
            let name = entry.map_err(|errno| at("list")(errno.into()))?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut inner = Vec::new();
        for name in names {
            let mut whole = path.to_vec();
            if !whole.is_empty() {
                whole.push(b'/');
            }
            whole.extend_from_slice(name.as_bytes());
            if self.plain() && whole.len() > LONGEST_PATH {
                continue;
            }
            match &self.flavour {
                Flavour::Layer(left_out) if left_out.contains(&whole) => continue,
                _ => {}
            }
            if self.one(&fd, &name, path, &whole)? {
                inner.push(whole);
            }
        }
        waiting.extend(inner.into_iter().rev());
        Ok(())
    }

    /// Writes one entry. Returns whether it is a directory that is to be read.
    fn one(&mut self, fd: &OwnedFd, name: &CString, parent: &[u8], path: &[u8]) -> Result<bool, Error> {
        let at = |act| move |errno: Errno| failed(act, path, errno.into());
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if self.plain() => return Ok(false),
            other => other.map_err(at("stat"))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !self.plain() {
            if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
                let mut mark = parent.to_vec();
                mark.extend_from_slice(if parent.is_empty() { b".wh." } else { b"/.wh." });
                mark.extend_from_slice(name.as_bytes());
                return self.mark(&mark, &stat).map(|()| false);
            }
            if name.as_bytes().starts_with(b".wh.") {
                return Err(Error::Refused {
                    path: shown(path),
                    reason: "a layer can't have a file of that name: it would mean a deletion",
                });
            }
        }
        let xattrs = match attributes(fd, name, path) {
            Err(Error::Entry { source, .. }) if self.plain() && gone(&source) => return Ok(false),
            other => other?,
        };
        let key = (stat.st_dev, stat.st_ino);
        let mut called = self.prefix.clone();
        called.extend_from_slice(path);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&key) {
                let mut target = self.prefix.clone();
                target.extend_from_slice(first);
                self.out.header(&called, &stat, EntryType::Link, 0, Some(&target), &[])?;
                return Ok(false);
            }
            self.links.insert(key, path.to_vec());
        }
        match kind {
            FileType::RegularFile => {
                let whole = self.out.file(fd, name, &called, &stat, &xattrs)?;
                if !whole {
                    self.links.remove(&key);
                }
            }
            FileType::Directory => {
                called.push(b'/');
                self.out.header(&called, &stat, EntryType::Directory, 0, None, &xattrs)?;
                if self.plain() {
                    return Ok(!is_made_up(fd, name));
                }
                if is_opaque(fd, name) {
                    called.extend_from_slice(b".wh..wh..opq");
                    self.mark(&called, &stat)?;
                }
                return Ok(true);
            }
            FileType::Symlink => {
                let target = readlinkat(fd, name, Vec::new()).map_err(at("read the link"))?;
                self.out.header(&called, &stat, EntryType::Symlink, 0, Some(target.as_bytes()), &xattrs)?;
            }
            FileType::CharacterDevice => {
                self.out.header(&called, &stat, EntryType::Char, 0, None, &xattrs)?;
            }
            FileType::BlockDevice => self.out.header(&called, &stat, EntryType::Block, 0, None, &xattrs)?,
            FileType::Fifo => self.out.header(&called, &stat, EntryType::Fifo, 0, None, &xattrs)?,
            // A socket without its process means nothing; Docker leaves them out too.
            _ => self.passed_over += 1,
        }
        Ok(false)
    }

    fn mark(&mut self, path: &[u8], stat: &Stat) -> Result<(), Error> {
        self.whiteouts += 1;
        let mut plain = *stat;
        // Nothing but its name means anything.
        (plain.st_mode, plain.st_uid, plain.st_gid, plain.st_mtime, plain.st_mtime_nsec) = (0, 0, 0, 0, 0);
        self.out.header(path, &plain, EntryType::Regular, 0, None, &[])?;
        self.out.entries -= 1;
        Ok(())
    }
}

/// Whether something vanished, or became something else, since it was listed.
fn gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

pub(super) fn is_opaque(fd: &OwnedFd, name: &std::ffi::CStr) -> bool {
    let mut value = [0; 1];
    lgetxattr(&*proc_path(fd, name), "trusted.overlay.opaque", &mut value[..]) == Ok(1) && value == *b"y"
}

/// Whether a directory is the top of a file system that the kernel makes up (proc, sysfs, control
/// groups): it has no files to copy, and some of them never end.
fn is_made_up(fd: &OwnedFd, name: &CString) -> bool {
    /// The magic numbers of `linux/magic.h`: proc, sysfs, both kinds of cgroup, devpts, mqueue, debugfs,
    /// tracefs, securityfs, bpf, binfmt_misc, configfs, selinuxfs.
    const MADE_UP: [u64; 13] = [
        0x9fa0,
        0x6265_6572,
        0x27_e0eb,
        0x6367_7270,
        0x1cd1,
        0x1980_0202,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0xcafe_4a11,
        0x4249_4e4d,
        0x6265_6570,
        0xf97c_ff8c,
    ];
    let path = proc_path(fd, name);
    rustix::fs::statfs(&*path)
        .is_ok_and(|found| MADE_UP.contains(&u64::try_from(found.f_type).unwrap_or_default()))
}
