//! A folder of a disk, as a place to keep a registry in.
//!
//! - A file appears under its final name by rename(2) or linkat(2), and only when it is whole and,
//!   for blobs, when its bytes were held against its digest and are on the disk. Before, a blob is
//!   found among those that settle ([`settling`]).
//! - What was committed is on the disk, or in the journal on the disk ([`journal`]).
//! - Those who add something hold the file `lock` together; who collects garbage holds it
//!   alone, a little at a time ([`locks`]).
//!
//! The small calls (a few system calls on files of some bytes) are made right where a
//! request is answered, the large ones on threads for that.

mod digests;
mod files;
pub(super) mod journal;
mod locks;
mod records;
mod settling;
mod small;
mod upload;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use super::place::Act;
use crate::server::error::Refusal;
use journal::Journal;
use settling::Settling;

/// The folder.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    temporary: AtomicU64,
    small: small::Small,
    digests: digests::Digests,
    settling: Arc<Settling>,
    /// Ends the thread that settles blobs, with this value. `None` as with the journal.
    settler: Option<Sender<()>>,
    /// `None` where what is written may be lost with the machine's power.
    journal: Option<Arc<Journal>>,
    /// Ends the thread that writes the journal's changes out, with this value.
    _keeper: Option<Sender<()>>,
}

/// So often it is looked whether the journal's changes should be written out.
const LOOK: Duration = Duration::from_secs(5);

impl Disk {
    /// Opens the folder, and makes it where it is missing.
    pub(super) fn open(root: &Path, durable: bool) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Before the folders are made: each then has a place of its own on the disk. All files are made in
        // `temporary`, whose inodes it shares with nobody.
        glassdock_kernel::disk::spread_folders(root);
        for folder in ["blobs/sha256", "blobs/sha512", "temporary", "repositories", "journal"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|source| {
                io::Error::new(source.kind(), format!("cannot make {}: {source}", path.display()))
            })?;
        }
        for lock in ["gate", "lock"] {
            OpenOptions::new().write(true).create(true).truncate(false).open(root.join(lock))?;
        }
        let mut disk = Self {
            root: root.to_owned(),
            temporary: AtomicU64::new(0),
            small: small::Small::default(),
            digests: digests::Digests::default(),
            settling: Arc::new(Settling::open(root)?),
            settler: None,
            journal: None,
            _keeper: None,
        };
        disk.sweep();
        disk.recover()?;
        if durable {
            let journal = Arc::new(Journal::new(root.join("journal")));
            disk._keeper = Some(keep(Arc::clone(&journal), root.to_owned()));
            disk.journal = Some(journal);
            disk.settler = Some(settling::begin(Arc::clone(&disk.settling)));
        }
        Ok(disk)
    }

    /// Does again what servers that died may have had no time to write out.
    fn recover(&self) -> io::Result<()> {
        let left = journal::left_behind(&self.root.join("journal"))?;
        if left.is_empty() {
            return Ok(());
        }
        for record in left.iter().flat_map(|(_, _, records)| records) {
            for act in record.acts.iter().filter(|act| self.is_undone(act, record.time)) {
                self.apply(act).map_err(|refusal| io::Error::other(refusal.to_string()))?;
                if let Act::Write { key, .. } = act {
                    // As old as it was before, so that later records are later.
                    let file = OpenOptions::new().append(true).open(self.path(key))?;
                    file.set_modified(record.time)?;
                }
            }
        }
        glassdock_kernel::disk::sync_filesystem(&File::open(&self.root)?)?;
        left.iter().try_for_each(|(path, _, _)| fs::remove_file(path))
    }

    /// Whether a crash may have undone this. What is newer than the record stays as it is.
    fn is_undone(&self, act: &Act, time: SystemTime) -> bool {
        let Ok(metadata) = fs::metadata(self.path(act.key())) else {
            return matches!(act, Act::Write { .. });
        };
        let older = metadata.modified().is_ok_and(|modified| modified < time);
        match act {
            Act::Write { bytes, .. } => metadata.len() == 0 && !bytes.is_empty() || older,
            Act::Remove { .. } => older,
        }
    }

    fn apply(&self, act: &Act) -> Result<(), Refusal> {
        let path = self.path(act.key());
        match act {
            Act::Write { bytes, .. } => {
                let (temporary, mut file) = self.temporary_file()?;
                let named = file.write_all(bytes).and_then(|()| rename_into(&temporary, &path));
                named.map_err(|source| {
                    let _ = fs::remove_file(&temporary);
                    Refusal::disk("write", &path, source)
                })
            }
            Act::Remove { .. } => remove(&path),
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Removes what an earlier server left half written. Another server of the same
    /// folder may be writing now: only what nobody touched for a day goes.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("temporary")) else { return };
        for entry in entries.flatten() {
            let age =
                entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|age| age.as_secs() > 24 * 60 * 60) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A thread that writes out what the journal's records did, now and then, until its sender is gone.
fn keep(journal: Arc<Journal>, root: PathBuf) -> Sender<()> {
    let (sender, end) = channel();
    std::thread::spawn(move || {
        loop {
            let over = !matches!(end.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
            if over || journal.is_due() {
                // A log that can't be put away now is kept, and read after the next start.
                let _ = journal.checkpoint(&root);
            }
            if over {
                return;
            }
        }
    });
    sender
}

/// Renames a file, and makes the folder that it comes into only where that is missing: most are there.
fn rename_into(from: &Path, to: &Path) -> io::Result<()> {
    match (fs::rename(from, to), to.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            fs::rename(from, to)
        }
        (renamed, _) => renamed,
    }
}

fn make_parent(path: &Path) -> Result<(), Refusal> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| Refusal::disk("make", parent, source))
}

fn remove(path: &Path) -> Result<(), Refusal> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Refusal::disk("remove", path, source)),
        _ => Ok(()),
    }
}
