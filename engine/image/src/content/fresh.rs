//! A blob that is made here: its digest is known when it is written whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use glassdock_trace::{Body, Trace};

use super::{Error, Store, disk, unique};
use crate::digest::{Algorithm, Digest, Hasher};

/// A blob that is being made. Dropped without a commit, it is thrown away.
#[derive(Debug)]
pub struct Fresh {
    path: PathBuf,
    /// Closed when the blob is sealed: an archive may have thousands of files.
    file: Option<File>,
    store: Store,
    hasher: Hasher,
    written: u64,
    digest: Option<Digest>,
}

impl Store {
    /// Begins to write a blob whose digest is not known yet.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn fresh(&self) -> Result<Fresh, Error> {
        let path = self.ingest.join(format!("apart-{}", unique()));
        let opened = OpenOptions::new().read(true).append(true).create_new(true).open(&path);
        let file = opened.map_err(disk("make", &path))?;
        let hasher = Hasher::new(Algorithm::Sha256);
        Ok(Fresh { path, file: Some(file), store: self.clone(), hasher, written: 0, digest: None })
    }
}

impl Fresh {
    /// The SHA-256 of what was written, and its size in bytes. Nothing can be written any more.
    pub fn seal(&mut self) -> (Digest, u64) {
        let digest = match &self.digest {
            Some(digest) => digest.clone(),
            None => std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256)).finish(),
        };
        self.digest = Some(digest.clone());
        self.file = None;
        (digest, self.written)
    }

    /// The SHA-256 of what was written so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest.clone().unwrap_or_else(|| self.hasher.clone().finish())
    }

    /// Reads what was written, from its beginning.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn reader(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(disk("open", &self.path))
    }

    /// How many bytes were written.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.written
    }

    /// Publishes it under its digest, which `expected` is held against if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Digest`] if it is another, [`Error::Disk`] if the disk refuses.
    pub fn commit(mut self, trace: &Trace, expected: Option<&Digest>) -> Result<(Digest, u64), Error> {
        let (digest, size) = self.seal();
        if let Some(expected) = expected {
            let computed = Some(digest.to_string());
            trace.step(Body::BlobVerify { digest: expected.to_string(), size, computed }, |_| {
                if digest == *expected {
                    return Ok(());
                }
                Err(Error::Digest { expected: expected.clone(), computed: digest.clone() })
            })?;
        }
        if self.store.has(&digest) == Some(size) {
            trace.point(Body::BlobReuse { digest: digest.to_string(), size });
        } else {
            let target = self.store.path(&digest);
            fs::rename(&self.path, &target).map_err(disk("rename", &self.path))?;
        }
        Ok((digest, size))
    }
}

impl Write for Fresh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sealed = || io::Error::new(io::ErrorKind::InvalidInput, "the blob is sealed");
        let count = self.file.as_ref().ok_or_else(sealed)?.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Gone already if it was published.
        let _ = fs::remove_file(&self.path);
    }
}
