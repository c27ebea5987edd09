//! `.dockerignore`: which files of a folder are no part of the context.
//!
//! A pattern a line; `#` in the first column begins a comment. Patterns are cleaned as
//! paths, a `/` before them means nothing, `!` takes files in again, and the last
//! pattern that fits decides. A pattern that fits a folder fits all that is in it.
//! `*` and `?` stay within a name, `**` goes over folders. The Dockerfile and
//! `.dockerignore` themselves are always sent.
//!
//! See ".dockerignore files" in Docker's reference.

use crate::language::pattern::Pattern;

/// The largest `.dockerignore`, in bytes.
pub const LARGEST: u64 = 1024 * 1024;

/// A pattern that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:1: .dockerignore: syntax error in pattern {pattern:?}")]
pub struct Invalid {
    /// The line.
    pub line: usize,
    /// The pattern.
    pub pattern: String,
}

/// The patterns of a `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// What it says of what fits: left out, or taken in again.
    out: bool,
    /// The pattern itself, and how it begins, for folders that may hold what fits.
    pattern: Pattern,
    text: String,
}

impl Ignore {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The first pattern that can't be read.
    pub fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let mut ignore = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let line = line.trim();
            if !line.is_empty() {
                let invalid = || Invalid { line: index + 1, pattern: line.to_owned() };
                ignore.add(line).ok_or_else(invalid)?;
            }
        }
        Ok(ignore)
    }

    /// Of a list of patterns, such as `--exclude` has them.
    ///
    /// # Errors
    ///
    /// The first pattern that can't be read.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let mut ignore = Self::default();
        for (index, pattern) in patterns.into_iter().enumerate() {
            let invalid = || Invalid { line: index + 1, pattern: pattern.to_owned() };
            ignore.add(pattern).ok_or_else(invalid)?;
        }
        Ok(ignore)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (out, pattern) = match line.strip_prefix('!') {
            Some(rest) => (false, rest.trim()),
            None => (true, line),
        };
        let cleaned = clean(pattern);
        if cleaned.is_empty() || (cleaned == "." && !out) {
            // `!` alone names nothing; `.` means the whole folder, which nobody can leave out.
            return (!pattern.is_empty()).then_some(());
        }
        if cleaned == "." {
            return Some(());
        }
        self.rules.push(Rule { out, pattern: Pattern::ignore(&cleaned)?, text: cleaned });
        Some(())
    }

    /// These patterns, and then those: what the first leave out, the others don't take in again
    /// unless they say so.
    #[must_use]
    pub fn and(mut self, more: &Self) -> Self {
        self.rules.extend(more.rules.iter().cloned());
        self
    }

    /// Whether there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some pattern takes files in again.
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| !rule.out)
    }

    /// Whether a path (relative, with `/`) is left out.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        let mut out = false;
        for rule in &self.rules {
            if rule.out != out && fits(rule, path) {
                out = rule.out;
            }
        }
        out
    }

    /// Whether nothing below a folder that is left out can be taken in again: then it need not be read.
    #[must_use]
    pub fn prunes(&self, folder: &str) -> bool {
        if !self.ignores(folder) {
            return false;
        }
        // An exception may lie in it if it begins with the folder's names, or with a wildcard.
        !self.rules.iter().any(|rule| !rule.out && may_lie_in(&rule.text, folder))
    }
}

/// A pattern fits a path, or one of the folders above it.
fn fits(rule: &Rule, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.into_iter().any(|end| rule.pattern.matches(&path[..end]))
}

fn may_lie_in(pattern: &str, folder: &str) -> bool {
    let mut parts = pattern.split('/');
    for name in folder.split('/') {
        match parts.next() {
            None => return false,
            Some(part) if part.contains("**") => return true,
            Some(part) => {
                if !Pattern::ignore(part).is_some_and(|part| part.matches(name)) {
                    return false;
                }
            }
        }
    }
    true
}

/// A pattern as Go's `filepath.Clean` leaves it, without a slash before it.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            // Above the folder there is nothing.
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() && !pattern.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(patterns: &str, path: &str) -> bool {
        Ignore::read(patterns.as_bytes()).expect("read").ignores(path)
    }

    #[test]
    fn the_last_pattern_decides() {
        for (patterns, path, wanted) in [
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/temp*", "somedir/temp/x", true),
            ("*/temp*", "a/b/temp", false),
            ("*/*/temp*", "a/b/temporary", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("**/*.go", "x.go", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            ("# no\n/foo/bar/", "foo/bar/x", true),
            ("foo/../bar", "bar", true),
            (" spaced ", "spaced", true),
            ("!a\na", "a", true),
            ("a/*\n!a/b", "a/b/c", false),
            (".", "x", false),
            ("../x", "x", false),
            ("*", "a/b", true),
        ] {
            assert_eq!(ignored(patterns, path), wanted, "{patterns:?} {path}");
        }
        assert!(Ignore::read(b"a\n[").is_err());
        assert!(Ignore::read(b"!").is_err());
    }

    #[test]
    fn folders_that_need_not_be_read() {
        let prunes = |patterns: &str, folder| Ignore::read(patterns.as_bytes()).expect("read").prunes(folder);
        assert!(prunes("node_modules", "node_modules"));
        assert!(!prunes("a\n!a/b", "a"));
        assert!(prunes("a\n!b/c", "a"));
        assert!(!prunes("a\n!**/keep", "a"));
        assert!(!prunes("*\n!src/main", "src"));
        assert!(prunes("*\n!src/main", "docs"));
    }
}
