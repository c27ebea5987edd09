//! Who writes recordings to the disk: a thread that takes what was recorded a moment ago and puts it
//! into its file, with one write(2) for all of it.
//!
//! ```text
//!   record ──► numbered, told to watchers, on the page ──┐
//!   record ──► numbered, told to watchers, on the page ──┤ FIRST later a new file, LATER its other lines
//!                                                        └──► write(2)
//! ```
//!
//! A write costs as much as everything else of an event together, and the first one makes a file: the
//! operation would wait for both. At an operation's end nothing of it waits any more. A daemon that is
//! killed leaves whole lines, and loses what it recorded in its last twentieth of a second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A recording's file is made so much later than its first event: a start waits for its shim then, and not
/// for a processor.
const FIRST: Duration = Duration::from_millis(4);

/// What is recorded after that is on the disk so much later, at most. Most operations have ended by then.
const LATER: Duration = Duration::from_millis(50);

/// So many bytes wait for a disk that is slow; what comes then is lost, and counted.
const MOST: usize = 8 * 1024 * 1024;

/// A file, and the lines that are still to be put into it.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    /// The file's first line, without its line end.
    header: String,
    /// The number of the last line; absent until the first one is numbered.
    last: Mutex<Option<u64>>,
    waiting: Mutex<Waiting>,
    /// Locked by whoever writes, for as long as that takes.
    file: Mutex<Option<File>>,
    lost: AtomicU64,
    /// Whether something of it was written.
    begun: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// It lies with the scribe already.
    laid: bool,
    /// Nothing more will come.
    over: bool,
}

impl Page {
    pub(crate) fn new(path: PathBuf, header: String) -> Arc<Self> {
        Arc::new(Self {
            path,
            header,
            last: Mutex::default(),
            waiting: Mutex::default(),
            file: Mutex::default(),
            lost: AtomicU64::new(0),
            begun: AtomicBool::new(false),
        })
    }

    /// The next line's number. It goes on where the file ends, which an earlier daemon may have begun.
    pub(crate) fn number(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.unwrap_or_else(|| recorded(&self.path)) + 1;
        *last = Some(number);
        number
    }

    /// More will come after all.
    pub(crate) fn reopen(&self) {
        self.lock().over = false;
    }

    /// How many lines were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts lines that were lost.
    pub(crate) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds whole lines, to be written soon.
    pub(crate) fn add(self: &Arc<Self>, desk: &Desk, lines: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines.len() + lines.len() > MOST {
            return self.lose(count(lines));
        }
        waiting.lines.extend_from_slice(lines);
        let laid = std::mem::replace(&mut waiting.laid, true);
        drop(waiting);
        if !laid && !desk.lay(self) {
            self.write_out();
        }
    }

    /// Nothing more will come: what there is is written, and the file closed. Who knows that an operation
    /// has ended finds all of it.
    pub(crate) fn close(&self) {
        self.lock().over = true;
        self.write_out();
    }

    /// Writes what waits. Lines that the disk refuses are counted as lost.
    fn write_out(&self) {
        // First the file: of two who write, the first has the earlier lines.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { lines, over, .. } = {
            let mut waiting = self.lock();
            let over = waiting.over;
            std::mem::replace(&mut *waiting, Waiting { over, ..Waiting::default() })
        };
        self.begun.store(true, Ordering::Relaxed);
        if !lines.is_empty() && self.write(&mut file, &lines).is_err() {
            self.lose(count(&lines));
        }
        if over {
            *file = None;
        }
    }

    fn write(&self, file: &mut Option<File>, lines: &[u8]) -> io::Result<()> {
        if file.is_none() {
            let mut new = OpenOptions::new().append(true).create(true).open(&self.path)?;
            if new.metadata()?.len() == 0 {
                let text = [self.header.as_bytes(), b"\n", lines].concat();
                new.write_all(&text)?;
                *file = Some(new);
                return Ok(());
            }
            *file = Some(new);
        }
        file.as_mut().map_or(Ok(()), |file| file.write_all(lines))
    }

    /// How long its lines may wait.
    fn patience(&self) -> Duration {
        if self.begun.load(Ordering::Relaxed) { LATER } else { FIRST }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is a whole one: a panic elsewhere leaves it good.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many lines a file has after its first.
fn recorded(path: &Path) -> u64 {
    let text = fs::read(path).unwrap_or_default();
    count(&text).saturating_sub(1)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

enum Job {
    /// This page has something to be written.
    Write(Arc<Page>),
    /// Everything is to be written now; somebody waits.
    Settle(SyncSender<()>),
}

/// The thread. Dropped, it has written everything that was recorded until then; it ends with the last
/// recording.
#[derive(Debug)]
pub(crate) struct Scribe(Desk);

impl Scribe {
    /// A new thread; without one, because the machine has none to spare, all is written at once.
    pub(crate) fn new() -> Self {
        let (sender, jobs) = channel();
        let thread = std::thread::Builder::new().name("scribe".to_owned()).spawn(move || work(&jobs));
        Self(Desk(thread.is_ok().then_some(sender)))
    }

    /// The way to it.
    pub(crate) fn desk(&self) -> Desk {
        self.0.clone()
    }

    /// Waits until all that was recorded before is written.
    pub(crate) fn settle(&self) {
        let (done, settled) = sync_channel(1);
        if self.0.send(Job::Settle(done)) {
            // A thread that is gone has nothing more to write.
            let _ = settled.recv();
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Where pages are laid down to be written.
#[derive(Clone, Debug)]
pub(crate) struct Desk(Option<Sender<Job>>);

impl Desk {
    /// False if there is nobody to write it.
    fn lay(&self, page: &Arc<Page>) -> bool {
        self.send(Job::Write(Arc::clone(page)))
    }

    fn send(&self, job: Job) -> bool {
        self.0.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }
}

fn work(jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let (mut next, mut due, mut waits) = (Some(first), Vec::new(), None);
        let mut until = Instant::now() + LATER;
        while let Some(job) = next.take() {
            match job {
                Job::Write(page) => {
                    until = until.min(Instant::now() + page.patience());
                    due.push(page);
                }
                Job::Settle(done) => {
                    waits = Some(done);
                    break;
                }
            }
            next = jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
        }
        due.iter().for_each(|page| page.write_out());
        if let Some(done) = waits {
            // Who asked and left needs no answer.
            let _ = done.send(());
        }
    }
}
