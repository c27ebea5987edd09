//! An upload into a folder: a file that grows.
//!
//! The state on disk is the file alone; after the server was started again, its size says
//! where to go on, and the digest is computed from the start again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;

use super::Disk;
use super::digests::{Digests, Progress};
use crate::server::error::{Code, Refusal};
use crate::server::round::write_all;
use crate::server::storage::place::{Incoming, Place};
use glassdock_image::digest::{Algorithm, Digest, Hasher};

/// A blob of at most so many bytes goes through the journal; a larger one is written out itself.
const SMALL: u64 = 32 * 1024;

/// The file, held by one request.
#[derive(Debug)]
pub(super) struct FileUpload {
    digests: Digests,
    key: String,
    path: PathBuf,
    file: File,
    size: u64,
    progress: Option<Progress>,
    /// What [`Incoming::back_to_mark`] goes back to.
    mark: Option<(u64, Hasher)>,
    gone: bool,
}

impl FileUpload {
    pub(super) fn begin(disk: &Disk, key: &str, file: File, algorithm: Algorithm) -> Self {
        let progress = Some(Progress::new(Hasher::new(algorithm), 0));
        Self::with(disk, key, file, 0, progress)
    }

    pub(super) fn open(disk: &Disk, key: &str) -> Result<Option<Self>, Refusal> {
        let path = disk.path(key);
        let progress = disk.digests.take(key);
        let opened = OpenOptions::new().read(true).write(true).open(&path).and_then(|mut file| {
            let size = file.seek(SeekFrom::End(0))?;
            Ok((file, size))
        });
        match opened {
            Ok((file, size)) => Ok(Some(Self::with(disk, key, file, size, progress))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(source) => Err(Refusal::disk("open", &path, source)),
        }
    }

    fn with(disk: &Disk, key: &str, file: File, size: u64, progress: Option<Progress>) -> Self {
        Self {
            digests: disk.digests.clone(),
            key: key.to_owned(),
            path: disk.path(key),
            file,
            size,
            progress,
            mark: None,
            gone: false,
        }
    }

    /// Brings the digest up to the file's end, from the file, where it is behind or of
    /// another algorithm: after a restart, or when SHA-512 is asked for at the end only.
    fn hash_up_to_here(&mut self, wanted: Option<Algorithm>) -> Result<(), Refusal> {
        if let Some(progress) = &self.progress
            && progress.hashed == self.size
            && wanted.is_none_or(|wanted| wanted == progress.algorithm)
        {
            return Ok(());
        }
        let mut hasher = Hasher::new(wanted.unwrap_or(Algorithm::Sha256));
        let failed = |source| Refusal::disk("read", &self.path, source);
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut buffer = vec![0_u8; 256 * 1024];
        let mut hashed = 0;
        while hashed < self.size {
            let count = self.file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            hashed += count as u64;
        }
        self.size = hashed;
        self.progress = Some(Progress::new(hasher, hashed));
        Ok(())
    }

    /// A hasher that has seen the whole file.
    fn hasher(&mut self, wanted: Option<Algorithm>) -> Result<Hasher, Refusal> {
        self.hash_up_to_here(wanted)?;
        if let Some(hasher) = self.progress.as_mut().and_then(Progress::hasher) {
            return Ok(hasher.clone());
        }
        // A thread that hashed is gone: all over again.
        self.progress = None;
        self.hash_up_to_here(wanted)?;
        let hasher = self.progress.as_mut().and_then(Progress::hasher).cloned();
        hasher.ok_or_else(|| Refusal::new(Code::Internal, "the registry could not compute a digest"))
    }
}

impl Incoming for FileUpload {
    fn size(&self) -> u64 {
        self.size
    }

    /// Writes the bytes, and has them hashed while the next ones come and are written. The disk begins when
    /// the blob settles: what it did before would take the upload a third of its speed.
    fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), Refusal> {
        self.hash_up_to_here(None)?;
        write_all(&self.file, &pieces).map_err(|source| Refusal::disk("write", &self.path, source))?;
        self.size += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.progress = self.progress.take().and_then(|progress| self.digests.add(progress, pieces));
        Ok(())
    }

    fn mark(&mut self) -> Result<(), Refusal> {
        self.mark = Some((self.size, self.hasher(None)?));
        Ok(())
    }

    fn back_to_mark(&mut self) -> Result<(), Refusal> {
        let Some((size, hasher)) = self.mark.take() else { return Ok(()) };
        self.file.set_len(size).map_err(|source| Refusal::disk("shorten", &self.path, source))?;
        self.file
            .seek(SeekFrom::Start(size))
            .map_err(|source| Refusal::disk("seek in", &self.path, source))?;
        self.size = size;
        self.progress = Some(Progress::new(hasher, size));
        Ok(())
    }

    fn rest(&mut self) -> Result<(), Refusal> {
        // What came is in the file.
        Ok(())
    }

    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Refusal> {
        Ok(self.hasher(Some(algorithm))?.finish())
    }

    fn keep(&mut self, place: &dyn Place, digest: &Digest) -> Result<Option<Bytes>, Refusal> {
        if self.size > SMALL {
            place.adopt(&self.file, &self.path, digest)?;
            self.gone = true;
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(|source| Refusal::disk("read", &self.path, source))?;
        Ok(Some(bytes.into()))
    }

    fn forget(&mut self) -> Result<(), Refusal> {
        if self.gone {
            return Ok(());
        }
        self.gone = true;
        fs::remove_file(&self.path).map_err(|source| Refusal::disk("remove", &self.path, source))
    }
}

impl Drop for FileUpload {
    /// Keeps for the next request what was computed.
    fn drop(&mut self) {
        if let Some(progress) = self.progress.take().filter(|_| !self.gone) {
            self.digests.rest(self.key.clone(), progress);
        }
    }
}
