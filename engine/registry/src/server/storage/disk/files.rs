//! What a folder does for the registry: see [`Place`] for what each call promises.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::upload::FileUpload;
use super::{Disk, locks, make_parent, remove, rename_into};
use crate::server::error::{Code, Refusal};
use crate::server::storage::collect::Collected;
use crate::server::storage::place::{Act, Guard, Incoming, Look, Opened, Place};
use crate::server::storage::{keys, random_name};
use glassdock_image::digest::{Algorithm, Digest};

impl Place for Disk {
    fn is_near(&self) -> bool {
        true
    }

    fn read(&self, key: &str) -> Result<Option<Bytes>, Refusal> {
        let path = self.path(key);
        absent_is_none(self.small.read(key, &path)).map_err(|source| Refusal::disk("read", &path, source))
    }

    fn look(&self, key: &str) -> Result<Option<Look>, Refusal> {
        let path = self.path(key);
        let found = fs::metadata(&path).and_then(|metadata| Ok(Look { changed: metadata.modified()? }));
        absent_is_none(found).map_err(|source| Refusal::disk("look at", &path, source))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, Refusal> {
        let path = self.path(folder);
        let failed = |source| Refusal::disk("list", &path, source);
        let Some(entries) = absent_is_none(fs::read_dir(&path)).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn is_folder(&self, folder: &str) -> Result<bool, Refusal> {
        Ok(self.path(folder).is_dir())
    }

    /// A folder's time changes with every entry that comes or goes, also when another server of
    /// the same folder does it.
    fn changed(&self, folder: &str) -> Option<SystemTime> {
        fs::metadata(self.path(folder)).and_then(|metadata| metadata.modified()).ok()
    }

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

    fn mark(&self, key: &str) -> Result<(), Refusal> {
        let path = self.path(key);
        make_parent(&path)?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(|source| Refusal::disk("make", &path, source))
    }

    fn refresh(&self, key: &str) {
        // Where it can't be told, the age of the file protects it all the same.
        let _ = OpenOptions::new()
            .append(true)
            .open(self.path(key))
            .and_then(|file| file.set_modified(SystemTime::now()));
    }

    fn remove(&self, keys: &[String]) -> Result<(), Refusal> {
        keys.iter().try_for_each(|key| remove(&self.path(key)))
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Refusal> {
        self.at_blob("look at", digest, |path| Ok(fs::metadata(path)?.len()))
    }

    fn open_blob(&self, digest: &Digest) -> Result<Option<(Opened, u64)>, Refusal> {
        self.at_blob("open", digest, |path| {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            Ok((Opened::File(file), size))
        })
    }

    fn blob_of(&self, digest: &Digest, bytes: &Bytes) -> Result<Act, Refusal> {
        Ok(Act::write(keys::blob(digest), bytes.clone()))
    }

    fn refresh_blob(&self, digest: &Digest) {
        // As with `refresh`.
        let _ = self.at_blob("touch", digest, |path| {
            OpenOptions::new().append(true).open(path)?.set_modified(SystemTime::now())
        });
    }

    fn retire_blob(&self, digest: &Digest) -> Result<(), Refusal> {
        remove(&self.settling.path(digest))?;
        remove(&self.path(&keys::blob(digest)))
    }

    fn settle_blobs(&self, blobs: &[(Digest, String)], adding: &Guard) -> Result<Vec<Act>, Refusal> {
        let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| digest.clone()).collect();
        let settled = self.settling.settle(&digests, adding);
        settled.map_err(|source| Refusal::disk("write out", &self.root.join("settling"), source))?;
        if self.journal.is_none() {
            return Ok(Vec::new());
        }
        let marked = blobs.iter().filter(|(_, link)| self.path(link).exists());
        Ok(marked.map(|(_, link)| Act::write(link, Bytes::new())).collect())
    }

    fn bring_back(&self, digest: &Digest) -> Result<bool, Refusal> {
        Ok(self.blob_size(digest)?.is_some())
    }

    /// Who waits for this needn't wait for the disk too: see [`Settling`](super::settling::Settling).
    fn adopt(&self, _file: &File, from: &Path, digest: &Digest) -> Result<(), Refusal> {
        if self.blob_size(digest)?.is_some() {
            let _ = fs::remove_file(from);
        } else {
            let named = match &self.settler {
                None => rename_into(from, &self.path(&keys::blob(digest))),
                Some(settler) => self.settling.take(from, digest).inspect(|()| {
                    // Where the thread is gone, who pushes a manifest does its work.
                    let _ = settler.send(());
                }),
            };
            named.map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => {
                    Refusal::new(Code::BlobUploadUnknown, "the upload was given up meanwhile")
                }
                _ => Refusal::disk("rename", from, source),
            })?;
        }
        self.refresh_blob(digest);
        Ok(())
    }

    fn temporary(&self) -> Result<(PathBuf, File), Refusal> {
        self.temporary_file()
    }

    fn half(&self, digest: &Digest) -> Result<(PathBuf, File), Refusal> {
        let path = self.root.join("temporary").join(format!("half-{}", keys::file_name(digest)));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| Refusal::disk("make", &path, source))?;
        // It may have become a blob since it was opened, or another server may have it.
        let ours = file.try_lock().is_ok() && is_same(&file, &path);
        if ours { Ok((path, file)) } else { self.temporary_file() }
    }

    fn begin_upload(&self, key: &str, algorithm: Option<Algorithm>) -> Result<Box<dyn Incoming>, Refusal> {
        let path = self.path(key);
        make_parent(&path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| Refusal::disk("make", &path, source))?;
        let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
        Ok(Box::new(FileUpload::begin(self, key, file, algorithm)))
    }

    fn open_upload(&self, key: &str) -> Result<Option<Box<dyn Incoming>>, Refusal> {
        Ok(FileUpload::open(self, key)?.map(|upload| Box::new(upload) as Box<dyn Incoming>))
    }

    fn expire_upload(&self, key: &str, age: Duration) -> Result<bool, Refusal> {
        let path = self.path(key);
        let idle = fs::metadata(&path).and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        let expired = matches!(idle, Ok(Ok(idle)) if idle >= age) && fs::remove_file(&path).is_ok();
        if expired {
            self.digests.take(key);
        }
        Ok(expired)
    }

    fn adding(&self) -> Result<Guard, Refusal> {
        locks::adding(&self.root)
    }

    fn alone(&self) -> Result<Guard, Refusal> {
        locks::alone(&self.root)
    }

    fn looks_again(&self) -> bool {
        false
    }

    fn tidy(&self, _before: SystemTime, _dry_run: bool, _done: &mut Collected) -> Result<(), Refusal> {
        // A blob is one file: nothing can be left of it.
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        match &self.journal {
            Some(journal) => {
                self.settling.settle_all()?;
                journal.checkpoint(&self.root)
            }
            None => glassdock_kernel::disk::sync_filesystem(&File::open(&self.root)?),
        }
    }

    /// Of several servers that begin at the same time one makes it.
    fn secret(&self, key: &str) -> io::Result<Vec<u8>> {
        let path = self.path(key);
        if let Ok(secret) = fs::read(&path) {
            return Ok(secret);
        }
        let secret = crate::server::storage::random_secret()?;
        let temporary = path.with_extension(random_name());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&secret).and_then(|()| file.sync_all())?;
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary)?;
        match linked {
            Ok(()) => Ok(secret),
            Err(_) => fs::read(&path),
        }
    }

    fn called(&self, key: &str) -> PathBuf {
        self.path(key)
    }
}

impl Disk {
    /// Does something with a blob's file, wherever that lies; `None` if it is nowhere.
    fn at_blob<T>(
        &self,
        what: &'static str,
        digest: &Digest,
        act: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<Option<T>, Refusal> {
        let path = self.path(&keys::blob(digest));
        // Between the first two looks it may be settled.
        for path in [&path, &self.settling.path(digest), &path] {
            match absent_is_none(act(path)) {
                Ok(None) => {}
                Ok(done) => return Ok(done),
                Err(source) => return Err(Refusal::disk(what, path, source)),
            }
        }
        Ok(None)
    }

    pub(super) fn temporary_file(&self) -> Result<(PathBuf, File), Refusal> {
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

/// Whether a path still leads to a file.
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// What isn't there is no error.
pub(super) fn absent_is_none<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
