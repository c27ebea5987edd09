//! What the hub reads of the registry's storage, and how much of it at most.

use std::sync::Arc;

use super::cards::{Card, Cards};
use crate::seed::About;
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::storage::Storage;
use crate::server::storage::changes::Changes;
use crate::server::storage::manifests::{Reference, Stored};
use glassdock_image::digest::Digest;

/// The largest configuration that is read. Those of real images have some ten KiB.
const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;

/// The storage, as the hub sees it: read only, blocking.
pub(super) struct Shelves(Arc<Storage>, Arc<Cards>);

impl Shelves {
    pub(super) fn new(storage: Arc<Storage>, cards: Arc<Cards>) -> Self {
        Self(storage, cards)
    }

    /// The cards of all repositories that can be shown.
    pub(super) fn cards(&self) -> Result<Vec<Arc<Card>>, Refusal> {
        self.1.all(self)
    }

    /// The names of all repositories, sorted.
    pub(super) fn repositories(&self) -> Result<Vec<Name>, Refusal> {
        self.0.repositories()
    }

    /// Whether looking at many repositories takes little time.
    pub(super) fn is_near(&self) -> bool {
        self.0.is_near()
    }

    /// What this server changed since this was last called.
    pub(super) fn changes(&self) -> Changes {
        self.0.changes()
    }

    /// What is told about a repository; nothing, where nobody told anything. Its pulls are those that
    /// were noted.
    pub(super) fn about(&self, name: &Name) -> Result<About, Refusal> {
        let text = self.0.read_about(name)?;
        let mut about: About = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        about.pulls = about.pulls.saturating_add(self.0.noted_pulls(name)?);
        Ok(about)
    }

    /// How often a repository was pulled since that was noted.
    pub(super) fn counted_pulls(&self, name: &Name) -> u64 {
        self.0.counted_pulls(name)
    }

    /// Whether a repository has a tag.
    pub(super) fn has_tags(&self, name: &Name) -> Result<bool, Refusal> {
        match self.0.tags(name) {
            Ok(tags) => Ok(!tags.is_empty()),
            // It may be gone since it was listed.
            Err(refusal) if refusal.code == Code::NameUnknown => Ok(false),
            Err(refusal) => Err(refusal),
        }
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
