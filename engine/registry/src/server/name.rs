//! Names of repositories and tags, checked before they come near a path.
//!
//! Grammar (distribution specification, "Pulling manifests"):
//! `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
//! and `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. No component begins with `.` or `_`, so a
//! name can neither climb out of its folder nor meet the store's own files.

use std::fmt;

/// The name of a repository, such as `library/busybox`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(String);

/// The longest name that is taken, in bytes.
const NAME_LIMIT: usize = 255;

impl Name {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() <= NAME_LIMIT && text.split('/').all(is_component)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !plain(*first) || !plain(*last) {
        return false;
    }
    // Between letters: one dot, one or two underscores, or any number of hyphens.
    bytes
        .split(|byte| plain(*byte))
        .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|byte| *byte == b'-'))
}

/// Whether a text can be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "library/busybox", "a.b_c__d--e/f0", "blobs/uploads"] {
            assert!(Name::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in
            ["", "/", "a/", "/a", "a//b", "..", "a/../b", "_a", "a._b", "a___b", "Ubuntu", "a b", ".a", &long]
        {
            assert!(Name::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "12.04", "_", "a-b_c.d", &"x".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a:b", "sha256:00", &"x".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
