//! How a command fails: a status, and perhaps words for standard error.

use std::fmt;
use std::io;

/// The end of a command that did not go well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub status: i32,
    /// What is said on standard error; empty says nothing.
    pub message: String,
    /// The API's status, where the daemon said no.
    pub api: Option<u16>,
}

impl Failure {
    /// A status with words.
    pub(crate) fn new(status: i32, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), api: None }
    }

    /// A plain complaint: status 1.
    pub(crate) fn say(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// A status without words, such as that of a container's process.
    pub(crate) fn quiet(status: i32) -> Self {
        Self::new(status, "")
    }

    /// What the daemon answered.
    pub(crate) fn daemon(status: u16, message: &str) -> Self {
        Self { status: 1, message: format!("Error response from daemon: {message}"), api: Some(status) }
    }

    /// Whether the daemon knows no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.api == Some(404)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A file's error in Go's words: `open nope: no such file or directory`.
pub(crate) fn file_failure(call: &str, path: &str, error: &io::Error) -> Failure {
    Failure::say(format!("{call} {path}: {}", os_text(error)))
}

/// The kernel's error in strerror(3)'s words, in small letters as Go prints it.
pub(crate) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
