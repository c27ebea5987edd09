//! What a handler answers when it can't do what it was asked for.
//!
//! An [`Error`] has a kind and Docker's words for it: clients compare both. This
//! is the only place that knows about HTTP statuses.

use std::fmt;

use http::StatusCode;

/// The classes of failures that a client can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense as it stands.
    Invalid,
    /// Who asks must say who they are.
    Unauthorized,
    /// Who asks may not.
    Denied,
    /// What is asked for isn't there.
    NotFound,
    /// It is there, but in a state that forbids what is asked for.
    Conflict,
    /// It is in the wanted state already: no error, but nothing was done either.
    NotModified,
    /// This engine doesn't do that.
    Unsupported,
    /// It could be done if the engine were set up for it.
    Unavailable,
    /// Something failed that is not the client's fault.
    Internal,
}

/// A failed request: its kind and what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl Error {
    /// An error of that kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The request makes no sense as it stands: 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// What is asked for isn't there: 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Its state forbids what is asked for: 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// It is in the wanted state already: 304.
    #[must_use]
    pub fn not_modified() -> Self {
        Self::new(Kind::NotModified, "")
    }

    /// This engine doesn't do that: 501.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// Something failed that is not the client's fault: 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A panic is a defect of ours: the client learns that, the log has where.
    pub(crate) fn panicked() -> Self {
        Self::internal("internal error: a task of the daemon panicked; this is a defect of the engine")
    }

    /// An error of that kind that tells the whole chain of causes, outermost first.
    #[must_use]
    pub fn of(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(kind, glassdock_trace::Failure::of(error).message)
    }

    /// The error's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the client is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status of the error's kind.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Denied => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::NotModified => StatusCode::NOT_MODIFIED,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A message as Docker writes it: the reason at its end begins with a small letter, and has no number.
#[must_use]
pub fn in_dockers_words(message: &str) -> String {
    let Some((message, _)) = message.split_once(" (os error ") else { return message.to_owned() };
    let (place, reason) = message.rsplit_once(": ").map_or(("", message), |(place, reason)| (place, reason));
    let reason = reason.to_lowercase();
    if place.is_empty() { reason } else { format!("{place}: {reason}") }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::of(Kind::Internal, &error)
    }
}

impl From<glassdock_trace::Aborted> for Error {
    fn from(aborted: glassdock_trace::Aborted) -> Self {
        Self::of(Kind::Internal, &aborted)
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        tracing::error!(%error, "a task of the daemon panicked");
        Self::panicked()
    }
}
