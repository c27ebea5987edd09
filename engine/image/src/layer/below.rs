//! What the layers below have, as overlayfs would show it, without a mount.
//!
//! A name is looked up from the top: the first layer that has it wins; directories
//! of lower layers show through, until one of them is opaque or hides them by a whiteout.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, openat, statat};
use rustix::io::Errno;

use super::walk::is_opaque;
use super::{Error, disk};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory of the layers below: one descriptor a layer that takes part, the uppermost first.
pub(super) struct Below(Vec<OwnedFd>);

impl Below {
    /// The root of a stack of layers, the uppermost first.
    pub(super) fn open(layers: &[PathBuf]) -> Result<Self, Error> {
        let folder = |layer: &PathBuf| {
            open(layer, FOLDER, Mode::empty()).map_err(|errno| disk("open", layer)(errno.into()))
        };
        layers.iter().map(folder).collect::<Result<_, _>>().map(Self)
    }

    /// A directory that nothing is in.
    pub(super) fn nothing() -> Self {
        Self(Vec::new())
    }

    /// What has that name, and in which layer's directory; `None` if nothing has.
    pub(super) fn find(&self, name: &CStr) -> io::Result<Option<(Stat, &OwnedFd)>> {
        for folder in &self.0 {
            match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) => return Ok(Some((stat, folder))),
            }
        }
        Ok(None)
    }

    /// The directory of that name; an empty one if there is none.
    pub(super) fn enter(&self, name: &CString) -> io::Result<Self> {
        let mut inner = Vec::new();
        for folder in &self.0 {
            match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                    inner.push(openat(folder, name, FOLDER, Mode::empty())?);
                    if is_opaque(folder, name) {
                        break;
                    }
                }
                // A file or a whiteout hides the directories under it.
                Ok(_) => break,
            }
        }
        Ok(Self(inner))
    }

    /// All names that are there, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<CString>> {
        let mut names = std::collections::BTreeSet::new();
        for folder in &self.0 {
            for entry in Dir::read_from(folder)? {
                let name = entry?.file_name().to_owned();
                if name.as_bytes() != b"." && name.as_bytes() != b".." {
                    names.insert(name);
                }
            }
        }
        let there = |name: &CString| self.find(name).map(|found| found.is_some());
        names
            .into_iter()
            .filter_map(|name| match there(&name) {
                Ok(true) => Some(Ok(name)),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            })
            .collect()
    }
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
