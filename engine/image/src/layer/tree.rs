//! A directory that is written into without ever leaving it.
//!
//! Paths of an archive are hostile. They are cleaned by their text first, and their
//! parent directory is then resolved by the kernel with the tree as its root, so
//! that links inside the tree, absolute or with `..`, lead to places inside the
//! tree (`openat2(2)`, `RESOLVE_IN_ROOT`). All that follows names a single
//! component below that parent's descriptor.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use super::{Error, remove, shown};

/// A cleaned path: no empty component, no `.`, no `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clean(Vec<Vec<u8>>);

impl Clean {
    /// Cleans a path by its text, as `a/./b/../c` becomes `a/c`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it would lead out of its root.
    pub(super) fn new(path: &[u8]) -> Result<Self, Error> {
        let refused = |reason| Error::Refused { path: shown(path), reason };
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or_else(|| refused("it leads out of the layer"))?;
                }
                part if part.contains(&0) => return Err(refused("it has a zero byte in its path")),
                part => parts.push(part.to_vec()),
            }
        }
        Ok(Self(parts))
    }

    /// The path `parent/name` below `base`; all of them are clean.
    pub(super) fn with_base(base: &[Vec<u8>], parent: &[Vec<u8>], name: &[u8]) -> Self {
        Self(base.iter().chain(parent).cloned().chain([name.to_vec()]).collect())
    }

    /// The same path below `base`.
    pub(super) fn below(self, base: &[Vec<u8>]) -> Self {
        Self(base.iter().cloned().chain(self.0).collect())
    }

    /// How many components it has.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// The components.
    pub(super) fn parts(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// The components of the parent, and the last one; `None` for the root itself.
    pub(super) fn split(&self) -> Option<(&[Vec<u8>], &[u8])> {
        self.0.split_last().map(|(name, parent)| (parent, name.as_slice()))
    }
}

/// The tree of one layer.
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// The parent that was used last: archives list a directory's files together.
    last: Option<(Vec<Vec<u8>>, Rc<OwnedFd>)>,
}

/// A place in the tree: a directory and a name in it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) parent: Rc<OwnedFd>,
    pub(super) name: CString,
}

impl Place {
    /// A path for system calls that take no descriptor: through `/proc/self/fd`,
    /// which leads to the parent itself, wherever it is.
    pub(super) fn proc_path(&self) -> Vec<u8> {
        use std::os::fd::AsRawFd;
        let mut path = format!("/proc/self/fd/{}/", self.parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(self.name.to_bytes());
        path
    }

    /// What is there, if anything is.
    pub(super) fn kind(&self) -> io::Result<Option<FileType>> {
        match statat(&*self.parent, &*self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what is there, with all below it.
    pub(super) fn clear(&self) -> io::Result<()> {
        match unlinkat(&*self.parent, &*self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                use std::os::unix::ffi::OsStrExt;
                remove::tree(Path::new(std::ffi::OsStr::from_bytes(&self.proc_path())))
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Tree {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { root: Rc::new(root), last: None })
    }

    pub(super) fn from_fd(root: OwnedFd) -> Self {
        Self { root: Rc::new(root), last: None }
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Something was replaced: what was resolved may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The place of a path; directories above it that are missing are made, as
    /// root's, with mode 755.
    pub(super) fn place(&mut self, parent: &[Vec<u8>], name: &[u8]) -> io::Result<Place> {
        let name = CString::new(name)?;
        if let Some((known, fd)) = &self.last
            && known == parent
        {
            return Ok(Place { parent: Rc::clone(fd), name });
        }
        let fd = match self.directory(&join(parent)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_all(parent)?,
            other => Rc::new(other?),
        };
        self.last = Some((parent.to_vec(), Rc::clone(&fd)));
        Ok(Place { parent: fd, name })
    }

    /// As [`Tree::place`], but nothing is made: for what must be there already.
    pub(super) fn existing(&self, parent: &[Vec<u8>], name: &[u8]) -> io::Result<Place> {
        Ok(Place { parent: Rc::new(self.directory(&join(parent))?), name: CString::new(name)? })
    }

    /// Makes the directories that are missing. The first missing one is found by
    /// halving, and below it all are missing: a deep path takes no longer than it must.
    fn make_all(&self, parent: &[Vec<u8>]) -> io::Result<Rc<OwnedFd>> {
        let (mut there, mut missing) = (0, parent.len());
        let mut above = Rc::clone(&self.root);
        while missing - there > 1 {
            let middle = usize::midpoint(there, missing);
            match self.directory(&join(&parent[..middle])) {
                Ok(fd) => (there, above) = (middle, Rc::new(fd)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = middle,
                Err(error) => return Err(error),
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for name in &parent[there..] {
            let name = CString::new(name.as_slice())?;
            mkdirat(&*above, &*name, Mode::from_raw_mode(0o755))?;
            above = Rc::new(openat(&*above, &*name, flags, Mode::empty())?);
        }
        Ok(above)
    }

    fn directory(&self, path: &CStr) -> io::Result<OwnedFd> {
        open_in(&*self.root, path, OFlags::PATH | OFlags::DIRECTORY)
    }
}

/// Opens a path as if `root` were `/`.
pub(super) fn open_in(root: impl AsFd, path: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // The kernel could not be sure while something was renamed; openat2(2) says to try again.
            Err(Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
}

fn join(parts: &[Vec<u8>]) -> CString {
    let path = if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') };
    // Clean paths have no zero byte.
    CString::new(path).unwrap_or_default()
}
