//! The seam: where a registry keeps things. A folder of a disk ([`super::disk`]) and a bucket of
//! an object storage ([`super::bucket`]) are places; what is kept, and how it hangs together, is
//! the same in both and known above this seam only.
//!
//! What every place promises, and `tests.rs` holds against each:
//!
//! - what was committed, or adopted as a blob, is there for every server of the place from then on;
//! - it stays, also if the machine loses its power: what was committed from then on, a blob that was adopted
//!   from when it is settled ([`Place::settle_blobs`]), which happens by itself soon;
//! - a value under a key is whole, or not there;
//! - a blob is whole and of its digest, or not there; it is never changed;
//! - who reads a blob while it is deleted reads on, or the reading fails: never other bytes.

use std::fmt::Debug;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::collect::Collected;
use crate::server::error::Refusal;
use glassdock_image::digest::{Algorithm, Digest};

/// One of the small changes that are made together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// What is under `key` becomes these bytes.
    Write { key: String, bytes: Bytes },
    /// What is under `key` goes.
    Remove { key: String },
}

impl Act {
    pub(super) fn write(key: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self::Write { key: key.into(), bytes: bytes.into() }
    }

    pub(super) fn remove(key: impl Into<String>) -> Self {
        Self::Remove { key: key.into() }
    }

    pub(super) fn key(&self) -> &str {
        let (Self::Write { key, .. } | Self::Remove { key }) = self;
        key
    }
}

/// What is known of what is under a key without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// When it was last written or touched.
    pub(super) changed: SystemTime,
}

/// A blob that is to be read.
pub(crate) enum Opened {
    /// A file, which the kernel can send.
    File(File),
    /// An object, from which parts are asked for.
    Object(Box<dyn Object>),
}

/// Bytes that lie elsewhere.
pub(crate) trait Object: Send + Sync {
    /// The bytes from `begin` up to, and without, `end`, as they come.
    fn stream(&self, begin: u64, end: u64) -> BoxStream<'static, std::io::Result<Bytes>>;

    /// The first `size` bytes.
    fn read(&self, size: u64) -> std::io::Result<Vec<u8>>;
}

/// While this lives, nothing is collected; or, for who collects, nothing added.
#[derive(Debug)]
pub(crate) struct Guard(#[expect(dead_code, reason = "it is held, and closed at last")] Option<File>);

impl Guard {
    pub(super) fn new(file: Option<File>) -> Self {
        Self(file)
    }
}

/// Where things are kept. All of it blocks.
pub(super) trait Place: Send + Sync + Debug {
    /// Whether a small read takes no longer than handing it to another thread would.
    fn is_near(&self) -> bool;

    /// A small value, whole.
    fn read(&self, key: &str) -> Result<Option<Bytes>, Refusal>;

    /// Whether there is something under a key, and since when.
    fn look(&self, key: &str) -> Result<Option<Look>, Refusal>;

    /// The names below a folder's key, in no order: of values, and of folders with something in them.
    fn names(&self, folder: &str) -> Result<Vec<String>, Refusal>;

    /// Whether there is, or was, something below this key.
    fn is_folder(&self, folder: &str) -> Result<bool, Refusal>;

    /// A time that is another one whenever the names of a folder are others; `None` where
    /// there is no such thing.
    fn changed(&self, folder: &str) -> Option<SystemTime>;

    /// Makes changes, in this order: when this returns they are visible, and stay.
    fn commit(&self, acts: &[Act]) -> Result<(), Refusal>;

    /// Gives what is under a key the present time; makes it, empty, where it is missing. It is there for every
    /// server from then on, and stays if a server is killed.
    fn mark(&self, key: &str) -> Result<(), Refusal>;

    /// Gives a value without content the present time, if it is there.
    fn refresh(&self, key: &str);

    /// Removes values that nobody needs to hear of again, missing ones too.
    fn remove(&self, keys: &[String]) -> Result<(), Refusal>;

    /// The size of a blob.
    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Refusal>;

    /// A blob, with its size.
    fn open_blob(&self, digest: &Digest) -> Result<Option<(Opened, u64)>, Refusal>;

    /// The act that makes verified bytes a blob.
    fn blob_of(&self, digest: &Digest, bytes: &Bytes) -> Result<Act, Refusal>;

    /// Tells the collector that somebody relies on this blob from now on.
    fn refresh_blob(&self, digest: &Digest);

    /// Takes a blob away. Where who adds can't be kept out, [`Place::bring_back`] has it again for a while.
    fn retire_blob(&self, digest: &Digest) -> Result<(), Refusal>;

    /// Makes what was a blob until lately one again; tells whether it is one now.
    fn bring_back(&self, digest: &Digest) -> Result<bool, Refusal>;

    /// Makes a verified file, which this place gave, a blob. The file is gone then.
    fn adopt(&self, file: &File, from: &Path, digest: &Digest) -> Result<(), Refusal>;

    /// Sees to it that those of these that are blobs stay, whatever happens to the machine. Each comes with
    /// the key of a value without content that was marked for it; gives the acts that make those stay
    /// too, for who commits what relies on them.
    fn settle_blobs(&self, blobs: &[(Digest, String)], adding: &Guard) -> Result<Vec<Act>, Refusal>;

    /// A new file that nobody else writes.
    fn temporary(&self) -> Result<(PathBuf, File), Refusal>;

    /// The file that a download of a blob goes into, with what an earlier one left of it, which
    /// nobody else has now.
    fn half(&self, digest: &Digest) -> Result<(PathBuf, File), Refusal>;

    /// Begins an upload under a key. An algorithm that is known already is the only one that counts.
    fn begin_upload(&self, key: &str, algorithm: Option<Algorithm>) -> Result<Box<dyn Incoming>, Refusal>;

    /// An upload that was begun, by this or another server; `None` if there is none.
    fn open_upload(&self, key: &str) -> Result<Option<Box<dyn Incoming>>, Refusal>;

    /// Gives up an upload that nobody went on with for `age`; tells whether it did.
    fn expire_upload(&self, key: &str, age: Duration) -> Result<bool, Refusal>;

    /// Keeps the collector of garbage out while something is added, as far as that can be done.
    fn adding(&self) -> Result<Guard, Refusal>;

    /// Waits until nobody adds anything, and keeps all from it, as far as that can be done.
    fn alone(&self) -> Result<Guard, Refusal>;

    /// Whether [`Place::adding`] can't keep the collector out, so that who adds looks again at last.
    fn looks_again(&self) -> bool;

    /// Removes what belongs to no blob and no upload, and wasn't touched since `before`.
    /// `blobs` are the blobs that there were before anything was removed.
    fn tidy(&self, before: SystemTime, dry_run: bool, done: &mut Collected) -> Result<(), Refusal>;

    /// Writes everything out, where that was put off.
    fn settle(&self) -> std::io::Result<()>;

    /// 32 secret bytes that all servers of the place share, made at the first call.
    fn secret(&self, key: &str) -> std::io::Result<Vec<u8>>;

    /// What the place is called in an error for who runs the registry.
    fn called(&self, key: &str) -> PathBuf;
}

/// An upload, while one request holds it.
pub(super) trait Incoming: Send + Debug {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Adds bytes, which came in these pieces, at the end.
    fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), Refusal>;

    /// Remembers how far the upload is.
    fn mark(&mut self) -> Result<(), Refusal>;

    /// Takes back what was appended since the mark, if there is one.
    fn back_to_mark(&mut self) -> Result<(), Refusal>;

    /// Sees to it that another request, perhaps at another server, finds what came.
    fn rest(&mut self) -> Result<(), Refusal>;

    /// The digest of all bytes.
    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Refusal>;

    /// Makes the upload, whose digest was found right, a blob; or gives its bytes, where the
    /// caller had better do that together with other changes.
    fn keep(&mut self, place: &dyn Place, digest: &Digest) -> Result<Option<Bytes>, Refusal>;

    /// Forgets all of it.
    fn forget(&mut self) -> Result<(), Refusal>;
}
