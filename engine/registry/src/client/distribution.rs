//! What a name stands for at its registry, and for which platforms: asked without a pull.

use glassdock_image::manifest::Document;
use glassdock_image::{Descriptor, Platform, Reference};
use glassdock_trace::Trace;
use http::Method;

use super::pull::{keep_going, wanted};
use super::session::{Ask, Session};
use super::{Client, Credentials, Error, Waiting};

/// A configuration is at most so long, in bytes.
const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;

impl Client {
    /// What a name stands for, an index or a manifest, and the platforms that it has something for.
    ///
    /// # Errors
    ///
    /// As [`Client::pull`].
    pub fn inspect<'a>(
        &'a self,
        trace: &'a Trace,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
    ) -> Waiting<'a, (Descriptor, Vec<Platform>)> {
        Box::pin(async move {
            let reference = reference.with_default_tag();
            let mut first = None;
            for session in self.sessions(&reference, credentials) {
                match session.inspect(trace, &wanted(&reference), &reference.familiar()).await {
                    Ok(found) => return Ok(found),
                    Err(error) => keep_going(&session, error, &mut first)?,
                }
            }
            Err(first.unwrap_or(Error::Worker))
        })
    }
}

impl Session {
    async fn inspect(
        &self,
        trace: &Trace,
        reference: &str,
        shown: &str,
    ) -> Result<(Descriptor, Vec<Platform>), Error> {
        let fetched = self.manifest(trace, reference, shown).await?;
        let descriptor = fetched.descriptor;
        let document =
            |reason: String| Error::Document { what: "manifest", digest: descriptor.digest.clone(), reason };
        let parsed = Document::parse(&descriptor.media_type, &fetched.bytes)
            .map_err(|error| document(error.to_string()))?;
        let platforms = match parsed {
            // Attestations lie in indexes for a platform that is none.
            Document::Index(index) => index
                .manifests
                .into_iter()
                .filter_map(|manifest| manifest.platform)
                .filter(|platform| platform.os != "unknown")
                .collect(),
            Document::Manifest(manifest) => vec![self.platform_of(trace, &manifest.config).await?],
        };
        Ok((descriptor, platforms))
    }

    /// The platform that a configuration is for.
    async fn platform_of(&self, trace: &Trace, config: &Descriptor) -> Result<Platform, Error> {
        let mut reply = self.send(trace, &Ask::new(Method::GET, format!("blobs/{}", config.digest))).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(reply, None).await);
        }
        let bytes = reply.all(CONFIG_LIMIT).await?;
        let mut hasher = config.digest.hasher();
        hasher.update(&bytes);
        let wrong =
            |reason: String| Error::Document { what: "config", digest: config.digest.clone(), reason };
        if hasher.finish() != config.digest {
            return Err(wrong("its bytes have another digest".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
    }
}
