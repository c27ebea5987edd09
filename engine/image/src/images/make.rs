//! Images that are made here: from a container's changes, or from archives.
//!
//! ```text
//!   upper directory ─► layer.diff ─► gzip ─┐
//!   an archive, compressed or not ─────────┴─► blob ─► layer.commit: diff id, chain id, layer.unpack
//!   config + layers ─► manifest ─► register: visible
//! ```

use std::collections::HashSet;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use glassdock_trace::{Body, Trace};

use super::{Error, Image, ImageLayer, Images, Lease};
use crate::content::Fresh;
use crate::descriptor::{Descriptor, media};
use crate::digest::{Algorithm, ChainId, DiffId, Hasher};
use crate::layer::{self, Diffed};
use crate::manifest::Manifest;
use crate::reference::Reference;

/// A layer that was made: held by the lease that it was made under.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its archive's identity.
    pub diff_id: DiffId,
    /// Its identity on its stack.
    pub chain: ChainId,
    /// Its blob.
    pub blob: Descriptor,
}

/// What a container's changes are read from.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// overlayfs's upper directory.
    pub upper: &'a Path,
    /// The layers below it, the uppermost first.
    pub lower: &'a [PathBuf],
    /// The diff ids of the layers below it, the lowest first.
    pub below: &'a [DiffId],
    /// The latest time that an entry may have, in seconds since 1970: for layers that come out the same again.
    pub latest: Option<i64>,
    /// Where something was mounted beside the engine's usual places: empty files and folders there are no change.
    pub mounts: &'a [String],
    /// Whether nobody needs the upper directory any more: it becomes the layer's tree then. Else the layer is
    /// unpacked when somebody needs it ([`Images::ready`]).
    pub take: bool,
}

/// An archive that is to become a layer.
struct NewLayer<'a> {
    archive: Fresh,
    diff_id: DiffId,
    media_type: &'static str,
    tree: Tree<'a>,
    /// Hears how many bytes of it are unpacked.
    tell: &'a dyn Fn(u64),
}

/// Where a new layer's files come from.
enum Tree<'a> {
    /// The archive is unpacked.
    Unpacked,
    /// So it is, but not before somebody needs them.
    Later(&'a Diffed),
    /// They lie somewhere already.
    Taken(Upper<'a>),
}

/// A directory whose changes were archived.
struct Upper<'a> {
    upper: &'a Path,
    left_out: &'a HashSet<Vec<u8>>,
    diffed: &'a Diffed,
}

impl Images {
    /// Makes a layer of what a container changed; `None` if that is nothing. Blocks.
    ///
    /// # Errors
    ///
    /// If something can't be read, said in an archive, or written.
    pub fn commit_changes(
        &self,
        trace: &Trace,
        lease: &Lease,
        changed: Changed<'_>,
    ) -> Result<Option<Made>, Error> {
        let Changed { upper, lower, below, latest, mounts, take } = changed;
        let left_out = self.layers.left_out(upper, lower, mounts)?;
        let diff = |out: &mut dyn Write| self.layers.diff_without(trace, upper, &left_out, latest, out);
        let (fresh, diffed) = self.pack(|out| Ok(diff(out)?))?;
        if diffed.entries + diffed.whiteouts == 0 {
            return Ok(None);
        }
        let tree = match take {
            // Times that were cut off are those of the archive only: its tree must be unpacked.
            true if latest.is_some() => Tree::Unpacked,
            true => Tree::Taken(Upper { upper, left_out: &left_out, diffed: &diffed }),
            false => Tree::Later(&diffed),
        };
        let diff_id = diffed.diff_id.clone();
        let layer =
            NewLayer { archive: fresh, diff_id, media_type: media::OCI_LAYER_GZIP, tree, tell: &|_| {} };
        self.commit_layer(trace, lease, layer, below).map(Some)
    }

    /// Makes a layer of an archive that came from elsewhere. Blocks.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the archive; [`layer::Error::DiffId`] if it is not `expected`.
    pub fn adopt_layer(
        &self,
        trace: &Trace,
        lease: &Lease,
        archive: Fresh,
        expected: Option<&DiffId>,
        below: &[DiffId],
    ) -> Result<Made, Error> {
        self.adopt_layer_telling(trace, lease, archive, (expected, below), &|_| {})
    }

    /// As [`Images::adopt_layer`]; `tell` hears how many of the archive's bytes are unpacked.
    pub(super) fn adopt_layer_telling(
        &self,
        trace: &Trace,
        lease: &Lease,
        archive: Fresh,
        (expected, below): (Option<&DiffId>, &[DiffId]),
        tell: &dyn Fn(u64),
    ) -> Result<Made, Error> {
        let archive = self.repacked(archive)?;
        let (diff_id, media_type) = identify(archive.reader()?)?;
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(layer::Error::DiffId { expected: expected.clone(), computed: diff_id }.into());
        }
        let layer = NewLayer { archive, diff_id, media_type, tree: Tree::Unpacked, tell };
        self.commit_layer(trace, lease, layer, below)
    }

    /// The same archive, compressed in a way that layers are: OCI has no media type for xz and bzip2.
    fn repacked(&self, archive: Fresh) -> Result<Fresh, Error> {
        match compression(&mut archive.reader()?)? {
            layer::Compression::Xz | layer::Compression::Bzip2 => {}
            _ => return Ok(archive),
        }
        let limit = layer::Limits::default().bytes;
        let mut whole = layer::decompressed(archive.reader()?)?.take(limit);
        self.pack(|out| Ok(io::copy(&mut whole, out).map(drop).map_err(layer::Error::Read)?))
            .map(|(fresh, ())| fresh)
    }

    /// Compresses what `write` writes, on a thread of its own: reading and hashing take as long.
    fn pack<T>(&self, write: impl FnOnce(&mut dyn Write) -> Result<T, Error>) -> Result<(Fresh, T), Error> {
        let fresh = self.store.fresh()?;
        let (sender, pieces) = std::sync::mpsc::sync_channel::<Vec<u8>>(8);
        std::thread::scope(|scope| {
            let packing = scope.spawn(move || -> io::Result<Fresh> {
                // The first level: what compresses well does so at once, and a commit is waited for.
                let out = BufWriter::with_capacity(128 * 1024, fresh);
                let mut packed = GzEncoder::new(out, Compression::fast());
                for piece in pieces {
                    packed.write_all(&piece)?;
                }
                packed.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
            });
            let mut out = BufWriter::with_capacity(PIECE, Pieces(sender));
            let value = write(&mut out);
            let flushed = out.flush();
            // The other thread sees the end.
            drop(out);
            let packed = packing.join().map_err(|_| {
                layer::Error::Read(io::Error::other(
                    "the thread that compresses panicked: a defect of the engine",
                ))
            })?;
            // If it failed, what is written fails too, with a reason that says less.
            let mut fresh = packed.map_err(layer::Error::Read)?;
            let value = value?;
            flushed.map_err(layer::Error::Read)?;
            fresh.seal();
            Ok((fresh, value))
        })
    }

    /// Unpacks those of the layers that were only noted: before their stack is used. Blocks.
    ///
    /// # Errors
    ///
    /// If a blob is gone or damaged, or the disk refuses.
    pub fn ready(&self, trace: &Trace, layers: &[ImageLayer]) -> Result<(), Error> {
        for layer in layers.iter().filter(|layer| !self.layers.has(&layer.chain)) {
            let lease = self.lease();
            lease.hold(&layer.blob.digest);
            lease.hold(&layer.chain.0);
            // The disk has the note, but not the tree yet.
            self.unsettle(&format!("layer {}", layer.chain))?;
            let (archive, media_type) = (self.store.reader(&layer.blob.digest)?, &layer.blob.media_type);
            self.layers.unpack(trace, archive, media_type, &layer.diff_id, &layer.chain, &|_| {})?;
            self.settle_soon();
        }
        Ok(())
    }

    /// Puts a layer whose blob is here on another stack. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Images::adopt_layer`].
    pub fn place_layer(
        &self,
        trace: &Trace,
        lease: &Lease,
        blob: &Descriptor,
        diff_id: &DiffId,
        below: &[DiffId],
    ) -> Result<Made, Error> {
        self.place_layer_telling(trace, lease, blob, (diff_id, below), &|_| {})
    }

    /// As [`Images::place_layer`]; `tell` hears how many of the blob's bytes are read.
    pub(super) fn place_layer_telling(
        &self,
        trace: &Trace,
        lease: &Lease,
        blob: &Descriptor,
        (diff_id, below): (&DiffId, &[DiffId]),
        tell: &dyn Fn(u64),
    ) -> Result<Made, Error> {
        let chain = chain(below, diff_id);
        lease.hold(&blob.digest);
        lease.hold(&chain.0);
        let archive = self.store.reader(&blob.digest)?;
        self.layers.unpack(trace, archive, &blob.media_type, diff_id, &chain, tell)?;
        Ok(Made { diff_id: diff_id.clone(), chain, blob: blob.clone() })
    }

    fn commit_layer(
        &self,
        trace: &Trace,
        lease: &Lease,
        layer: NewLayer<'_>,
        below: &[DiffId],
    ) -> Result<Made, Error> {
        let NewLayer { mut archive, diff_id, media_type, tree, tell } = layer;
        let (digest, size) = archive.seal();
        lease.hold(&digest);
        let body = Body::LayerCommit {
            diff_id: diff_id.to_string(),
            chain_id: chain(below, &diff_id).to_string(),
            digest: Some(digest.to_string()),
            size: Some(size),
        };
        trace.step(body, |span| {
            let inside = span.trace().clone();
            archive.commit(&inside, None)?;
            let blob = Descriptor::new(media_type, digest, size);
            let chain = chain(below, &diff_id);
            lease.hold(&chain.0);
            let there = match tree {
                Tree::Unpacked => false,
                Tree::Later(diffed) => self.layers.note(&inside, diffed, &chain).map(|()| true)?,
                Tree::Taken(Upper { upper, left_out, diffed }) => {
                    self.layers.adopt(&inside, upper, left_out, diffed, &chain)?
                }
            };
            if there {
                return Ok(Made { diff_id, chain, blob });
            }
            self.place_layer_telling(&inside, lease, &blob, (&diff_id, below), tell)
        })
    }

    /// Makes an image of a config and layers that are here, the lowest first, and puts names on it.
    ///
    /// # Errors
    ///
    /// Those of [`Images::register`], and of the disk.
    pub fn assemble(
        &self,
        trace: &Trace,
        lease: &Lease,
        config: &[u8],
        layers: Vec<Descriptor>,
        references: &[Reference],
    ) -> Result<Arc<Image>, Error> {
        let (manifest_type, config_type) = (media::OCI_MANIFEST, media::OCI_CONFIG);
        let layers = layers.into_iter().map(oci).collect();
        let config_blob = Descriptor::of(config_type, config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            config: config_blob.clone(),
            layers,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(crate::manifest::Error::Json)?;
        let descriptor = Descriptor::of(manifest_type, &bytes);
        lease.hold(&config_blob.digest);
        lease.hold(&descriptor.digest);
        self.store.write_as(trace, &config_blob.digest, config)?;
        self.store.write_as(trace, &descriptor.digest, &bytes)?;
        self.register(trace, &descriptor, references)
    }
}

/// A layer's descriptor in OCI's words: what is made here is an OCI image, whatever lies below.
fn oci(layer: Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media::DOCKER_LAYER => media::OCI_LAYER_GZIP,
        other => other,
    };
    Descriptor::new(media_type, layer.digest.clone(), layer.size)
}

fn chain(below: &[DiffId], diff_id: &DiffId) -> ChainId {
    let mut stack = below.to_vec();
    stack.push(diff_id.clone());
    // A chain has as many ids as its stack has layers.
    ChainId::chain(&stack).pop().unwrap_or_else(|| ChainId(diff_id.0.clone()))
}

/// The diff id of an archive, compressed or not, and the media type that it has.
fn identify(mut archive: impl Read + io::Seek) -> Result<(DiffId, &'static str), Error> {
    let found = compression(&mut archive)?;
    archive.rewind().map_err(layer::Error::Read)?;
    let media_type = match found {
        layer::Compression::Gzip => media::OCI_LAYER_GZIP,
        layer::Compression::Zstd => media::OCI_LAYER_ZSTD,
        _ => media::OCI_LAYER,
    };
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut hash = |bytes: &[u8]| hasher.update(bytes);
    let limit = layer::Limits::default().bytes;
    let mut whole = layer::decompressed(archive)?.take(limit.saturating_add(1));
    let count = io::copy(&mut whole, &mut Hash(&mut hash)).map_err(layer::Error::Read)?;
    if count > limit {
        return Err(layer::Error::TooMuch { what: "bytes", limit }.into());
    }
    Ok((DiffId(hasher.finish()), media_type))
}

/// How an archive is compressed, by its first bytes.
fn compression(archive: &mut impl Read) -> Result<layer::Compression, Error> {
    let mut magic = Vec::with_capacity(4);
    archive.take(4).read_to_end(&mut magic).map_err(layer::Error::Read)?;
    Ok(layer::Compression::of(&magic))
}

/// So much is handed to the thread that compresses at once, in bytes.
const PIECE: usize = 256 * 1024;

/// Sends what is written on to another thread.
struct Pieces(std::sync::mpsc::SyncSender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map(|()| bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Hash<'a>(&'a mut dyn FnMut(&[u8]));

impl Write for Hash<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
