//! Uploads: bytes that come in until their digest is told and found right.
//!
//! ```text
//!   begin ──► [append …] ──► finish ──► blob
//!                 │            └ wrong digest: as before this request
//!                 └──► cancel, or forgotten for a week
//! ```
//!
//! One request at a time writes to an upload: it *holds* the session. What came lies in the
//! place ([`Incoming`]), so that the next request may come after a restart, or to another server.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::place::Incoming;
use super::{Storage, keys, random_name};
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use glassdock_image::digest::{Algorithm, Digest};

/// The uploads that requests of this server hold, by id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashSet<String>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // Every change is one insertion or removal: a panic elsewhere leaves the set whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a session back when it goes.
#[derive(Debug)]
struct Hold {
    storage: Arc<Storage>,
    id: String,
}

impl Hold {
    /// `None` while another request has it.
    fn take(storage: &Arc<Storage>, id: &str) -> Option<Self> {
        let free = storage.uploads.lock().insert(id.to_owned());
        free.then(|| Self { storage: Arc::clone(storage), id: id.to_owned() })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.storage.uploads.lock().remove(&self.id);
    }
}

/// An upload, held by one request.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) id: String,
    name: Name,
    /// How many bytes there are.
    pub(crate) size: u64,
    // The fields go in this order: what came is at rest before the session is free.
    incoming: Box<dyn Incoming>,
    hold: Hold,
}

impl Storage {
    /// Forgets uploads that nobody went on with for `age`; tells how many.
    pub(crate) fn expire_uploads(&self, age: Duration) -> Result<u64, Refusal> {
        let mut count = 0;
        for name in self.repositories_with("_uploads")? {
            for id in self.place.names(&keys::part(&name, "_uploads"))? {
                let held = self.uploads.lock().contains(&id);
                if !held && self.place.expire_upload(&keys::upload(&name, &id), age)? {
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Begins an upload into a repository. A digest that is known already tells the algorithm.
    pub(crate) fn begin_upload(
        self: &Arc<Self>,
        name: &Name,
        algorithm: Option<Algorithm>,
    ) -> Result<Upload, Refusal> {
        let id = random_name();
        let hold = Hold::take(self, &id).ok_or_else(busy)?;
        let incoming = self.place.begin_upload(&keys::upload(name, &id), algorithm)?;
        Ok(Upload { id, name: name.clone(), size: 0, incoming, hold })
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
        let hold = Hold::take(self, id).ok_or_else(busy)?;
        let incoming = self.place.open_upload(&keys::upload(name, id))?.ok_or_else(unknown)?;
        Ok(Upload { id: id.to_owned(), name: name.clone(), size: incoming.size(), incoming, hold })
    }
}

fn busy() -> Refusal {
    let words = "another request is writing to this upload; ask for its state and go on from there";
    Refusal::new(Code::TooManyRequests, words)
}

impl Upload {
    /// Remembers how far the upload is: [`Upload::finish`] goes back there when the digest is wrong.
    pub(crate) fn mark(&mut self) -> Result<(), Refusal> {
        self.incoming.mark()
    }

    /// Adds bytes, which came in these pieces, at the end.
    pub(crate) fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), Refusal> {
        self.incoming.append(pieces)?;
        self.size = self.incoming.size();
        Ok(())
    }

    /// Sees to it that another request, perhaps at another server, finds what came.
    pub(crate) fn rest(&mut self) -> Result<(), Refusal> {
        self.incoming.rest()
    }

    /// Makes the upload a blob of its repository, if its digest is `digest`.
    pub(crate) fn finish(mut self, digest: &Digest) -> Result<(), Refusal> {
        let computed = self.incoming.digest(digest.algorithm())?;
        if computed != *digest {
            self.incoming.back_to_mark()?;
            let words = format!("the content's digest is {computed}, not {digest} as promised");
            return Err(Refusal::new(Code::DigestInvalid, words));
        }
        let storage = Arc::clone(&self.hold.storage);
        let adding = storage.adding()?;
        match self.incoming.keep(storage.place.as_ref(), digest)? {
            Some(bytes) => storage.put_blob(&self.name, digest, &bytes, &adding)?,
            None => storage.link_blob(&self.name, digest, &adding)?,
        }
        // What is left of it is only in the way.
        let _ = self.incoming.forget();
        Ok(())
    }

    /// Forgets the upload.
    pub(crate) fn cancel(mut self) -> Result<(), Refusal> {
        self.incoming.forget()
    }
}
