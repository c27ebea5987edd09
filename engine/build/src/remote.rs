//! What lies elsewhere: URLs and git repositories, as ADD and a build's context name them.
//!
//! ```text
//!   https://host/file                 a file
//!   https://host/repo.git#ref:folder  a repository: a branch, tag or commit, and a folder of it
//!   git@host:repo  ssh://…  git://…   repositories too
//! ```
//!
//! See "ADD" in Docker's Dockerfile reference, and "Build context".

/// Something that lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A file.
    Http(String),
    /// A repository.
    Git(Git),
}

/// A repository, and what of it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Git {
    /// Its address, as git(1) takes it.
    pub url: String,
    /// A branch, a tag or a commit; the repository's own choice if it is empty.
    pub reference: String,
    /// A folder; all, if it is empty.
    pub folder: String,
}

impl Remote {
    /// What a source of ADD means, if it is none of the context's files.
    #[must_use]
    pub fn of_source(text: &str) -> Option<Self> {
        if is_http(text) {
            let path = text.split(['#', '?']).next().unwrap_or(text);
            if !path.ends_with(".git") {
                return Some(Self::Http(text.to_owned()));
            }
        } else if !is_git(text) {
            return None;
        }
        Some(Self::Git(git(text)))
    }

    /// What the operand of a build means, if it is no folder: as [`Remote::of_source`], and `github.com/…`.
    #[must_use]
    pub fn of_context(text: &str) -> Option<Self> {
        if text.starts_with("github.com/") {
            return Some(Self::Git(git(&format!("https://{text}"))));
        }
        Self::of_source(text)
    }
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn is_git(text: &str) -> bool {
    let schemes = ["git://", "ssh://"];
    if schemes.iter().any(|scheme| text.starts_with(scheme)) {
        return true;
    }
    // `user@host:path`, as scp(1) has it.
    let (user, rest) = text.split_once('@').unwrap_or(("", ""));
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.'))
    };
    rest.split_once(':').is_some_and(|(host, path)| plain(user) && plain(host) && !path.is_empty())
}

fn git(text: &str) -> Git {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    Git { url: url.to_owned(), reference: reference.to_owned(), folder: folder.to_owned() }
}

/// The name that a file from a URL gets, if the URL has one.
#[must_use]
pub fn file_name(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.split(['#', '?']).next()?.split_once('/')?.1;
    let name = path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))?;
    Some(unescaped(name)).filter(|name| !name.contains('/') && !name.contains('\0'))
}

/// `%20` and its like, where they make text.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let http = |text: &str| Some(Remote::Http(text.to_owned()));
        let git = |url: &str, reference: &str, folder: &str| {
            Some(Remote::Git(Git { url: url.into(), reference: reference.into(), folder: folder.into() }))
        };
        for (text, wanted) in [
            ("https://example.org/a/b.tar.gz?x=1", http("https://example.org/a/b.tar.gz?x=1")),
            ("https://example.org/a.git", git("https://example.org/a.git", "", "")),
            ("https://example.org/a.git#v1:docs", git("https://example.org/a.git", "v1", "docs")),
            ("https://example.org/a.git#:docs", git("https://example.org/a.git", "", "docs")),
            ("git@example.org:me/a", git("git@example.org:me/a", "", "")),
            ("ssh://git@example.org/a#main", git("ssh://git@example.org/a", "main", "")),
            ("git://example.org/a", git("git://example.org/a", "", "")),
            ("a@b", None),
            ("file:x", None),
            ("dir/a@b:c", None),
            ("-oProxyCommand=x@host:y", None),
            ("plain.txt", None),
        ] {
            assert_eq!(Remote::of_source(text), wanted, "{text}");
        }
        assert_eq!(Remote::of_context("github.com/me/a#b"), git("https://github.com/me/a", "b", ""));
        assert_eq!(Remote::of_context("."), None);
    }

    #[test]
    fn files_have_their_urls_names() {
        for (url, wanted) in [
            ("http://h/a/b.txt?x#y", Some("b.txt")),
            ("http://h/a%20b", Some("a b")),
            ("http://h/a%2Fb", None),
            ("http://h/", None),
            ("http://h", None),
            ("http://h/..", None),
            ("http://h/%zz", Some("%zz")),
        ] {
            assert_eq!(file_name(url).as_deref(), wanted, "{url}");
        }
    }
}
