//! Manifests, tags, and what refers to what.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::keys::{self, digest_of, file_name};
use super::{Act, Guard, Storage};
use crate::server::error::{Code, Refusal};
use crate::server::manifest::Manifest;
use crate::server::name::Name;
use glassdock_image::digest::Digest;

/// A manifest as it was pushed, byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// What a tag or a digest in a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(String),
    Digest(Digest),
}

impl Storage {
    /// A manifest of a repository.
    pub(crate) fn manifest(&self, name: &Name, reference: &Reference) -> Result<Stored, Refusal> {
        let unknown = || {
            // Where that can't be told, the manifest is unknown all the same.
            if matches!(self.is_repository(name), Ok(false)) {
                return Refusal::new(Code::NameUnknown, format!("there is no repository {name}"));
            }
            let words = match reference {
                Reference::Tag(tag) => format!("repository {name} has no tag {tag}"),
                Reference::Digest(digest) => format!("repository {name} has no manifest {digest}"),
            };
            Refusal::new(Code::ManifestUnknown, words)
        };
        let digest = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => self.tag(name, tag)?.ok_or_else(unknown)?,
        };
        let media_type = self.manifest_type(name, &digest)?.ok_or_else(unknown)?;
        if let Some(bytes) = self.cache.get(&digest) {
            return Ok(Stored { digest, media_type, bytes });
        }
        let (opened, size) = self.place.open_blob(&digest)?.ok_or_else(unknown)?;
        let bytes = Bytes::from(self.read_opened(&opened, size, &digest)?);
        self.cache.put(&digest, &bytes);
        Ok(Stored { digest, media_type, bytes })
    }

    /// The digest that a tag stands for.
    pub(crate) fn tag(&self, name: &Name, tag: &str) -> Result<Option<Digest>, Refusal> {
        let text = self.read_text(&keys::tag(name, tag))?;
        Ok(text.and_then(|text| text.trim_end().parse().ok()))
    }

    /// The media type of a manifest, if the repository has it.
    pub(crate) fn manifest_type(&self, name: &Name, digest: &Digest) -> Result<Option<String>, Refusal> {
        Ok(self.read_text(&keys::manifest_link(name, digest))?.filter(|text| !text.is_empty()))
    }

    /// Stores a manifest that was checked, and puts tags on it.
    pub(crate) fn put_manifest(
        &self,
        name: &Name,
        digest: &Digest,
        manifest: &Manifest,
        bytes: &Bytes,
        tags: &[String],
        adding: &Guard,
    ) -> Result<(), Refusal> {
        // Here a push is over, and stays. The manifest itself may have come as a blob before.
        let named = manifest.blobs.iter().map(|(digest, _)| digest).chain([digest]);
        let named: Vec<_> = named.map(|digest| (digest.clone(), keys::blob_link(name, digest))).collect();
        let mut acts = self.place.settle_blobs(&named, adding)?;
        if self.place.blob_size(digest)?.is_some() {
            self.place.refresh_blob(digest);
        } else {
            acts.push(self.place.blob_of(digest, bytes)?);
        }
        if let Some(subject) = &manifest.subject {
            let descriptor = manifest.descriptor(digest, bytes.len());
            let key = format!("{}/{}", keys::referrers(name, subject), file_name(digest));
            acts.push(Act::write(key, descriptor.to_string()));
        }
        acts.push(Act::write(keys::manifest_link(name, digest), manifest.media_type.clone()));
        for tag in tags {
            acts.push(Act::write(keys::tag(name, tag), digest.to_string()));
        }
        self.place.commit(&acts)?;
        self.cache.put(digest, bytes);
        if !tags.is_empty() {
            self.has_changed(name);
        }
        Ok(())
    }

    /// Puts a tag on a manifest, or moves it there.
    pub(crate) fn put_tag(&self, name: &Name, tag: &str, digest: &Digest) -> Result<(), Refusal> {
        self.place.commit(&[Act::write(keys::tag(name, tag), digest.to_string())])?;
        self.has_changed(name);
        Ok(())
    }

    /// Takes a tag off; the manifest stays.
    pub(crate) fn delete_tag(&self, name: &Name, tag: &str) -> Result<(), Refusal> {
        let key = keys::tag(name, tag);
        if self.place.look(&key)?.is_none() {
            let words = format!("repository {name} has no tag {tag}");
            return Err(Refusal::new(Code::ManifestUnknown, words));
        }
        self.place.commit(&[Act::remove(key)])?;
        self.has_changed(name);
        Ok(())
    }

    /// Takes a manifest out of a repository, with its tags and its entry as a referrer.
    pub(crate) fn delete_manifest(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let stored = self.manifest(name, &Reference::Digest(digest.clone()))?;
        let mut acts = Vec::new();
        for tag in self.tags(name)?.iter() {
            if self.tag(name, tag)?.as_ref() == Some(digest) {
                acts.push(Act::remove(keys::tag(name, tag)));
            }
        }
        if let Ok(Manifest { subject: Some(subject), .. }) = Manifest::parse(&stored.bytes, None) {
            let key = format!("{}/{}", keys::referrers(name, &subject), file_name(digest));
            acts.push(Act::remove(key));
        }
        acts.push(Act::remove(keys::manifest_link(name, digest)));
        self.place.commit(&acts)?;
        self.has_changed(name);
        Ok(())
    }

    /// The descriptors of the manifests that have `subject` as their subject, by digest.
    pub(crate) fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<serde_json::Value>, Refusal> {
        let folder = keys::referrers(name, subject);
        let mut names = self.place.names(&folder)?;
        names.sort_unstable();
        let mut descriptors = Vec::with_capacity(names.len());
        for file in names.iter().filter(|file| digest_of(file).is_some()) {
            if let Some(text) = self.read_text(&format!("{folder}/{file}"))?
                && let Ok(descriptor) = serde_json::from_str(&text)
            {
                descriptors.push(descriptor);
            }
        }
        Ok(descriptors)
    }
}

/// Manifests that were read lately. They never change, so nothing here can be stale.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    manifests: HashMap<Digest, Bytes>,
    bytes: usize,
}

/// The cache holds at most so many bytes of manifests.
const CACHE_LIMIT: usize = 16 * 1024 * 1024;

impl Cache {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).manifests.get(digest).cloned()
    }

    fn put(&self, digest: &Digest, bytes: &Bytes) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.bytes + bytes.len() > CACHE_LIMIT {
            // Starting over is simpler than ageing, and as good where the working set fits.
            *held = Held::default();
        }
        if held.manifests.insert(digest.clone(), bytes.clone()).is_none() {
            held.bytes += bytes.len();
        }
    }
}
