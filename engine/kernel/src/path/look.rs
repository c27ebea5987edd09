//! Looking at what lies at a path inside a root, links themselves included.

use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use super::{LINK_LIMIT, Place, Root, link_target};
use crate::{Error, Result};

impl Root {
    /// Finds what lies at a path without following a link in its last part, unless a slash or `.` comes
    /// after it.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    pub fn resolve_link(&self, inside: &Path) -> Result<Place> {
        let fd = self.open_inside(inside, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(Place { fd, path: Path::new("/").join(inside) })
    }

    /// Where a path leads when all its links are followed, as a path without links. What
    /// does not exist is taken as it is written.
    ///
    /// # Errors
    ///
    /// `ELOOP` for links that never end; those of openat2(2).
    pub fn follow(&self, inside: &Path) -> Result<PathBuf> {
        let mut done = PathBuf::from("/");
        // The parts that are still to be walked, the next one last.
        let mut left: Vec<PathBuf> = parts(inside);
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part.as_os_str() == ".." {
                done.pop();
                continue;
            }
            let here = done.join(&part);
            let place = match self.resolve_link(&here) {
                Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                    done = here;
                    continue;
                }
                found => found?,
            };
            if !place.metadata()?.is_symlink() {
                done = here;
                continue;
            }
            links += 1;
            if links > LINK_LIMIT {
                return Err(Error::call("openat2", inside.display().to_string(), rustix::io::Errno::LOOP));
            }
            let target = place.link()?;
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        Ok(done)
    }
}

impl Place {
    /// What fstat(2) tells of it.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub fn metadata(&self) -> Result<Metadata> {
        let failed = |error| Error::call("fstat", self.path.display().to_string(), error);
        let copy = self.fd.try_clone().map_err(failed)?;
        File::from(copy).metadata().map_err(failed)
    }

    /// Where the link that was found leads.
    ///
    /// # Errors
    ///
    /// Those of readlinkat(2); `ENOENT` or `EINVAL` if it is no link.
    pub fn link(&self) -> Result<PathBuf> {
        link_target(self, "".as_ref())
            .map_err(|error| Error::call("readlinkat", self.path.display().to_string(), error))
    }
}

impl From<Place> for OwnedFd {
    fn from(place: Place) -> Self {
        place.fd
    }
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    let mut parts: Vec<PathBuf> = parts.map(|part| PathBuf::from(part.as_os_str())).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("a/b")).expect("made");
        for (link, target) in
            [("abs", "/a"), ("up", "../../../a/b"), ("broken", "no/where"), ("a/rel", "b"), ("loop", "loop")]
        {
            symlink(target, at(link)).expect("made");
        }
        let root = Root::open(folder.path()).expect("opened");
        let follow = |path: &str| root.follow(Path::new(path)).map(|path| path.display().to_string());
        for (path, leads) in [
            ("/", "/"),
            ("/abs/rel", "/a/b"),
            ("up", "/a/b"),
            ("/broken/x", "/no/where/x"),
            ("/a/../../abs/./b/", "/a/b"),
            ("/new/../x", "/x"),
        ] {
            assert_eq!(follow(path).expect(path), leads, "{path}");
        }
        assert_eq!(root.follow(Path::new("loop")).expect_err("no end").errno(), Some(libc::ELOOP));
        let link = root.resolve_link(Path::new("/abs")).expect("there");
        assert!(link.metadata().expect("it is open").is_symlink());
        assert_eq!(link.link().expect("a link"), Path::new("/a"));
        let slash = root.resolve_link(Path::new("/abs/")).expect("there");
        assert!(slash.metadata().expect("it is open").is_dir());
    }
}
