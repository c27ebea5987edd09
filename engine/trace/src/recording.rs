//! Where events go: a file an operation, and everyone who watches it live.
//!
//! ```text
//!   ROOT/traces/
//!     019a8f3c2b715e3a0001.jsonl      header line, then an event a line
//! ```
//!
//! Watchers hear of an event as it happens; its file has it a moment later (see
//! `scribe`), and whole: a daemon that is killed leaves whole lines. Old files are
//! removed when there are more than [`KEEP`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use event_listener::Event as Signal;

use crate::event::{Event, Header, SCHEMA_VERSION};
use crate::scribe::{Desk, Page, Scribe};
use crate::shorthand::Unfinished;
use crate::tracer::{OpId, Sink};

/// How many trace files are kept.
pub const KEEP: usize = 2000;

/// From so many on, the recordings that are kept in mind are looked through for those that are over.
const MANY: usize = 256;

/// A watcher that is so many lines behind loses the oldest; they are counted.
const BACKLOG: usize = 16 * 1024;

/// Makes recordings in one folder.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    engine: String,
    kernel: String,
    host: BTreeMap<String, String>,
    made: AtomicUsize,
    scribe: Scribe,
    pages: Mutex<Pages>,
}

/// Recordings by their operations.
#[derive(Debug, Default)]
struct Pages {
    /// Those that are open, or not written yet; and some that were.
    known: HashMap<OpId, Weak<Page>>,
    /// The latest of those that are not known any more, and of an earlier daemon's: later ones have no file.
    forgotten: Option<OpId>,
}

impl Pages {
    /// The page of an operation, if it is still being written; and whether it has no file, for sure.
    fn find(&self, op: &OpId) -> (Option<Arc<Page>>, bool) {
        let page = self.known.get(op);
        let is_new = page.is_none() && self.forgotten.as_ref().is_none_or(|last| last < op);
        (page.and_then(Weak::upgrade), is_new)
    }

    fn add(&mut self, op: &OpId, page: &Arc<Page>) {
        if self.known.len() >= MANY {
            let Self { known, forgotten } = self;
            let over = known.extract_if(|_, page| page.strong_count() == 0).map(|(op, _)| op).max();
            *forgotten = std::mem::take(forgotten).max(over);
        }
        self.known.insert(op.clone(), Arc::downgrade(page));
    }
}

impl Recorder {
    /// A recorder into `folder`, which is made if it is missing. `host` are the
    /// facts for the header.
    ///
    /// # Errors
    ///
    /// If the folder can't be made or read.
    pub fn new(folder: impl Into<PathBuf>, engine: &str, host: BTreeMap<String, String>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", folder.display()))
        })?;
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let (engine, made) = (engine.to_owned(), AtomicUsize::new(0));
        let (scribe, pages) = (Scribe::new(), Mutex::default());
        let mut recorder = Self { folder, engine, kernel, host, made, scribe, pages };
        let forgotten = recorder.list()?.pop();
        recorder.pages = Mutex::new(Pages { forgotten, ..Pages::default() });
        prune(&recorder.folder);
        Ok(recorder)
    }

    /// The folder of the recordings.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the recording of an operation lies.
    #[must_use]
    pub fn path(&self, op: &OpId) -> PathBuf {
        path(&self.folder, op)
    }

    /// A new recording, or more of one that exists: an operation may go on after
    /// the daemon was started again. The file appears with the first event.
    #[must_use]
    pub fn open(&self, op: &OpId) -> Arc<Recording> {
        if self.made.fetch_add(1, Ordering::Relaxed) % 256 == 255 {
            self.scribe.prune(&self.folder);
        }
        let header = Header {
            schema: SCHEMA_VERSION,
            engine: self.engine.clone(),
            op: op.as_str().to_owned(),
            started: format!("{:.3}", jiff::Timestamp::now()),
            kernel: self.kernel.clone(),
            host: self.host.clone(),
        };
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is still being written is gone on with: its file doesn't tell its end yet.
        let page = match pages.find(op) {
            (Some(page), _) => {
                page.reopen();
                page
            }
            // Its types have no way to fail.
            (None, is_new) => {
                Page::new(self.path(op), serde_json::to_string(&header).unwrap_or_default(), is_new)
            }
        };
        pages.add(op, &page);
        drop(pages);
        Arc::new(Recording { header, page, desk: self.scribe.desk(), state: Mutex::default() })
    }

    /// Waits until everything that was recorded before is in its file.
    pub fn settle(&self) {
        self.scribe.settle();
    }

    /// The ids of all recordings, the oldest first.
    ///
    /// # Errors
    ///
    /// If the folder can't be read.
    pub fn list(&self) -> io::Result<Vec<OpId>> {
        list(&self.folder)
    }
}

fn path(folder: &Path, op: &OpId) -> PathBuf {
    folder.join(format!("{op}.jsonl"))
}

fn list(folder: &Path) -> io::Result<Vec<OpId>> {
    let mut ops = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(op) = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(OpId::parse) {
            ops.push(op);
        }
    }
    ops.sort_unstable();
    Ok(ops)
}

/// Removes the oldest recordings that are too many.
pub(crate) fn prune(folder: &Path) {
    let Ok(ops) = list(folder) else { return };
    for op in ops.iter().take(ops.len().saturating_sub(KEEP)) {
        // A file that stays is pruned the next time; nothing depends on it.
        let _ = fs::remove_file(path(folder, op));
    }
}

/// The recording of one operation.
#[derive(Debug)]
pub struct Recording {
    header: Header,
    page: Arc<Page>,
    desk: Desk,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watchers: Vec<Arc<Queue>>,
    closed: bool,
}

impl Recording {
    /// The recording's first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many events were lost so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.page.lost()
    }

    /// Counts events that were lost on their way here.
    pub fn lost(&self, count: u64) {
        self.page.lose(count);
    }

    /// Records events that another process of the operation sent in short; `known` is what is known of that one's steps.
    /// Those that make no sense are counted as lost.
    pub fn record_short(&self, short: &str, known: &mut Unfinished) {
        let mut state = self.lock();
        self.page.add(&self.desk, |out, last| {
            let begin = out.len();
            self.lost(known.expand(&self.header.op, short.as_bytes(), || counted(last), out));
            state.tell(out.get(begin..).unwrap_or_default());
        });
    }

    /// Everything from now on, as lines without their line end.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Queue::default());
        let mut state = self.lock();
        if state.closed {
            queue.close();
        } else {
            state.watchers.push(Arc::clone(&queue));
        }
        Subscription { queue }
    }

    /// No more events: watchers see the end.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for watcher in state.watchers.drain(..) {
            watcher.close();
        }
        self.page.close(&self.desk);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands lines to those who watch.
    fn tell(&mut self, lines: &[u8]) {
        if self.watchers.is_empty() {
            return;
        }
        for line in std::str::from_utf8(lines).unwrap_or_default().lines() {
            let line: Arc<str> = line.into();
            self.watchers.retain(|watcher| watcher.push(&line));
        }
    }
}

impl Sink for Recording {
    fn record(&self, event: &Event) {
        let mut state = self.lock();
        self.page.add(&self.desk, |out, last| {
            let begin = out.len();
            if event.write_line(counted(last), out).is_err() {
                out.truncate(begin);
                return self.lost(1);
            }
            state.tell(out.get(begin..).unwrap_or_default());
        });
    }
}

/// The number after the last one.
fn counted(last: &mut u64) -> u64 {
    *last += 1;
    *last
}

/// A watcher's view of a recording: the lines from when it began to watch.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Signal,
}

#[derive(Debug, Default)]
struct QueueState {
    lines: VecDeque<Arc<str>>,
    lost: u64,
    closed: bool,
    left: bool,
}

impl Subscription {
    /// The next line, or `None` at the end of the operation.
    pub async fn next(&self) -> Option<Arc<str>> {
        loop {
            let listener = self.queue.changed.listen();
            {
                let mut state = self.queue.lock();
                if let Some(line) = state.lines.pop_front() {
                    return Some(line);
                }
                if state.closed {
                    return None;
                }
            }
            listener.await;
        }
    }

    /// How many lines this watcher lost because it was too slow.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lock().lost
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.lock().left = true;
    }
}

impl Queue {
    /// Hands a line over; false once the watcher has left.
    fn push(&self, line: &Arc<str>) -> bool {
        let mut state = self.lock();
        if state.left {
            return false;
        }
        if state.lines.len() == BACKLOG {
            state.lines.pop_front();
            state.lost += 1;
        }
        state.lines.push_back(Arc::clone(line));
        drop(state);
        self.changed.notify(1);
        true
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
