//! What the engine did since a moment: the events that its recordings grew by.
//!
//! Recordings are read from the root's `traces` folder as a student would read
//! them. A moment is how long each of them was; so a container's own operation,
//! which goes on over several steps, is told to each step in parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glassdock_trace::{Body, Event, Phase, Reading, Tree};

use crate::api::OBSERVER;

/// How long operations may need to end after their command.
const SETTLE: Duration = Duration::from_secs(3);

/// A moment in the life of a daemon.
#[derive(Clone, Debug, Default)]
pub struct Moment(BTreeMap<PathBuf, usize>);

/// Now.
#[must_use]
pub fn now(root: &Path) -> Moment {
    Moment(recordings(root).into_iter().map(|(path, reading)| (path, reading.events.len())).collect())
}

/// What happened since `moment`, once every operation of a command has ended: each operation's
/// events, in the order in which the operations began.
pub async fn since(root: &Path, moment: &Moment) -> Vec<Vec<Event>> {
    let began = Instant::now();
    let mut last = 0;
    loop {
        let new = grown(root, moment);
        let count: usize = new.iter().map(Vec::len).sum();
        let settled = new.iter().all(|events| is_over(events)) && count == last;
        if settled || began.elapsed() > SETTLE {
            return new;
        }
        last = count;
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
fn grown(root: &Path, moment: &Moment) -> Vec<Vec<Event>> {
    let mut all: Vec<(String, Vec<Event>)> = recordings(root)
        .into_iter()
        .map(|(path, mut reading)| {
            let known = moment.0.get(&path).copied().unwrap_or(0);
            reading.events.drain(..known.min(reading.events.len()));
            (reading.header.started, reading.events)
        })
        .filter(|(_, events)| !events.is_empty())
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, events)| events).collect()
}

/// Whether an operation has ended; one that goes on from before ends by itself, some time.
fn is_over(events: &[Event]) -> bool {
    let operation = |phase| {
        events.iter().any(|event| event.phase == phase && matches!(event.body, Body::Operation { .. }))
    };
    operation(Phase::End) || !operation(Phase::Begin)
}

fn recordings(root: &Path) -> Vec<(PathBuf, Reading)> {
    let Ok(entries) = fs::read_dir(root.join("traces")) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_stem().is_some_and(|name| name != OBSERVER))
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            Some((path, Reading::parse(&text).ok()?))
        })
        .collect()
}
