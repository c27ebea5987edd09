//! Uploads: a file that grows until its digest is told and found right.
//!
//! ```text
//!   begin ──► [append …] ──► finish ──► blob
//!                 │            └ wrong digest: as before this request
//!                 └──► cancel, or forgotten for a week
//! ```
//!
//! One request at a time writes to an upload: it *holds* the session. The state on disk is
//! the file alone; after the server was started again, its size says where to go on, and
//! the digest is computed from the start again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{SMALL, Storage, make_parent, random_name};
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use glassdock_image::digest::{Algorithm, Digest, Hasher};

/// So many bytes come in before the disk begins with them: it works while more come, and at the
/// end there is little to wait for.
const AHEAD: u64 = 8 * 1024 * 1024;

/// The uploads that this server knows, by id. `None` while a request holds one.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Option<Progress>>>);

/// How far an upload's digest is computed.
#[derive(Debug)]
struct Progress {
    hasher: Hasher,
    hashed: u64,
}

/// An upload, held by one request.
#[derive(Debug)]
pub(crate) struct Upload {
    storage: Arc<Storage>,
    pub(crate) id: String,
    name: Name,
    path: PathBuf,
    file: File,
    /// How many bytes there are.
    pub(crate) size: u64,
    progress: Option<Progress>,
    /// How much of it the kernel was asked to write out.
    begun: u64,
    /// What [`Upload::finish`] goes back to when the digest is wrong.
    mark: Option<(u64, Hasher)>,
    gone: bool,
}

impl Storage {
    /// Forgets uploads that nobody went on with for `age`; tells how many.
    pub(crate) fn expire_uploads(&self, age: Duration) -> Result<u64, Refusal> {
        let mut count = 0;
        for name in self.repositories_with("_uploads")? {
            let folder = self.repository(&name).join("_uploads");
            for id in super::listing::file_names(&folder)? {
                let path = folder.join(&id);
                let idle =
                    fs::metadata(&path).and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
                let held = matches!(self.uploads.lock().get(&id), Some(None));
                if !held && matches!(idle, Ok(Ok(idle)) if idle >= age) && fs::remove_file(&path).is_ok() {
                    self.uploads.lock().remove(&id);
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn upload_path(&self, name: &Name, id: &str) -> PathBuf {
        self.repository(name).join("_uploads").join(id)
    }

    /// Begins an upload into a repository. A digest that is known already tells the algorithm.
    pub(crate) fn begin_upload(
        self: &Arc<Self>,
        name: &Name,
        algorithm: Algorithm,
    ) -> Result<Upload, Refusal> {
        let id = random_name();
        let path = self.upload_path(name, &id);
        make_parent(&path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| Refusal::disk("make", &path, source))?;
        self.uploads.lock().insert(id.clone(), None);
        let progress = Some(Progress { hasher: Hasher::new(algorithm), hashed: 0 });
        Ok(Upload {
            storage: Arc::clone(self),
            id,
            name: name.clone(),
            path,
            file,
            size: 0,
            progress,
            begun: 0,
            mark: None,
            gone: false,
        })
    }

    /// Takes hold of an upload that was begun.
    pub(crate) fn hold_upload(self: &Arc<Self>, name: &Name, id: &str) -> Result<Upload, Refusal> {
        let unknown = || {
            Refusal::new(
                Code::BlobUploadUnknown,
                "no such upload: it was finished, cancelled, or never begun",
            )
        };
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let path = self.upload_path(name, id);
        let mut sessions = self.uploads.lock();
        let progress = match sessions.get_mut(id) {
            Some(None) => {
                let words =
                    "another request is writing to this upload; ask for its state and go on from there";
                return Err(Refusal::new(Code::TooManyRequests, words));
            }
            Some(progress) => progress.take(),
            None => None,
        };
        let opened = OpenOptions::new().read(true).write(true).open(&path).and_then(|mut file| {
            let size = file.seek(SeekFrom::End(0))?;
            Ok((file, size))
        });
        let (file, size) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                sessions.remove(id);
                let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                return Err(if missing { unknown() } else { Refusal::disk("open", &path, error) });
            }
        };
        sessions.insert(id.to_owned(), None);
        drop(sessions);
        let (id, name) = (id.to_owned(), name.clone());
        Ok(Upload {
            storage: Arc::clone(self),
            id,
            name,
            path,
            file,
            size,
            progress,
            begun: size / AHEAD * AHEAD,
            mark: None,
            gone: false,
        })
    }
}

impl Upload {
    /// Remembers how far the upload is, for [`Upload::back_to_mark`].
    pub(crate) fn mark(&mut self) -> Result<(), Refusal> {
        self.hash_up_to_here(None)?;
        self.mark = self.progress.as_ref().map(|progress| (self.size, progress.hasher.clone()));
        Ok(())
    }

    /// Takes back what was appended since the mark.
    pub(crate) fn back_to_mark(&mut self) -> Result<(), Refusal> {
        let Some((size, hasher)) = self.mark.take() else { return Ok(()) };
        self.file.set_len(size).map_err(|source| Refusal::disk("shorten", &self.path, source))?;
        self.file
            .seek(SeekFrom::Start(size))
            .map_err(|source| Refusal::disk("seek in", &self.path, source))?;
        self.size = size;
        self.begun = self.begun.min(size);
        self.progress = Some(Progress { hasher, hashed: size });
        Ok(())
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.hash_up_to_here(None)?;
        self.file.write_all(bytes).map_err(|source| Refusal::disk("write", &self.path, source))?;
        self.size += bytes.len() as u64;
        if self.size - self.begun >= AHEAD && self.storage.journal.is_some() {
            glassdock_kernel::disk::begin_write_out(&self.file, self.begun, self.size - self.begun);
            self.begun = self.size;
        }
        if let Some(progress) = &mut self.progress {
            progress.hasher.update(bytes);
            progress.hashed += bytes.len() as u64;
        }
        Ok(())
    }

    /// Makes the upload a blob of its repository, if its digest is `digest`.
    pub(crate) fn finish(mut self, digest: &Digest) -> Result<(), Refusal> {
        self.hash_up_to_here(Some(digest.algorithm()))?;
        let computed = self.progress.as_ref().map(|progress| progress.hasher.clone().finish());
        if computed.as_ref() != Some(digest) {
            let computed = computed.map_or_else(String::new, |digest| digest.to_string());
            self.back_to_mark()?;
            let words = format!("the content's digest is {computed}, not {digest} as promised");
            return Err(Refusal::new(Code::DigestInvalid, words));
        }
        let storage = Arc::clone(&self.storage);
        let adding = storage.adding()?;
        if self.size <= SMALL {
            let mut bytes = Vec::new();
            let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes));
            read.map_err(|source| Refusal::disk("read", &self.path, source))?;
            storage.put_blob(&self.name, digest, &bytes.into(), &adding)?;
            let _ = fs::remove_file(&self.path);
            self.gone = true;
            return Ok(());
        }
        storage.adopt_blob(&self.file, &self.path, digest, &adding)?;
        self.gone = true;
        storage.link_blob(&self.name, digest, &adding)
    }

    /// Forgets the upload.
    pub(crate) fn cancel(mut self) -> Result<(), Refusal> {
        self.gone = true;
        fs::remove_file(&self.path).map_err(|source| Refusal::disk("remove", &self.path, source))
    }

    /// Brings the digest up to the file's end, from the file, where it is behind or of
    /// another algorithm: after a restart, or when SHA-512 is asked for at the end only.
    fn hash_up_to_here(&mut self, wanted: Option<Algorithm>) -> Result<(), Refusal> {
        if let Some(progress) = &self.progress
            && progress.hashed == self.size
            && wanted.is_none_or(|wanted| wanted == progress.hasher.algorithm())
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
        self.progress = Some(Progress { hasher, hashed });
        Ok(())
    }
}

impl Drop for Upload {
    /// Gives the session back, for the next request.
    fn drop(&mut self) {
        let mut sessions = self.storage.uploads.lock();
        if self.gone {
            sessions.remove(&self.id);
        } else {
            sessions.insert(self.id.clone(), self.progress.take());
            // A finished map entry without progress would read as held.
            if matches!(sessions.get(&self.id), Some(None)) {
                sessions.remove(&self.id);
            }
        }
    }
}

impl Sessions {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<Progress>>> {
        // Every change is one insertion or removal: a panic elsewhere leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
