//! One registry as a source of everything: what our own server asks where it stands in for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use glassdock_image::{Descriptor, Digest};
use glassdock_trace::Trace;
use http::{Method, StatusCode, header};
use reqwest::Url;
use serde::Deserialize;

use super::endpoint::{self, Endpoint};
use super::session::{Ask, Session};
use super::transport::Reply;
use super::{Client, Credentials, Error};

/// A list of tags is read up to here.
const TAGS_LIMIT: u64 = 16 * 1024 * 1024;
/// And one of referrers.
const REFERRERS_LIMIT: u64 = 4 * 1024 * 1024;
/// Tags come in at most so many pages.
const PAGES: usize = 1000;
/// So many repositories' sessions, with their tokens, are kept.
const SESSIONS: usize = 256;

/// The registry that is asked.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client,
    endpoint: Endpoint,
    host: String,
    credentials: Option<Credentials>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

/// A manifest as the registry sent it, held against its digest.
pub(crate) struct FoundManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// A blob that is coming.
pub(crate) struct Incoming {
    reply: Reply,
    /// Where in the blob its first byte belongs.
    pub(crate) offset: u64,
    /// How many bytes are promised from there on.
    pub(crate) length: Option<u64>,
}

impl Incoming {
    /// The next bytes; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.reply.chunk().await
    }
}

impl Upstream {
    /// The registry at `url`, such as `https://registry-1.docker.io`.
    pub(crate) fn new(client: Client, url: &str, credentials: Option<Credentials>) -> Result<Self, Error> {
        let failed =
            |reason: String| Error::Setup { subject: format!("the mirrored registry {url}"), reason };
        let base = url.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("https://{base}") };
        let parsed = Url::parse(&base).map_err(|error| failed(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(failed("an address is http://HOST or https://HOST".to_owned()));
        }
        let trust = endpoint::trust(&client.config, &parsed);
        let host = super::error::authority(&parsed);
        let endpoint = Endpoint { base, trust, mirror: false };
        Ok(Self { client, endpoint, host, credentials, sessions: Mutex::default() })
    }

    fn session(&self, name: &str) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = sessions.get(name) {
            return Arc::clone(session);
        }
        if sessions.len() >= SESSIONS {
            sessions.clear();
        }
        let scopes = vec![format!("repository:{name}:pull")];
        let session = Session::at(
            &self.client,
            self.endpoint.clone(),
            (name, &self.host),
            self.credentials.as_ref(),
            scopes,
        );
        sessions.insert(name.to_owned(), Arc::clone(&session));
        session
    }

    /// What a tag or digest stands for; `None` if the registry has no such thing (for us).
    pub(crate) async fn look_up(
        &self,
        trace: &Trace,
        name: &str,
        reference: &str,
    ) -> Result<Option<Descriptor>, Error> {
        found(self.session(name).look_up(trace, reference, reference).await)
    }

    /// A manifest or index.
    pub(crate) async fn manifest(
        &self,
        trace: &Trace,
        name: &str,
        reference: &str,
    ) -> Result<Option<FoundManifest>, Error> {
        let fetched = found(self.session(name).manifest(trace, reference, reference).await)?;
        Ok(fetched.map(|fetched| FoundManifest {
            digest: fetched.descriptor.digest,
            media_type: fetched.descriptor.media_type,
            bytes: fetched.bytes,
        }))
    }

    /// A blob, from `offset` on if the registry knows ranges, or else from its beginning.
    pub(crate) async fn blob(
        &self,
        trace: &Trace,
        name: &str,
        digest: &Digest,
        offset: u64,
    ) -> Result<Option<Incoming>, Error> {
        let session = self.session(name);
        let mut ask = Ask::new(Method::GET, format!("blobs/{digest}"));
        if offset > 0 {
            ask = ask.header(header::RANGE, &format!("bytes={offset}-"));
        }
        let mut reply = session.send(trace, &ask).await?;
        if !reply.status().is_success() {
            return found(Err(session.refusal(reply, Some(&digest.to_string())).await));
        }
        let length = reply.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let partial = reply.status() == StatusCode::PARTIAL_CONTENT;
        let begins = format!("bytes {offset}-");
        if partial && !reply.header(header::CONTENT_RANGE).is_some_and(|range| range.starts_with(&begins)) {
            reply.finish();
            return Err(reply.nonsense("it sends another part than the one that was asked for"));
        }
        Ok(Some(Incoming { reply, offset: if partial { offset } else { 0 }, length }))
    }

    /// How large a blob is.
    pub(crate) async fn blob_size(
        &self,
        trace: &Trace,
        name: &str,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let session = self.session(name);
        let mut reply = session.send(trace, &Ask::new(Method::HEAD, format!("blobs/{digest}"))).await?;
        reply.finish();
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !reply.status().is_success() {
            return found(Err(session.refusal(reply, Some(&digest.to_string())).await));
        }
        let length = reply.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        length.map(Some).ok_or_else(|| reply.nonsense("it doesn't tell the blob's size"))
    }

    /// The descriptors of the manifests about `subject`; `None` if the registry has no such list.
    pub(crate) async fn referrers(
        &self,
        trace: &Trace,
        name: &str,
        subject: &Digest,
    ) -> Result<Option<Vec<serde_json::Value>>, Error> {
        #[derive(Deserialize)]
        struct Index {
            manifests: Option<Vec<serde_json::Value>>,
        }
        let session = self.session(name);
        let ask = Ask::new(Method::GET, format!("referrers/{subject}"));
        let mut reply = session.send(trace, &ask).await?;
        if !reply.status().is_success() {
            return found(Err(session.refusal(reply, Some(name)).await));
        }
        let index = reply.all(REFERRERS_LIMIT).await?;
        let index: Index =
            serde_json::from_slice(&index).map_err(|error| reply.nonsense(error.to_string()))?;
        Ok(Some(index.manifests.unwrap_or_default()))
    }

    /// The tags of a repository, all pages of them.
    pub(crate) async fn tags(&self, trace: &Trace, name: &str) -> Result<Option<Vec<String>>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let session = self.session(name);
        let mut at = "tags/list".to_owned();
        let mut tags = Vec::new();
        for _ in 0..PAGES {
            let mut reply = session.send(trace, &Ask::new(Method::GET, at)).await?;
            if !reply.status().is_success() {
                return found(Err(session.refusal(reply, Some(name)).await));
            }
            let next = reply.header(header::LINK).and_then(next_page).map(str::to_owned);
            let page = reply.all(TAGS_LIMIT).await?;
            let page: Page =
                serde_json::from_slice(&page).map_err(|error| reply.nonsense(error.to_string()))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(Some(tags))
    }
}

/// The address in `<ADDRESS>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(address)
}

/// What isn't there, or is not for us, is `None`; the rest is an error.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::ManifestUnknown { .. } | Error::NameUnknown { .. } | Error::PullDenied { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
