//! Files of the context that become the layer's own by another name: link(2), which neither reads nor
//! writes them.
//!
//! A context's files have the mode, the owner and the time already that COPY gives them, and nobody needs
//! them after the build. So the layer gets their inodes, and the context's names go later. Only where that
//! makes no difference: a file that was linked once in this layer, has other names, or a time between two
//! seconds (which an archive of a COPY has not) is copied.
//!
//! The first file of each folder is copied in any case: writing it through the stack brings the folder up
//! from the layers below. The others are linked into overlayfs's upper directory when the stack is gone,
//! as the kernel asks for that ("Changes to underlying filesystems", `filesystems/overlayfs`).

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use glassdock_kernel::path::Root;

use super::files::Source;
use crate::error::Error;

/// What of a source is linked.
#[derive(Debug)]
pub(super) struct Links<'a> {
    source: &'a Source,
    /// The folder that the source's content goes to: a path without links.
    to: PathBuf,
    /// Paths below the source.
    pub(super) paths: HashSet<PathBuf>,
}

impl<'a> Links<'a> {
    /// Finds what can be linked, before anything is written below `root`.
    pub(super) fn of(source: &'a Source, root: &Root, to: &Path) -> Result<Self, Error> {
        let mut paths = HashSet::new();
        // For each folder of the source what lies at its place already, if something does. Those that the source
        // doesn't bring itself may be anything.
        let mut folders = HashMap::from([(PathBuf::new(), Folder::at(root, to))]);
        for (path, metadata) in source.entries() {
            let parent = path.parent().unwrap_or(Path::new(""));
            if metadata.is_dir() {
                if folders.contains_key(parent) {
                    folders.insert(path.clone(), Folder::at(root, &to.join(path)));
                }
                continue;
            }
            let Some(folder) = folders.get_mut(parent).filter(|_| metadata.is_file()) else { continue };
            let whole_second = metadata.mtime_nsec() == 0;
            let roots_own = metadata.uid() == 0 && metadata.gid() == 0;
            if !(whole_second && roots_own && metadata.nlink() == 1) {
                continue;
            }
            if !std::mem::replace(&mut folder.brought_up, true) || folder.has_folder(path) {
                continue;
            }
            paths.insert(path.clone());
        }
        Ok(Self { source, to: to.to_owned(), paths })
    }

    /// Links them into overlayfs's upper directory.
    ///
    /// # Errors
    ///
    /// Those of link(2).
    pub(super) fn make(self, upper: &Root) -> Result<(), Error> {
        let mut folders: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        for path in self.paths {
            folders.entry(path.parent().unwrap_or(Path::new("")).to_owned()).or_default().push(path);
        }
        for (folder, paths) in folders {
            let inside = self.to.join(&folder);
            let place = upper.resolve(&inside)?;
            let way = PathBuf::from(format!("/proc/self/fd/{}/.", place.as_fd().as_raw_fd()));
            // Its time is what it was when all was written: new names are no change of it.
            let modified = fs::metadata(&way)?.modified()?;
            for path in paths {
                let name = way.join(path.file_name().unwrap_or_default());
                match fs::hard_link(self.source.way(&path), &name) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        fs::remove_file(&name)?;
                        fs::hard_link(self.source.way(&path), &name)?;
                    }
                    linked => linked?,
                }
            }
            File::open(&way)?.set_modified(modified)?;
        }
        Ok(())
    }
}

/// A folder that files go to.
struct Folder {
    there: Option<glassdock_kernel::path::Place>,
    /// Whether a file was written to it.
    brought_up: bool,
}

impl Folder {
    fn at(root: &Root, path: &Path) -> Self {
        Self { there: root.resolve(path).ok(), brought_up: false }
    }

    /// Whether a file's name belongs to a folder there: then writing it fails, and says so.
    fn has_folder(&self, path: &Path) -> bool {
        let Some(there) = &self.there else { return false };
        let name = path.file_name().unwrap_or_default();
        let way = PathBuf::from(format!("/proc/self/fd/{}", there.as_fd().as_raw_fd())).join(name);
        fs::symlink_metadata(way).is_ok_and(|there| there.is_dir())
    }
}
