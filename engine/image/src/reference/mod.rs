//! References: the names that people give to images.
//!
//! ```text
//!   busybox                →  docker.io / library/busybox
//!   acme/web:2             →  docker.io / acme/web : 2
//!   localhost:5000/web@sha256:…  →  localhost:5000 / web @ sha256:…
//!   └─ familiar ─┘            domain     path       tag  digest
//! ```
//!
//! What is typed is *familiar*, what is stored is *normal*: with the domain, and
//! with `library/` for Docker's own images. The rules are those of Docker's
//! `distribution/reference`, so that both engines take and refuse the same names
//! with the same words.

mod grammar;

use std::fmt;
use std::str::FromStr;

use crate::digest::{self, Digest};

/// The registry that is meant when a name has none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag that is meant when a name has neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";
const OFFICIAL: &str = "library/";
/// The default domain's older name.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// The longest repository name, in bytes.
const LONGEST: usize = 255;

/// Why a text is no reference; worded as Docker words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not fit the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository's name has capitals.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It is an image's whole id, which can't be a name too.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// It is longer than a registry takes.
    #[error("repository name must not be more than {LONGEST} characters")]
    TooLong,
    /// The part after the `@` is no digest.
    #[error(transparent)]
    Digest(#[from] digest::Error),
}

/// A normal reference: a repository at a registry, and maybe a tag and a digest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads what a person typed, and makes it normal. No tag is added:
    /// see [`Reference::with_default_tag`].
    ///
    /// # Errors
    ///
    /// If `text` is no reference; the message is Docker's.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::Identifier(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let (name, tag, digest) = split_rest(&rest);
        // Docker looks for capitals before the first colon, wherever that is.
        let before_colon = rest.split(':').next().unwrap_or_default();
        if before_colon.chars().any(char::is_uppercase) {
            return Err(Error::Uppercase(before_colon.to_owned()));
        }
        let fits = grammar::is_domain(domain)
            && grammar::is_path(name)
            && tag.is_none_or(grammar::is_tag)
            && digest.is_none_or(grammar::is_digest);
        if !fits {
            return Err(Error::Format);
        }
        if name.len() > LONGEST {
            return Err(Error::TooLong);
        }
        Ok(Self {
            domain: domain.to_owned(),
            path: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(Digest::parse).transpose()?,
        })
    }

    /// The registry's host, with its port if it has one: `docker.io`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository at the registry: `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole normal name, without tag and digest: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The name as people write it, without tag and digest: `busybox`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The reference as people write it: `busybox:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.written(self.familiar_name())
    }

    /// The same, with the tag `latest` if there is neither a tag nor a digest.
    #[must_use]
    pub fn with_default_tag(&self) -> Self {
        let mut tagged = self.clone();
        if tagged.tag.is_none() && tagged.digest.is_none() {
            tagged.tag = Some(DEFAULT_TAG.to_owned());
        }
        tagged
    }

    /// The same repository with this tag, and without a digest.
    ///
    /// # Errors
    ///
    /// If `tag` is no tag: up to 128 letters, digits, `_`, `.` and `-`.
    pub fn with_tag(&self, tag: &str) -> Result<Self, Error> {
        if !grammar::is_tag(tag) {
            return Err(Error::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest, and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The repository alone.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    fn written(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

/// What stands before the first slash is a domain if it looks like one: it has a
/// dot or a port, is `localhost`, or has capitals (which no path may have).
fn split_domain(text: &str) -> (&str, String) {
    let (domain, rest) = match text.split_once('/') {
        Some((first, rest)) if first == "localhost" => (first, rest),
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest)) if first.contains(['.', ':']) || first.chars().any(char::is_uppercase) => {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        return (domain, format!("{OFFICIAL}{rest}"));
    }
    (domain, rest.to_owned())
}

/// `path[:tag][@digest]`
fn split_rest(rest: &str) -> (&str, Option<&str>, Option<&str>) {
    let (named, digest) = match rest.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (rest, None),
    };
    match named.split_once(':') {
        Some((name, tag)) => (name, Some(tag), digest),
        None => (named, None, digest),
    }
}

impl fmt::Display for Reference {
    /// The whole normal form: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
