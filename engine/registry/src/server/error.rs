//! What a registry answers when it can't do what was asked: a code of the distribution
//! specification ("Error Codes"), its status, and words, kept together.

use std::io;

use http::StatusCode;
use serde_json::json;

/// A request that failed, as the client is told.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// More about this case, where the message is the specification's own.
    pub(crate) detail: Option<String>,
    #[source]
    pub(crate) source: Option<io::Error>,
    /// Headers that belong to the refusal: where an upload stands, how to log in.
    pub(crate) headers: Vec<(http::HeaderName, String)>,
}

/// The specification's codes, with the statuses that they are sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    RangeInvalid,
    SizeInvalid,
    TagInvalid,
    PaginationInvalid,
    BlobTooLarge,
    MirrorAway,
    Unauthorized,
    Denied,
    Unsupported,
    UnknownRoute,
    TooManyRequests,
    Timeout,
    BadRequest,
    NoSpace,
    Internal,
}

impl Code {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::Timeout => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid | Self::ManifestTooLarge => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::SizeInvalid | Self::BlobTooLarge => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::TagInvalid => "TAG_INVALID",
            Self::PaginationInvalid => "PAGINATION_NUMBER_INVALID",
            Self::Unsupported => "UNSUPPORTED",
            Self::UnknownRoute => "NOT_FOUND",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::MirrorAway => "UNAVAILABLE",
            Self::BadRequest | Self::NoSpace | Self::Internal => "UNKNOWN",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown
            | Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::ManifestBlobUnknown
            | Self::DigestInvalid
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid
            | Self::TagInvalid
            | Self::BadRequest
            | Self::PaginationInvalid => StatusCode::BAD_REQUEST,
            Self::ManifestTooLarge | Self::BlobTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::MirrorAway => StatusCode::BAD_GATEWAY,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refusal {
    /// A refusal in words of our own, or, for what is not there, in the specification's,
    /// which clients show to their users; ours are the detail then.
    pub(crate) fn new(code: Code, words: impl Into<String>) -> Self {
        let (message, detail) = match code {
            Code::BlobUnknown => ("blob unknown to registry".to_owned(), Some(words.into())),
            Code::ManifestUnknown => ("manifest unknown".to_owned(), Some(words.into())),
            Code::Unauthorized => ("authentication required".to_owned(), Some(words.into())),
            Code::Denied => ("requested access to the resource is denied".to_owned(), Some(words.into())),
            Code::NameUnknown => ("repository name not known to registry".to_owned(), Some(words.into())),
            _ => (words.into(), None),
        };
        Self { code, message, detail, source: None, headers: Vec::new() }
    }

    /// The disk refused: `act` on `subject` failed.
    pub(crate) fn disk(act: &str, subject: &std::path::Path, source: io::Error) -> Self {
        // The client learns that it is the registry's fault and, where it helps, why; not our paths.
        let (code, words) = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Code::NoSpace, "the registry's disk is full")
            }
            _ => (Code::Internal, "the registry could not read or write its storage"),
        };
        let source = io::Error::new(source.kind(), format!("cannot {act} {}: {source}", subject.display()));
        Self { code, message: words.to_owned(), detail: None, source: Some(source), headers: Vec::new() }
    }

    /// Why, for who runs the registry.
    pub(crate) fn reason(&self) -> String {
        self.source.as_ref().map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// What can be no tag is a tag that isn't there, for who wants to read it.
    pub(crate) fn for_a_reader(self) -> Self {
        if self.code == Code::TagInvalid {
            return Self::new(Code::ManifestUnknown, self.message);
        }
        self
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The body of the answer.
    pub(crate) fn json(&self) -> Vec<u8> {
        json!({"errors": [{"code": self.code.name(), "message": self.message, "detail": self.detail}]})
            .to_string()
            .into_bytes()
    }
}
