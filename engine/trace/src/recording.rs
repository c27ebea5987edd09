//! Where events go: a file an operation, and everyone who watches it live.
//!
//! ```text
//!   ROOT/traces/
//!     019a8f3c2b715e3a0001.jsonl      header line, then an event a line
//! ```
//!
//! A line is written as the event happens, by one write(2) to a file opened for
//! appending (what came from another process at once goes out at once): a daemon
//! that is killed leaves whole lines. Old files are removed
//! when there are more than [`KEEP`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event as Signal;

use crate::event::{Event, Header, SCHEMA_VERSION};
use crate::tracer::{OpId, Sink};

/// How many trace files are kept.
pub const KEEP: usize = 2000;

/// A watcher that is so many lines behind loses the oldest; they are counted.
const BACKLOG: usize = 16 * 1024;

/// How the text of an event begins that has no number yet.
const UNNUMBERED: &str = "{\"seq\":0,";

/// Makes recordings in one folder.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    engine: String,
    kernel: String,
    host: BTreeMap<String, String>,
    made: AtomicUsize,
}

impl Recorder {
    /// A recorder into `folder`, which is made if it is missing. `host` are the
    /// facts for the header.
    ///
    /// # Errors
    ///
    /// If the folder can't be made.
    pub fn new(folder: impl Into<PathBuf>, engine: &str, host: BTreeMap<String, String>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", folder.display()))
        })?;
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let recorder = Self { folder, engine: engine.to_owned(), kernel, host, made: AtomicUsize::new(0) };
        recorder.prune();
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
        self.folder.join(format!("{op}.jsonl"))
    }

    /// A new recording, or more of one that exists: an operation may go on after
    /// the daemon was started again. The file appears with the first event.
    #[must_use]
    pub fn open(&self, op: &OpId) -> Arc<Recording> {
        if self.made.fetch_add(1, Ordering::Relaxed) % 256 == 255 {
            self.prune();
        }
        let header = Header {
            schema: SCHEMA_VERSION,
            engine: self.engine.clone(),
            op: op.as_str().to_owned(),
            started: format!("{:.3}", jiff::Timestamp::now()),
            kernel: self.kernel.clone(),
            host: self.host.clone(),
        };
        Arc::new(Recording {
            path: self.path(op),
            header,
            state: Mutex::new(State { file: None, seq: 0, watchers: Vec::new(), closed: false }),
            dropped: AtomicU64::new(0),
        })
    }

    /// The ids of all recordings, the oldest first.
    ///
    /// # Errors
    ///
    /// If the folder can't be read.
    pub fn list(&self) -> io::Result<Vec<OpId>> {
        let mut ops = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if let Some(op) = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(OpId::parse)
            {
                ops.push(op);
            }
        }
        ops.sort_unstable();
        Ok(ops)
    }

    fn prune(&self) {
        let Ok(ops) = self.list() else { return };
        for op in ops.iter().take(ops.len().saturating_sub(KEEP)) {
            // A file that stays is pruned the next time; nothing depends on it.
            let _ = fs::remove_file(self.path(op));
        }
    }
}

/// The recording of one operation.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    header: Header,
    state: Mutex<State>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    file: Option<File>,
    seq: u64,
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
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts events that were lost on their way here.
    pub fn lost(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Records events that another process of the operation sent, as it wrote them: a JSON
    /// text a line, each with the number 0 in front (`{"seq":0,…`), which is replaced. They are
    /// written by one write(2). A line that is no such text is counted as lost.
    pub fn record_lines(&self, lines: &str) {
        let mut state = self.lock();
        let mut numbered = String::with_capacity(lines.len() + 256);
        let written = self.open_once(&mut state).and_then(|()| {
            for line in lines.lines() {
                let Some(rest) = line.strip_prefix(UNNUMBERED) else {
                    self.lost(1);
                    continue;
                };
                state.seq += 1;
                let _ = writeln!(numbered, "{{\"seq\":{},{rest}", state.seq);
            }
            state.file.as_mut().map_or(Ok(()), |file| file.write_all(numbered.as_bytes()))
        });
        if written.is_err() {
            return self.lost(lines.lines().count() as u64);
        }
        if !state.watchers.is_empty() {
            for line in numbered.lines() {
                let line: Arc<str> = line.into();
                state.watchers.retain(|watcher| watcher.push(&line));
            }
        }
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
        state.file = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_once(&self, state: &mut State) -> io::Result<()> {
        if state.file.is_none() {
            let (file, seq) = open_file(&self.path, &self.header)?;
            state.file = Some(file);
            state.seq = state.seq.max(seq);
        }
        Ok(())
    }

    fn write(&self, state: &mut State, event: &mut Event) -> io::Result<String> {
        self.open_once(state)?;
        state.seq += 1;
        event.seq = state.seq;
        let mut line = Vec::new();
        event.write_line(&mut line)?;
        if let Some(file) = &mut state.file {
            file.write_all(&line)?;
        }
        line.pop();
        String::from_utf8(line).map_err(io::Error::other)
    }
}

impl Sink for Recording {
    fn record(&self, mut event: Event) {
        let mut state = self.lock();
        match self.write(&mut state, &mut event) {
            Ok(line) => {
                if !state.watchers.is_empty() {
                    let line: Arc<str> = line.into();
                    state.watchers.retain(|watcher| watcher.push(&line));
                }
            }
            Err(_) => self.lost(1),
        }
    }
}

/// Opens the file of an operation; returns it with the `seq` of its last line.
fn open_file(path: &Path, header: &Header) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if file.metadata()?.len() == 0 {
        let mut line = serde_json::to_string(header)?;
        line.push('\n');
        file.write_all(line.as_bytes())?;
        return Ok((file, 0));
    }
    let text = fs::read_to_string(path)?;
    let events = text.lines().skip(1).filter(|line| !line.is_empty()).count();
    Ok((file, u64::try_from(events).unwrap_or(u64::MAX)))
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
