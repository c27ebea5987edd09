//! Who writes recordings to the disk: a thread that takes what was recorded a moment ago and puts it
//! into its file, with one write(2) for all of it.
//!
//! ```text
//!   record ──► numbered, told to watchers, on the page ──┐
//!   record ──► numbered, told to watchers, on the page ──┤ LATER, or SOON if there is MUCH
//!   record ──► numbered, told to watchers, on the page ──┤
//!                                                        └──► write(2)
//! ```
//!
//! A write costs as much as everything else of an event together, and the first one makes a file: the
//! operation would wait for both. So would it for the thread to be woken: it is woken only for what is due before all
//! else that waits. At an operation's end nothing of it waits any more. A daemon that is killed leaves whole lines, and
//! loses what it recorded in its last twentieth of a second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::recording::prune;

/// What is recorded is on the disk so much later, at most. Most operations have ended by then.
const LATER: Duration = Duration::from_millis(40);

/// So many bytes that wait are written sooner: as many as a start tells at once, and what they take to be written is
/// not left to the operation's end then.
const MUCH: usize = 16 * 1024;

/// So much sooner: the one who told has answered by then.
const SOON: Duration = Duration::from_millis(1);

/// So many bytes wait for a disk that is slow; what comes then is lost, and counted.
const MOST: usize = 8 * 1024 * 1024;

/// So much memory for lines is kept for the next ones: new memory costs more than what is written to it.
const SHEETS: usize = 4;

/// No more than so many bytes each.
const LARGEST: usize = 128 * 1024;

/// A file, and the lines that are still to be put into it.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    /// The file's first line, without its line end.
    header: String,
    waiting: Mutex<Waiting>,
    /// Locked by whoever writes, for as long as that takes.
    file: Mutex<Option<File>>,
    lost: AtomicU64,
    /// There is no file yet, as far as the recorder knows: nothing to look up.
    is_new: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The file's first line is at the begin of `lines`, in case that there is no file yet.
    headed: bool,
    /// It was so once: what comes now goes to the end of a file.
    begun: bool,
    /// The number of the last line; absent until the first one is numbered.
    last: Option<u64>,
    /// It lies with the scribe already.
    laid: bool,
    /// It does so a second time, because it is much.
    hurried: bool,
    /// Nothing more will come.
    over: bool,
}

impl Page {
    /// A page for the file at `path`. `is_new`: there is none, for sure.
    pub(crate) fn new(path: PathBuf, header: String, is_new: bool) -> Arc<Self> {
        let (waiting, file, lost) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { path, header, waiting, file, lost, is_new })
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

    /// Adds whole lines, to be written soon: `write` puts them at the end of what it gets, and counts on from the number
    /// of the last one.
    pub(crate) fn add(self: &Arc<Self>, desk: &Desk, write: impl FnOnce(&mut Vec<u8>, &mut u64)) {
        let mut waiting = self.lock();
        if waiting.lines.capacity() == 0 {
            waiting.lines = desk.sheet();
        }
        if !std::mem::replace(&mut waiting.begun, true) {
            waiting.headed = true;
            waiting.lines.extend_from_slice(self.header.as_bytes());
            waiting.lines.push(b'\n');
        }
        let before = waiting.lines.len();
        // They go on where the file ends, which an earlier daemon may have begun.
        let known = waiting.last.or(self.is_new.then_some(0));
        let mut last = known.unwrap_or_else(|| recorded(&self.path));
        write(&mut waiting.lines, &mut last);
        waiting.last = Some(last);
        if waiting.lines.len() > MOST {
            let lost = waiting.lines.split_off(before);
            return self.lose(count(&lost));
        }
        let much = waiting.lines.len() > MUCH;
        let patience = match (waiting.laid, much) {
            (_, true) if !std::mem::replace(&mut waiting.hurried, true) => SOON,
            (true, _) => return,
            (false, _) => LATER,
        };
        waiting.laid = true;
        drop(waiting);
        if !desk.lay(self, patience) {
            desk.keep(self.write_out());
        }
    }

    /// Nothing more will come: what there is is written, and the file closed. Who knows that an operation
    /// has ended finds all of it.
    pub(crate) fn close(self: &Arc<Self>, desk: &Desk) {
        self.lock().over = true;
        let sheet = self.write_out();
        desk.clear(self, sheet);
        // Whoever has opened it again meanwhile counts on what was just cleared.
        if self.lock().laid && !desk.lay(self, LATER) {
            desk.keep(self.write_out());
        }
    }

    /// Writes what waits, and gives back the memory that it lay in. Lines that the disk refuses are counted as lost.
    fn write_out(&self) -> Vec<u8> {
        // First the file: of two who write, the first has the earlier lines.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { mut lines, headed, over, .. } = {
            let mut waiting = self.lock();
            let Waiting { begun, over, last, .. } = *waiting;
            std::mem::replace(&mut *waiting, Waiting { begun, over, last, ..Waiting::default() })
        };
        if !lines.is_empty() && self.write(&mut file, &lines, headed).is_err() {
            self.lose(count(&lines) - u64::from(headed));
        }
        if over {
            *file = None;
        }
        lines.clear();
        lines
    }

    fn write(&self, file: &mut Option<File>, lines: &[u8], headed: bool) -> io::Result<()> {
        if let Some(file) = file {
            return file.write_all(lines);
        }
        let mut new = OpenOptions::new().append(true).create(true).open(&self.path)?;
        let is_empty = new.metadata()?.len() == 0;
        match (is_empty, headed) {
            (true, true) | (false, false) => new.write_all(lines),
            (true, false) => new.write_all(&[self.header.as_bytes(), b"\n", lines].concat()),
            (false, true) => new.write_all(lines.get(self.header.len() + 1..).unwrap_or_default()),
        }?;
        *file = Some(new);
        Ok(())
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

/// The thread. Dropped, it has written everything that was recorded until then; it ends with the last
/// recording.
#[derive(Debug)]
pub(crate) struct Scribe(Desk);

impl Scribe {
    /// A new thread; without one, because the machine has none to spare, all is written at once.
    pub(crate) fn new() -> Self {
        let heap = Arc::new(Heap::default());
        let its = Arc::clone(&heap);
        let thread = std::thread::Builder::new().name("scribe".to_owned()).spawn(move || work(&its));
        Self(Desk(thread.is_ok().then(|| Arc::new(Open(heap)))))
    }

    /// The way to it.
    pub(crate) fn desk(&self) -> Desk {
        self.0.clone()
    }

    /// Has the oldest recordings of `folder` removed that are too many. Without a thread it is done at once.
    pub(crate) fn prune(&self, folder: &Path) {
        let Desk(Some(open)) = &self.0 else { return prune(folder) };
        open.0.lock().prune = Some(folder.to_owned());
        open.0.changed.notify_one();
    }

    /// Waits until all that was recorded before is written.
    pub(crate) fn settle(&self) {
        let Desk(Some(open)) = &self.0 else { return };
        let (done, settled) = sync_channel(1);
        open.0.lock().asks.push(done);
        open.0.changed.notify_one();
        // It answers as long as it lives, and that is as long as somebody has a desk.
        let _ = settled.recv();
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Where pages are laid down to be written.
#[derive(Clone, Debug)]
pub(crate) struct Desk(Option<Arc<Open>>);

impl Desk {
    /// False if there is nobody to write it.
    fn lay(&self, page: &Arc<Page>, patience: Duration) -> bool {
        let Self(Some(open)) = self else { return false };
        let mut work = open.0.lock();
        let at = Instant::now() + patience;
        work.due.push((at, Arc::clone(page)));
        if work.wakes_at.is_none_or(|wakes| at < wakes) {
            work.wakes_at = Some(at);
            open.0.changed.notify_one();
        }
        true
    }

    /// Memory for lines.
    fn sheet(&self) -> Vec<u8> {
        let Self(Some(open)) = self else { return Vec::new() };
        open.0.lock().sheets.pop().unwrap_or_default()
    }

    /// A page that is over needs nobody to come back to it; its memory is taken back.
    fn clear(&self, page: &Page, sheet: Vec<u8>) {
        if let Self(Some(open)) = self {
            let mut work = open.0.lock();
            work.due.retain(|(_, laid)| !std::ptr::eq(&raw const **laid, page));
            work.keep(sheet);
        }
    }

    /// Takes memory back that is not needed any more.
    fn keep(&self, sheet: Vec<u8>) {
        if let Self(Some(open)) = self {
            open.0.lock().keep(sheet);
        }
    }
}

/// Dropped by the last who may lay something down.
#[derive(Debug)]
struct Open(Arc<Heap>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_one();
    }
}

/// What lies there.
#[derive(Debug, Default)]
struct Heap {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// Pages with lines that wait, and when they are due.
    due: Vec<(Instant, Arc<Page>)>,
    /// Those who wait until everything is written.
    asks: Vec<SyncSender<()>>,
    /// Where old recordings are to be removed.
    prune: Option<PathBuf>,
    /// Memory that was used, for the next.
    sheets: Vec<Vec<u8>>,
    /// When the thread looks again by itself; `None` if it rests until somebody wakes it.
    wakes_at: Option<Instant>,
    /// Nothing more will come.
    over: bool,
}

impl Work {
    fn keep(&mut self, sheet: Vec<u8>) {
        if self.sheets.len() < SHEETS && (1..=LARGEST).contains(&sheet.capacity()) {
            self.sheets.push(sheet);
        }
    }
}

/// What is to be written now, what is to be done then, and who waits for all that.
struct Turn {
    due: Vec<Arc<Page>>,
    prune: Option<PathBuf>,
    asks: Vec<SyncSender<()>>,
}

impl Heap {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do. `None` at the end.
    fn next(&self) -> Option<Turn> {
        let mut work = self.lock();
        loop {
            let (all, now) = (work.over || !work.asks.is_empty(), Instant::now());
            let due: Vec<_> =
                work.due.extract_if(.., |(at, _)| all || *at <= now).map(|(_, page)| page).collect();
            if !due.is_empty() || !work.asks.is_empty() || work.prune.is_some() {
                // After this turn, it looks at what came meanwhile.
                work.wakes_at = Some(now);
                let (prune, asks) = (work.prune.take(), std::mem::take(&mut work.asks));
                return Some(Turn { due, prune, asks });
            }
            if work.over {
                return None;
            }
            work.wakes_at = work.due.iter().map(|(at, _)| *at).min();
            work = match work.wakes_at {
                None => self.changed.wait(work).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let rest = at.saturating_duration_since(now);
                    self.changed.wait_timeout(work, rest).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn work(heap: &Heap) {
    while let Some(Turn { due, prune: folder, asks }) = heap.next() {
        for page in due {
            let sheet = page.write_out();
            heap.lock().keep(sheet);
        }
        if let Some(folder) = folder {
            prune(&folder);
        }
        for done in asks {
            // Who asked and left needs no answer.
            let _ = done.send(());
        }
    }
}
