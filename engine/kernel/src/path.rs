//! Paths inside a container, found without leaving it.
//!
//! The container's image decides what lies under its root, so a symbolic link
//! there may say `/etc -> /../../etc`. Joined to the host's path, that link leads
//! out. openat2(2) with `RESOLVE_IN_ROOT` follows it as if the root were `/`, in
//! one atomic lookup, and gives a descriptor; every later act uses that descriptor
//! and never the path again. That also closes the race in which a link is
//! exchanged between the check and the use.
//!
//! See openat2(2), path_resolution(7).

mod look;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::{Error, Result};

/// How many dangling links are followed while a path is made, as many as the kernel follows.
const LINK_LIMIT: u32 = 40;

/// How often a lookup is tried again while someone renames directories under it (openat2(2), `EAGAIN`).
const RACE_LIMIT: u32 = 128;

/// A directory that is `/` for every lookup from it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// A file or directory that was found: an `O_PATH` descriptor, with the path inside
/// the root that led to it (for traces and messages only).
#[derive(Debug)]
pub struct Place {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens a directory of the host as a root. Its own path is trusted.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { fd: open_trusted(path, OFlags::PATH | OFlags::DIRECTORY)?, path: path.to_owned() })
    }

    /// A root from a directory's descriptor, such as a detached mount's; `path` is
    /// what messages call it.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Self {
        Self { fd, path: path.into() }
    }

    /// What messages call this root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds what lies at a path, following links inside the root.
    ///
    /// # Errors
    ///
    /// `ENOENT` and the others of openat2(2).
    pub fn resolve(&self, inside: &Path) -> Result<Place> {
        let fd = self.open_inside(inside, OFlags::PATH)?;
        Ok(Place { fd, path: Path::new("/").join(inside) })
    }

    /// Finds what lies at a path, refusing links that lead out of the root instead of bending them inside.
    ///
    /// # Errors
    ///
    /// `EXDEV` for a path that leads out, and the others of openat2(2).
    pub fn resolve_beneath(&self, inside: &Path) -> Result<Place> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let fd = self.open_by(inside, OFlags::PATH, resolve)?;
        Ok(Place { fd, path: self.path.join(inside) })
    }

    /// Finds a directory, and makes each part of its path that is missing.
    ///
    /// # Errors
    ///
    /// `ENOTDIR` where a file is in the way; those of openat2(2) and mkdirat(2).
    pub fn create_dir_all(&self, inside: &Path, mode: u32) -> Result<Place> {
        self.create(inside, LINK_LIMIT, &|parent, name| {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode))
        })
    }

    /// Finds a file, and makes it (empty) if it is missing, with the directories above it (0755).
    ///
    /// # Errors
    ///
    /// Those of openat2(2) and openat(2).
    pub fn create_file(&self, inside: &Path, mode: u32) -> Result<Place> {
        if let Some(folder) = inside.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            self.create_dir_all(folder, 0o755)?;
        }
        self.create(inside, LINK_LIMIT, &|parent, name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode)).map(drop)
        })
    }

    /// Opens a file inside for reading. Fifos and devices don't block.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    pub fn read(&self, inside: &Path) -> Result<File> {
        self.open_inside(inside, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
    }

    /// Makes a symbolic link at `inside`; an existing one with the same target is fine.
    ///
    /// # Errors
    ///
    /// `EEXIST` if something else is there; those of symlinkat(2).
    pub fn symlink(&self, target: &Path, inside: &Path) -> Result<()> {
        let (parent, name) = self.parent_of(inside)?;
        match rustix::fs::symlinkat(target, &parent, name) {
            Err(Errno::EXIST) if link_target(&parent, name).is_ok_and(|there| there == target) => Ok(()),
            Err(error) => Err(Error::call("symlinkat", inside.display().to_string(), error)),
            Ok(()) => Ok(()),
        }
    }

    /// The directory that something lies in or shall lie in, made if missing, and its name there.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path that ends in no name (`/`, `..`); those of [`Root::create_dir_all`].
    pub fn parent_of<'a>(&self, inside: &'a Path) -> Result<(Place, &'a OsStr)> {
        let name = inside.file_name().ok_or_else(|| Error::Invalid {
            what: "path",
            value: inside.display().to_string(),
            reason: "it ends in no name",
        })?;
        let folder = inside.parent().unwrap_or(Path::new("/"));
        Ok((self.create_dir_all(folder, 0o755)?, name))
    }

    /// Finds a path, and makes each part of it that is missing with `make`; links that lead
    /// nowhere are followed, and what they mean is made.
    fn create(
        &self,
        inside: &Path,
        links: u32,
        make: &dyn Fn(&Place, &OsStr) -> rustix::io::Result<()>,
    ) -> Result<Place> {
        match self.resolve(inside) {
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            found => return found,
        }
        let mut here = self.resolve(Path::new("/"))?;
        let mut prefix = PathBuf::from("/");
        for component in inside.components() {
            prefix.push(component);
            if let Component::Normal(name) = component
                && let Err(error) = make_if_missing(self, &prefix, &here, name, make)
            {
                let dangling = error.errno() == Some(libc::EEXIST);
                let Ok(target) = link_target(&here, name) else { return Err(error) };
                if !dangling || links == 0 {
                    return Err(Error::call("openat2", prefix.display().to_string(), Errno::LOOP));
                }
                let meant = prefix.parent().unwrap_or(Path::new("/")).join(target);
                self.create(&meant, links - 1, make)?;
            }
            here = self.resolve(&prefix)?;
        }
        Ok(here)
    }

    fn open_inside(&self, inside: &Path, flags: OFlags) -> Result<OwnedFd> {
        // An empty path means the root itself.
        let path = if inside.as_os_str().is_empty() { Path::new("/") } else { inside };
        self.open_by(path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    fn open_by(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < RACE_LIMIT => tries += 1,
                Err(error) => {
                    let subject = format!("{} in {}", path.display(), self.path.display());
                    return Err(Error::call("openat2", subject, error));
                }
                Ok(fd) => return Ok(fd),
            }
        }
    }
}

impl Place {
    /// Opens a path of the host as a place. Its own path is trusted.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { fd: open_trusted(path, OFlags::PATH)?, path: path.to_owned() })
    }

    /// A place from a descriptor; `path` is what messages call it.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Self {
        Self { fd, path: path.into() }
    }

    /// The path that led here.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a directory.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub fn is_dir(&self) -> Result<bool> {
        Ok(FileType::from_raw_mode(self.stat()?.st_mode).is_dir())
    }

    /// What fstat(2) tells of it.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub(crate) fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd)
            .map_err(|error| Error::call("fstat", self.path.display().to_string(), error))
    }
}

/// Opens a path of the host, following its links.
fn open_trusted(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Error::call("open", path.display().to_string(), error))
}

/// Makes `name` in `here` unless the path leads somewhere. `EEXIST` is a link that leads nowhere.
fn make_if_missing(
    root: &Root,
    prefix: &Path,
    here: &Place,
    name: &OsStr,
    make: &dyn Fn(&Place, &OsStr) -> rustix::io::Result<()>,
) -> Result<()> {
    match root.resolve(prefix) {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Some(libc::ENOENT) => {
            make(here, name).map_err(|error| Error::call("create", prefix.display().to_string(), error))
        }
        Err(error) => Err(error),
    }
}

fn link_target(parent: &Place, name: &OsStr) -> rustix::io::Result<PathBuf> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory `root`, and beside it a file that no lookup may reach.
    fn house() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("root")).expect("made");
        fs::write(folder.path().join("secret"), "outside").expect("made");
        let root = Root::open(&folder.path().join("root")).expect("opened");
        (folder, root)
    }

    fn text(root: &Root, inside: &str) -> String {
        let mut text = String::new();
        root.read(Path::new(inside)).expect("opened").read_to_string(&mut text).expect("read");
        text
    }

    #[test]
    fn no_link_leads_out() {
        let (folder, root) = house();
        let links = [("up", "../secret"), ("far", "/../../secret"), ("abs", "/secret")];
        for (name, target) in links {
            symlink(target, folder.path().join("root").join(name)).expect("made");
            assert_eq!(
                root.resolve(Path::new(name)).expect_err("it is refused").errno(),
                Some(libc::ENOENT),
                "{name}"
            );
        }
        for (name, _) in links {
            // What such a link means is a file inside, and that is the one that is made.
            root.create_file(Path::new(name), 0o644).expect("made inside");
        }
        fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join("root/secret"))
            .and_then(|mut file| file.write_all(b"inside"))
            .expect("the links meant root/secret");
        assert_eq!(text(&root, "/../../secret"), "inside");
        assert_eq!(fs::read_to_string(folder.path().join("secret")).expect("untouched"), "outside");
    }

    #[test]
    fn folders_are_made_through_dangling_links() {
        let (folder, root) = house();
        fs::create_dir(folder.path().join("root/var")).expect("made");
        symlink("../run", folder.path().join("root/var/run")).expect("made");
        let place = root.create_dir_all(Path::new("/var/run/a/b"), 0o755).expect("made");
        assert!(place.is_dir().expect("a directory"));
        assert!(folder.path().join("root/run/a/b").is_dir());
    }

    #[test]
    fn odd_names_and_loops_end() {
        let (folder, root) = house();
        for name in ["with space", "comma,colon:", "back\\slash", "new\nline", "ü"] {
            root.create_file(&Path::new(name).join("file"), 0o600).expect("made");
            assert!(folder.path().join("root").join(name).join("file").is_file());
        }
        symlink("loop", folder.path().join("root/loop")).expect("made");
        assert_eq!(
            root.create_file(Path::new("loop/x"), 0o600).expect_err("it is refused").errno(),
            Some(libc::ELOOP)
        );
        let file = root.create_dir_all(Path::new("with space/file/x"), 0o755).expect_err("it is refused");
        assert_eq!(file.errno(), Some(libc::ENOTDIR));
    }

    #[test]
    fn a_link_that_is_there_is_fine() {
        let (_folder, root) = house();
        root.symlink(Path::new("/proc/self/fd"), Path::new("/dev/fd")).expect("made");
        root.symlink(Path::new("/proc/self/fd"), Path::new("/dev/fd")).expect("the same again");
        let other = root.symlink(Path::new("/elsewhere"), Path::new("/dev/fd")).expect_err("it is refused");
        assert_eq!(other.errno(), Some(libc::EEXIST));
        assert!(matches!(root.symlink(Path::new("/x"), Path::new("/")), Err(Error::Invalid { .. })));
    }
}
