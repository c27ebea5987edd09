//! What a container changed becomes an archive: the way back from overlayfs's
//! upper directory to a layer.
//!
//! A character device 0/0 becomes `.wh.NAME`, an opaque directory has
//! `.wh..wh..opq` as its first entry.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use glassdock_trace::Body;
use rustix::fs::{Mode, OFlags, open};

use super::walk::{Flavour, Walk};
use super::write::Writer;
use super::{Error, disk};
use crate::digest::{Algorithm, ChainId, DiffId, Hasher};

/// What a container changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diffed {
    /// The archive's identity.
    pub diff_id: DiffId,
    /// The archive's bytes.
    pub size: u64,
    /// Entries that are there.
    pub entries: u64,
    /// Marks of what was deleted.
    pub whiteouts: u64,
    /// The files' bytes.
    pub bytes: u64,
    /// What an archive can't have: sockets.
    pub passed_over: u64,
}

impl Diffed {
    /// Everything in the archive, marks included.
    pub(super) fn all_entries(&self) -> u64 {
        self.entries + self.whiteouts
    }

    /// What would be told if the archive were unpacked as that layer.
    pub(super) fn as_unpack(&self, chain: &ChainId) -> Body {
        Body::LayerUnpack {
            diff_id: self.diff_id.to_string(),
            chain_id: chain.to_string(),
            media_type: None,
            entries: Some(self.all_entries()),
            bytes: Some(self.bytes),
        }
    }
}

pub(super) fn diff(
    upper: &Path,
    left_out: &HashSet<Vec<u8>>,
    latest: Option<i64>,
    out: impl Write,
) -> Result<Diffed, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(upper, flags, Mode::empty()).map_err(|errno| disk("open", upper)(errno.into()))?;
    let mut out = Writer::new(Hashing { out, hasher: Hasher::new(Algorithm::Sha256), size: 0 }, true);
    out.latest = latest;
    let mut walk = Walk::new(root, out, Flavour::Layer(left_out), b"");
    walk.all()?;
    walk.out.finish()?;
    let (entries, whiteouts) = (walk.out.entries, walk.whiteouts);
    let (bytes, passed_over) = (walk.out.bytes, walk.passed_over);
    let Hashing { hasher, size, .. } = walk.out.out;
    Ok(Diffed { diff_id: DiffId(hasher.finish()), size, entries, whiteouts, bytes, passed_over })
}

struct Hashing<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
