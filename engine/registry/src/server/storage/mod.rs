//! What a registry keeps, and where on the disk.
//!
//! ```text
//!   ROOT/
//!     blobs/sha256/e3/e3b0c442…             every blob and manifest, once
//!     temporary/…                           on their way to one of the others
//!     journal/4b1c….log                     what a server did lately, for after a crash
//!     lock                                  held by who changes what belongs to what
//!     repositories/library/busybox/
//!       _blobs/sha256-e3b0c442…             empty: this repository has that blob
//!       _manifests/sha256-5f70bf18…         the media type: this repository has that manifest
//!       _tags/latest                        the digest that the tag stands for
//!       _referrers/sha256-5f70…/sha256-9a…  the descriptor of a manifest about a manifest
//!       _uploads/4b1c…                      what came so far of an upload
//!       _mirrored/latest                    empty: the tag came from another registry, and when
//!       _hub.json                           what the hub tells about it
//! ```
//!
//! Invariants, which hold after a crash at any moment:
//!
//! - A file appears under its final name by rename(2), and only when it is whole and,
//!   for blobs, when its bytes were held against its digest and are on the disk.
//! - A blob is never changed. Who reads one while it is deleted reads on.
//! - What was answered with 201 is on the disk, or in the journal on the disk ([`journal`]).
//! - Names are parsed ([`Name`], [`Digest`], tags) before they become part of a path.
//!
//! All of this is plain blocking code, for many threads at once. Those who add something hold
//! the file `lock` together; who collects garbage ([`collect`]) holds it alone, a little at
//! a time. The small calls (a few system calls on files of some bytes) are made right where a
//! request is answered, the large ones on threads for that.

mod journal;

pub(crate) mod collect;
pub(crate) mod listing;
pub(crate) mod manifests;
#[cfg(test)]
mod tests;
pub(crate) mod uploads;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use journal::{Act, Journal};

use super::error::{Code, Refusal};
use super::name::Name;
use glassdock_image::digest::Digest;

/// The folder of a registry.
#[derive(Debug)]
pub(crate) struct Storage {
    root: PathBuf,
    temporary: AtomicU64,
    pub(crate) uploads: uploads::Sessions,
    pub(crate) cache: manifests::Cache,
    pub(crate) listed: listing::Cache,
    /// `None` where what is written may be lost with the machine's power.
    journal: Option<Arc<Journal>>,
    /// Ends the thread that writes the journal's changes out, with this value.
    _keeper: Option<Sender<()>>,
}

/// A blob of at most so many bytes goes through the journal; a larger one is written out itself.
const SMALL: u64 = 32 * 1024;
/// So often the journal's changes are written out, and it begins anew.
const CHECKPOINT: Duration = Duration::from_secs(5);

impl Storage {
    /// Opens the folder, and makes it where it is missing.
    pub(crate) fn open(root: &Path, durable: bool) -> io::Result<Self> {
        for folder in ["blobs/sha256", "blobs/sha512", "temporary", "repositories", "journal"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|source| {
                io::Error::new(source.kind(), format!("cannot make {}: {source}", path.display()))
            })?;
        }
        OpenOptions::new().write(true).create(true).truncate(false).open(root.join("lock"))?;
        let mut storage = Self {
            root: root.to_owned(),
            temporary: AtomicU64::new(0),
            uploads: uploads::Sessions::default(),
            cache: manifests::Cache::default(),
            listed: listing::Cache::default(),
            journal: None,
            _keeper: None,
        };
        storage.sweep();
        storage.recover()?;
        if durable {
            let journal = Arc::new(Journal::new(root.join("journal")));
            storage._keeper = Some(keep(Arc::clone(&journal), root.to_owned()));
            storage.journal = Some(journal);
        }
        Ok(storage)
    }

    /// Writes everything out, where that was put off.
    pub(crate) fn settle(&self) -> io::Result<()> {
        match &self.journal {
            Some(journal) => journal.checkpoint(&self.root),
            None => glassdock_kernel::disk::sync_filesystem(&File::open(&self.root)?),
        }
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
                if let Act::Write { path, .. } = act {
                    // As old as it was before, so that later records are later.
                    let file = OpenOptions::new().append(true).open(self.root.join(path))?;
                    file.set_modified(record.time)?;
                }
            }
        }
        glassdock_kernel::disk::sync_filesystem(&File::open(&self.root)?)?;
        left.iter().try_for_each(|(path, _, _)| fs::remove_file(path))
    }

    /// Whether a crash may have undone this. What is newer than the record stays as it is.
    fn is_undone(&self, act: &Act, time: SystemTime) -> bool {
        let (Act::Write { path, .. } | Act::Remove { path }) = act;
        let Ok(metadata) = fs::metadata(self.root.join(path)) else {
            return matches!(act, Act::Write { .. });
        };
        let older = metadata.modified().is_ok_and(|modified| modified < time);
        match act {
            Act::Write { bytes, .. } => metadata.len() == 0 && !bytes.is_empty() || older,
            Act::Remove { .. } => older,
        }
    }

    /// Makes changes together: when this returns they are visible, and stay.
    fn commit(&self, acts: &[Act]) -> Result<(), Refusal> {
        let _applying = match &self.journal {
            None => None,
            Some(journal) => Some(
                journal
                    .append(acts)
                    .map_err(|source| Refusal::disk("write", &self.root.join("journal"), source))?,
            ),
        };
        acts.iter().try_for_each(|act| self.apply(act))
    }

    fn apply(&self, act: &Act) -> Result<(), Refusal> {
        match act {
            Act::Write { path, bytes } => {
                let path = self.root.join(path);
                make_parent(&path)?;
                let (temporary, mut file) = self.temporary()?;
                file.write_all(bytes).and_then(|()| fs::rename(&temporary, &path)).map_err(|source| {
                    let _ = fs::remove_file(&temporary);
                    Refusal::disk("write", &path, source)
                })
            }
            Act::Remove { path } => {
                let path = self.root.join(path);
                match fs::remove_file(&path) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(Refusal::disk("remove", &path, source))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// A change of a file whose path is below the root.
    fn write(&self, path: &Path, bytes: impl Into<Bytes>) -> Act {
        Act::Write { path: self.below(path), bytes: bytes.into() }
    }

    fn remove(&self, path: &Path) -> Act {
        Act::Remove { path: self.below(path) }
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }

    /// Keeps the collector of garbage out, in this process and any other, while something
    /// is added to what is there.
    pub(crate) fn adding(&self) -> Result<Adding, Refusal> {
        let path = self.root.join("lock");
        let file = File::open(&path).map_err(|source| Refusal::disk("open", &path, source))?;
        file.lock_shared().map_err(|source| Refusal::disk("lock", &path, source))?;
        Ok(Adding(file))
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

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    pub(crate) fn repository(&self, name: &Name) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn blob_link(&self, name: &Name, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(file_name(digest))
    }

    /// Opens a blob of a repository; gives its size in bytes too.
    pub(crate) fn open_blob(&self, name: &Name, digest: &Digest) -> Result<(File, u64), Refusal> {
        let size = self.blob_size(name, digest)?;
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(|source| Refusal::disk("open", &path, source))?;
        Ok((file, size))
    }

    /// The size of a blob of a repository, in bytes.
    pub(crate) fn blob_size(&self, name: &Name, digest: &Digest) -> Result<u64, Refusal> {
        let unknown = || Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}"));
        if !self.blob_link(name, digest).exists() {
            return Err(unknown());
        }
        self.stored_size(digest)?.ok_or_else(unknown)
    }

    /// The size of a blob, whichever repositories have it.
    pub(crate) fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, Refusal> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Refusal::disk("look at", &path, source)),
        }
    }

    /// Puts a blob that is stored into a repository.
    pub(crate) fn link_blob(&self, name: &Name, digest: &Digest, adding: &Adding) -> Result<(), Refusal> {
        self.refresh(&self.blob_path(digest), adding);
        let path = self.blob_link(name, digest);
        if path.exists() {
            self.refresh(&path, adding);
            return Ok(());
        }
        self.commit(&[self.write(&path, Bytes::new())])
    }

    /// Tells the collector that somebody relies on this file from now on.
    #[expect(clippy::unused_self, reason = "the guard belongs to this storage")]
    fn refresh(&self, path: &Path, _adding: &Adding) {
        // Where it can't be told, the age of the file protects it all the same.
        let _ =
            OpenOptions::new().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Gives a file of no content the present time; makes it where it is missing.
    pub(crate) fn mark(&self, path: &Path) -> Result<(), Refusal> {
        make_parent(path)?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(|source| Refusal::disk("make", path, source))
    }

    /// A client asks whether a blob is here, and will not send it if so: it is wanted.
    pub(crate) fn blob_is_wanted(&self, name: &Name, digest: &Digest) {
        let path = self.blob_link(name, digest);
        let age = fs::metadata(&path).and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > collect::GRACE / 4)
            && let Ok(adding) = self.adding()
        {
            self.refresh(&path, &adding);
            self.refresh(&self.blob_path(digest), &adding);
        }
    }

    /// Takes a blob out of a repository. Its bytes stay until they are collected.
    pub(crate) fn unlink_blob(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let path = self.blob_link(name, digest);
        if !path.exists() {
            return Err(Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}")));
        }
        self.commit(&[self.remove(&path)])
    }

    /// Makes a verified file a blob. The file is on the disk before it gets its name, so
    /// that a blob is whole after a power failure too.
    pub(crate) fn adopt_blob(
        &self,
        file: &File,
        from: &Path,
        digest: &Digest,
        adding: &Adding,
    ) -> Result<(), Refusal> {
        let path = self.blob_path(digest);
        if path.exists() {
            self.refresh(&path, adding);
            let _ = fs::remove_file(from);
            return Ok(());
        }
        make_parent(&path)?;
        if self.journal.is_some() {
            file.sync_data().map_err(|source| Refusal::disk("write out", from, source))?;
        }
        fs::rename(from, &path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                Refusal::new(Code::BlobUploadUnknown, "the upload was given up meanwhile")
            }
            _ => Refusal::disk("rename", from, source),
        })?;
        self.refresh(&path, adding);
        self.sync_folders(&path)
    }

    /// Writes out the entries that lead to a file that has a name now.
    fn sync_folders(&self, path: &Path) -> Result<(), Refusal> {
        if self.journal.is_none() {
            return Ok(());
        }
        // Its own folder, and the one above, in which that may be new.
        for folder in path.ancestors().skip(1).take(2) {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|source| Refusal::disk("write out", folder, source))?;
        }
        Ok(())
    }

    /// Puts a blob into a repository that is in memory and was verified.
    pub(crate) fn put_blob(
        &self,
        name: &Name,
        digest: &Digest,
        bytes: &Bytes,
        adding: &Adding,
    ) -> Result<(), Refusal> {
        let (blob, link) = (self.blob_path(digest), self.blob_link(name, digest));
        let mut acts = Vec::with_capacity(2);
        for (path, bytes) in [(&blob, bytes.clone()), (&link, Bytes::new())] {
            if path.exists() {
                self.refresh(path, adding);
            } else {
                acts.push(self.write(path, bytes));
            }
        }
        if acts.is_empty() { Ok(()) } else { self.commit(&acts) }
    }

    /// Keeps what the hub tells about a repository.
    pub(crate) fn write_about(&self, name: &Name, about: &[u8]) -> Result<(), Refusal> {
        let path = self.repository(name).join("_hub.json");
        self.commit(&[self.write(&path, Bytes::copy_from_slice(about))])
    }

    /// What the hub tells about a repository, as it was written.
    pub(crate) fn read_about(&self, name: &Name) -> Result<Option<String>, Refusal> {
        manifests::read_small(self.repository(name).join("_hub.json"))
    }

    /// A new file that nobody else writes.
    pub(crate) fn temporary(&self) -> Result<(PathBuf, File), Refusal> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-{}", std::process::id(), random_name());
        let path = self.root.join("temporary").join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| Refusal::disk("make", &path, source))?;
        Ok((path, file))
    }
}

/// While this lives, nothing is collected.
#[derive(Debug)]
pub(crate) struct Adding(#[expect(dead_code, reason = "it is held, and closed at last")] File);

/// A thread that writes out what the journal's records did, now and then, until its sender is gone.
fn keep(journal: Arc<Journal>, root: PathBuf) -> Sender<()> {
    let (sender, end) = channel();
    std::thread::spawn(move || {
        loop {
            let over = !matches!(end.recv_timeout(CHECKPOINT), Err(RecvTimeoutError::Timeout));
            // A log that can't be put away now is kept, and read after the next start.
            let _ = journal.checkpoint(&root);
            if over {
                return;
            }
        }
    });
    sender
}

/// A digest as part of a file's name.
fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest that a file's name stands for.
fn digest_of(file_name: &str) -> Option<Digest> {
    file_name.replacen('-', ":", 1).parse().ok()
}

fn make_parent(path: &Path) -> Result<(), Refusal> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| Refusal::disk("make", parent, source))
}

/// 128 random bits in hex.
pub(in crate::server) fn random_name() -> String {
    let mut random = [0_u8; 16];
    // Without the kernel's randomness, the time and the process must do.
    if getrandom::fill(&mut random).is_err() {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
        random = (now ^ (u128::from(std::process::id()) << 96)).to_be_bytes();
    }
    hex::encode(random)
}
