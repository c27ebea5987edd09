//! An archive goes into a tree that is there already: `docker cp` into a container.
//!
//! The rules are Docker's: nothing goes outside of the folder that was named, and no
//! link of the archive says it would; if so asked, no directory is replaced by
//! something else, nor the reverse. Links that are in the tree already are followed
//! inside it, whatever they say: the kernel sees to that ([`super::tree`]).

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use super::archive::{Entry, Kind};
use super::tree::Clean;
use super::unpack;
use super::{Error, Limits, Unpacked, shown};

/// Where an archive goes, and how.
#[derive(Clone, Debug)]
pub struct Target {
    folder: Clean,
    shown: String,
    /// Whether a directory may become something else, or something else a directory.
    keep_kinds: bool,
    /// Who is to own everything; else who the archive says.
    pub(super) owner: Option<(u32, u32)>,
}

impl Target {
    /// The folder at a path inside the tree's root, without links.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the path leads out of its root.
    pub fn new(folder: &[u8], keep_kinds: bool, owner: Option<(u32, u32)>) -> Result<Self, Error> {
        Ok(Self { folder: Clean::new(folder)?, shown: shown(folder), keep_kinds, owner })
    }

    pub(super) fn depth(&self) -> usize {
        self.folder.depth()
    }

    /// The place of an entry.
    pub(super) fn place(&self, path: &[u8]) -> Result<Clean, Error> {
        let clean = Clean::new(path).map_err(|_| self.outside(path))?;
        Ok(clean.below(self.folder.parts()))
    }

    pub(super) fn outside(&self, path: &[u8]) -> Error {
        Error::Outside { path: shown(path), folder: self.shown.clone() }
    }

    /// The file that a hard link is another name of.
    pub(super) fn link(&self, link: &[u8]) -> Result<Clean, Error> {
        let clean = Clean::new(link).map_err(|_| Error::Link {
            kind: "hardlink",
            path: text(&lexical(self.folder.parts(), link)),
            target: shown(link),
        })?;
        Ok(clean.below(self.folder.parts()))
    }

    /// A symbolic link may not say that it leads out of the folder. (An absolute one is read as below
    /// the link's own directory, as Docker does: it leads wherever it leads inside the container.)
    pub(super) fn check_link(&self, clean: &Clean, entry: &Entry) -> Result<(), Error> {
        let above = clean.split().map_or(&[][..], |(parent, _)| parent);
        if lexical(above, &entry.link).starts_with(self.folder.parts()) {
            return Ok(());
        }
        Err(Error::Link { kind: "symlink", path: text(clean.parts()), target: shown(&entry.link) })
    }

    pub(super) fn check_overwrite(
        &self,
        clean: &Clean,
        there: Option<FileType>,
        comes: Kind,
    ) -> Result<(), Error> {
        let (was, is) = match there {
            Some(kind) if self.keep_kinds => (kind == FileType::Directory, comes == Kind::Directory),
            _ => return Ok(()),
        };
        let word = |directory| if directory { "directory" } else { "non-directory" };
        if was == is {
            return Ok(());
        }
        let folder = self.shown.clone();
        Err(Error::Overwrite { was: word(was), path: text(clean.parts()), is: word(is), folder })
    }
}

/// Unpacks an archive that is not compressed into a tree, below the folder of `target`, which is there.
/// Blocks; uses less than a megabyte.
///
/// # Errors
///
/// Whatever is wrong with the archive or the disk; what was unpacked before stays.
pub fn extract(
    root: OwnedFd,
    target: &Target,
    archive: impl Read,
    limits: Limits,
) -> Result<Unpacked, Error> {
    unpack::extract(root, target, archive, limits)
}

/// Joins by the text alone, as Go's `filepath.Join` does; above the root there is only the root.
fn lexical(base: &[Vec<u8>], path: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = base.to_vec();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part.to_vec()),
        }
    }
    parts
}

fn text(parts: &[Vec<u8>]) -> String {
    format!("/{}", shown(&parts.join(&b'/')))
}
