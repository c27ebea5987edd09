//! What a handler gets: one request, parsed as far as all requests are alike.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use glassdock_trace::Trace;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::Error;
use crate::operations::Use;

/// A body has to come within that time: a client on the same machine sends at once.
const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(60);

/// A JSON body is at most this long, in bytes. Docker's longest (a container with
/// thousands of labels) are far below.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// A version of the Engine API: the number after `1.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u16);

impl ApiVersion {
    /// Reads `1.41`, with or without a `v` before it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.")?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok().map(Self))?
    }
}

impl ApiVersion {
    /// The `2.0` of `v2.0`: a version that is no `1.` and newer than any of those.
    #[must_use]
    pub(crate) fn other_major(text: &str) -> Option<&str> {
        let version = text.strip_prefix('v')?;
        let (major, minor) = version.split_once('.')?;
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (number(major) && number(minor) && !matches!(major, "0" | "1")).then_some(version)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// One request, on its way to a handler.
#[derive(Debug)]
pub struct Call {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The place in the request's operation, for everything that the handler does.
    pub trace: Trace,
    /// Keeps the request's operation open (none for those that are not traced); a stream or task that outlives the
    /// handler takes a clone along.
    pub operation: Option<Arc<Use>>,
    /// The version of the API that the client speaks.
    pub version: ApiVersion,
    pub(crate) parts: Parts,
    pub(crate) params: Vec<(&'static str, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Call {
    /// The part of the path that the route names so, percent-decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a query parameter that may be repeated.
    pub fn query_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a query parameter says yes, as Docker reads it: anything but
    /// nothing, `0`, `no`, `false` and `none`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// As [`Call::flag`], with what an absent parameter means.
    #[must_use]
    pub fn flag_or(&self, name: &str, absent: bool) -> bool {
        self.query(name).map_or(absent, |value| {
            !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
        })
    }

    /// A query parameter that is a number.
    ///
    /// # Errors
    ///
    /// Invalid, if it is there and isn't one.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        match self.query(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                Error::invalid(format!("invalid value {text:?} of query parameter {name}: not a number"))
            }),
        }
    }

    /// The `filters` parameter, in both of the shapes that Docker knows:
    /// `{"label":["a"]}` and `{"label":{"a":true}}`.
    ///
    /// # Errors
    ///
    /// Invalid, if it is neither.
    pub fn filters(&self) -> Result<crate::route::Filters, Error> {
        crate::route::Filters::parse(self.query("filters").unwrap_or_default())
    }

    /// Tells when the client has left before it had an answer.
    #[must_use]
    pub fn gone(&self) -> CancellationToken {
        self.parts.extensions.get::<CancellationToken>().cloned().unwrap_or_default()
    }

    /// A header's value, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The whole body, bounded.
    ///
    /// # Errors
    ///
    /// Invalid, if it is too long or breaks off.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let body = std::mem::take(&mut self.body);
        let limited = http_body_util::Limited::new(body, BODY_LIMIT);
        let collected = tokio::time::timeout(BODY_TIME, limited.collect())
            .await
            .map_err(|_| Error::invalid("the request's body did not come within a minute"))?
            .map_err(|error| Error::invalid(format!("cannot read the request's body: {error}")))?;
        Ok(collected.to_bytes())
    }

    /// The body as JSON. `null` means the same as an absent field, as in Go.
    ///
    /// # Errors
    ///
    /// Invalid: no JSON, or of another shape.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        self.json_or_empty()
            .await?
            .ok_or_else(|| Error::invalid("invalid JSON: got EOF while reading request body"))
    }

    /// As [`Call::json`], for endpoints whose body may be left out.
    ///
    /// # Errors
    ///
    /// As [`Call::json`].
    pub async fn json_or_empty<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some(value) = self.value().await? else { return Ok(None) };
        if !self.is_own() {
            if value.is_array() {
                return Err(Error::invalid("invalid JSON: cannot unmarshal array: an object is expected"));
            }
            if let Some(field) = crate::fields::with_misplaced_list(&value) {
                return Err(Error::invalid(format!(
                    "invalid JSON: cannot unmarshal array into field {field}: an object is expected"
                )));
            }
        }
        serde_json::from_value(value).map(Some).map_err(not_json)
    }

    /// As [`Call::json_or_empty`], for endpoints whose body is a list; without a body it is empty.
    ///
    /// # Errors
    ///
    /// As [`Call::json`].
    pub async fn json_list<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Error> {
        let Some(value) = self.value().await? else { return Ok(Vec::new()) };
        serde_json::from_value(value).map_err(not_json)
    }

    /// The body as plain JSON, without `null`s, with the fields' names as they are known.
    async fn value(&mut self) -> Result<Option<serde_json::Value>, Error> {
        let kind = self.header("content-type").unwrap_or_default().to_owned();
        let bytes = self.bytes().await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let media_type = kind.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Error::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        let mut value =
            serde_json::from_slice(&bytes).map_err(|error| match crate::syntax::wrong(&bytes) {
                Some(words) => Error::invalid(format!("invalid JSON: {words}")),
                // Deeper than this reader goes, or a number that it can't hold.
                None => not_json(error),
            })?;
        if !self.is_own() {
            crate::fields::in_case(&mut value);
        }
        crate::route::without_nulls(&mut value);
        Ok(Some(value))
    }

    /// Whether an endpoint is asked that Docker doesn't have.
    fn is_own(&self) -> bool {
        self.parts.uri.path().starts_with("/glassdock/")
    }

    /// The body as a stream, for endpoints that take an archive or an input.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// The connection itself, if the client asked to have it for a stream both
    /// ways (`Upgrade: tcp`, the API's hijacking).
    pub fn upgrade(&mut self) -> Option<OnUpgrade> {
        self.parts.headers.get(http::header::UPGRADE)?;
        self.parts.extensions.remove::<OnUpgrade>()
    }
}

fn not_json(error: serde_json::Error) -> Error {
    Error::invalid(format!("invalid JSON: {error}"))
}
