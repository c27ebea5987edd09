//! Layers: an archive becomes a directory that overlayfs can stack.
//!
//! ```text
//!   ROOT/layers/                     readable by root only: setuid programs and devices lie below
//!     CHAINHEX/fs/…                  the layer's tree; its parents are not in it
//!     CHAINHEX/layer.json            diff id, entries, bytes; alone, while nobody needed the tree yet
//!     .new-…/                        being unpacked; removed when the engine starts
//!     .old-…/                        being removed
//!
//!   blob ─► decompress ─► sha256 ─► tar ─► tree ─► (diff id agrees) ─► rename(2)
//! ```
//!
//! Invariants:
//!
//! - Nothing an archive says touches what is outside of `fs`: every path is resolved
//!   by the kernel below a directory descriptor (`openat2(2)`, `RESOLVE_IN_ROOT`).
//! - What an archive can cost is bounded ([`Limits`]), whatever it claims.
//! - Whiteouts become overlayfs's own marks (a character device 0/0, or the
//!   attribute `trusted.overlay.opaque`), without a look at the layers below.
//! - The tree gets its name after the whole stream, to its last byte, agreed with the diff id.
//!
//! See OCI image-spec `layer.md` and the kernel's `filesystems/overlayfs`. Docker
//! starts a process in a chroot for each layer instead; descriptors need none.

pub(crate) mod archive;

mod source;

mod tree;

mod unpack;

mod adopt;

mod extract;

pub mod spool;

mod write;

mod walk;

mod below;

mod changes;

mod diff;

mod error;

mod furnish;

pub mod pack;

mod remove;

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use glassdock_trace::{Body, Trace};
use serde::{Deserialize, Serialize};

use crate::content::unique;
use crate::digest::{ChainId, DiffId};
use error::disk;

pub use changes::{Change, Kind as ChangeKind};
pub use diff::Diffed;
pub use error::Error;
pub use extract::{Target, extract};
pub use furnish::is_furnished;
pub use source::{Compression, decompressed};
pub use write::{Attributes, attributes_of};

/// What one layer may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the archive when it is decompressed, and of the files that it makes.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 4_000_000, bytes: 256 << 30 }
    }
}

/// What unpacking brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Whether the layer was there already.
    pub reused: bool,
}

/// What `layer.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    diff_id: DiffId,
    entries: u64,
    bytes: u64,
}

/// The unpacked layers of a root.
#[derive(Clone, Debug)]
pub struct Layers {
    folder: PathBuf,
    limits: Limits,
}

impl Layers {
    /// Opens `ROOT/layers`, making it if it is missing, and clears away what was half done.
    ///
    /// # Errors
    ///
    /// If the folder can't be made or read.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let folder = root.join("layers");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(disk("make", &folder))?;
        glassdock_kernel::disk::spread_folders(&folder);
        for entry in fs::read_dir(&folder).map_err(disk("list", &folder))?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                remove::tree(&entry.path()).map_err(disk("remove", &entry.path()))?;
            }
        }
        Ok(Self { folder, limits: Limits::default() })
    }

    /// The same layers with other limits.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    fn home(&self, chain: &ChainId) -> PathBuf {
        self.folder.join(chain.0.hex())
    }

    /// Where a layer's tree lies, whether it is there or not.
    #[must_use]
    pub fn path(&self, chain: &ChainId) -> PathBuf {
        self.home(chain).join("fs")
    }

    /// The directories of a stack, the uppermost first, as overlayfs wants them.
    #[must_use]
    pub fn stack(&self, chain: &[ChainId]) -> Vec<PathBuf> {
        chain.iter().rev().map(|chain| self.path(chain)).collect()
    }

    /// Whether the layer is here.
    #[must_use]
    pub fn has(&self, chain: &ChainId) -> bool {
        self.path(chain).is_dir()
    }

    /// Whether the layer is here, or noted.
    #[must_use]
    pub fn is_known(&self, chain: &ChainId) -> bool {
        self.home(chain).is_dir()
    }

    /// What a layer that is here or noted consists of.
    #[must_use]
    pub fn size(&self, chain: &ChainId) -> Option<Unpacked> {
        let bytes = fs::read(self.home(chain).join("layer.json")).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        Some(Unpacked { entries: record.entries, bytes: record.bytes, reused: true })
    }

    /// Unpacks the archive `blob`, compressed or not (gzip, zstd; told by its first
    /// bytes), into the layer `chain`, and holds it against `diff_id`. Returns at once
    /// if the layer is here. `progress` gets the number of the blob's bytes read so
    /// far. Blocks; uses one thread and less than a megabyte (zstd: its window beside).
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the archive or the disk; the layer is not visible then.
    pub fn unpack(
        &self,
        trace: &Trace,
        blob: impl Read,
        media_type: &str,
        diff_id: &DiffId,
        chain: &ChainId,
        progress: &dyn Fn(u64),
    ) -> Result<Unpacked, Error> {
        let body = Body::LayerUnpack {
            diff_id: diff_id.to_string(),
            chain_id: chain.to_string(),
            media_type: Some(media_type.to_owned()),
            entries: None,
            bytes: None,
        };
        if let Some(here) = self.size(chain).filter(|_| self.has(chain)) {
            trace.skip(body, "the layer is unpacked already");
            return Ok(here);
        }
        trace.step(body, |span| {
            let inside = span.trace().clone();
            let unpacked = self.unpack_new(&inside, blob, diff_id, chain, progress)?;
            if let Body::LayerUnpack { entries, bytes, .. } = span.body_mut() {
                (*entries, *bytes) = (Some(unpacked.entries), Some(unpacked.bytes));
            }
            Ok(unpacked)
        })
    }

    fn unpack_new(
        &self,
        trace: &Trace,
        blob: impl Read,
        diff_id: &DiffId,
        chain: &ChainId,
        progress: &dyn Fn(u64),
    ) -> Result<Unpacked, Error> {
        let scratch = Scratch::new(&self.folder)?;
        let tree = scratch.path.join("fs");
        DirBuilder::new().mode(0o755).create(&tree).map_err(disk("make", &tree))?;
        let mut source = source::Source::new(blob, diff_id, self.limits.bytes, progress)?;
        let unpacked = unpack::unpack(trace, &mut source, &tree, self.limits)?;
        let computed = source.finish()?;
        if computed != *diff_id {
            return Err(Error::DiffId { expected: diff_id.clone(), computed });
        }
        self.publish(scratch, diff_id, unpacked.entries, unpacked.bytes, chain)?;
        Ok(unpacked)
    }

    /// Writes what an upper directory of overlayfs holds as a layer's archive, not
    /// compressed. The same tree gives the same bytes.
    ///
    /// # Errors
    ///
    /// If something can't be read or written, or can't be said in an archive.
    pub fn diff(&self, trace: &Trace, upper: &Path, out: impl Write) -> Result<Diffed, Error> {
        self.diff_without(trace, upper, &HashSet::new(), None, out)
    }

    /// As [`Layers::diff`], for a container on the layers `lower` (the uppermost first): the empty
    /// places that the engine made in it for its mounts are left out.
    ///
    /// # Errors
    ///
    /// As [`Layers::diff`].
    pub fn diff_container(
        &self,
        trace: &Trace,
        upper: &Path,
        lower: &[PathBuf],
        out: impl Write,
    ) -> Result<Diffed, Error> {
        self.diff_without(trace, upper, &self.left_out(upper, lower, &[])?, None, out)
    }

    /// Puts into a new container's upper directory what every container has beside its image's files (the layers
    /// `lower`, the uppermost first): places of mounts, `/.dockerenv`, `/etc/mtab`. It is nobody's change.
    ///
    /// # Errors
    ///
    /// If something can't be read or made.
    pub fn furnish(&self, upper: &Path, lower: &[PathBuf]) -> Result<(), Error> {
        furnish::furnish(upper, lower)
    }

    /// What an archive of the changes to the layers `lower` leaves out: places of `upper` where the engine
    /// mounted something (`mounts` beside its usual ones) that nobody filled. Paths without a slash before them.
    ///
    /// # Errors
    ///
    /// If something can't be read.
    pub fn left_out(
        &self,
        upper: &Path,
        lower: &[PathBuf],
        mounts: &[String],
    ) -> Result<HashSet<Vec<u8>>, Error> {
        changes::furniture(upper, lower, mounts)
    }

    /// As [`Layers::diff`], without some paths; no entry has a later time than `latest`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// As [`Layers::diff`].
    pub fn diff_without(
        &self,
        trace: &Trace,
        upper: &Path,
        left_out: &HashSet<Vec<u8>>,
        latest: Option<i64>,
        out: impl Write,
    ) -> Result<Diffed, Error> {
        trace.step(differing(upper), |span| {
            let diffed = diff::diff(upper, left_out, latest, out)?;
            // An archive has what is there now: which of it is new, the layers below would have to say.
            if let Body::LayerDiff { archived, deleted, .. } = span.body_mut() {
                (*archived, *deleted) = (Some(diffed.entries), Some(diffed.whiteouts));
            }
            Ok(diffed)
        })
    }

    /// Makes the directory that was archived the tree of the layer, by its new name. False if that can't be
    /// (it is on another file system, or not all of it is in the archive): then it stays as it was, for the
    /// most part, and the layer has to be unpacked.
    ///
    /// # Errors
    ///
    /// If the disk refuses something else.
    pub fn adopt(
        &self,
        trace: &Trace,
        upper: &Path,
        left_out: &HashSet<Vec<u8>>,
        diffed: &Diffed,
        chain: &ChainId,
    ) -> Result<bool, Error> {
        if diffed.passed_over > 0 || self.has(chain) {
            return Ok(false);
        }
        let scratch = Scratch::new(&self.folder)?;
        let tree = scratch.path.join("fs");
        match fs::rename(upper, &tree) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
            other => other.map_err(disk("rename", upper))?,
        }
        adopt::tidy(&tree, left_out).map_err(disk("tidy", &tree))?;
        self.publish(scratch, &diffed.diff_id, diffed.all_entries(), diffed.bytes, chain)?;
        trace.skip(diffed.as_unpack(chain), "the changes' own directory became the layer's");
        Ok(true)
    }

    /// Notes a layer whose archive is here, and that is to be unpacked when somebody needs its tree.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn note(&self, trace: &Trace, diffed: &Diffed, chain: &ChainId) -> Result<(), Error> {
        if self.has(chain) {
            trace.skip(diffed.as_unpack(chain), "the layer is unpacked already");
            return Ok(());
        }
        let scratch = Scratch::new(&self.folder)?;
        self.publish(scratch, &diffed.diff_id, diffed.all_entries(), diffed.bytes, chain)?;
        trace.skip(diffed.as_unpack(chain), "it is unpacked when somebody needs its files");
        Ok(())
    }

    /// Gives what is in `scratch`, a tree or nothing, its layer's name.
    fn publish(
        &self,
        scratch: Scratch,
        diff_id: &DiffId,
        entries: u64,
        bytes: u64,
        chain: &ChainId,
    ) -> Result<(), Error> {
        let record = Record { diff_id: diff_id.clone(), entries, bytes };
        let (tree, note) = (scratch.path.join("fs"), scratch.path.join("layer.json"));
        let text = serde_json::to_vec(&record).map_err(|error| disk("write", &note)(error.into()))?;
        fs::write(&note, text).map_err(disk("write", &note))?;
        let mut renamed = fs::rename(&scratch.path, self.home(chain));
        if renamed.is_err() && self.is_known(chain) {
            // It was noted before: its tree joins the note, which says the same.
            renamed = if tree.exists() { fs::rename(&tree, self.path(chain)) } else { Ok(()) };
        }
        match renamed {
            // Another operation made the same layer meanwhile: theirs is as good.
            Err(_) if self.has(chain) => Ok(()),
            other => other.map_err(disk("rename", &scratch.path)),
        }
    }

    /// What a container on the layers `lower` (the uppermost first) changed, path by path.
    ///
    /// # Errors
    ///
    /// If something can't be read.
    pub fn changes(&self, trace: &Trace, upper: &Path, lower: &[PathBuf]) -> Result<Vec<Change>, Error> {
        trace.step(differing(upper), |span| {
            let found = changes::changes(upper, lower)?;
            let count = |kind| Some(found.iter().filter(|change| change.kind == kind).count() as u64);
            if let Body::LayerDiff { added, changed, deleted, .. } = span.body_mut() {
                (*added, *changed, *deleted) =
                    (count(ChangeKind::Added), count(ChangeKind::Modified), count(ChangeKind::Deleted));
            }
            Ok(found)
        })
    }

    /// Every layer that is here.
    ///
    /// # Errors
    ///
    /// If the folder can't be read.
    pub fn list(&self) -> Result<Vec<ChainId>, Error> {
        let entries = fs::read_dir(&self.folder).map_err(disk("list", &self.folder))?;
        let chain = |entry: fs::DirEntry| {
            crate::Digest::parse(&format!("sha256:{}", entry.file_name().to_string_lossy())).ok().map(ChainId)
        };
        Ok(entries.flatten().filter_map(chain).collect())
    }

    /// Removes a layer: its name first, so that nothing half removed is ever visible.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn remove(&self, chain: &ChainId) -> Result<(), Error> {
        let old = self.folder.join(format!(".old-{}", unique()));
        let home = self.home(chain);
        match fs::rename(&home, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(disk("rename", &home))?,
        }
        remove::tree(&old).map_err(disk("remove", &old))
    }
}

/// A directory that vanishes unless it was renamed away.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(format!(".new-{}", unique()));
        DirBuilder::new().mode(0o700).create(&path).map_err(disk("make", &path))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.path.exists() {
            // What can't be removed now is removed when the engine starts.
            let _ = remove::tree(&self.path);
        }
    }
}

/// The step of reading what changed in an upper layer; what it finds is filled in.
fn differing(upper: &Path) -> Body {
    let upper = upper.display().to_string();
    Body::LayerDiff { upper, archived: None, added: None, changed: None, deleted: None }
}

/// A path of an archive for people: escaped, and not longer than a line or two.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod container_tests;
