//! The one place that writes to standard output and standard error.
//!
//! Output is gathered and written when the command is over, or when it says
//! [`Output::flush`]. A reader that has gone (`glassdock ps | head -1`) is no error.

use std::io::{self, Write};

use crate::failure::Failure;

/// Standard output, gathered.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
}

/// So much is gathered at most, in bytes.
const GATHER: usize = 32 * 1024;

impl Output {
    /// A line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.text(text);
        self.buffer.push(b'\n');
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: impl AsRef<str>) {
        self.buffer.extend_from_slice(text.as_ref().as_bytes());
    }

    /// Bytes as they are, now.
    ///
    /// # Errors
    ///
    /// write(2)'s; a closed pipe ends the command quietly.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    ///
    /// As [`Output::bytes`].
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let result = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        result.map_err(write_failure)
    }
}

/// Writes a line on standard error.
pub(crate) fn complain(text: impl AsRef<str>) {
    error_bytes(format!("{}\n", text.as_ref()).as_bytes());
}

/// Writes bytes on standard error. Where even that fails there is nobody to tell.
pub(crate) fn error_bytes(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// What a failed write to standard output means.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::quiet(0);
    }
    Failure::new(1, format!("write /dev/stdout: {}", crate::failure::os_text(&error)))
}
