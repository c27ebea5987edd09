//! A look at a manifest or an index at its registry, without pulling anything: `manifest inspect`.

use bytes::Bytes;
use glassdock_image::descriptor::media;
use glassdock_image::{Digest, Reference};
use glassdock_trace::Trace;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::pull::{keep_going, wanted};
use super::session::{Ask, Session};
use super::{Client, Credentials, Error, Waiting};

/// The largest configuration that is read for an image's platform.
const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;
/// An index has at most so many manifests that are looked at.
const PARTS: usize = 200;

/// What a name stands for.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The name, with the tag that was meant.
    pub reference: String,
    /// The manifest itself; or, of an index, each manifest that it names.
    pub parts: Vec<Part>,
    /// The index, if it is one: its media type.
    pub index: Option<String>,
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// As the registry sent it.
    pub bytes: Bytes,
    /// The platform of its image, as the index or the image's configuration has it.
    pub platform: Option<Value>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
    platform: Option<Value>,
}

impl Client {
    /// Looks at what `name` stands for at its registry. A name without a tag means `latest`.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`] if it is no name; those of [`Error`] that a pull has before its layers.
    pub fn look_into<'a>(
        &'a self,
        trace: &'a Trace,
        name: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Waiting<'a, Inspected> {
        Box::pin(async move {
            let setup = |reason: String| Error::Setup { subject: name.to_owned(), reason };
            let reference: Reference = name.parse().map_err(|error| setup(format!("{error}")))?;
            let reference = reference.with_default_tag();
            let mut first = None;
            for session in self.sessions(&reference, credentials) {
                match session.look_into(trace, &reference).await {
                    Ok(inspected) => return Ok(inspected),
                    Err(error) => keep_going(&session, error, &mut first)?,
                }
            }
            Err(first.unwrap_or(Error::Worker))
        })
    }
}

impl Session {
    async fn look_into(&self, trace: &Trace, reference: &Reference) -> Result<Inspected, Error> {
        let shown = reference.familiar();
        let top = self.manifest(trace, &wanted(reference), &shown).await?;
        let broken = |what, digest: &Digest, error: serde_json::Error| Error::Document {
            what,
            digest: digest.clone(),
            reason: error.to_string(),
        };
        let media_type = top.descriptor.media_type;
        let mut inspected = Inspected { reference: reference.to_string(), parts: Vec::new(), index: None };
        if !matches!(media_type.as_str(), media::OCI_INDEX | media::DOCKER_LIST) {
            let platform = self.platform(trace, &top.bytes).await?;
            let (digest, bytes) = (top.descriptor.digest, top.bytes);
            inspected.parts.push(Part { media_type, digest, bytes, platform });
            return Ok(inspected);
        }
        let index: Index = serde_json::from_slice(&top.bytes)
            .map_err(|error| broken("index", &top.descriptor.digest, error))?;
        inspected.index = Some(media_type);
        for entry in index.manifests.into_iter().take(PARTS) {
            let found = self.manifest(trace, &entry.digest.to_string(), &shown).await?;
            inspected.parts.push(Part {
                media_type: found.descriptor.media_type,
                digest: entry.digest,
                bytes: found.bytes,
                platform: entry.platform,
            });
        }
        Ok(inspected)
    }

    /// The platform that an image's configuration tells; `None` for what is no image.
    async fn platform(&self, trace: &Trace, manifest: &[u8]) -> Result<Option<Value>, Error> {
        let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
        let config = &manifest["config"];
        let is_image = matches!(config["mediaType"].as_str(), Some(media::OCI_CONFIG | media::DOCKER_CONFIG));
        let Some(digest) = config["digest"].as_str().and_then(|text| text.parse::<Digest>().ok()) else {
            return Ok(None);
        };
        if !is_image {
            return Ok(None);
        }
        let mut reply = self.send(trace, &Ask::new(Method::GET, format!("blobs/{digest}"))).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(reply, Some(&digest.to_string())).await);
        }
        let bytes = reply.all(CONFIG_LIMIT).await?;
        let mut hasher = digest.hasher();
        hasher.update(&bytes);
        let computed = hasher.finish();
        if computed != digest {
            return Err(Error::ManifestDigest { expected: digest, computed });
        }
        let config: Value = serde_json::from_slice(&bytes).map_err(|error| Error::Document {
            what: "config",
            digest,
            reason: error.to_string(),
        })?;
        let told = |name: &str| config.get(name).filter(|value| !value.is_null()).cloned();
        let names = ["architecture", "os", "os.version", "os.features", "variant"];
        Ok(Some(names.into_iter().filter_map(|name| Some((name.to_owned(), told(name)?))).collect()))
    }
}
