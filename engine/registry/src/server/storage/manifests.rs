//! Manifests, tags, and what refers to what.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::{Adding, Storage, digest_of, file_name};
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
    pub(super) fn manifest_link(&self, name: &Name, digest: &Digest) -> PathBuf {
        self.repository(name).join("_manifests").join(file_name(digest))
    }

    fn tag_path(&self, name: &Name, tag: &str) -> PathBuf {
        self.repository(name).join("_tags").join(tag)
    }

    fn referrers_path(&self, name: &Name, subject: &Digest) -> PathBuf {
        self.repository(name).join("_referrers").join(file_name(subject))
    }

    /// A manifest of a repository.
    pub(crate) fn manifest(&self, name: &Name, reference: &Reference) -> Result<Stored, Refusal> {
        let unknown = || {
            if !super::listing::is_repository(&self.repository(name)) {
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
        let path = self.blob_path(&digest);
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Bytes::from(bytes);
                self.cache.put(&digest, &bytes);
                Ok(Stored { digest, media_type, bytes })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown()),
            Err(source) => Err(Refusal::disk("read", &path, source)),
        }
    }

    /// The digest that a tag stands for.
    pub(crate) fn tag(&self, name: &Name, tag: &str) -> Result<Option<Digest>, Refusal> {
        let text = read_small(self.tag_path(name, tag))?;
        Ok(text.and_then(|text| text.trim_end().parse().ok()))
    }

    /// The media type of a manifest, if the repository has it.
    pub(crate) fn manifest_type(&self, name: &Name, digest: &Digest) -> Result<Option<String>, Refusal> {
        Ok(read_small(self.manifest_link(name, digest))?.filter(|text| !text.is_empty()))
    }

    /// Stores a manifest that was checked, and puts tags on it.
    pub(crate) fn put_manifest(
        &self,
        name: &Name,
        digest: &Digest,
        manifest: &Manifest,
        bytes: &Bytes,
        tags: &[String],
        adding: &Adding,
    ) -> Result<(), Refusal> {
        let mut acts = Vec::with_capacity(3 + tags.len());
        let blob = self.blob_path(digest);
        if blob.exists() {
            self.refresh(&blob, adding);
        } else {
            acts.push(self.write(&blob, bytes.clone()));
        }
        if let Some(subject) = &manifest.subject {
            let descriptor = manifest.descriptor(digest, bytes.len());
            let path = self.referrers_path(name, subject).join(file_name(digest));
            acts.push(self.write(&path, descriptor.to_string()));
        }
        acts.push(self.write(&self.manifest_link(name, digest), manifest.media_type.clone()));
        for tag in tags {
            acts.push(self.write(&self.tag_path(name, tag), digest.to_string()));
        }
        self.commit(&acts)?;
        self.cache.put(digest, bytes);
        Ok(())
    }

    /// Puts a tag on a manifest, or moves it there.
    pub(crate) fn put_tag(&self, name: &Name, tag: &str, digest: &Digest) -> Result<(), Refusal> {
        self.commit(&[self.write(&self.tag_path(name, tag), digest.to_string())])
    }

    /// Takes a tag off; the manifest stays.
    pub(crate) fn delete_tag(&self, name: &Name, tag: &str) -> Result<(), Refusal> {
        let path = self.tag_path(name, tag);
        if !path.exists() {
            let words = format!("repository {name} has no tag {tag}");
            return Err(Refusal::new(Code::ManifestUnknown, words));
        }
        self.commit(&[self.remove(&path)])
    }

    /// Takes a manifest out of a repository, with its tags and its entry as a referrer.
    pub(crate) fn delete_manifest(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let stored = self.manifest(name, &Reference::Digest(digest.clone()))?;
        let mut acts = Vec::new();
        for tag in self.tags(name)?.iter() {
            if self.tag(name, tag)?.as_ref() == Some(digest) {
                acts.push(self.remove(&self.tag_path(name, tag)));
            }
        }
        if let Ok(Manifest { subject: Some(subject), .. }) = Manifest::parse(&stored.bytes, None) {
            acts.push(self.remove(&self.referrers_path(name, &subject).join(file_name(digest))));
        }
        acts.push(self.remove(&self.manifest_link(name, digest)));
        self.commit(&acts)
    }

    /// The descriptors of the manifests that have `subject` as their subject, by digest.
    pub(crate) fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<serde_json::Value>, Refusal> {
        let folder = self.referrers_path(name, subject);
        let mut names = super::listing::file_names(&folder)?;
        names.sort_unstable();
        let mut descriptors = Vec::with_capacity(names.len());
        for file in names.iter().filter(|file| digest_of(file).is_some()) {
            if let Some(text) = read_small(folder.join(file))?
                && let Ok(descriptor) = serde_json::from_str(&text)
            {
                descriptors.push(descriptor);
            }
        }
        Ok(descriptors)
    }
}

/// A small file's text; `None` where there is no such file.
pub(super) fn read_small(path: PathBuf) -> Result<Option<String>, Refusal> {
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(Refusal::disk("read", &path, source)),
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
