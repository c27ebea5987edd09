//! Manifests and indexes, Docker's and OCI's (image-spec `manifest.md`,
//! `image-index.md`): one shape serves both families.

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, Platform, media};

/// Why a document is no manifest that this engine understands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No JSON, or not of the shape.
    #[error("the manifest is not valid JSON of its kind")]
    Json(#[from] serde_json::Error),
    /// Docker's schema 1.
    #[error(
        "the image has a manifest of Docker's schema 1, which is too old: it has to be pushed again with a newer Docker"
    )]
    Schema1,
    /// Something else.
    #[error("unsupported manifest media type {0:?}")]
    MediaType(String),
    /// What it calls itself is not what the registry called it.
    #[error("the manifest calls itself {inside:?}, but was served as {outside:?}")]
    Confused {
        /// Its own `mediaType`.
        inside: String,
        /// The `Content-Type`.
        outside: String,
    },
    /// An index without the platform.
    #[error("no matching manifest for {wish} in the manifest list entries; it has {have}")]
    Platform {
        /// What was wanted.
        wish: Platform,
        /// What there is.
        have: String,
    },
}

/// A manifest: a config and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type; OCI manifests may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// The layers' blobs, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index (Docker's manifest list): a manifest a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type; OCI indexes may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The manifest that serves `wish` best.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`] if none does; it lists what there is.
    pub fn choose(&self, wish: &Platform) -> Result<&Descriptor, Error> {
        let fit = |descriptor: &&Descriptor| descriptor.platform.as_ref().and_then(|have| have.fit(wish));
        let best = self.manifests.iter().filter(|descriptor| fit(descriptor).is_some()).min_by_key(fit);
        best.ok_or_else(|| {
            let have: Vec<String> = self
                .manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .map(Platform::to_string)
                .collect();
            Error::Platform { wish: wish.clone(), have: have.join(", ") }
        })
    }
}

/// What a registry answers for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// One image a platform.
    Index(Index),
}

impl Document {
    /// Reads a document that was served as `media_type` (parameters such as
    /// `; charset=utf-8` are ignored; empty if nothing is known).
    ///
    /// # Errors
    ///
    /// If it is not what it was served as, or not understood; see [`Error`].
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outline {
            #[serde(default)]
            schema_version: u32,
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let outside = media_type.split(';').next().unwrap_or_default().trim();
        let outline: Outline = serde_json::from_slice(bytes)?;
        let inside = outline.media_type.as_deref().unwrap_or_default();
        if outline.schema_version == 1
            || matches!(outside, media::DOCKER_SCHEMA1 | media::DOCKER_SCHEMA1_SIGNED)
        {
            return Err(Error::Schema1);
        }
        let known = |name: &str| is_index(name) || is_manifest(name);
        if !inside.is_empty() && known(outside) && inside != outside {
            return Err(Error::Confused { inside: inside.to_owned(), outside: outside.to_owned() });
        }
        let name = if known(outside) { outside } else { inside };
        match name {
            name if is_index(name) => Ok(Self::Index(serde_json::from_slice(bytes)?)),
            name if is_manifest(name) => Ok(Self::Manifest(Box::new(serde_json::from_slice(bytes)?))),
            "" if outline.manifests.is_some() => Ok(Self::Index(serde_json::from_slice(bytes)?)),
            "" => Ok(Self::Manifest(Box::new(serde_json::from_slice(bytes)?))),
            other => Err(Error::MediaType(other.to_owned())),
        }
    }
}

fn is_index(name: &str) -> bool {
    matches!(name, media::DOCKER_LIST | media::OCI_INDEX)
}

fn is_manifest(name: &str) -> bool {
    matches!(name, media::DOCKER_MANIFEST | media::OCI_MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn documents_are_told_apart() {
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{DIGEST}","size":1}},"layers":[]}}"#
        );
        assert!(matches!(
            Document::parse(media::OCI_MANIFEST, manifest.as_bytes()),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(Document::parse("", manifest.as_bytes()), Ok(Document::Manifest(_))));
        assert!(matches!(Document::parse(media::OCI_INDEX, manifest.as_bytes()), Err(Error::Json(_))));
        assert!(matches!(
            Document::parse("", br#"{"schemaVersion":2,"manifests":[]}"#),
            Ok(Document::Index(_))
        ));
        assert!(matches!(Document::parse("", br#"{"schemaVersion":1}"#), Err(Error::Schema1)));
        let lie = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media::OCI_INDEX);
        assert!(matches!(Document::parse(media::OCI_MANIFEST, lie.as_bytes()), Err(Error::Confused { .. })));
    }

    #[test]
    fn an_index_without_the_platform_lists_what_it_has() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{DIGEST}","size":1,"platform":{{"os":"linux","architecture":"s390x"}}}}]}}"#
        );
        let Ok(Document::Index(index)) = Document::parse("", index.as_bytes()) else { panic!("an index") };
        let wish = Platform::parse("linux/amd64").expect("a platform");
        let error = index.choose(&wish).expect_err("another platform").to_string();
        assert!(error.contains("linux/amd64") && error.contains("linux/s390x"), "{error}");
    }
}
