//! Blobs on their way to the disk.
//!
//! ```text
//!   upload ──rename(2)──► settling/BOOT/sha256-HEX ──fdatasync(2)──► also blobs/… ──fsync(2) of the
//!      answered with 201 ──┘ who reads finds it here                   folder──► the first name goes
//! ```
//!
//! A client that pushes a blob doesn't wait for the disk: a thread settles what came, and who pushes
//! a manifest settles what that names. So a blob that is not in here is on the disk.
//!
//! What a killed server left is whole, for the kernel has it, and is settled by the next one or by another
//! of the same folder. Only another boot makes a difference, and the kernel tells boots apart: what
//! an earlier one left is held against its digest again, and goes if the machine lost some of it.
//!
//! Any number of servers may settle the same blob at the same time: each step may be done twice.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::files::{absent_is_none, is_same};
use super::{locks, rename_into};
use crate::server::storage::keys;
use crate::server::storage::place::Guard;
use glassdock_image::digest::Digest;
use glassdock_kernel::disk;

/// So often it is looked for what other servers left.
const LOOK: Duration = Duration::from_secs(5);

/// The blobs of a folder that may not be on the disk.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    root: PathBuf,
    /// Those of this boot.
    folder: PathBuf,
}

impl Settling {
    /// Opens the folder; blobs of earlier boots are settled, or gone, when this returns.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Where boots can't be told apart, each start is as if it were one.
        let boot = if boot.is_empty() { crate::server::storage::random_name() } else { boot };
        let all = root.join("settling");
        let settling = Self { root: root.to_owned(), folder: all.join(boot.trim()) };
        fs::create_dir_all(&settling.folder)?;
        for entry in fs::read_dir(&all)? {
            let earlier = Self { root: root.to_owned(), folder: entry?.path() };
            if earlier.folder != settling.folder {
                earlier.verify()?;
                earlier.settle_all()?;
                // Another server that begins may have been first. What isn't ours in it stays.
                let _ = fs::remove_dir(&earlier.folder);
            }
        }
        Ok(settling)
    }

    /// Where a blob lies while it isn't settled.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(keys::file_name(digest))
    }

    /// Takes a verified file.
    pub(super) fn take(&self, from: &Path, digest: &Digest) -> io::Result<()> {
        rename_into(from, &self.path(digest))
    }

    /// The blobs that are here.
    fn list(&self) -> io::Result<Vec<Digest>> {
        let Some(entries) = absent_is_none(fs::read_dir(&self.folder))? else { return Ok(Vec::new()) };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        let names: Vec<String> = names.collect::<io::Result<_>>()?;
        Ok(names.iter().filter_map(|name| keys::digest_of(name)).collect())
    }

    /// Settles those of these blobs that are here. The collector must be kept out: it would take a
    /// blob for garbage between its two names.
    pub(super) fn settle(&self, digests: &[Digest], _adding: &Guard) -> io::Result<()> {
        let mut left: Vec<Digest> = digests.to_vec();
        while !left.is_empty() {
            let written = self.write_out(&left)?;
            left.clear();
            let mut settled = Vec::with_capacity(written.len());
            for (digest, file) in written {
                if self.publish(&digest, &file)? { settled.push(digest) } else { left.push(digest) }
            }
            self.sync_folders(&settled)?;
            for digest in &settled {
                absent_is_none(fs::remove_file(self.path(digest)))?;
            }
        }
        Ok(())
    }

    /// Settles all that is here.
    pub(super) fn settle_all(&self) -> io::Result<()> {
        let here = self.list()?;
        // Without the lock: who collects, and who adds after that, must not wait for the disk.
        self.write_out(&here)?;
        let adding = locks::adding(&self.root).map_err(|refusal| io::Error::other(refusal.to_string()))?;
        self.settle(&here, &adding)
    }

    /// Writes out the bytes of those that are here. The kernel begins with all before the first is
    /// waited for: many small ones then take a fraction of the time.
    fn write_out(&self, digests: &[Digest]) -> io::Result<Vec<(Digest, File)>> {
        let mut files = Vec::with_capacity(digests.len());
        for digest in digests {
            let Some(file) = absent_is_none(File::open(self.path(digest)))? else { continue };
            files.push((digest.clone(), file));
        }
        if let [_, _, ..] = &files[..] {
            for (_, file) in &files {
                disk::begin_write_out(file, 0, file.metadata()?.len());
            }
        }
        for (digest, file) in &files {
            file.sync_data().inspect_err(|_| {
                // Asked again, the kernel would say that all is well. Without the file the blob is
                // unknown, and its client sends it again.
                let _ = fs::remove_file(self.path(digest));
            })?;
        }
        Ok(files)
    }

    /// Gives a file that is on the disk the name of its blob; tells whether that is done. It isn't if
    /// the file lost its name here, to who settled it first or to another push of the same blob.
    fn publish(&self, digest: &Digest, file: &File) -> io::Result<bool> {
        let (from, to) = (self.path(digest), self.root.join(keys::blob(digest)));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        match disk::link_file(file, &to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(_) if !is_same(file, &from) => Ok(false),
            // The file system has no second names.
            Err(_) => absent_is_none(fs::rename(&from, &to)).map(|renamed| renamed.is_some()),
        }
    }

    /// Writes out the names of blobs.
    fn sync_folders(&self, digests: &[Digest]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for digest in digests {
            // Its own folder, and the one above, in which that may be new.
            let path = self.root.join(keys::blob(digest));
            folders.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    /// Removes what isn't whole.
    fn verify(&self) -> io::Result<()> {
        for digest in self.list()? {
            let path = self.path(&digest);
            let Some(mut file) = absent_is_none(File::open(&path))? else { continue };
            let mut hasher = digest.hasher();
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
            }
            if hasher.finish() != digest {
                absent_is_none(fs::remove_file(&path))?;
            }
        }
        Ok(())
    }
}

/// A thread that settles what it is told that came, and what killed servers left, until its sender is gone.
pub(super) fn begin(settling: Arc<Settling>) -> Sender<()> {
    let (sender, came) = channel();
    std::thread::spawn(move || {
        while !matches!(came.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected)) {
            // Settled is all that is here: once is enough for all who told of it.
            while came.try_recv().is_ok() {}
            let settled = settling.settle_all();
            if let Err(error) = settled {
                tracing::error!("cannot write blobs out: {error}");
            }
        }
    });
    sender
}
