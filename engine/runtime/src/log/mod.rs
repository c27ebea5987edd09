//! The container's log, in Docker's json-file format: a JSON object a line with
//! `log`, `stream` and `time`. The shim writes it ([`Writer`]), the daemon reads it
//! ([`Reader`]), and any tool that knows Docker's files can read it too.
//!
//! ```text
//!   {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
//! ```
//!
//! A line of output is one object. A line longer than 16 KiB is several, and only
//! the last one's `log` ends with a line feed; so does output that ends without one.

mod read;

mod write;

pub use read::{Entry, Query, Reader};
pub use write::{Output, Writer};
