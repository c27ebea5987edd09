//! Which image does a name mean? From a reference to a manifest for one platform.

use bytes::Bytes;
use glassdock_image::descriptor::media;
use glassdock_image::manifest::{self, Document, Manifest};
use glassdock_image::{Descriptor, Digest, Platform};
use glassdock_trace::Trace;
use http::{HeaderName, Method, header};

use super::Error;
use super::session::{Ask, Session};
use super::transport::Reply;

/// The largest manifest, in bytes: what the specification asks registries to take.
const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;
/// How deep indexes may lie in indexes.
const DEPTH: usize = 3;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A document as the registry sent it, held against its digest.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Bytes,
}

/// What a name means on one platform.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// What the name itself stands for: the manifest, or the index around it.
    pub(super) top: Descriptor,
    /// Everything that was read on the way, the index first; all of it is to be kept.
    pub(super) documents: Vec<Fetched>,
    /// The image's manifest and where it points.
    pub(super) manifest: Manifest,
    pub(super) descriptor: Descriptor,
}

impl Session {
    /// Follows a tag or digest down to the manifest for `platform`.
    pub(super) async fn resolve(
        &self,
        trace: &Trace,
        reference: &str,
        shown: &str,
        platform: &Platform,
    ) -> Result<Resolved, Error> {
        let mut fetched = self.manifest(trace, reference, shown).await?;
        let top = fetched.descriptor.clone();
        let mut documents = Vec::new();
        for _ in 0..=DEPTH {
            let descriptor = fetched.descriptor.clone();
            let parsed = Document::parse(&descriptor.media_type, &fetched.bytes)
                .map_err(|error| unusable(&descriptor, &error))?;
            documents.push(fetched);
            let index = match parsed {
                Document::Manifest(manifest) => {
                    return Ok(Resolved { top, documents, manifest: *manifest, descriptor });
                }
                Document::Index(index) => index,
            };
            let chosen =
                index.choose(platform).map_err(|_| Error::NoPlatform { platform: platform.to_string() })?;
            fetched = self.manifest(trace, &chosen.digest.to_string(), shown).await?;
            let size = fetched.descriptor.size;
            if size != chosen.size {
                let reason = format!("it has {size} bytes, but its index promises {}", chosen.size);
                return Err(Error::Document { what: "manifest", digest: chosen.digest.clone(), reason });
            }
        }
        Err(Error::Document {
            what: "index",
            digest: top.digest,
            reason: format!("indexes lie more than {DEPTH} deep in each other"),
        })
    }

    /// What a tag or digest stands for at the registry, without fetching it.
    pub(super) async fn look_up(
        &self,
        trace: &Trace,
        reference: &str,
        shown: &str,
    ) -> Result<Descriptor, Error> {
        let mut reply = self.send(trace, &accepting(Method::HEAD, reference)).await?;
        reply.finish();
        if !reply.status().is_success() {
            // An answer to HEAD has no words; those to GET say what is wrong.
            return Ok(self.manifest(trace, reference, shown).await?.descriptor);
        }
        let digest = told_digest(&reply)?;
        let size = reply.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        match (digest, size) {
            (Some(digest), Some(size)) => Ok(Descriptor::new(media_type(&reply), digest, size)),
            // A registry that doesn't tell has to show it.
            _ => Ok(self.manifest(trace, reference, shown).await?.descriptor),
        }
    }

    /// Fetches one manifest or index, and holds it against its digest.
    pub(super) async fn manifest(
        &self,
        trace: &Trace,
        reference: &str,
        shown: &str,
    ) -> Result<Fetched, Error> {
        let mut reply = self.send(trace, &accepting(Method::GET, reference)).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(reply, Some(shown)).await);
        }
        let bytes = reply.all(MANIFEST_LIMIT).await?;
        let asked: Option<Digest> = reference.parse().ok();
        for expected in [asked.clone(), told_digest(&reply)?].into_iter().flatten() {
            let mut hasher = expected.hasher();
            hasher.update(&bytes);
            let computed = hasher.finish();
            if computed != expected {
                return Err(Error::ManifestDigest { expected, computed });
            }
        }
        let digest = asked.unwrap_or_else(|| Digest::of(&bytes));
        let descriptor = Descriptor::new(media_type(&reply), digest, bytes.len() as u64);
        Ok(Fetched { descriptor, bytes })
    }
}

fn accepting(method: Method, reference: &str) -> Ask {
    let accept =
        [media::OCI_INDEX, media::OCI_MANIFEST, media::DOCKER_LIST, media::DOCKER_MANIFEST].join(", ");
    Ask::new(method, format!("manifests/{reference}")).header(header::ACCEPT, &accept)
}

fn media_type(reply: &Reply) -> String {
    let told = reply.header(header::CONTENT_TYPE).unwrap_or_default();
    told.split(';').next().unwrap_or_default().trim().to_owned()
}

fn told_digest(reply: &Reply) -> Result<Option<Digest>, Error> {
    let Some(told) = reply.header(CONTENT_DIGEST) else { return Ok(None) };
    told.parse().map(Some).map_err(|_| reply.nonsense("the header Docker-Content-Digest is no digest"))
}

fn unusable(descriptor: &Descriptor, error: &manifest::Error) -> Error {
    match error {
        manifest::Error::MediaType(media_type) => Error::MediaType {
            media_type: media_type.clone(),
            hint: "the name stands for something that is no image",
        },
        other => {
            let mut reason = other.to_string();
            if let Some(source) = std::error::Error::source(other) {
                reason.push_str(&format!(": {source}"));
            }
            Error::Document { what: "manifest", digest: descriptor.digest.clone(), reason }
        }
    }
}
