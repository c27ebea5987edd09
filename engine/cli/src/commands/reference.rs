//! Names of images, as far as the client must understand them: whether a name is
//! one at all (in Docker's words), its usual short form, its registry.

use crate::failure::Failure;

/// A name taken apart: `docker.io`, `library/busybox`, `:1`, `@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The registry's host.
    pub domain: String,
    /// The repository's path there.
    pub path: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a name as a person writes it.
    ///
    /// # Errors
    ///
    /// Why it is none, in Docker's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            ));
        }
        let (domain, rest) = split_domain(text);
        let (remote, digest) =
            rest.split_once('@').map_or((rest.as_str(), None), |(name, digest)| (name, Some(digest)));
        let (path, tag) = match remote.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remote, None),
        };
        if path.chars().any(char::is_uppercase) {
            return Err(format!("invalid reference format: repository name ({path}) must be lowercase"));
        }
        let bad = || "invalid reference format".to_owned();
        if !is_path(path) || !is_domain(&domain) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad());
        }
        if let Some(digest) = digest {
            let fits = digest.split_once(':').is_some_and(|(algorithm, hex)| {
                !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            if !fits {
                return Err(bad());
            }
        }
        if domain.len() + 1 + path.len() > 255 {
            return Err("repository name must not be more than 255 characters".to_owned());
        }
        Ok(Self {
            domain,
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The name as people write it, without tag and digest: `busybox`.
    pub(crate) fn familiar_name(&self) -> String {
        if self.domain == "docker.io" {
            self.path.strip_prefix("library/").unwrap_or(&self.path).to_owned()
        } else {
            format!("{}/{}", self.domain, self.path)
        }
    }

    /// As [`Reference::familiar_name`], with tag and digest.
    pub(crate) fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        if let Some(tag) = &self.tag {
            text.push_str(&format!(":{tag}"));
        }
        if let Some(digest) = &self.digest {
            text.push_str(&format!("@{digest}"));
        }
        text
    }

    /// The whole name without tag and digest: `docker.io/library/busybox`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether neither a tag nor a digest was given.
    pub(crate) fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// With the tag `latest` where nothing was given.
    pub(crate) fn or_latest(mut self) -> Self {
        if self.is_name_only() {
            self.tag = Some("latest".to_owned());
        }
        self
    }
}

/// As [`Reference::parse`], as a command's failure.
pub(crate) fn parse(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text).map_err(Failure::say)
}

fn split_domain(text: &str) -> (String, String) {
    let (domain, rest) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            (first.to_owned(), rest.to_owned())
        }
        _ => ("docker.io".to_owned(), text.to_owned()),
    };
    let domain = if domain == "index.docker.io" { "docker.io".to_owned() } else { domain };
    let rest = if domain == "docker.io" && !rest.contains('/') { format!("library/{rest}") } else { rest };
    (domain, rest)
}

/// Path components: lower-case letters and digits, with `.`, `_`, `__` or dashes between.
fn is_path(path: &str) -> bool {
    path.split('/').all(|part| {
        let mut rest = part;
        loop {
            let word = rest.find(|letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit()));
            match word {
                None => return !rest.is_empty(),
                Some(0) => return false,
                Some(at) => {
                    let after = &rest[at..];
                    let length =
                        after.find(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
                    let Some(length) = length else { return false };
                    let separator = &after[..length];
                    let fits =
                        matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
                    if !fits {
                        return false;
                    }
                    rest = &after[length..];
                }
            }
        }
    })
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !domain.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let host_fits = if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        inside.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        host.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
    };
    host_fits && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_docker_s() {
        for (typed, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("a/b:1", "docker.io/a/b", "a/b:1"),
            ("localhost:5000/ubuntu:12.04", "localhost:5000/ubuntu", "localhost:5000/ubuntu:12.04"),
            ("index.docker.io/library/x", "docker.io/library/x", "x"),
        ] {
            let reference = Reference::parse(typed).expect(typed);
            assert_eq!((reference.full_name().as_str(), reference.familiar().as_str()), (full, familiar));
        }
        for bad in ["–i", "", "a//b", "a:", "a:-x", "a@sha256:12", "-a", "a b", "a/../b"] {
            assert_eq!(Reference::parse(bad), Err("invalid reference format".to_owned()), "{bad}");
        }
        assert!(
            Reference::parse("Ubuntu")
                .is_err_and(|error| error.ends_with("repository name (library/Ubuntu) must be lowercase"))
        );
    }
}
