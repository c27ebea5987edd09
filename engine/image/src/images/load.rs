//! An archive becomes images: what `save` wrote, here or with Docker, Podman, skopeo or umoci.
//!
//! ```text
//!   archive ─► files beside the store, hashed as they come
//!     index.json     ─► manifest ─► config, layers        an OCI layout
//!     manifest.json  ─► config, layers                    Docker's, with names
//!   each image: config ─► diff ids ─► layers that are not here yet ─► visible
//! ```
//!
//! Names in the archive are only names: nothing is written under them. What a layer
//! says it is (its digest, its diff id) is held against its bytes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use glassdock_trace::Trace;
use serde::Deserialize;

use super::save::{NAME, REF_NAME, place};
use super::{Error, Image, Images, Lease};
use crate::config::Config;
use crate::content::{Fresh, LARGEST_DOCUMENT};
use crate::descriptor::{Descriptor, Platform, media};
use crate::digest::{ChainId, DiffId, Digest};
use crate::layer;
use crate::layer::archive::{Archive, Entry, Kind};
use crate::manifest::{Document, Index, Manifest};
use crate::reference::Reference;

/// More files than any archive of images has.
const MOST_FILES: usize = 100_000;
/// How often a link may lead to a link.
const MOST_LINKS: usize = 8;
/// How deep indexes may lie in indexes.
const DEPTH: usize = 3;

/// What a load tells while it goes on.
#[derive(Clone, Debug)]
pub enum Loading {
    /// A layer is about to be unpacked, of so many bytes.
    Layer(DiffId, u64),
    /// So many of them are.
    Some(DiffId, u64, u64),
    /// It is.
    Done(DiffId, u64),
}

/// An image that was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The image.
    pub image: Arc<Image>,
    /// The names that it was given.
    pub names: Vec<Reference>,
    /// Those of the names that another image had before, with that one's id.
    pub moved: Vec<(Reference, Digest)>,
}

impl Images {
    /// Loads all images of an archive, compressed or not (gzip, zstd). Blocks; memory stays flat.
    ///
    /// `refuse` is asked for each image that isn't here yet, by its platform: why it must not come.
    ///
    /// # Errors
    ///
    /// [`Error::Archive`] if it has no images, and whatever is wrong with one of them; those before it stay.
    pub fn load_archive(
        &self,
        trace: &Trace,
        archive: impl Read,
        refuse: &dyn Fn(&Platform) -> Option<String>,
        tell: &dyn Fn(Loading),
    ) -> Result<Vec<Loaded>, Error> {
        let lease = self.lease();
        let mut files = Files::read(self, archive)?;
        let plans = plans(&files)?;
        let mut loaded = Vec::new();
        for plan in plans {
            let names = plan.names.clone();
            let held = |name: &Reference| self.by_name(name).map(|image| (name.clone(), image.id.clone()));
            let before: Vec<_> = names.iter().filter_map(held).collect();
            let image = self.load_one(trace, &lease, &mut files, plan, refuse, tell)?;
            let moved = before.into_iter().filter(|(_, id)| *id != image.id).collect();
            loaded.push(Loaded { image, names, moved });
        }
        Ok(loaded)
    }

    fn load_one(
        &self,
        trace: &Trace,
        lease: &Lease,
        files: &mut Files,
        plan: Plan,
        refuse: &dyn Fn(&Platform) -> Option<String>,
        tell: &dyn Fn(Loading),
    ) -> Result<Arc<Image>, Error> {
        let config_bytes = files.document(&plan.config)?;
        let id = Digest::of(&config_bytes);
        lease.hold(&id);
        if let Some(image) = self.by_id(&id).filter(|image| !image.hidden) {
            for name in &plan.names {
                self.tag(trace, &id, name)?;
            }
            return self.by_id(&image.id).ok_or_else(|| Error::NotFound(id.to_string()));
        }
        let config: Config =
            serde_json::from_slice(&config_bytes).map_err(|source| Error::Config { digest: id, source })?;
        if let Some(why) = refuse(&config.platform()) {
            return Err(invalid(why));
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != plan.layers.len() {
            let (layers, diffs) = (plan.layers.len(), diff_ids.len());
            return Err(invalid(format!("an image has {layers} layers, its config {diffs}")));
        }
        let mut blobs = Vec::new();
        for (at, (diff_id, path)) in diff_ids.iter().zip(&plan.layers).enumerate() {
            let wanted = plan.manifest.as_ref().and_then(|(_, manifest)| manifest.layers.get(at));
            let below = diff_ids.get(..at).unwrap_or_default();
            blobs.push(self.load_layer(trace, lease, files, (diff_id, path, below), wanted, tell)?);
        }
        let Some((descriptor, _)) = plan.manifest else {
            return self.assemble(trace, lease, &config_bytes, blobs, &plan.names);
        };
        let bytes = files.document(&place(&descriptor.digest))?;
        lease.hold(&descriptor.digest);
        self.store.write_as(trace, &Digest::of(&config_bytes), &config_bytes)?;
        self.store.write_as(trace, &descriptor.digest, &bytes)?;
        self.register(trace, &descriptor, &plan.names)
    }

    /// Brings one layer: from the archive, or from an image that is here and has it.
    fn load_layer(
        &self,
        trace: &Trace,
        lease: &Lease,
        files: &mut Files,
        (diff_id, path, below): (&DiffId, &String, &[DiffId]),
        wanted: Option<&Descriptor>,
        tell: &dyn Fn(Loading),
    ) -> Result<Descriptor, Error> {
        let mut stack = below.to_vec();
        stack.push(diff_id.clone());
        let chain = ChainId::chain(&stack).pop().ok_or_else(|| invalid("an image without layers"))?;
        lease.hold(&chain.0);
        let fits = |blob: &Descriptor| wanted.is_none_or(|wanted| wanted.digest == blob.digest);
        let here = self.list().into_iter().flat_map(|image| image.layers.clone());
        let here = here.into_iter().find(|layer| layer.chain == chain && fits(&layer.blob));
        if let Some(layer) = here.filter(|layer| self.store.has(&layer.blob.digest).is_some()) {
            return Ok(self.place_layer(trace, lease, &layer.blob, diff_id, below)?.blob);
        }
        let made = match files.take(path)? {
            Taken::Before(blob) => {
                tell(Loading::Layer(diff_id.clone(), blob.size));
                let told = |done| tell(Loading::Some(diff_id.clone(), done, blob.size));
                self.place_layer_telling(trace, lease, &blob, (diff_id, below), &told)?
            }
            Taken::Now(mut file) => {
                let (digest, size) = file.seal();
                if let Some(wanted) = wanted.filter(|wanted| wanted.digest != digest) {
                    let expected = wanted.digest.clone();
                    return Err(crate::content::Error::Digest { expected, computed: digest }.into());
                }
                tell(Loading::Layer(diff_id.clone(), size));
                let told = |done| tell(Loading::Some(diff_id.clone(), done, size));
                self.adopt_layer_telling(trace, lease, file, (Some(diff_id), below), &told)?
            }
        };
        tell(Loading::Done(diff_id.clone(), made.blob.size));
        files.made(path, &made.blob);
        Ok(made.blob)
    }
}

/// One image, as the archive describes it.
struct Plan {
    names: Vec<Reference>,
    config: String,
    layers: Vec<String>,
    /// The manifest, if the archive has one.
    manifest: Option<(Descriptor, Manifest)>,
}

/// An entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn plans(files: &Files) -> Result<Vec<Plan>, Error> {
    let mut plans: Vec<Plan> = Vec::new();
    if files.has("index.json") {
        let index: Index = serde_json::from_slice(&files.document("index.json")?)
            .map_err(|error| invalid(format!("its index.json can't be read: {error}")))?;
        from_index(files, &index, &[], DEPTH, &mut plans)?;
    }
    if files.has("manifest.json") {
        let entries: Vec<DockerEntry> = serde_json::from_slice(&files.document("manifest.json")?)
            .map_err(|error| invalid(format!("its manifest.json can't be read: {error}")))?;
        for entry in entries {
            let names = entry.repo_tags.unwrap_or_default();
            let names = names.iter().map(|name| Reference::parse(name).map(|name| name.with_default_tag()));
            let names = names.collect::<Result<Vec<_>, _>>()?;
            let config = clean(entry.config.as_bytes(), "")?;
            let digest = files.digest(&config)?;
            let same = |plan: &&mut Plan| files.digest(&plan.config).is_ok_and(|other| other == digest);
            if let Some(plan) = plans.iter_mut().find(same) {
                for name in names {
                    if !plan.names.contains(&name) {
                        plan.names.push(name);
                    }
                }
                continue;
            }
            let layers = entry.layers.unwrap_or_default();
            let layers = layers.iter().map(|layer| clean(layer.as_bytes(), ""));
            plans.push(Plan { names, config, layers: layers.collect::<Result<_, _>>()?, manifest: None });
        }
    }
    if plans.is_empty() {
        return Err(invalid("it has neither a manifest.json nor an index.json with images for this machine"));
    }
    Ok(plans)
}

/// The images of an index that this machine can use; of those inside another index, the best one.
fn from_index(
    files: &Files,
    index: &Index,
    above: &[Reference],
    depth: usize,
    plans: &mut Vec<Plan>,
) -> Result<(), Error> {
    let outermost = depth == DEPTH;
    let chosen: Vec<&Descriptor> = if outermost {
        index.manifests.iter().collect()
    } else {
        index.choose(&Platform::host()).ok().into_iter().collect()
    };
    for descriptor in chosen {
        let path = place(&descriptor.digest);
        // An archive may list more than it has: other platforms, attestations.
        if !files.has(&path) || descriptor.annotations.contains_key("vnd.docker.reference.type") {
            continue;
        }
        if files.digest(&path)? != descriptor.digest {
            let (expected, computed) = (descriptor.digest.clone(), files.digest(&path)?);
            return Err(crate::content::Error::Digest { expected, computed }.into());
        }
        let mut names = names_of(descriptor);
        names.extend(above.iter().cloned());
        match Document::parse(&descriptor.media_type, &files.document(&path)?)? {
            Document::Index(inner) if depth > 0 => from_index(files, &inner, &names, depth - 1, plans)?,
            Document::Index(_) => return Err(invalid("its indexes lie too deep in each other")),
            Document::Manifest(manifest) => {
                if !matches!(manifest.config.media_type.as_str(), media::OCI_CONFIG | media::DOCKER_CONFIG) {
                    continue;
                }
                if let Some(plan) =
                    plans.iter_mut().find(|plan| plan.config == place(&manifest.config.digest))
                {
                    plan.names.extend(names);
                    continue;
                }
                let layers = manifest.layers.iter().map(|layer| place(&layer.digest)).collect();
                let config = place(&manifest.config.digest);
                plans.push(Plan { names, config, layers, manifest: Some((descriptor.clone(), *manifest)) });
            }
        }
    }
    Ok(())
}

/// The names that an index has for a manifest. A bare tag (`latest`) is none by itself.
fn names_of(descriptor: &Descriptor) -> Vec<Reference> {
    let whole = descriptor.annotations.get(NAME);
    let named =
        whole.or_else(|| descriptor.annotations.get(REF_NAME).filter(|name| name.contains([':', '/'])));
    let parsed = named.and_then(|name| Reference::parse(name).ok()).filter(|name| name.digest().is_none());
    parsed.map(|name| name.with_default_tag()).into_iter().collect()
}

/// The files of an archive, by their names in it.
struct Files(HashMap<String, Item>);

enum Item {
    File(Fresh),
    Link(String),
    /// It became a blob of the store.
    Blob(Descriptor),
}

enum Taken {
    Now(Fresh),
    Before(Descriptor),
}

impl Files {
    /// Reads an archive to its end, and keeps its files beside the store.
    fn read(images: &Images, archive: impl Read) -> Result<Self, Error> {
        let limits = layer::Limits::default();
        let whole = layer::decompressed(archive)?.take(limits.bytes);
        let mut archive = Archive::new(whole, limits.bytes);
        let mut files = HashMap::new();
        let mut buffer = vec![0; 128 * 1024];
        while let Some(entry) = archive.next()? {
            if files.len() >= MOST_FILES {
                return Err(layer::Error::TooMuch { what: "files", limit: MOST_FILES as u64 }.into());
            }
            if let Some(item) = item(images, &entry, &mut archive, &mut buffer)? {
                files.insert(clean(&entry.path, "")?, item);
            }
        }
        Ok(Self(files))
    }

    fn has(&self, path: &str) -> bool {
        self.resolve(path).is_ok()
    }

    /// The name that a name leads to through links.
    fn resolve(&self, path: &str) -> Result<String, Error> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            match self.0.get(&path) {
                Some(Item::Link(target)) => path.clone_from(target),
                Some(_) => return Ok(path),
                None => break,
            }
        }
        Err(invalid(format!("it has no file {path:?}")))
    }

    /// A small file, whole.
    fn document(&self, path: &str) -> Result<Vec<u8>, Error> {
        let Some(Item::File(file)) = self.0.get(&self.resolve(path)?) else {
            return Err(invalid(format!("{path:?} is a layer, not a document")));
        };
        if file.size() > LARGEST_DOCUMENT {
            return Err(invalid(format!("its file {path:?} is larger than any document")));
        }
        let mut bytes = Vec::new();
        file.reader()?.read_to_end(&mut bytes).map_err(layer::Error::Read)?;
        Ok(bytes)
    }

    fn digest(&self, path: &str) -> Result<Digest, Error> {
        match self.0.get(&self.resolve(path)?) {
            Some(Item::File(file)) => Ok(file.digest()),
            Some(Item::Blob(blob)) => Ok(blob.digest.clone()),
            _ => Err(invalid(format!("it has no file {path:?}"))),
        }
    }

    fn take(&mut self, path: &str) -> Result<Taken, Error> {
        let path = self.resolve(path)?;
        match self.0.remove(&path) {
            Some(Item::File(file)) => Ok(Taken::Now(file)),
            Some(Item::Blob(blob)) => {
                self.0.insert(path, Item::Blob(blob.clone()));
                Ok(Taken::Before(blob))
            }
            _ => Err(invalid(format!("it has no file {path:?}"))),
        }
    }

    /// What was taken is a blob of the store now.
    fn made(&mut self, path: &str, blob: &Descriptor) {
        // Links to it have to find it again.
        let mut path = path.to_owned();
        while let Some(Item::Link(target)) = self.0.get(&path) {
            path = target.clone();
        }
        self.0.insert(path, Item::Blob(blob.clone()));
    }
}

fn item<R: Read>(
    images: &Images,
    entry: &Entry,
    archive: &mut Archive<R>,
    buffer: &mut [u8],
) -> Result<Option<Item>, Error> {
    let folder = match entry.path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => String::from_utf8_lossy(entry.path.get(..slash).unwrap_or_default()).into_owned(),
        None => String::new(),
    };
    match entry.kind {
        Kind::File if entry.pieces.is_none() => {
            let mut file = images.store.fresh()?;
            loop {
                let count = archive.read(buffer)?;
                if count == 0 {
                    break;
                }
                file.write_all(buffer.get(..count).unwrap_or_default()).map_err(layer::Error::Read)?;
            }
            file.seal();
            Ok(Some(Item::File(file)))
        }
        Kind::Symlink => Ok(Some(Item::Link(clean(&entry.link, &folder)?))),
        Kind::HardLink => Ok(Some(Item::Link(clean(&entry.link, "")?))),
        _ => Ok(None),
    }
}

/// A name of the archive, relative to a folder of it, without dots.
fn clean(path: &[u8], folder: &str) -> Result<String, Error> {
    let text = std::str::from_utf8(path).map_err(|_| invalid("a file's name is no text"))?;
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| invalid(format!("{text:?} leads out of it")))?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::Archive { reason: reason.into() }
}
