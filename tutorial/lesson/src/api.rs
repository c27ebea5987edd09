//! Questions to the engine's API, for checks: GET, and JSON back; and the one request
//! that is more, for taking a lab down without waiting.

use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// The operation that a lab's own questions are recorded under: they are no part of a step.
pub const OBSERVER: &str = "lesson-observer";

/// An answer is at most so long, in bytes.
const LIMIT: usize = 8 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("connect to {socket}")]
    Connect {
        /// The socket.
        socket: String,
        /// connect(2)'s error.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("GET {path}")]
    Http {
        /// What was asked.
        path: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine says no.
    #[error("GET {path}: {status} {message}")]
    Status {
        /// What was asked.
        path: String,
        /// The status.
        status: StatusCode,
        /// The engine's words.
        message: String,
    },
}

impl Error {
    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

/// Asks the daemon at `socket` for `path`.
///
/// # Errors
///
/// [`Error`]; [`Error::is_not_found`] tells what is not there from what went wrong.
pub async fn get(socket: &Path, path: &str) -> Result<Value, Error> {
    let body = fetch(socket, path).await?;
    serde_json::from_slice(&body).map_err(|error| Error::Http { path: path.to_owned(), source: error.into() })
}

/// Whether the daemon at `socket` answers.
pub async fn ping(socket: &Path) -> bool {
    fetch(socket, "/_ping").await.is_ok()
}

/// Ends a container's processes at once.
///
/// # Errors
///
/// [`Error`]; that it does not run is one.
pub async fn kill(socket: &Path, container: &str) -> Result<(), Error> {
    send(socket, Method::POST, &format!("/containers/{container}/kill")).await.map(|_| ())
}

async fn fetch(socket: &Path, path: &str) -> Result<Bytes, Error> {
    send(socket, Method::GET, path).await
}

async fn send(socket: &Path, method: Method, path: &str) -> Result<Bytes, Error> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Http { path: path.to_owned(), source };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| Error::Connect { socket: socket.display().to_string(), source })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "glassdock")
        .header("x-glassdock-operation", OBSERVER)
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| failed(error.into()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(failed)?.to_bytes();
    driver.abort();
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| body.get("message").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_default();
    Err(Error::Status { path: path.to_owned(), status, message })
}
