//! Which paths there are. The ends are those of the distribution specification,
//! "Endpoints"; a repository's name may have slashes, so paths are read from the right.

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::auth::{Action, Need};
use super::error::{Code, Refusal};
use super::name::{Name, is_tag};
use super::storage::manifests::Reference;
use glassdock_image::digest::Digest;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/` (end-1)
    Base,
    /// `/v2/_catalog`, an extension that Docker's registry brought
    Catalog,
    /// `/v2/NAME/blobs/DIGEST` (end-2, end-10)
    Blob(Name, Digest),
    /// `/v2/NAME/blobs/uploads/` (end-4, end-11)
    Uploads(Name),
    /// `/v2/NAME/blobs/uploads/ID` (end-5, end-6, end-13, end-14)
    Upload(Name, String),
    /// `/v2/NAME/manifests/REFERENCE` (end-3, end-7, end-9)
    Manifest(Name, Reference),
    /// `/v2/NAME/tags/list` (end-8)
    Tags(Name),
    /// `/v2/NAME/referrers/DIGEST` (end-12)
    Referrers(Name, Digest),
}

impl Route {
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let nowhere = || Refusal::new(Code::UnknownRoute, "there is nothing here");
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| nowhere())?;
        let rest = match decoded.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some(rest) => rest.strip_prefix('/').ok_or_else(nowhere)?,
            None => return Err(nowhere()),
        };
        if rest == "_catalog" || rest == "_catalog/" {
            return Ok(Self::Catalog);
        }
        if let Some(repository) =
            rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Ok(Self::Uploads(name(repository)?));
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name(repository)?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or_else(nowhere)?;
        if let Some(repository) = before.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name(repository)?, last.to_owned()));
        }
        let (repository, kind) = before.rsplit_once('/').ok_or_else(nowhere)?;
        match kind {
            "blobs" => Ok(Self::Blob(name(repository)?, digest(last)?)),
            "manifests" => Ok(Self::Manifest(name(repository)?, reference(last)?)),
            "referrers" => Ok(Self::Referrers(name(repository)?, digest(last)?)),
            _ => Err(nowhere()),
        }
    }
}

impl Route {
    /// What somebody must be allowed to do who comes this way.
    pub(super) fn need(&self, parts: &Parts) -> Need {
        let mut from = None;
        let (name, action) = match (self, parts.method.as_str()) {
            (Self::Base, _) => return Need::Login,
            (Self::Catalog, _) => return Need::Catalog,
            (Self::Uploads(name), _) => {
                let query = parts.uri.query().unwrap_or("");
                let value = query.split('&').find_map(|pair| pair.strip_prefix("from="));
                let decoded = value.and_then(|value| percent_decode_str(value).decode_utf8().ok());
                from = decoded.and_then(|decoded| Name::parse(&decoded));
                (name, Action::Push)
            }
            (Self::Upload(name, _), _) => (name, Action::Push),
            (
                Self::Manifest(name, _) | Self::Blob(name, _) | Self::Tags(name) | Self::Referrers(name, _),
                method,
            ) => {
                let action = match method {
                    "GET" | "HEAD" => Action::Pull,
                    "DELETE" => Action::Delete,
                    _ => Action::Push,
                };
                (name, action)
            }
        };
        Need::Repository { name: name.clone(), action, from }
    }

    /// The methods that there are, as the header Allow has them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

fn name(text: &str) -> Result<Name, Refusal> {
    Name::parse(text).ok_or_else(|| {
        let words = "a repository's name has lower-case letters and digits, with . _ __ or - between them, \
                     in parts parted by /, and at most 255 characters";
        Refusal::new(Code::NameInvalid, words)
    })
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|error: glassdock_image::digest::Error| Refusal::new(Code::DigestInvalid, error.to_string()))
}

fn reference(text: &str) -> Result<Reference, Refusal> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    tag(text).map(Reference::Tag)
}

pub(super) fn tag(text: &str) -> Result<String, Refusal> {
    if is_tag(text) {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        Code::TagInvalid,
        "a tag has at most 128 letters, digits, _ . and -, and begins with none of the last two",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_the_right() {
        let name = |text| Name::parse(text).expect("a good name");
        assert_eq!(Route::parse("/v2").ok(), Some(Route::Base));
        assert_eq!(Route::parse("/v2/").ok(), Some(Route::Base));
        assert_eq!(Route::parse("/v2/a/b/tags/list").ok(), Some(Route::Tags(name("a/b"))));
        assert_eq!(
            Route::parse("/v2/blobs/uploads/blobs/uploads/").ok(),
            Some(Route::Uploads(name("blobs/uploads")))
        );
        let digest = Digest::of(b"x");
        let encoded = digest.to_string().replace(':', "%3A");
        assert_eq!(
            Route::parse(&format!("/v2/a/blobs/{encoded}")).ok(),
            Some(Route::Blob(name("a"), digest))
        );
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for bad in
            ["/", "/v2/x", "/v2/../a/tags/list", "/v2/a/manifests/..", "/v2/%2e%2e/blobs/uploads/", "/v3/"]
        {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }
}
