//! An upload into a bucket: parts of an object that nobody sees before it is whole.
//!
//! How far it is lies beside the repository, with the state of the digest, so that any server
//! goes on with it. What came and is too little for a part lies in an object of its own meanwhile.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::parts::{PART, Parts};
use super::{Pointer, Shared};
use crate::server::error::{Code, Refusal};
use crate::server::storage::place::{Act, Incoming, Place};
use crate::server::storage::{keys, random_name};
use glassdock_image::digest::{Algorithm, Digest, Hasher};

/// So many parts go before it is noted that they are there, for after a crash.
const NOTE: usize = 8;

/// So often a note is read again whose tail is gone.
const TRIES: u32 = 3;

/// What is noted of an upload.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// The name of the object that it becomes.
    content: String,
    /// What the object storage calls it, once there are parts.
    multipart: Option<String>,
    parts: Vec<String>,
    /// The key of what came after the parts.
    tail: Option<String>,
    /// The digests' states after the parts: algorithm, and state in hex.
    hashers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct BucketUpload {
    shared: Arc<Shared>,
    key: String,
    content: String,
    parts: Parts,
    hashers: Vec<Hasher>,
    buffer: Vec<u8>,
    /// The object with what came after the parts, as the last note has it.
    tail: Option<String>,
    /// How many parts and bytes there were at the last note.
    noted: Option<(usize, usize)>,
    mark: Option<(usize, Vec<Hasher>, Vec<u8>)>,
    gone: bool,
}

impl BucketUpload {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        key: &str,
        algorithm: Option<Algorithm>,
    ) -> Result<Self, Refusal> {
        // Which digest is asked for at the end isn't known in most uploads; both are cheaper than
        // to read everything again.
        let algorithms =
            algorithm.map_or_else(|| vec![Algorithm::Sha256, Algorithm::Sha512], |one| vec![one]);
        let hashers = algorithms.into_iter().map(Hasher::new).collect();
        let content = random_name();
        let parts = Parts::new(shared, &content, None, Vec::new());
        let mut upload = Self::with(shared, key, content, parts, hashers);
        upload.rest()?;
        Ok(upload)
    }

    fn with(shared: &Arc<Shared>, key: &str, content: String, parts: Parts, hashers: Vec<Hasher>) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: key.to_owned(),
            content,
            parts,
            hashers,
            buffer: Vec::new(),
            tail: None,
            noted: None,
            mark: None,
            gone: false,
        }
    }

    pub(super) fn open(shared: &Arc<Shared>, key: &str) -> Result<Option<Self>, Refusal> {
        for _ in 0..TRIES {
            let found = shared.wait(shared.get(&shared.location(key))).map_err(shared.failed("read", key))?;
            let Some(bytes) = found else { return Ok(None) };
            let note: Note = serde_json::from_slice(&bytes)
                .map_err(|error| shared.failed("understand", key)(error.into()))?;
            let Some(tail) = &note.tail else { return Self::noted(shared, key, note, Vec::new()).map(Some) };
            let bytes =
                shared.wait(shared.get(&shared.location(tail))).map_err(shared.failed("read", tail))?;
            // A note without its tail is one that another request replaces at this moment.
            if let Some(bytes) = bytes {
                return Self::noted(shared, key, note, bytes.into()).map(Some);
            }
        }
        Ok(None)
    }

    /// The upload that a note tells of, with what came after its parts.
    fn noted(shared: &Arc<Shared>, key: &str, note: Note, buffer: Vec<u8>) -> Result<Self, Refusal> {
        let thawed = note.hashers.iter().map(|(algorithm, state)| {
            let algorithm = if algorithm == "sha512" { Algorithm::Sha512 } else { Algorithm::Sha256 };
            Hasher::thaw(algorithm, &hex::decode(state).ok()?)
        });
        let hashers: Option<Vec<Hasher>> = thawed.collect();
        let hashers = hashers
            .ok_or_else(|| io::Error::other("the state of its digest is of another version"))
            .map_err(shared.failed("understand", key))?;
        let parts = Parts::new(shared, &note.content, note.multipart, note.parts);
        let mut upload = Self::with(shared, key, note.content, parts, hashers);
        upload.noted = Some((upload.parts.count(), buffer.len()));
        (upload.buffer, upload.tail) = (buffer, note.tail);
        Ok(upload)
    }

    fn failed(&self, act: &str) -> impl FnOnce(io::Error) -> Refusal + use<> {
        let failed = self.shared.failed(act, &self.key);
        move |error| match error.kind() {
            io::ErrorKind::FileTooLarge => Refusal::new(Code::BlobTooLarge, error.to_string()),
            _ => failed(error),
        }
    }

    /// Sends what is in the buffer as a part.
    fn cut(&mut self) -> Result<(), Refusal> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        // On its way while the digests are computed.
        self.parts.put(bytes.clone()).map_err(self.failed("write a part of"))?;
        self.hashers.iter_mut().for_each(|hasher| hasher.update(&bytes));
        let noted = self.noted.map_or(0, |(parts, _)| parts);
        // With the first part the object storage keeps something that a note must lead to.
        if noted == 0 || self.parts.count() >= noted + NOTE {
            self.rest()?;
        }
        Ok(())
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), Refusal> {
        let location = self.shared.location(key);
        let put = self.shared.store.put(&location, PutPayload::from(bytes));
        self.shared.wait(put).map(|_| ()).map_err(self.shared.failed("write", key))
    }

    fn remove(&self, key: &str) -> Result<(), Refusal> {
        self.shared
            .wait(self.shared.delete(&self.shared.location(key)))
            .map_err(self.shared.failed("remove", key))
    }
}

impl Incoming for BucketUpload {
    fn size(&self) -> u64 {
        (self.parts.count() * PART + self.buffer.len()) as u64
    }

    fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), Refusal> {
        for mut bytes in pieces {
            while !bytes.is_empty() {
                if self.buffer.len() == PART {
                    self.cut()?;
                }
                let now = bytes.split_to(bytes.len().min(PART - self.buffer.len()));
                self.buffer.extend_from_slice(&now);
            }
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<(), Refusal> {
        self.parts.settle().map_err(self.failed("write a part of"))?;
        self.mark = Some((self.parts.count(), self.hashers.clone(), self.buffer.clone()));
        Ok(())
    }

    fn back_to_mark(&mut self) -> Result<(), Refusal> {
        let Some((parts, hashers, buffer)) = self.mark.take() else { return Ok(()) };
        self.parts.settle().map_err(self.failed("write a part of"))?;
        // The next parts take the place of those that are too many.
        self.parts.done.truncate(parts);
        (self.hashers, self.buffer) = (hashers, buffer);
        self.rest()
    }

    fn rest(&mut self) -> Result<(), Refusal> {
        self.parts.settle().map_err(self.failed("write a part of"))?;
        let now = (self.parts.count(), self.buffer.len());
        if self.noted == Some(now) || self.gone {
            return Ok(());
        }
        let before = self.tail.take();
        if !self.buffer.is_empty() {
            let tail = format!("{}.{}", self.key, random_name());
            self.put(&tail, Bytes::copy_from_slice(&self.buffer))?;
            self.tail = Some(tail);
        }
        let frozen = |hasher: &Hasher| (hasher.algorithm().name().to_owned(), hex::encode(hasher.freeze()));
        let note = Note {
            content: self.content.clone(),
            multipart: self.parts.id.clone(),
            parts: self.parts.done.clone(),
            tail: self.tail.clone(),
            hashers: self.hashers.iter().map(frozen).collect(),
        };
        self.put(&self.key, serde_json::json!(note).to_string().into())?;
        self.noted = Some(now);
        before.map_or(Ok(()), |tail| self.remove(&tail))
    }

    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Refusal> {
        let found = self.hashers.iter().find(|hasher| hasher.algorithm() == algorithm);
        let Some(hasher) = found else {
            let words = format!("the upload was begun for another algorithm than {}", algorithm.name());
            return Err(Refusal::new(Code::DigestInvalid, words));
        };
        let mut hasher = hasher.clone();
        hasher.update(&self.buffer);
        Ok(hasher.finish())
    }

    fn keep(&mut self, place: &dyn Place, digest: &Digest) -> Result<Option<Bytes>, Refusal> {
        if self.parts.count() == 0 {
            return Ok(Some(Bytes::from(self.buffer.clone())));
        }
        if place.blob_size(digest)?.is_some() {
            place.refresh_blob(digest);
            return Ok(None);
        }
        let size = self.size();
        if !self.buffer.is_empty() {
            let last = Bytes::from(std::mem::take(&mut self.buffer));
            self.parts.put(last).map_err(self.failed("write a part of"))?;
        }
        self.parts.complete().map_err(self.failed("complete"))?;
        let pointer = Pointer { content: self.content.clone(), size };
        place.commit(&[Act::write(keys::blob(digest), pointer.json())])?;
        Ok(None)
    }

    fn forget(&mut self) -> Result<(), Refusal> {
        self.gone = true;
        // The note first: nobody finds an upload without its parts.
        self.remove(&self.key)?;
        if let Some(tail) = self.tail.take() {
            self.remove(&tail)?;
        }
        self.parts.abort().map_err(self.failed("forget"))
    }
}
