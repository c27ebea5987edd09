//! Which image does a text mean? A name, an id, the beginning of an id, or a digest.

use std::sync::Arc;

use super::{Error, Image, Images};
use crate::digest::Digest;
use crate::reference::Reference;

impl Images {
    /// Finds an image as Docker does: a name first (its digest before its tag, the
    /// tag `latest` if it has none), then the beginning of an id.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] in Docker's words, [`Error::Ambiguous`], or
    /// [`Error::Reference`] if the text can't be a name.
    pub fn resolve(&self, text: &str) -> Result<Arc<Image>, Error> {
        let snapshot = self.snapshot();
        let visible = |image: &&Arc<Image>| !image.hidden;
        let whole = if text.len() == 64 { format!("sha256:{text}") } else { text.to_owned() };
        if let Ok(digest) = Digest::parse(&whole) {
            let found = snapshot.images.get(&digest).filter(visible);
            return found.cloned().ok_or_else(|| Error::NotFound(digest.to_string()));
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let name = match Reference::parse(text) {
            Ok(name) => name,
            Err(error) => return by_prefix(&snapshot.images, prefix, text)?.ok_or(Error::Reference(error)),
        };
        let key = match name.digest() {
            Some(digest) => name.with_digest(digest),
            None => name.with_default_tag(),
        };
        if let Some(image) = snapshot.names.get(&key).and_then(|id| snapshot.images.get(id)) {
            return Ok(Arc::clone(image));
        }
        by_prefix(&snapshot.images, prefix, text)?
            .ok_or_else(|| Error::NotFound(name.with_default_tag().familiar()))
    }

    /// The image with exactly this id, also when it is hidden.
    #[must_use]
    pub fn by_id(&self, id: &Digest) -> Option<Arc<Image>> {
        self.snapshot().images.get(id).cloned()
    }

    /// The image that has exactly this name.
    #[must_use]
    pub fn by_name(&self, name: &Reference) -> Option<Arc<Image>> {
        let snapshot = self.snapshot();
        snapshot.names.get(name).and_then(|id| snapshot.images.get(id)).cloned()
    }

    /// Every image, the newest first; those made at the same time by id.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Image>> {
        let mut images: Vec<_> =
            self.snapshot().images.values().filter(|image| !image.hidden).cloned().collect();
        images.sort_by_key(|image| std::cmp::Reverse(image.created_ns()));
        images
    }
}

fn by_prefix(
    images: &std::collections::BTreeMap<Digest, Arc<Image>>,
    prefix: &str,
    text: &str,
) -> Result<Option<Arc<Image>>, Error> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut fitting = images.values().filter(|image| !image.hidden && image.id.hex().starts_with(prefix));
    match (fitting.next(), fitting.next()) {
        (Some(_), Some(_)) => Err(Error::Ambiguous(text.to_owned())),
        (found, _) => Ok(found.cloned()),
    }
}
