//! A recorded trace read back: the lines of `traces/OP.jsonl`.
//!
//! A file may end in the middle of a line (the daemon was killed, or still
//! writes); that line is left out. Any other line that is no event is an error
//! with its number.

use crate::event::{Event, Header, SCHEMA_VERSION};

/// A recording: what it says of itself, and its events as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The first line.
    pub header: Header,
    /// The other lines.
    pub events: Vec<Event>,
}

/// A text that is no trace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no header line.
    #[error("the trace is empty; its first line should be a header")]
    Empty,
    /// A newer engine wrote it.
    #[error("the trace has format {found}, and this program reads {SCHEMA_VERSION}: use a newer glassdock")]
    Format {
        /// The format of the file.
        found: u32,
    },
    /// A line that is neither.
    #[error("line {line} of the trace is not as the schema says")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Reading {
    /// Reads the text of a trace file.
    ///
    /// # Errors
    ///
    /// [`Error`], with the number of the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().ok_or(Error::Empty)?;
        let header: Header = serde_json::from_str(first).map_err(|source| Error::Line { line: 1, source })?;
        if header.schema > SCHEMA_VERSION {
            return Err(Error::Format { found: header.schema });
        }
        let whole = text.ends_with('\n');
        let mut lines = lines.peekable();
        let mut events = Vec::new();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_str(line) {
                Ok(event) => events.push(event),
                Err(_) if lines.peek().is_none() && !whole => {}
                Err(source) => return Err(Error::Line { line: number + 1, source }),
            }
        }
        Ok(Self { header, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn reads_what_was_written() {
        let text = samples::run_jsonl();
        let reading = Reading::parse(&text).expect("a trace");
        assert!(reading.events.len() > 10);
        let half = text.get(..text.len() - 20).expect("plain text");
        let cut = Reading::parse(half).expect("a trace that is being written");
        assert_eq!(cut.events.len() + 1, reading.events.len());
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        assert!(matches!(Reading::parse(""), Err(Error::Empty)));
        let text = samples::run_jsonl().replacen("\"phase\":\"begin\"", "\"phase\":\"began\"", 1);
        assert!(matches!(Reading::parse(&text), Err(Error::Line { line: 2, .. })));
        let newer = samples::run_jsonl().replacen("\"schema\":1", "\"schema\":99", 1);
        assert!(matches!(Reading::parse(&newer), Err(Error::Format { found: 99 })));
    }
}
