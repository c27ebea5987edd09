//! What nothing needs any more is removed: layers, then blobs.

use std::collections::HashSet;

use super::{Error, Image, Images, User};
use crate::digest::{ChainId, Digest};
use crate::layer::Unpacked;
use crate::manifest::Document;

/// What a collection freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes of unpacked layers.
    pub layers: u64,
    /// Bytes of blobs, whole and partial.
    pub blobs: u64,
}

/// What the images take on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all unpacked layers, each counted once.
    pub layers: u64,
    /// Bytes of all blobs.
    pub blobs: u64,
}

impl Images {
    /// Removes the layers and blobs that an image had for itself. Its rows are gone.
    /// Returns the layers, the uppermost first.
    pub(super) fn sweep(&self, image: &Image) -> Result<Vec<ChainId>, Error> {
        let snapshot = self.load()?;
        let others: Vec<_> = snapshot.images.values().filter(|other| other.id != image.id).collect();
        let chains: HashSet<&ChainId> =
            others.iter().flat_map(|other| &other.layers).map(|layer| &layer.chain).collect();
        let mut gone = Vec::new();
        for layer in image.layers.iter().rev().filter(|layer| !chains.contains(&layer.chain)) {
            if self.remove_layer(&layer.chain)? {
                gone.push(layer.chain.clone());
            }
        }
        let needed = self.needed_blobs(others.into_iter().map(AsRef::as_ref))?;
        let mut blobs: HashSet<Digest> = image.layers.iter().map(|layer| layer.blob.digest.clone()).collect();
        blobs.extend([image.id.clone(), image.manifest.digest.clone()]);
        blobs.extend(image.references.iter().filter_map(|name| name.digest()).cloned());
        for blob in blobs.difference(&needed) {
            self.remove_blob(blob)?;
        }
        Ok(gone)
    }

    /// Removes all that no image needs: what interrupted pulls left, what hidden
    /// images kept for containers that are gone now. `using` as in [`Images::delete`].
    ///
    /// # Errors
    ///
    /// If the disk or the database refuses.
    pub fn collect(&self, using: &dyn Fn(&Digest) -> Vec<User>) -> Result<Reclaimed, Error> {
        self.change(|| {
            for image in
                self.load()?.images.values().filter(|image| image.hidden && using(&image.id).is_empty())
            {
                self.remove_rows(&image.id, false)?;
            }
            let snapshot = self.load()?;
            let images = || snapshot.images.values().map(AsRef::as_ref);
            let chains: HashSet<&ChainId> =
                images().flat_map(|image| &image.layers).map(|layer| &layer.chain).collect();
            let mut reclaimed = Reclaimed::default();
            for chain in self.layers.list()?.iter().filter(|chain| !chains.contains(chain)) {
                let bytes = self.layers.size(chain).map_or(0, |unpacked: Unpacked| unpacked.bytes);
                if self.remove_layer(chain)? {
                    reclaimed.layers += bytes;
                }
            }
            let needed = self.needed_blobs(images())?;
            for (blob, _) in self.store.list()?.iter().filter(|(blob, _)| !needed.contains(blob)) {
                reclaimed.blobs += self.remove_blob(blob)?;
            }
            reclaimed.blobs += self.store.remove_partial()?;
            Ok(reclaimed)
        })
    }

    /// What the images take on the disk.
    ///
    /// # Errors
    ///
    /// If the disk can't be read.
    pub fn usage(&self) -> Result<Usage, Error> {
        let layers = self
            .layers
            .list()?
            .iter()
            .filter_map(|chain| self.layers.size(chain))
            .map(|size| size.bytes)
            .sum();
        let blobs = self.store.list()?.iter().map(|(_, size)| size).sum();
        Ok(Usage { layers, blobs })
    }

    /// Blobs that images are made of: manifests, configs, layers, and the indexes
    /// whose digests they have as names.
    fn needed_blobs<'a>(&self, images: impl Iterator<Item = &'a Image>) -> Result<HashSet<Digest>, Error> {
        let mut needed = HashSet::new();
        for image in images {
            needed.extend([image.id.clone(), image.manifest.digest.clone()]);
            needed.extend(image.layers.iter().map(|layer| layer.blob.digest.clone()));
            // An image may have been registered by several manifests of the same config.
            for digest in image.references.iter().filter_map(|name| name.digest()) {
                needed.insert(digest.clone());
                if let Some(Document::Manifest(manifest)) =
                    self.store.read(digest).ok().and_then(|bytes| Document::parse("", &bytes).ok())
                {
                    needed.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                }
            }
        }
        Ok(needed)
    }

    fn remove_layer(&self, chain: &ChainId) -> Result<bool, Error> {
        let held = self.shared.leases.lock();
        if held.contains_key(&chain.0) || !self.layers.is_known(chain) {
            return Ok(false);
        }
        self.unsettle(&format!("layer {chain}"))?;
        self.layers.remove(chain)?;
        Ok(true)
    }

    fn remove_blob(&self, blob: &Digest) -> Result<u64, Error> {
        let held = self.shared.leases.lock();
        if held.contains_key(blob) || self.store.is_busy(blob) {
            return Ok(0);
        }
        self.unsettle(&format!("blob {blob}"))?;
        Ok(self.store.remove(blob)?)
    }
}
