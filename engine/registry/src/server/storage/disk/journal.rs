//! The journal: small changes are on the disk before they are visible, many with one write.
//!
//! A manifest is four small files. Each could be written out by itself, for four waits on
//! the disk; instead the change is written as one record at the end of a log, and those who
//! come at the same time share the wait. Only then are the files made, and the system may
//! write those out when it likes.
//!
//! ```text
//!   commit ──► record in journal/ID.log, on the disk ──► files by rename(2) ──► the answer
//!                      └ after a crash: done again at the next start
//!   now and then: a new log; syncfs(2); the old log goes
//! ```
//!
//! syncfs(2) writes out what anybody wrote on the file system, not ours alone. So it waits until the
//! kernel has written out most of it by itself, which it does after half a minute, or the log is long.
//!
//! A log's place on the disk is written with zeros ahead of its records. A record then changes
//! neither the file's length nor where it lies, and so waits for its own bytes only; otherwise
//! it would wait for all that the file system has to note at that moment.
//!
//! A log is locked by the server that writes it, so several servers share a folder, and
//! each finds the logs of those that died.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use super::records::{Record, decode_all, encode};
use crate::server::storage::place::Act;
use crate::server::storage::random_name;

/// The log of this server.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    state: Mutex<State>,
    flushed: Condvar,
    /// Held for reading from a record until its files are made; for writing where a new log begins.
    applying: RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    log: Option<Log>,
    pending: Vec<(Vec<u8>, Arc<Ticket>)>,
    flushing: bool,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// How long the log is, as far as it is good.
    size: u64,
    /// How long the file is: zeros follow the log.
    room: u64,
    begun: Instant,
}

/// A log is put away when it is so old, or so long.
const OLD: Duration = Duration::from_secs(60);
const LONG: u64 = 8 * 1024 * 1024;

/// So many zeros are written at a time.
const AHEAD: u64 = 512 * 1024;

/// How a record's way to the disk ended.
type Ticket = OnceLock<Result<(), io::ErrorKind>>;

impl Journal {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default(), flushed: Condvar::new(), applying: RwLock::new(()) }
    }

    /// Writes a record, and returns when it is on the disk. The files are made while the
    /// guard is held.
    pub(super) fn append(&self, acts: &[Act]) -> io::Result<RwLockReadGuard<'_, ()>> {
        let applying = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let ticket = Arc::new(Ticket::new());
        let mut state = self.lock();
        state.pending.push((encode(SystemTime::now(), acts), Arc::clone(&ticket)));
        loop {
            if let Some(result) = ticket.get() {
                return result.map(|()| applying).map_err(io::Error::from);
            }
            if state.flushing {
                state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.flushing = true;
            let batch = std::mem::take(&mut state.pending);
            let log = state.log.take();
            drop(state);
            let (log, result) = self.flush(log, &batch);
            for (_, ticket) in &batch {
                // Each ticket is set once, here.
                let _ = ticket.set(result);
            }
            state = self.lock();
            state.log = log;
            state.flushing = false;
            self.flushed.notify_all();
        }
    }

    fn flush(
        &self,
        log: Option<Log>,
        batch: &[(Vec<u8>, Arc<Ticket>)],
    ) -> (Option<Log>, Result<(), io::ErrorKind>) {
        let mut log = match log.map_or_else(|| self.begin(), Ok) {
            Ok(log) => log,
            Err(error) => return (None, Err(error.kind())),
        };
        let bytes: Vec<u8> = batch.iter().flat_map(|(record, _)| record.iter().copied()).collect();
        match log.write(&bytes) {
            Ok(()) => (Some(log), Ok(())),
            Err(error) => {
                // What nobody is answered for must not be done after a crash. If it can't be
                // taken off, the log ends here, and another begins.
                let whole = log.file.set_len(log.size).is_ok();
                log.room = log.size;
                (whole.then_some(log), Err(error.kind()))
            }
        }
    }

    fn begin(&self) -> io::Result<Log> {
        // It is locked before it has the name by which others look for logs.
        let path = self.folder.join(random_name());
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        let named = path.with_extension("log");
        fs::rename(&path, &named)?;
        let path = named;
        File::open(&self.folder)?.sync_all()?;
        Ok(Log { path, file, size: 0, room: 0, begun: Instant::now() })
    }

    /// Whether the log is old or long.
    pub(super) fn is_due(&self) -> bool {
        self.lock().log.as_ref().is_some_and(|log| log.begun.elapsed() >= OLD || log.size >= LONG)
    }

    /// Writes out what the log's records did, and begins a new log when there is need.
    pub(super) fn checkpoint(&self, root: &Path) -> io::Result<()> {
        let old = {
            let _nobody = self.applying.write().unwrap_or_else(PoisonError::into_inner);
            self.lock().log.take()
        };
        let Some(old) = old else { return Ok(()) };
        glassdock_kernel::disk::sync_filesystem(&File::open(root)?)?;
        fs::remove_file(&old.path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Writes records at the end; when this returns they are on the disk.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.size + bytes.len() as u64;
        if end > self.room {
            // Where the disk is too full for zeros, the records may have room all the same.
            let room = end.next_multiple_of(AHEAD);
            let zeros = vec![0; usize::try_from(room - self.room).unwrap_or(0)];
            self.room = self.file.write_all_at(&zeros, self.room).map_or(self.room, |()| room);
        }
        self.file.write_all_at(bytes, self.size)?;
        self.file.sync_data()?;
        self.size = end;
        self.room = self.room.max(end);
        Ok(())
    }
}

/// The records of servers that died, the logs' paths first. A log that is locked has a
/// server that lives.
pub(super) fn left_behind(folder: &Path) -> io::Result<Vec<(PathBuf, File, Vec<Record>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let Ok(file) = OpenOptions::new().read(true).append(true).open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        let bytes = fs::read(&path)?;
        found.push((path, file, decode_all(&bytes)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::records::tests::acts;
    use super::*;

    #[test]
    fn records_of_many_threads_are_all_there_and_those_of_the_living_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::new(folder.path().to_owned());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        drop(journal.append(&acts()).expect("written"));
                    }
                });
            }
        });
        assert!(left_behind(folder.path()).expect("read").is_empty(), "its server lives");
        drop(journal);
        let left = left_behind(folder.path()).expect("read");
        assert_eq!(left.iter().map(|(_, _, records)| records.len()).sum::<usize>(), 32);
    }
}
