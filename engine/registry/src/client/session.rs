//! How a request gets through: with the right to ask, to where it is sent on, again after a break.
//!
//! ```text
//!   send ──► 2xx, 304 ─────────────────────────────► the answer
//!     ▲  ├─► 3xx: the next address; without the token when that is another host
//!     │  ├─► 401: answer the challenge, once
//!     │  ├─► 429, 5xx, a break: wait, try again
//!     └──┴─► anything else: the answer, for the caller to judge
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use glassdock_trace::Trace;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Url;

use super::auth::Asker;
use super::endpoint::{self, Endpoint, Trust};
use super::transport::{Payload, Reply, Request};
use super::{Client, Credentials, Error, retry};

/// How often one request may be sent on.
const REDIRECTS: usize = 10;
/// Talks with one repository at one address.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) endpoint: Endpoint,
    /// The repository's path at the registry, `library/busybox`.
    pub(super) path: String,
    /// The repository as people write it, `busybox`.
    pub(super) familiar: String,
    /// The registry's domain as references have it.
    pub(super) domain: String,
    credentials: Option<Credentials>,
    scopes: Vec<String>,
    /// The header that was good the last time.
    authorization: Mutex<Option<HeaderValue>>,
    /// Whether an identity token is wanted at the token service.
    pub(super) offline: bool,
    /// The identity token that it gave.
    pub(super) identity: Mutex<Option<String>>,
    /// Held while a token is fetched, so that parallel requests fetch one together.
    asking: tokio::sync::Mutex<()>,
}

/// What is asked of the repository.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// What follows the repository's path, such as `manifests/latest`; or a whole address, or
    /// a path from the root, that the registry told us.
    pub(super) at: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// Whether sending it twice does no harm.
    pub(super) again: bool,
}

impl Ask {
    pub(super) fn new(method: Method, at: impl Into<String>) -> Self {
        Self { method, at: at.into(), headers: HeaderMap::new(), payload: Payload::Nothing, again: true }
    }

    pub(super) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    pub(super) fn once(mut self) -> Self {
        self.again = false;
        self
    }
}

impl Session {
    pub(super) fn new(
        client: &Client,
        endpoint: Endpoint,
        reference: &glassdock_image::Reference,
        credentials: Option<&Credentials>,
        scopes: Vec<String>,
    ) -> Arc<Self> {
        // What belongs to a registry is not for those who stand in for it.
        let credentials = credentials.filter(|_| !endpoint.mirror).cloned();
        Arc::new(Self::with(
            client,
            endpoint,
            [reference.path(), &reference.familiar_name(), reference.domain()],
            credentials,
            scopes,
        ))
    }

    /// A session with the repository `path` of the registry `host`, where names are paths.
    pub(super) fn at(
        client: &Client,
        endpoint: Endpoint,
        (path, host): (&str, &str),
        credentials: Option<&Credentials>,
        scopes: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self::with(client, endpoint, [path, path, host], credentials.cloned(), scopes))
    }

    fn with(
        client: &Client,
        endpoint: Endpoint,
        [path, familiar, domain]: [&str; 3],
        credentials: Option<Credentials>,
        scopes: Vec<String>,
    ) -> Self {
        Self {
            client: client.clone(),
            endpoint,
            path: path.to_owned(),
            familiar: familiar.to_owned(),
            domain: domain.to_owned(),
            credentials,
            scopes,
            authorization: Mutex::new(None),
            offline: false,
            identity: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// A session that asks whether credentials are good, and for a token in their place.
    pub(super) fn for_login(
        client: &Client,
        endpoint: Endpoint,
        reference: &glassdock_image::Reference,
        credentials: &Credentials,
    ) -> Self {
        let names = [reference.path(), &reference.familiar_name(), reference.domain()];
        let session = Self::with(client, endpoint, names, Some(credentials.clone()), Vec::new());
        Self { offline: true, ..session }
    }

    /// A session with the registry itself, for what belongs to no repository.
    pub(super) fn of_registry(
        client: &Client,
        endpoint: Endpoint,
        domain: &str,
        credentials: Option<&Credentials>,
    ) -> Self {
        let credentials = credentials.filter(|_| !endpoint.mirror).cloned();
        Self::with(client, endpoint, ["", "", domain], credentials, Vec::new())
    }

    /// Asks, and does what is needed for an answer.
    pub(super) async fn send(&self, trace: &Trace, ask: &Ask) -> Result<Reply, Error> {
        let config = &self.client.config;
        let mut challenged = false;
        let mut attempt = 1;
        loop {
            let authorization = self.authorization();
            let reply = self.follow(trace, ask, authorization.clone(), attempt).await;
            let pause = match reply {
                Ok(mut reply) if reply.status() == StatusCode::UNAUTHORIZED && !challenged => {
                    challenged = true;
                    reply.finish();
                    self.authenticate(trace, &reply, authorization).await?;
                    continue;
                }
                Ok(mut reply)
                    if ask.again && retry::is_passing(reply.status()) && attempt < config.attempts =>
                {
                    reply.finish();
                    retry::pause(config, attempt, Some(reply.headers()))
                }
                Err(error) if ask.again && error.is_passing() && attempt < config.attempts => {
                    retry::pause(config, attempt, None)
                }
                other => return other,
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn authenticate(
        &self,
        trace: &Trace,
        reply: &Reply,
        used: Option<HeaderValue>,
    ) -> Result<(), Error> {
        let _asking = self.asking.lock().await;
        if self.authorization() != used {
            // Another request of ours was here first.
            return Ok(());
        }
        let asker = Asker {
            client: &self.client,
            endpoint: &self.endpoint,
            credentials: self.credentials.as_ref(),
            scopes: &self.scopes,
            offline: self.offline,
        };
        let answered = asker.answer(trace, reply).await?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(answered.header);
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = answered.identity;
        Ok(())
    }

    /// Asks once, and wherever the registry sends us on.
    async fn follow(
        &self,
        trace: &Trace,
        ask: &Ask,
        authorization: Option<HeaderValue>,
        attempt: u32,
    ) -> Result<Reply, Error> {
        let base = self.base()?;
        let mut url = self.address(&base, &ask.at)?;
        let mut method = ask.method.clone();
        let mut payload = ask.payload.clone();
        let mut redirected = false;
        for _ in 0..=REDIRECTS {
            let home = url.origin() == base.origin();
            let trust =
                if home { self.endpoint.trust.clone() } else { endpoint::trust(&self.client.config, &url) };
            let mut headers = ask.headers.clone();
            if let Some(authorization) = authorization.clone().filter(|_| home) {
                headers.insert(header::AUTHORIZATION, authorization);
            }
            let request = Request {
                method: method.clone(),
                url: url.clone(),
                headers,
                payload: payload.clone(),
                redirected,
            };
            let sent = self.client.transport.send(trace, &trust, request, attempt).await;
            let mut reply =
                sent.map_err(|error| if home { error.of_registry(&self.endpoint.base) } else { error })?;
            let status = reply.status();
            let onward = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = reply.header(header::LOCATION).filter(|_| onward) else { return Ok(reply) };
            let next = url
                .join(location)
                .ok()
                .filter(|next| matches!(next.scheme(), "http" | "https") && next.has_host())
                .ok_or_else(|| reply.nonsense("it sends us on to something that is no address"))?;
            if next.scheme() == "http" && matches!(trust, Trust::Authorities(_)) {
                return Err(reply.nonsense("it sends us on from https to plain http"));
            }
            reply.finish();
            if status == StatusCode::SEE_OTHER && method != Method::HEAD {
                method = Method::GET;
                payload = Payload::Nothing;
            }
            redirected = next.origin() != base.origin();
            url = next;
        }
        Err(Error::Protocol {
            method: ask.method.to_string(),
            url: format!("{}/v2/{}/{}", self.endpoint.base, self.path, ask.at),
            reason: format!("it sends us on more than {REDIRECTS} times"),
        })
    }

    fn base(&self) -> Result<Url, Error> {
        Url::parse(&self.endpoint.base)
            .map_err(|error| Error::Setup { subject: self.endpoint.base.clone(), reason: error.to_string() })
    }

    fn address(&self, base: &Url, at: &str) -> Result<Url, Error> {
        let told = at.starts_with('/') || at.contains("://");
        let joined = if told { base.join(at) } else { base.join(&format!("/v2/{}/{at}", self.path)) };
        joined.map_err(|error| Error::Setup { subject: at.to_owned(), reason: error.to_string() })
    }
}
