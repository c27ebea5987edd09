//! Recordings as they lie in `ROOT/traces`: what a list tells of each, and a
//! reader that follows one live.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use glassdock_trace::{Body, Event, Header, OpId, Subscription};
use serde::Serialize;

/// So much of a recording's end is read to find its last line.
const TAIL: u64 = 64 * 1024;

/// A recording, as a list shows it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The operation's id.
    pub op: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// The command as typed, or the request's method and path.
    pub command: Vec<String>,
    /// The status that it ended with; `null` while it is open, and for one that
    /// never was ended.
    pub status: Option<i32>,
    /// How many events it has.
    pub events: u64,
}

/// Reads what a list tells of a recording; `None` if it has no whole first lines.
///
/// # Errors
///
/// If the file can't be read.
pub fn summary(op: &OpId, path: &Path) -> io::Result<Option<Summary>> {
    let mut file = File::open(path)?;
    let mut lines = BufReader::new(&file).lines();
    let Some(header) = lines.next().transpose()? else { return Ok(None) };
    let Ok(header) = serde_json::from_str::<Header>(&header) else { return Ok(None) };
    let first = lines.next().transpose()?.and_then(|line| serde_json::from_str::<Event>(&line).ok());
    let command = match first.map(|event| event.body) {
        Some(Body::Operation { command, .. }) => command,
        _ => Vec::new(),
    };
    let last = last_event(&mut file)?;
    let events = last.as_ref().map_or(0, |event| event.seq);
    let status = match last.map(|event| event.body) {
        Some(Body::Operation { status, .. }) => status,
        _ => None,
    };
    Ok(Some(Summary { op: op.as_str().to_owned(), started: header.started, command, status, events }))
}

fn last_event(file: &mut File) -> io::Result<Option<Event>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let last = tail.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty());
    Ok(last.and_then(|line| serde_json::from_slice(line).ok()))
}

/// The lines that were recorded so far, then those that come, until the
/// operation's end. A line that is in both is told once.
pub fn follow(
    recorded: String,
    live: Option<Subscription>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send {
    let seen = recorded.lines().last().map_or(0, seq_of);
    let first = (!recorded.is_empty()).then(|| Ok(Bytes::from(recorded)));
    let rest = stream::unfold((live, seen), |(live, seen)| async move {
        let live = live?;
        loop {
            let line: Arc<str> = live.next().await?;
            if seq_of(&line) > seen {
                return Some((Ok(Bytes::from(format!("{line}\n"))), (Some(live), seen)));
            }
        }
    });
    futures_util::StreamExt::chain(stream::iter(first), rest)
}

/// A line's number, read without parsing the line: `{"seq":N,…`. The header has none.
fn seq_of(line: &str) -> u64 {
    line.strip_prefix("{\"seq\":")
        .and_then(|rest| rest.split(|byte: char| !byte.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
