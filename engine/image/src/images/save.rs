//! Images become one archive that everybody reads: it is an OCI layout (`index.json`)
//! and what Docker has always written (`manifest.json`) at once, over the same blobs.
//!
//! The blobs go out as they are here: layers stay compressed, digests stay the same,
//! so that an image that is loaded again is the one that was saved.
//!
//! See OCI image-spec `image-layout.md`, and Docker's image specification v1.2.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Error, Image, Images};
use crate::descriptor::{Descriptor, media};
use crate::digest::Digest;
use crate::reference::Reference;

/// The annotation by which containerd, and so Docker, know an image's whole name.
pub(super) const NAME: &str = "io.containerd.image.name";
/// OCI's annotation of a name; of its tag, as Docker writes it.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Images {
    /// Writes images, each with the tags that it is saved under, as an archive that is not compressed.
    /// Blocks; memory stays flat.
    ///
    /// # Errors
    ///
    /// If a blob can't be read, or the archive not written.
    pub fn save_archive(
        &self,
        wanted: &[(Arc<Image>, Vec<Reference>)],
        out: impl Write,
    ) -> Result<(), Error> {
        let mut archive = tar::Builder::new(out);
        let mut blobs = BTreeSet::new();
        for (image, _) in wanted {
            blobs.extend([image.id.clone(), image.manifest.digest.clone()]);
            blobs.extend(image.layers.iter().map(|layer| layer.blob.digest.clone()));
        }
        folder(&mut archive, "blobs/")?;
        let algorithms: BTreeSet<&str> = blobs.iter().map(|blob| blob.algorithm().name()).collect();
        for algorithm in algorithms {
            folder(&mut archive, &format!("blobs/{algorithm}/"))?;
        }
        for blob in &blobs {
            let file = self.store.reader(blob)?;
            let size = file.metadata().map_err(Error::Write)?.len();
            entry(&mut archive, &place(blob), size, file)?;
        }
        document(&mut archive, "index.json", &index(wanted))?;
        document(&mut archive, "manifest.json", &manifests(wanted))?;
        document(&mut archive, "oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        document(&mut archive, "repositories", &repositories(wanted))?;
        archive.into_inner().and_then(|mut out| out.flush()).map_err(Error::Write)
    }
}

/// Where a blob lies in a layout.
pub(super) fn place(blob: &Digest) -> String {
    format!("blobs/{}/{}", blob.algorithm().name(), blob.hex())
}

/// `index.json`: an entry a name.
fn index(wanted: &[(Arc<Image>, Vec<Reference>)]) -> Value {
    let mut manifests = Vec::new();
    for (image, names) in wanted {
        let plain = Descriptor { platform: Some(image.config.platform()), ..image.manifest.clone() };
        if names.is_empty() {
            manifests.push(plain);
            continue;
        }
        for name in names {
            let tag = name.tag().unwrap_or_default().to_owned();
            let annotations =
                BTreeMap::from([(NAME.to_owned(), name.to_string()), (REF_NAME.to_owned(), tag)]);
            manifests.push(Descriptor { annotations, ..plain.clone() });
        }
    }
    json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests })
}

/// `manifest.json`: an entry an image.
fn manifests(wanted: &[(Arc<Image>, Vec<Reference>)]) -> Value {
    let one = |(image, names): &(Arc<Image>, Vec<Reference>)| {
        let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
        let layers: Vec<String> = image.layers.iter().map(|layer| place(&layer.blob.digest)).collect();
        json!({
            "Config": place(&image.id),
            "RepoTags": (!tags.is_empty()).then_some(tags),
            "Layers": layers,
        })
    };
    wanted.iter().map(one).collect()
}

/// `repositories`: what Docker read before there was a `manifest.json`.
fn repositories(wanted: &[(Arc<Image>, Vec<Reference>)]) -> Value {
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (image, names) in wanted {
        let top = image.layers.last().map_or_else(|| image.id.hex(), |layer| layer.blob.digest.hex());
        for name in names {
            let tags = found.entry(name.familiar_name()).or_default();
            tags.insert(name.tag().unwrap_or_default().to_owned(), top.to_owned());
        }
    }
    json!(found)
}

fn document(archive: &mut tar::Builder<impl Write>, name: &str, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    entry(archive, name, text.len() as u64, text.as_bytes())
}

fn folder(archive: &mut tar::Builder<impl Write>, name: &str) -> Result<(), Error> {
    let mut header = header(0o755, 0);
    header.set_entry_type(tar::EntryType::Directory);
    archive.append_data(&mut header, name, io::empty()).map_err(Error::Write)
}

fn entry(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    content: impl io::Read,
) -> Result<(), Error> {
    let mut header = header(0o644, size);
    header.set_entry_type(tar::EntryType::Regular);
    archive.append_data(&mut header, name, content).map_err(Error::Write)
}

/// No owner and no time: the same images give the same bytes.
fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
