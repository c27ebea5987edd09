//! A blob on its way in: written, hashed as it passes, and published at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use glassdock_trace::{Body, Trace};

use super::{Claim, Error, Store, disk};
use crate::digest::{Digest, Hasher};

/// A blob that is being written. Dropped without a commit, what was written
/// stays for the next try (unless it was written apart).
#[derive(Debug)]
pub struct Ingest {
    path: PathBuf,
    file: Arc<File>,
    store: Store,
    digest: Digest,
    size: Option<u64>,
    hasher: Hasher,
    written: u64,
    progress: Arc<Progress>,
    /// The claim on the shared partial file; `None` where it is written apart.
    claim: Option<Claim>,
    done: bool,
}

/// What a reader that follows the writer needs to know.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<(u64, Option<bool>)>,
    changed: Condvar,
}

impl Progress {
    fn set(&self, written: u64, over: Option<bool>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (written, over);
        self.changed.notify_all();
    }
}

impl Ingest {
    pub(super) fn resume(path: PathBuf, claim: Claim, size: Option<u64>) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(disk("open", &path))?;
        let mut ingest = Self::new(path, file, claim.store.clone(), claim.digest.clone(), size);
        ingest.claim = Some(claim);
        ingest.rehash()?;
        Ok(ingest)
    }

    pub(super) fn apart(
        path: PathBuf,
        store: Store,
        digest: Digest,
        size: Option<u64>,
    ) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(disk("make", &path))?;
        Ok(Self::new(path, file, store, digest, size))
    }

    fn new(path: PathBuf, file: File, store: Store, digest: Digest, size: Option<u64>) -> Self {
        Self {
            path,
            file: Arc::new(file),
            store,
            hasher: digest.hasher(),
            digest,
            size,
            written: 0,
            progress: Arc::default(),
            claim: None,
            done: false,
        }
    }

    /// Takes what an earlier try left into the hash. More than the whole can't be right.
    fn rehash(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = self.file.read_at(&mut buffer, self.written).map_err(disk("read", &self.path))?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
            self.written += count as u64;
        }
        if self.size.is_some_and(|size| self.written > size) {
            return self.restart();
        }
        self.progress.set(self.written, None);
        Ok(())
    }

    /// How many bytes are here already: from there the source is to go on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// The digest that the bytes will be held against.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] once there are more than promised, [`Error::Disk`] if the disk is full or refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let actual = self.written + bytes.len() as u64;
        if let Some(expected) = self.size.filter(|expected| actual > *expected) {
            return Err(Error::Size { digest: self.digest.clone(), expected, actual });
        }
        self.hasher.update(bytes);
        (&*self.file).write_all(bytes).map_err(disk("write", &self.path))?;
        self.written = actual;
        self.progress.set(actual, None);
        Ok(())
    }

    /// Forgets all bytes: the source can't go on from the middle.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(disk("truncate", &self.path))?;
        self.hasher = self.digest.hasher();
        self.written = 0;
        self.progress.set(0, None);
        Ok(())
    }

    /// A reader of the bytes as they come, so that a layer is unpacked while it is
    /// fetched. It waits at the end until the ingest is committed or dropped; it
    /// blocks, so read it on a thread of its own.
    ///
    /// Not to be used together with [`Ingest::restart`]: what was read can't be taken back.
    #[must_use]
    pub fn follow(&self) -> Follow {
        Follow { file: Arc::clone(&self.file), progress: Arc::clone(&self.progress), at: 0 }
    }

    /// Holds the bytes against digest and size, and publishes the blob. What does
    /// not agree is thrown away.
    ///
    /// # Errors
    ///
    /// [`Error::Digest`] or [`Error::Size`] if they don't agree, [`Error::Disk`] if the disk refuses.
    pub fn commit(mut self, trace: &Trace) -> Result<(), Error> {
        let body = Body::BlobVerify { digest: self.digest.to_string(), size: self.written, computed: None };
        let mut span = trace.begin(body)?;
        let computed = std::mem::replace(&mut self.hasher, self.digest.hasher()).finish();
        if let Body::BlobVerify { computed: field, .. } = span.body_mut() {
            *field = Some(computed.to_string());
        }
        let result = self.publish(computed);
        span.finish(result)
    }

    fn publish(&mut self, computed: Digest) -> Result<(), Error> {
        let short = self.size.filter(|size| self.written < *size);
        if let Some(expected) = short {
            // The rest may still come: what is here is kept.
            return Err(Error::Size { digest: self.digest.clone(), expected, actual: self.written });
        }
        self.done = true;
        if computed != self.digest {
            fs::remove_file(&self.path).map_err(disk("remove", &self.path))?;
            return Err(Error::Digest { expected: self.digest.clone(), computed });
        }
        let target = self.store.path(&self.digest);
        fs::rename(&self.path, &target).map_err(disk("rename", &self.path))?;
        self.progress.set(self.written, Some(true));
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        let over = self.progress.state.lock().unwrap_or_else(PoisonError::into_inner).1;
        if over.is_none() {
            self.progress.set(self.written, Some(false));
        }
        if self.claim.is_none() && !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads a blob while it is written.
#[derive(Debug)]
pub struct Follow {
    file: Arc<File>,
    progress: Arc<Progress>,
    at: u64,
}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.progress.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.0 <= self.at && state.1.is_none() {
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (written, over) = *state;
        drop(state);
        if written <= self.at {
            return match over {
                Some(true) => Ok(0),
                _ => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the fetch broke off")),
            };
        }
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
