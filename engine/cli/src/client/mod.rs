//! The way to the daemon: HTTP/1.1 over its socket, one connection used again for
//! each request, without a pool.
//!
//! ```text
//!   Host::parse ──► Client::send ──► hyper ──► Unix socket
//!                     │ "client version 1.50 is too new" ──► again with the daemon's version
//!                     ├► body      read whole (JSON), or as it comes (logs, pulls, archives)
//!                     └► upgrade   the connection itself, both ways (attach, exec)
//! ```
//!
//! A command runs on one thread: the reactor is tokio's smallest, and the
//! whole of it starts in some hundred microseconds.

mod connect;

mod host;

pub(crate) mod frames;

pub(crate) mod messages;

use std::io;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;

pub(crate) use host::Host;

use crate::failure::Failure;

/// The newest version of the API that this client speaks.
pub(crate) const API_VERSION: &str = "1.50";

/// A request's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection that has become a stream of bytes.
pub(crate) type Stream = TokioIo<Upgraded>;

/// The longest answer that is read whole, in bytes.
const ANSWER_LIMIT: usize = 256 << 20;

/// A client of one daemon.
#[derive(Debug)]
pub(crate) struct Client {
    host: Host,
    program: &'static str,
    version: String,
    settled: bool,
    headers: Vec<(&'static str, String)>,
    sender: Option<SendRequest<Body>>,
    /// Whether the daemon is Glassdock's, as far as it has said.
    is_glassdock: bool,
}

impl Client {
    /// A client; nothing is connected yet. `headers` go with each request.
    pub(crate) fn new(host: Host, program: &'static str, headers: Vec<(&'static str, String)>) -> Self {
        let asked = std::env::var("DOCKER_API_VERSION").ok().filter(|version| !version.is_empty());
        let settled = asked.is_some();
        let version = asked
            .map_or_else(|| API_VERSION.to_owned(), |version| version.trim_start_matches('v').to_owned());
        Self { host, program, version, settled, headers, sender: None, is_glassdock: false }
    }

    /// A second client of the same daemon, with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self {
            host: self.host.clone(),
            program: self.program,
            version: self.version.clone(),
            settled: self.settled,
            headers: self.headers.clone(),
            sender: None,
            is_glassdock: self.is_glassdock,
        }
    }

    /// The version of the API in use; final after the first request.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether the daemon said that it is Glassdock's.
    pub(crate) fn is_glassdock(&self) -> bool {
        self.is_glassdock
    }

    /// Agrees on a version before a request that can't be sent twice.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        if !self.settled {
            self.get("/_ping").await?;
        }
        Ok(())
    }

    /// GET, the answer read whole.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes, Failure> {
        self.whole(Method::GET, path, None).await
    }

    /// GET, the answer as JSON.
    pub(crate) async fn get_json(&mut self, path: &str) -> Result<Value, Failure> {
        parse_json(&self.get(path).await?)
    }

    /// POST, the answer read whole.
    pub(crate) async fn post(&mut self, path: &str, body: Option<&Value>) -> Result<Bytes, Failure> {
        self.whole(Method::POST, path, body).await
    }

    /// POST, the answer as JSON.
    pub(crate) async fn post_json(&mut self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        parse_json(&self.post(path, body).await?)
    }

    /// DELETE, the answer read whole.
    pub(crate) async fn delete(&mut self, path: &str) -> Result<Bytes, Failure> {
        self.whole(Method::DELETE, path, None).await
    }

    async fn whole(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes, Failure> {
        let response = self.send(method, path, body, &[]).await?;
        read_whole(response).await.map_err(|error| self.broken(&error))
    }

    /// A request with a JSON body or none; the answer's body is not read yet. An
    /// answer of 400 and above is a failure with the daemon's words.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, String)],
    ) -> Result<Response<Incoming>, Failure> {
        let text = body.map(|body| Bytes::from(body.to_string()));
        loop {
            let body = text.clone().map_or_else(empty, full);
            let mut extra = headers.to_vec();
            if text.is_some() {
                extra.push(("content-type", "application/json".to_owned()));
            }
            let response = self.exchange(method.clone(), path, body, &extra).await?;
            match self.judge(response).await? {
                Verdict::Fine(response) => return Ok(response),
                Verdict::Again => {}
            }
        }
    }

    /// A request whose body is a stream of bytes.
    pub(crate) async fn send_stream<S>(
        &mut self,
        method: Method,
        path: &str,
        stream: S,
        headers: &[(&str, String)],
    ) -> Result<Response<Incoming>, Failure>
    where
        S: futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        use futures_util::TryStreamExt as _;
        self.settle().await?;
        let body = StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync();
        let response = self.exchange(method, path, body, headers).await?;
        match self.judge(response).await? {
            Verdict::Fine(response) => Ok(response),
            Verdict::Again => {
                Err(Failure::say("the daemon changed its version of the API between two requests"))
            }
        }
    }

    /// A request that turns its connection into a stream of bytes.
    pub(crate) async fn upgrade(&mut self, path: &str, body: Option<&Value>) -> Result<Stream, Failure> {
        self.settle().await?;
        let headers = [("connection", "Upgrade".to_owned()), ("upgrade", "tcp".to_owned())];
        let response = self.send(Method::POST, path, body, &headers).await?;
        // The connection is the stream's now.
        self.sender = None;
        match hyper::upgrade::on(response).await {
            Ok(upgraded) => Ok(TokioIo::new(upgraded)),
            Err(error) => Err(Failure::say(format!("unable to upgrade to tcp: {error}"))),
        }
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Body,
        headers: &[(&str, String)],
    ) -> Result<Response<Incoming>, Failure> {
        // Paths of glassdock's own have no version; neither has the ping.
        let target = if path.starts_with("/glassdock/") || path == "/_ping" {
            path.to_owned()
        } else {
            format!("/v{}{path}", self.version)
        };
        let mut request = Request::builder()
            .method(&method)
            .uri(&target)
            .header(header::HOST, "api.glassdock.localhost")
            .header(header::USER_AGENT, concat!("Glassdock-Client/", env!("CARGO_PKG_VERSION"), " (linux)"));
        for (name, value) in self
            .headers
            .iter()
            .map(|(name, value)| (*name, value))
            .chain(headers.iter().map(|(name, value)| (*name, value)))
        {
            request = request.header(name, value);
        }
        let request =
            request.body(body).map_err(|error| Failure::say(format!("{method} {target}: {error}")))?;
        let mut sender = self.ready().await?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        self.sender = Some(sender);
        Ok(response)
    }

    /// The connection, if it can take another request, or a new one.
    async fn ready(&mut self) -> Result<SendRequest<Body>, Failure> {
        if let Some(mut sender) = self.sender.take()
            && !sender.is_closed()
            && sender.is_ready()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        connect::open(&self.host).await.map_err(|error| self.unreachable(&error))
    }

    async fn judge(&mut self, response: Response<Incoming>) -> Result<Verdict, Failure> {
        let headers = response.headers();
        self.is_glassdock |= headers
            .get(header::SERVER)
            .and_then(|server| server.to_str().ok())
            .is_some_and(|server| server.starts_with("Glassdock"));
        let status = response.status();
        if !self.settled
            && let Some(theirs) = headers.get("api-version").and_then(|value| value.to_str().ok())
        {
            let theirs = theirs.to_owned();
            if status != http::StatusCode::BAD_REQUEST {
                self.settled = true;
            }
            if older(&theirs, &self.version) {
                self.version = theirs;
                self.settled = true;
                // An answer of 400 was to a version that the daemon does not know.
                if status == http::StatusCode::BAD_REQUEST {
                    let _ = read_whole(response).await;
                    return Ok(Verdict::Again);
                }
            }
        }
        if status.is_success() || status.is_redirection() || status.is_informational() {
            return Ok(Verdict::Fine(response));
        }
        let text = read_whole(response).await.unwrap_or_default();
        let message = match serde_json::from_slice::<Value>(&text) {
            Ok(value) => value.get("message").and_then(Value::as_str).unwrap_or_default().trim().to_owned(),
            Err(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        };
        let message = if message.is_empty() {
            format!(
                "request returned {status} without a message; does the daemon support version {} of the API?",
                self.version
            )
        } else {
            message
        };
        if !self.settled
            && status == http::StatusCode::BAD_REQUEST
            && message.contains("is too new")
            && let Some(theirs) = message.rsplit(' ').next()
        {
            self.version = theirs.to_owned();
            self.settled = true;
            return Ok(Verdict::Again);
        }
        Err(Failure::daemon(status.as_u16(), &message))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        Failure::say(connect::explain(&self.host, self.program, error))
    }

    fn broken(&self, error: &dyn std::error::Error) -> Failure {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Failure::say(format!("error during connect: {}: {cause}", self.host))
    }
}

enum Verdict {
    Fine(Response<Incoming>),
    Again,
}

fn older(theirs: &str, ours: &str) -> bool {
    let parts = |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.parse().ok()).collect() };
    parts(theirs) < parts(ours)
}

async fn read_whole(response: Response<Incoming>) -> Result<Bytes, hyper::Error> {
    let mut body = response.into_body();
    let mut first: Option<Bytes> = None;
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        match first.take() {
            None if all.is_empty() => first = Some(data),
            earlier => {
                all.extend(earlier.into_iter().flatten());
                all.extend_from_slice(&data);
            }
        }
        if all.len() > ANSWER_LIMIT {
            break;
        }
    }
    Ok(first.unwrap_or_else(|| all.into()))
}

fn parse_json(bytes: &[u8]) -> Result<Value, Failure> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::say(format!("the daemon's answer is no JSON: {error}")))
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Text for a place in a query or a path, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A path with a query; pairs without a value are left out.
pub(crate) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// `--filter` values as the API takes them: `{"label":{"a=b":true}}`.
pub(crate) fn filters<'a>(given: impl Iterator<Item = &'a str>) -> String {
    let mut map = serde_json::Map::new();
    for filter in given {
        let Some((name, value)) = filter.split_once('=') else { continue };
        let values =
            map.entry(name.trim().to_lowercase()).or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Value::Object(values) = values {
            values.insert(value.trim().to_owned(), true.into());
        }
    }
    if map.is_empty() { String::new() } else { Value::Object(map).to_string() }
}
