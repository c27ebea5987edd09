//! The content store: bytes under the name of their digest, as in an OCI layout.
//!
//! ```text
//!   ROOT/blobs/sha256/HEX      whole and verified; never written again
//!   ROOT/ingest/sha256-HEX     what came so far of a blob; a later fetch goes on there
//!
//!   absent ──ingest──► partial ──commit (digest and size agree), rename(2)──► whole
//! ```
//!
//! A digest's path is built from the parsed [`Digest`] only, so no name from
//! outside can lead out of the store.

mod ingest;

mod fresh;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_trace::{Aborted, Body, Trace};

use crate::digest::Digest;

pub use fresh::Fresh;
pub use ingest::{Follow, Ingest};

/// The largest document (manifest, config) that is read into memory, in bytes.
pub const LARGEST_DOCUMENT: u64 = 8 * 1024 * 1024;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("cannot {act} {}", path.display())]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The blob is not here.
    #[error("content {0} is not in the store")]
    Missing(Digest),
    /// Another fetch is writing the same blob just now.
    #[error("content {0} is being fetched by another operation")]
    Busy(Digest),
    /// The bytes have another digest.
    #[error(
        "content does not match its digest: expected {expected}, got {computed}; the source is corrupt or lies"
    )]
    Digest {
        /// What was promised.
        expected: Digest,
        /// What came.
        computed: Digest,
    },
    /// There are more or fewer bytes than promised.
    #[error("content {digest} has {actual} bytes, but {expected} were promised")]
    Size {
        /// Which content.
        digest: Digest,
        /// The promise.
        expected: u64,
        /// What came; where it was too much, the first count that was.
        actual: u64,
    },
    /// A document is larger than any sensible one.
    #[error("document {digest} is {size} bytes large; at most {LARGEST_DOCUMENT} are read")]
    TooLarge {
        /// Which document.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// Someone who steps through said abort.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

pub(crate) fn disk<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Disk { act, path: path.to_owned(), source }
}

/// Bytes by digest, on disk.
#[derive(Clone, Debug)]
pub struct Store {
    blobs: PathBuf,
    ingest: PathBuf,
    /// What is being written by this process.
    busy: Arc<Mutex<HashSet<Digest>>>,
}

impl Store {
    /// Opens the store under `root`, making its folders if they are missing.
    ///
    /// # Errors
    ///
    /// If a folder can't be made.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let store = Self { blobs: root.join("blobs"), ingest: root.join("ingest"), busy: Arc::default() };
        for folder in [store.blobs.join("sha256"), store.blobs.join("sha512"), store.ingest.clone()] {
            fs::create_dir_all(&folder).map_err(disk("make", &folder))?;
        }
        Ok(store)
    }

    /// Where a whole blob lies, whether it is there or not.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm().name()).join(digest.hex())
    }

    /// The size in bytes of a blob that is here.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|metadata| metadata.len())
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it is not here, [`Error::Disk`] if it can't be opened.
    pub fn reader(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing(digest.clone()),
            _ => Error::Disk { act: "open", path, source },
        })
    }

    /// Reads a document whole, and holds it against its digest.
    ///
    /// # Errors
    ///
    /// If it is missing, larger than [`LARGEST_DOCUMENT`], or was damaged on disk.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut file = self.reader(digest)?;
        let path = self.path(digest);
        let size = file.metadata().map_err(disk("stat", &path))?.len();
        if size > LARGEST_DOCUMENT {
            return Err(Error::TooLarge { digest: digest.clone(), size });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(disk("read", &path))?;
        let mut hasher = digest.hasher();
        hasher.update(&bytes);
        let computed = hasher.finish();
        if computed != *digest {
            return Err(Error::Digest { expected: digest.clone(), computed });
        }
        Ok(bytes)
    }

    /// Stores `bytes` under their SHA-256.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn write(&self, trace: &Trace, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        self.write_as(trace, &digest, bytes)?;
        Ok(digest)
    }

    /// Stores `bytes` under a digest that they are held against.
    ///
    /// # Errors
    ///
    /// If they have another digest, or the disk refuses.
    pub fn write_as(&self, trace: &Trace, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        if self.has(digest) == Some(size) {
            trace.point(Body::BlobReuse { digest: digest.to_string(), size });
            return Ok(());
        }
        let mut ingest = self.ingest_apart(digest, Some(size))?;
        ingest.write(bytes)?;
        ingest.commit(trace)
    }

    /// Begins to write a blob, or goes on where an earlier try broke off: see
    /// [`Ingest::offset`]. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while another holds an [`Ingest`] of the same blob; wait and
    /// look again, or take [`Store::ingest_apart`].
    pub fn ingest(&self, digest: &Digest, size: Option<u64>) -> Result<Ingest, Error> {
        if !self.lock().insert(digest.clone()) {
            return Err(Error::Busy(digest.clone()));
        }
        let claim = Claim { store: self.clone(), digest: digest.clone() };
        let path = self.ingest.join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        Ingest::resume(path, claim, size)
    }

    /// Begins to write a blob beside whoever else may be writing it. What is not
    /// committed is thrown away.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn ingest_apart(&self, digest: &Digest, size: Option<u64>) -> Result<Ingest, Error> {
        let path = self.ingest.join(format!("apart-{}", unique()));
        Ingest::apart(path, self.clone(), digest.clone(), size)
    }

    /// Whether someone is writing this blob just now.
    #[must_use]
    pub fn is_busy(&self, digest: &Digest) -> bool {
        self.lock().contains(digest)
    }

    /// Every whole blob, with its size in bytes.
    ///
    /// # Errors
    ///
    /// If a folder can't be read.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut found = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let folder = self.blobs.join(algorithm);
            for entry in fs::read_dir(&folder).map_err(disk("list", &folder))? {
                let entry = entry.map_err(disk("list", &folder))?;
                let name = format!("{algorithm}:{}", entry.file_name().to_string_lossy());
                if let (Ok(digest), Ok(metadata)) = (Digest::parse(&name), entry.metadata()) {
                    found.push((digest, metadata.len()));
                }
            }
        }
        Ok(found)
    }

    /// Removes a blob. Returns its size, 0 if it was not here.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn remove(&self, digest: &Digest) -> Result<u64, Error> {
        let size = self.has(digest).unwrap_or_default();
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Disk { act: "remove", path, source })
            }
            _ => Ok(size),
        }
    }

    /// Removes partial blobs that nobody is writing. Returns how many bytes that freed.
    ///
    /// # Errors
    ///
    /// If the folder can't be read.
    pub fn remove_partial(&self) -> Result<u64, Error> {
        let mut freed = 0;
        for entry in fs::read_dir(&self.ingest).map_err(disk("list", &self.ingest))? {
            let entry = entry.map_err(disk("list", &self.ingest))?;
            let name = entry.file_name().to_string_lossy().replacen('-', ":", 1);
            let busy = Digest::parse(&name).is_ok_and(|digest| self.is_busy(&digest));
            let apart = name.starts_with("apart:");
            if !busy && !apart {
                freed += entry.metadata().map_or(0, |metadata| metadata.len());
                fs::remove_file(entry.path()).map_err(disk("remove", &entry.path()))?;
            }
        }
        Ok(freed)
    }

    /// Removes what processes that are gone wrote beside each other. Only for the opening of a store.
    pub(crate) fn remove_apart(&self) {
        let Ok(entries) = fs::read_dir(&self.ingest) else { return };
        for entry in
            entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("apart-"))
        {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Reads a blob whole and holds it against its digest.
    pub(crate) fn is_sound(&self, digest: &Digest) -> bool {
        let Ok(mut file) = self.reader(digest) else { return false };
        let mut hasher = digest.hasher();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return hasher.finish() == *digest,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(_) => return false,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no other has.
pub(crate) fn unique() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_nanos());
    format!("{:x}-{nanos:x}-{number:x}", std::process::id())
}

/// The right to write one blob's partial file.
#[derive(Debug)]
struct Claim {
    store: Store,
    digest: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.lock().remove(&self.digest);
    }
}

#[cfg(test)]
mod tests;
