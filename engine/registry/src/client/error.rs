//! What can go wrong between a client and a registry, in Docker's words where clients of
//! the daemon depend on them.

use std::io;

use glassdock_image::Digest;
use glassdock_trace::Aborted;

/// A request, a pull or a push that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection came about, or it broke off and stayed broken. Worded as Go's net/http
    /// words it, because that is what users of Docker search for.
    #[error("{method} \"{url}\": {reason}")]
    Connection {
        /// `Get`, `Put`: the method as Go writes it.
        method: String,
        /// What was asked for, without secrets.
        url: String,
        /// What went wrong on the way.
        reason: String,
        /// Whether trying again makes sense: it broke off, rather than never came about.
        again: bool,
        /// The kernel's error, where it was one.
        #[source]
        source: Option<io::Error>,
    },
    /// The registry's certificate is not to be trusted, or there is none.
    #[error("{method} \"{url}\": tls: {reason}; put the certificate of its authority into {hint}")]
    Tls {
        /// As in [`Error::Connection`].
        method: String,
        /// What was asked for.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
        /// Where Docker, and we, look for authorities.
        hint: String,
    },
    /// The repository is not there, or not for this user; a registry doesn't tell which.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': {answer}"
    )]
    PullDenied {
        /// The repository as people write it.
        repository: String,
        /// The registry's own words.
        answer: String,
    },
    /// The user may not push there.
    #[error("{answer}")]
    Denied {
        /// The registry's own words.
        answer: String,
    },
    /// There is no such tag or digest.
    #[error("manifest for {reference} not found: {answer}")]
    ManifestUnknown {
        /// The reference as people write it.
        reference: String,
        /// The registry's own words.
        answer: String,
    },
    /// There is no such repository.
    #[error("repository {repository} not found: {answer}")]
    NameUnknown {
        /// The repository as people write it.
        repository: String,
        /// The registry's own words.
        answer: String,
    },
    /// User name or password are wrong, or are needed and there are none.
    #[error("{answer}")]
    Unauthorized {
        /// The registry's own words.
        answer: String,
    },
    /// Any other answer that is no success.
    #[error("unexpected status from {method} request to {url}: {status}{}", if answer.is_empty() { String::new() } else { format!(": {answer}") })]
    Status {
        /// The method.
        method: String,
        /// What was asked for, without secrets.
        url: String,
        /// The status with its name, `503 Service Unavailable`.
        status: http::StatusCode,
        /// The registry's own words.
        answer: String,
    },
    /// The answer is not what the protocol says.
    #[error("the answer to {method} {url} makes no sense: {reason}")]
    Protocol {
        /// The method.
        method: String,
        /// What was asked for, without secrets.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest or config is no valid document.
    #[error("cannot use the {what} {digest}: {reason}")]
    Document {
        /// `manifest`, `index`, `config`.
        what: &'static str,
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest has another digest than the one that was asked for.
    #[error(
        "manifest verification failed for digest {expected}: the registry sent content with digest {computed}"
    )]
    ManifestDigest {
        /// What was promised.
        expected: Digest,
        /// What came.
        computed: Digest,
    },
    /// The media type is none that an image can have.
    #[error("unsupported media type {media_type}: {hint}")]
    MediaType {
        /// What the registry sent or the manifest says.
        media_type: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The index has nothing for this platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoPlatform {
        /// The wanted platform.
        platform: String,
    },
    /// The store or a layer refused.
    #[error(transparent)]
    Content(#[from] glassdock_image::content::Error),
    /// A layer could not be unpacked.
    #[error("failed to register layer")]
    Layer(#[from] glassdock_image::layer::Error),
    /// The image could not be registered.
    #[error(transparent)]
    Images(#[from] glassdock_image::images::Error),
    /// Certificates, or the client's own set-up.
    #[error("cannot use {subject}: {reason}")]
    Setup {
        /// A file or an address.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A thread of ours is gone.
    #[error("a worker thread failed")]
    Worker,
    /// Someone who steps through said abort.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// What kind of failure it is, for whoever must choose a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for is not there (or is not told to be there).
    NotFound,
    /// The user must log in, or may not.
    Unauthorized,
    /// What came from the other side is not usable.
    Invalid,
    /// The other side can't be reached, or is overloaded.
    Unavailable,
    /// It was stopped from outside.
    Aborted,
    /// The rest.
    Internal,
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::PullDenied { .. }
            | Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::NoPlatform { .. } => Kind::NotFound,
            Self::Denied { .. } | Self::Unauthorized { .. } => Kind::Unauthorized,
            Self::Connection { .. } | Self::Tls { .. } => Kind::Unavailable,
            Self::Status { status, .. }
                if status.is_server_error() || *status == http::StatusCode::TOO_MANY_REQUESTS =>
            {
                Kind::Unavailable
            }
            Self::Protocol { .. }
            | Self::Document { .. }
            | Self::ManifestDigest { .. }
            | Self::MediaType { .. } => Kind::Invalid,
            Self::Aborted(_) => Kind::Aborted,
            _ => Kind::Internal,
        }
    }

    /// No connection to the registry came about: then it matters which registry, not which
    /// request. Docker asks for `/v2/` first and so names that; so do we.
    pub(super) fn of_registry(self, base: &str) -> Self {
        let (method, url) = ("Get".to_owned(), format!("{base}/v2/"));
        match self {
            Self::Connection { reason, again, source, .. }
                if reason.starts_with("dial tcp") || reason.contains("HTTP response to HTTPS client") =>
            {
                Self::Connection { method, url, reason, again, source }
            }
            Self::Tls { reason, hint, .. } => Self::Tls { method, url, reason, hint },
            other => other,
        }
    }

    /// Whether the same request may get through the next time.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Connection { again: true, .. })
    }

    /// Whether another address of the same registry may answer better: the connection
    /// failed, not the request.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Tls { .. })
    }
}

/// `Get` for `GET`, as Go's errors have it.
pub(super) fn go_method(method: &http::Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_lowercase())
}

/// The host of an address, with its port where that is not the usual one.
pub(super) fn authority(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What a registry says went wrong: `code: message` of its first error, as Docker shows it.
/// Without control characters, and short.
pub(super) fn answer(body: &[u8]) -> (String, String) {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let first = &json["errors"][0];
    let code = clean(first["code"].as_str().unwrap_or_default());
    let message = clean(first["message"].as_str().or(json["details"].as_str()).unwrap_or_default());
    let words = match (code.is_empty(), message.is_empty()) {
        (true, true) if json.is_null() => clean(&String::from_utf8_lossy(body)),
        (true, _) => message,
        (false, true) => code.to_lowercase().replace('_', " "),
        (false, false) => format!("{}: {message}", code.to_lowercase().replace('_', " ")),
    };
    (code, words)
}

fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(512).collect::<String>().trim().to_owned()
}
