//! What the engine did since a moment: the events that its recordings grew by.
//!
//! Recordings are read from the root's `traces` folder as a student would read
//! them. A moment is how long each of them was; so a container's own operation,
//! which goes on over several steps, is told to each step in parts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glassdock_trace::{Body, Event, Header, Phase, Tree};

use crate::api::OBSERVER;

/// How long operations may need to end after their command.
const SETTLE: Duration = Duration::from_secs(3);

/// A moment in the life of a daemon: how long each recording was, in bytes, to the end of its last
/// whole line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment(BTreeMap<PathBuf, u64>);

/// Now.
#[must_use]
pub fn now(root: &Path) -> Moment {
    let Ok(entries) = fs::read_dir(root.join("traces")) else { return Moment::default() };
    let lengths = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_stem().is_some_and(|name| name != OBSERVER))
        .filter_map(|path| {
            let length = whole_lines(&path).ok()?;
            Some((path, length))
        });
    Moment(lengths.collect())
}

/// What happened since `moment`, once every operation of a command has ended: each operation's
/// events, in the order in which the operations began.
pub async fn since(root: &Path, moment: &Moment) -> Vec<Vec<Event>> {
    let began = Instant::now();
    let mut last = moment.clone();
    loop {
        let present = now(root);
        // Only what has grown is read: a lesson's recordings are many, and looked at often.
        if present == last || began.elapsed() > SETTLE {
            let new = grown(&present, moment);
            if new.iter().all(|events| is_over(events)) || began.elapsed() > SETTLE {
                return new;
            }
        }
        last = present;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The steps of some operations.
#[must_use]
pub fn tree(operations: &[Vec<Event>]) -> Tree {
    let mut tree = Tree::default();
    for events in operations {
        tree.add(events);
    }
    tree
}

/// The new events of each recording that has some, in the order in which the operations began.
fn grown(present: &Moment, moment: &Moment) -> Vec<Vec<Event>> {
    let mut all: Vec<(String, Vec<Event>)> = present
        .0
        .iter()
        .filter_map(|(path, length)| {
            let known = moment.0.get(path).copied().unwrap_or(0);
            (*length > known).then(|| part(path, known, *length).ok())?
        })
        .filter(|(_, events)| !events.is_empty())
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, events)| events).collect()
}

/// When an operation began, and the events between two places of its recording.
fn part(path: &Path, from: u64, to: u64) -> io::Result<(String, Vec<Event>)> {
    let mut file = BufReader::new(File::open(path)?);
    let mut first = String::new();
    file.read_line(&mut first)?;
    let header: Header = serde_json::from_str(&first)?;
    let from = from.max(first.len() as u64);
    file.seek(SeekFrom::Start(from))?;
    let lines = file.take(to.saturating_sub(from)).lines();
    // A line that is no event is told by those who read the whole recording.
    let events = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
    Ok((header.started, events.collect()))
}

/// How long a file is up to the end of its last whole line.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = [0_u8; 512];
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let length = usize::try_from(end - start).unwrap_or(0);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact(piece)?;
        if let Some(place) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Whether an operation has ended; one that goes on from before ends by itself, some time.
fn is_over(events: &[Event]) -> bool {
    let operation = |phase| {
        events.iter().any(|event| event.phase == phase && matches!(event.body, Body::Operation { .. }))
    };
    operation(Phase::End) || !operation(Phase::Begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_count_and_only_what_has_grown_is_read() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("traces")).expect("a folder");
        let path = root.path().join("traces/a.jsonl");
        let header = r#"{"schema":1,"engine":"x","op":"a","started":"2026-01-01T00:00:00.000Z","kernel":"6","host":{}}"#;
        let event = |seq: u64| {
            format!(
                r#"{{"seq":{seq},"t_ns":{seq},"op":"a","span":{seq},"parent":0,"actor":"daemon","pid":1,"phase":"point","kind":"process.reap","fields":{{"pid":7}}}}"#
            )
        };
        let write = |text: String| std::fs::write(&path, text).expect("a file");
        write(format!("{header}\n{}\n{}", event(1), event(2)));
        let moment = now(root.path());
        let seqs = |new: Vec<Vec<Event>>| new.concat().iter().map(|event| event.seq).collect::<Vec<_>>();
        assert_eq!(seqs(grown(&moment, &Moment::default())), [1]);
        assert!(grown(&now(root.path()), &moment).is_empty());
        write(format!("{header}\n{}\n{}\n{}\n", event(1), event(2), event(3)));
        assert_eq!(seqs(grown(&now(root.path()), &moment)), [2, 3]);
    }
}
