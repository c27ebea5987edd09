//! The door to the network: one HTTP request, one `registry.request` event.
//!
//! The event begins when the request is about to go out and ends with the last byte of the
//! answer, so that its duration and its bytes are those of the wire. Redirects are not
//! followed here, nor is anything tried again: whoever calls does that, with a request and
//! an event of its own.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use glassdock_trace::{Body, Evidence, Span, Trace};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::Url;

use super::Error;
use super::certificates;
use super::endpoint::Trust;
use super::failure::{explain, innermost};

/// Makes requests. One pool of connections for each set of certificates that is believed.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    connect: Duration,
    idle: Duration,
    pools: Arc<Mutex<HashMap<Trust, reqwest::Client>>>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// Whether the address came with a redirect: its query may be a key, and isn't told.
    pub(super) redirected: bool,
}

/// What is sent along.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// A part of a file, read as it goes out.
    File {
        path: std::path::PathBuf,
        offset: u64,
        length: u64,
        /// Counts what has gone out.
        sent: Arc<AtomicU64>,
    },
}

impl Payload {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

impl Transport {
    pub(super) fn new(connect: Duration, idle: Duration) -> Self {
        // Somebody else in the process may have chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { connect, idle, pools: Arc::default() }
    }

    /// Makes one request.
    pub(super) async fn send(
        &self,
        trace: &Trace,
        trust: &Trust,
        request: Request,
        attempt: u32,
    ) -> Result<Reply, Error> {
        let shown = shown(&request.url, request.redirected);
        let pool = self.pool(trust)?;
        let mut span = trace
            .begin_async(Body::RegistryRequest {
                method: request.method.to_string(),
                url: shown.clone(),
                status: None,
                sent: None,
                received: None,
                attempt,
            })
            .await?;
        let method = request.method.clone();
        let sent_bytes = request.payload.len();
        let mut builder = pool.request(request.method, request.url.clone()).headers(request.headers);
        builder = match request.payload {
            Payload::Nothing => builder,
            Payload::Bytes(bytes) => builder.body(bytes),
            Payload::File { path, offset, length, sent } => {
                builder.header(header::CONTENT_LENGTH, length).body(file_body(path, offset, length, sent))
            }
        };
        match builder.send().await {
            Ok(response) => {
                let status = response.status();
                if let Body::RegistryRequest { status: field, sent, .. } = span.body_mut() {
                    *field = Some(status.as_u16());
                    *sent = (sent_bytes > 0).then_some(sent_bytes);
                }
                span.evidence(|| Evidence::new("response headers", header_lines(response.headers())));
                Ok(Reply { response, span: Some(span), received: 0, method, shown })
            }
            Err(failure) => span.finish(Err(explain(&method, &request.url, &shown, trust, &failure))),
        }
    }

    fn pool(&self, trust: &Trust) -> Result<reqwest::Client, Error> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(trust) {
            return Ok(pool.clone());
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("glassdock/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(self.connect)
            .read_timeout(self.idle)
            // A connection a layer: several layers in one HTTP/2 connection share its window.
            .http1_only();
        builder = match trust {
            // Reading the system's authorities takes time that plain http need not spend.
            Trust::Plain => builder.tls_certs_only([]),
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
            Trust::Authorities(None) => builder,
            Trust::Authorities(Some(folder)) => builder.tls_backend_preconfigured(certificates::tls(folder)?),
        };
        let pool = builder.build().map_err(|failure| Error::Setup {
            subject: "the system's certificates".to_owned(),
            reason: innermost(&failure),
        })?;
        pools.insert(trust.clone(), pool.clone());
        Ok(pool)
    }
}

/// A file's part as a body, read in pieces on threads for that.
fn file_body(path: std::path::PathBuf, offset: u64, length: u64, sent: Arc<AtomicU64>) -> reqwest::Body {
    use futures_util::{TryFutureExt, TryStreamExt};
    use tokio::io::{AsyncReadExt, AsyncSeekExt};

    let opened = async move {
        let mut file = tokio::fs::File::open(path).await?;
        file.set_max_buf_size(512 * 1024);
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok::<_, io::Error>(tokio_util::io::ReaderStream::with_capacity(file.take(length), 512 * 1024))
    };
    reqwest::Body::wrap_stream(opened.try_flatten_stream().inspect_ok(move |piece: &Bytes| {
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }))
}

/// An answer whose body is still coming.
pub(super) struct Reply {
    response: reqwest::Response,
    span: Option<Span>,
    received: u64,
    method: Method,
    shown: String,
}

impl Reply {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    /// A header's text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The method and the address, for errors.
    pub(super) fn asked(&self) -> (String, String) {
        (self.method.to_string(), self.shown.clone())
    }

    /// An answer that is not what the protocol says.
    pub(super) fn nonsense(&self, reason: impl Into<String>) -> Error {
        let (method, url) = self.asked();
        Error::Protocol { method, url, reason: reason.into() }
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.response.chunk().await {
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.finish();
                Ok(None)
            }
            Err(failure) => {
                let error = explain(&self.method, self.response.url(), &self.shown, &Trust::Plain, &failure);
                self.tell_received();
                match self.span.take() {
                    Some(span) => span.finish(Err(error)),
                    None => Err(error),
                }
            }
        }
    }

    /// The whole body, at most `limit` bytes of it.
    pub(super) async fn all(&mut self, limit: u64) -> Result<Bytes, Error> {
        let too_long = format!("it is longer than {limit} bytes");
        if self.response.content_length().is_some_and(|length| length > limit) {
            self.finish();
            return Err(self.nonsense(too_long));
        }
        let mut all = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if all.len() as u64 + bytes.len() as u64 > limit {
                self.finish();
                return Err(self.nonsense(too_long));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// Ends the event: what more there is of the body is not wanted.
    pub(super) fn finish(&mut self) {
        self.tell_received();
        if let Some(span) = self.span.take() {
            span.ok();
        }
    }

    fn tell_received(&mut self) {
        if let Some(span) = &mut self.span
            && let Body::RegistryRequest { received, .. } = span.body_mut()
        {
            *received = Some(self.received);
        }
    }
}

/// An address without what may be secret in it: user, password, and the query of a
/// redirect, by which object stores let in whoever has it.
fn shown(url: &Url, redirected: bool) -> String {
    let mut url = url.clone();
    // An address that has neither takes none, and needs none taken off.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if redirected && url.query().is_some() {
        url.set_query(None);
        return format!("{url}?…");
    }
    url.to_string()
}

/// The headers of an answer as evidence, without cookies and tokens, bounded.
fn header_lines(headers: &HeaderMap) -> Vec<String> {
    let secret =
        |name: &str| name.contains("cookie") || name.contains("token") || name.contains("authorization");
    headers
        .iter()
        .filter(|(name, _)| !secret(name.as_str()))
        .take(64)
        .map(|(name, value)| {
            let text: String = value.to_str().unwrap_or("(not text)").chars().take(512).collect();
            let text = match text.split_once('?') {
                Some((address, _)) if *name == header::LOCATION && address.contains("://") => {
                    format!("{address}?…")
                }
                _ => text,
            };
            format!("{name}: {text}")
        })
        .collect()
}
