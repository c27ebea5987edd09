//! An archive that is looked at without being unpacked.
//!
//! ```text
//!   tar ─► entries ─┬─► the contents of its files, one after the other ─► one file, the spool
//!                   └─► what each is, where its content lies, its sum ──► an index in memory
//! ```
//!
//! A build's context has thousands of files of which a step that is in the cache needs nothing but their sums.
//! So they are summed up as they come, and become files only where one is asked for.
//!
//! Invariants:
//!
//! - The index answers as the unpacked tree would: a later entry takes an earlier one's place, links are
//!   followed inside the tree only, a hard link is another name of the same file.
//! - What an archive can cost is bounded, on the disk by [`Limits`](super::Limits), in memory by the index's own bound.
//! - Owners, modes, devices are only noted: nothing of them is ever made for the archive's sake.

mod arrival;

mod index;

mod part;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use super::write::Attributes;
use index::{Content, Index};

pub use arrival::Arrival;
pub use part::Part;

/// An archive that came whole.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    index: Index,
}

/// A file, folder or link of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(pub(super) u32);

impl Id {
    /// What a spool told these facts of.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        Self(u32::try_from(facts.file.1).unwrap_or(0))
    }
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket.
    Socket,
    /// A device or a pipe.
    Other,
}

/// What is known of something without reading it, as lstat(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Its mode, the bits of its kind included.
    pub mode: u32,
    /// The numbers of its user and its group.
    pub owner: (u32, u32),
    /// When it was changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// Its bytes.
    pub size: u64,
    /// How many names it has.
    pub names: u64,
    /// What tells it from all others: the device and the inode.
    pub file: (u64, u64),
}

impl Facts {
    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.kind == Kind::Link
    }
}

impl From<&std::fs::Metadata> for Facts {
    fn from(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let kind = metadata.file_type();
        let kind = match kind {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Link,
            kind if kind.is_socket() => Kind::Socket,
            _ => Kind::Other,
        };
        Self {
            kind,
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)),
            size: metadata.len(),
            names: metadata.nlink(),
            file: (metadata.dev(), metadata.ino()),
        }
    }
}

/// Sums up what something is: its kind and mode, its extended attributes, its content.
#[derive(Clone, Debug)]
pub struct Sum(Sha256);

impl Sum {
    /// Begins with all but the content.
    #[must_use]
    pub fn new(mode: u32, attributes: &Attributes) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(format!("{mode:o} "));
        for (name, value) in attributes {
            hasher.update(name);
            hasher.update(value);
        }
        Self(hasher)
    }

    /// Takes in more of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Spool {
    /// What lies at a path; links are followed inside the archive.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`, `ELOOP` and `ENAMETOOLONG`, as of openat2(2).
    pub fn find(&self, path: &Path) -> io::Result<Id> {
        use std::os::unix::ffi::OsStrExt;
        self.index.find(path.as_os_str().as_bytes())
    }

    /// What is known of it.
    #[must_use]
    pub fn facts(&self, id: Id) -> Facts {
        self.index.node(id).facts(id)
    }

    /// What is in a folder, sorted by names; nothing, if it is none.
    pub fn list(&self, folder: Id) -> impl Iterator<Item = (&[u8], Id)> {
        let names = match &self.index.node(folder).content {
            Content::Folder(names) => Some(names),
            _ => None,
        };
        names.into_iter().flatten().map(|(name, id)| (name.as_ref(), *id))
    }

    /// Where a link leads.
    #[must_use]
    pub fn link(&self, id: Id) -> Option<&[u8]> {
        match &self.index.node(id).content {
            Content::Link(target) => Some(target),
            _ => None,
        }
    }

    /// Its extended attributes, sorted.
    #[must_use]
    pub fn attributes(&self, id: Id) -> &[(Vec<u8>, Vec<u8>)] {
        self.index.node(id).attributes.as_deref().map_or(&[], Vec::as_slice)
    }

    /// A file's content; nothing, if it is none.
    #[must_use]
    pub fn open(&self, id: Id) -> Part {
        let node = self.index.node(id);
        match node.content {
            Content::File { at, .. } => Part::new(Arc::clone(&self.file), at, node.size),
            _ => Part::new(Arc::clone(&self.file), 0, 0),
        }
    }

    /// The sum of what it is: see [`Sum`].
    ///
    /// # Errors
    ///
    /// Those of reading a file that was not summed up as it came.
    pub fn sum(&self, id: Id) -> io::Result<[u8; 32]> {
        let node = self.index.node(id);
        let known: Option<&OnceLock<[u8; 32]>> = match &node.content {
            Content::File { sum, .. } => Some(sum),
            _ => None,
        };
        if let Some(sum) = known.and_then(OnceLock::get) {
            return Ok(*sum);
        }
        let empty = Attributes::new();
        let mut sum = Sum::new(node.mode, node.attributes.as_deref().unwrap_or(&empty));
        match &node.content {
            Content::Link(target) => sum.update(target),
            Content::File { .. } => self.open(id).pieces(|piece| sum.update(piece))?,
            Content::Folder(_) | Content::Nothing => {}
        }
        let sum = sum.finish();
        if let Some(known) = known {
            // Another thread may have come to the same.
            let _ = known.set(sum);
        }
        Ok(sum)
    }

    /// Leaves out what `ignores` names, by its path. A folder that is left out stays, as any folder, as long as
    /// something in it is not; what is in one that `prunes` names too is not looked at.
    pub fn leave_out(&mut self, ignores: impl Fn(&str) -> bool, prunes: impl Fn(&str) -> bool) {
        self.index.leave_out(&ignores, &prunes);
    }
}

#[cfg(test)]
mod tests;
