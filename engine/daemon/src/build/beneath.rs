//! Files that are written beneath a stack: into overlayfs's upper directory, when the stack is gone.
//!
//! To make a file, overlayfs makes it in its work directory first and asks each layer about its name; that
//! takes three times as long as making it. So only the first file of each folder goes through the stack,
//! which brings the folder up from the layers below; the others are made where they would come to lie. The kernel
//! allows it as nothing is mounted then ("Changes to underlying filesystems", `filesystems/overlayfs`).
//!
//! Only plain files are: one that has other names or extended attributes goes through the stack.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use glassdock_image::layer::spool::Facts;
use glassdock_kernel::path::{Place, Root};

use super::files::{Looks, Source};
use crate::error::Error;

/// What of a source is written beneath.
#[derive(Debug)]
pub(super) struct Beneath<'a> {
    source: &'a Source,
    /// The folder that the source's content goes to: a path without links.
    to: PathBuf,
    looks: Looks,
    /// Which entries of the source they are.
    pub(super) entries: HashSet<usize>,
}

impl<'a> Beneath<'a> {
    /// Finds what can be, before anything is written below `root`.
    ///
    /// # Errors
    ///
    /// Those of reading the source.
    pub(super) fn of(source: &'a Source, root: &Root, to: &Path, looks: &Looks) -> Result<Self, Error> {
        let mut entries = HashSet::new();
        // For each folder of the source what lies at its place already, if something does. Those that the source
        // doesn't bring itself may be anything.
        let mut folders = HashMap::from([(PathBuf::new(), Folder::at(root, to))]);
        for (number, (path, facts)) in source.entries.iter().enumerate() {
            let parent = path.parent().unwrap_or(Path::new(""));
            if facts.is_folder() {
                if folders.contains_key(parent) {
                    folders.insert(path.clone(), Folder::at(root, &to.join(path)));
                }
                continue;
            }
            let Some(folder) = folders.get_mut(parent).filter(|_| facts.is_file()) else { continue };
            if facts.names > 1 || !source.origin.attributes(path, facts)?.is_empty() {
                continue;
            }
            if !std::mem::replace(&mut folder.brought_up, true) || folder.has_folder(root, &to.join(path)) {
                continue;
            }
            entries.insert(number);
        }
        Ok(Self { source, to: to.to_owned(), looks: looks.clone(), entries })
    }

    /// Writes them into overlayfs's upper directory.
    ///
    /// # Errors
    ///
    /// Those of reading and writing.
    pub(super) fn write(self, upper: &Root) -> Result<(), Error> {
        let mut folders: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        for number in &self.entries {
            let path = &self.source.entries[*number].0;
            folders.entry(path.parent().unwrap_or(Path::new(""))).or_default().push(*number);
        }
        for (folder, mut numbers) in folders {
            // In the order of the source, in which an archive has them too.
            numbers.sort_unstable();
            let place = upper.resolve(&self.to.join(folder))?;
            let way = PathBuf::from(format!("/proc/self/fd/{}/.", place.as_fd().as_raw_fd()));
            // Its time is what it was when all was written: new names are no change of it.
            let modified = fs::metadata(&way)?.modified()?;
            for number in numbers {
                let (path, facts) = &self.source.entries[number];
                self.one(path, facts, &way.join(path.file_name().unwrap_or_default()))?;
            }
            File::open(&way)?.set_modified(modified)?;
        }
        Ok(())
    }

    fn one(&self, path: &Path, facts: &Facts, to: &Path) -> Result<(), Error> {
        let look = self.looks.of(facts);
        let mut file = match File::create_new(to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(to)?;
                File::create_new(to)?
            }
            made => made?,
        };
        let mut content = self.source.origin.open(path, facts)?;
        io::copy(&mut content, &mut file)?;
        if look.owner != (0, 0) {
            fchown(&file, Some(look.owner.0), Some(look.owner.1))?;
        }
        // After the owner: chown(2) takes set-user-id bits away.
        file.set_permissions(Permissions::from_mode(look.mode))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(look.time))?;
        Ok(())
    }
}

/// A folder that files go to.
#[derive(Clone, Copy)]
struct Folder {
    is_there: bool,
    /// Whether a file was written to it.
    brought_up: bool,
}

impl Folder {
    fn at(root: &Root, path: &Path) -> Self {
        Self { is_there: root.resolve(path).is_ok(), brought_up: false }
    }

    /// Whether a file's name belongs to a folder there: then writing it fails, and says so.
    fn has_folder(self, root: &Root, path: &Path) -> bool {
        let is_folder = |place: Place| place.is_dir();
        self.is_there && root.resolve_link(path).and_then(is_folder).unwrap_or(false)
    }
}
