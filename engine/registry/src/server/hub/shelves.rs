//! What the hub reads of the registry's storage, and how much of it at most.

use std::sync::Arc;

use crate::seed::About;
use crate::server::error::Refusal;
use crate::server::name::Name;
use crate::server::storage::Storage;
use crate::server::storage::manifests::{Reference, Stored};
use glassdock_image::digest::Digest;

/// The largest configuration that is read. Those of real images have some ten KiB.
const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;

/// The storage, as the hub sees it: read only, blocking.
pub(super) struct Shelves(Arc<Storage>);

impl Shelves {
    pub(super) fn new(storage: Arc<Storage>) -> Self {
        Self(storage)
    }

    /// The names of all repositories, sorted.
    pub(super) fn repositories(&self) -> Result<Vec<Name>, Refusal> {
        self.0.repositories()
    }

    /// What is told about a repository; nothing, where nobody told anything. Its pulls are counted.
    pub(super) fn about(&self, name: &Name) -> Result<About, Refusal> {
        let text = self.0.read_about(name)?;
        let mut about: About = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        about.pulls = about.pulls.saturating_add(self.0.pulls(name)?);
        Ok(about)
    }

    /// The tags of a repository, sorted.
    pub(super) fn tags(&self, name: &Name) -> Result<Vec<String>, Refusal> {
        Ok(self.0.tags(name)?.as_ref().clone())
    }

    /// A manifest or index.
    pub(super) fn manifest(&self, name: &Name, reference: &Reference) -> Result<Stored, Refusal> {
        self.0.manifest(name, reference)
    }

    /// A configuration of an image.
    pub(super) fn config(&self, name: &Name, digest: &Digest) -> Result<Vec<u8>, Refusal> {
        self.0.read_blob(name, digest, CONFIG_LIMIT)
    }
}
