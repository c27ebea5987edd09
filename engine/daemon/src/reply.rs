//! What a handler gives: the few shapes that all replies have.

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::{Error, Kind};

/// A reply.
pub type Response = http::Response<Body>;

/// What handlers return.
pub type Reply = Result<Response, Error>;

/// 200 with a JSON body.
///
/// # Errors
///
/// Internal, if the value can't be JSON (a map whose keys are no strings).
pub fn json(value: &impl Serialize) -> Reply {
    json_with(StatusCode::OK, value)
}

/// A JSON body with another status, such as 201 for what was made.
///
/// # Errors
///
/// As [`json`].
pub fn json_with(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut text = serde_json::to_vec(value).map_err(|error| Error::of(Kind::Internal, &error))?;
    text.push(b'\n');
    Ok(build(status, "application/json", Body::from(text)))
}

/// 200 with a body that is JSON already.
#[must_use]
pub fn json_text(mut text: Vec<u8>) -> Response {
    text.push(b'\n');
    build(StatusCode::OK, "application/json", Body::from(text))
}

/// A status without a body: 204 for what was done.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 204: done, nothing to tell.
///
/// # Errors
///
/// None; it has the shape that handlers end with.
pub fn done() -> Reply {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// 200 with plain text.
#[must_use]
pub fn text(text: impl Into<Bytes>) -> Response {
    build(StatusCode::OK, "text/plain; charset=utf-8", Body::from(text.into()))
}

/// 200 with a body that comes bit by bit. The stream is dropped when the client leaves.
pub fn stream<S, E>(content_type: &'static str, stream: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<axum::BoxError> + 'static,
{
    build(StatusCode::OK, content_type, Body::from_stream(stream))
}

/// 101: from here on the connection is a stream both ways.
#[must_use]
pub fn upgraded(content_type: &'static str) -> Response {
    let mut response = build(StatusCode::SWITCHING_PROTOCOLS, content_type, Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    // Docker's own word: some clients compare the whole line.
    response.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    response
}

/// An error, in the shape that every client reads: `{"message": …}`.
#[must_use]
pub fn error(error: &Error) -> Response {
    let status = error.status();
    if status == StatusCode::NOT_MODIFIED {
        return empty(status);
    }
    let text = serde_json::json!({ "message": error.message() }).to_string() + "\n";
    build(status, "application/json", Body::from(text))
}

fn build(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
