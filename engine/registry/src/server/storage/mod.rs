//! What a registry keeps, and where.
//!
//! ```text
//!   ROOT/
//!     blobs/sha256/e3/e3b0c442…             every blob and manifest, once
//!     repositories/library/busybox/
//!       _blobs/sha256-e3b0c442…             empty: this repository has that blob
//!       _manifests/sha256-5f70bf18…         the media type: this repository has that manifest
//!       _tags/latest                        the digest that the tag stands for
//!       _referrers/sha256-5f70…/sha256-9a…  the descriptor of a manifest about a manifest
//!       _uploads/4b1c…                      what came so far of an upload
//!       _mirrored/latest                    empty: the tag came from another registry, and when
//!       _pulls/HOST-PORT                    how often a server saw its images pulled
//!       _hub.json                           what the hub tells about it
//! ```
//!
//! ROOT is a *place* ([`place`]): a folder of a [`disk`], which has beside these `settling/`, `temporary/`,
//! `journal/`, `gate` and `lock`, or a bucket of an object storage ([`bucket`]), which has `content/`
//! beside them, and whose `blobs/` say where in there the bytes are.
//!
//! Invariants, which hold after a crash at any moment:
//!
//! - A value appears under its key only when it is whole and, for blobs, when its bytes were
//!   held against its digest.
//! - A blob is never changed.
//! - What was answered with 201 is there for every server of the place. A manifest stays, with all that
//!   it names. A blob that no manifest names yet stays if a server is killed; if the machine loses its power
//!   in the next minute, the blob may be unknown again, and never another one.
//! - Names are parsed ([`Name`], [`Digest`](glassdock_image::Digest), tags) before they become part of a key ([`keys`]).
//!
//! All of this is plain blocking code, for many threads at once; where it may take long, it is
//! called on threads for that.

mod keys;

mod place;

mod disk;

mod bucket;

pub(crate) mod blobs;
pub(crate) mod changes;
pub(crate) mod collect;
pub(crate) mod listing;
pub(crate) mod manifests;
mod pulls;
#[cfg(test)]
mod tests;
pub(crate) mod uploads;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::error::Refusal;
use super::name::Name;
pub use bucket::{BucketConfig, Secret};
use glassdock_trace::Trace;
use place::{Act, Place};
pub(crate) use place::{Guard, Object, Opened};

/// Where a registry is kept.
#[derive(Clone, Debug)]
pub enum Where {
    /// In a folder.
    Folder(PathBuf),
    /// In an object storage.
    Bucket(BucketConfig),
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Where {
    fn from(folder: &P) -> Self {
        Self::Folder(folder.as_ref().to_owned())
    }
}

impl std::fmt::Display for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "folder {}", folder.display()),
            Self::Bucket(bucket) => write!(f, "bucket {bucket}"),
        }
    }
}

/// What a registry keeps.
#[derive(Debug)]
pub(crate) struct Storage {
    place: Box<dyn Place>,
    uploads: uploads::Sessions,
    cache: manifests::Cache,
    listed: listing::Cache,
    pulls: pulls::Pulls,
    changed: changes::Changed,
    /// The name under which this server counts pulls.
    server: String,
}

impl Storage {
    /// Opens the place, and makes it where it is missing. `port` is where this server listens; 0 for
    /// who serves nothing.
    pub(crate) fn open(place: &Where, durable: bool, port: u16) -> io::Result<Self> {
        Self::open_traced(place, durable, port, &Trace::off())
    }

    /// As [`Storage::open`]; what an object storage is asked goes into the trace.
    pub(crate) fn open_traced(place: &Where, durable: bool, port: u16, trace: &Trace) -> io::Result<Self> {
        let place: Box<dyn Place> = match place {
            Where::Folder(root) => Box::new(disk::Disk::open(root, durable)?),
            Where::Bucket(config) => Box::new(bucket::Bucket::open(config, trace)?),
        };
        Ok(Self {
            place,
            uploads: uploads::Sessions::default(),
            cache: manifests::Cache::default(),
            listed: listing::Cache::default(),
            pulls: pulls::Pulls::default(),
            changed: changes::Changed::default(),
            server: pulls::server_name(port),
        })
    }

    /// Writes everything out, where that was put off.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.place.settle()
    }

    /// Whether small reads are so fast that no thread is needed for them.
    pub(crate) fn is_near(&self) -> bool {
        self.place.is_near()
    }

    /// Whether the collector can't be kept out, so that who adds something looks again at last.
    pub(crate) fn looks_again(&self) -> bool {
        self.place.looks_again()
    }

    /// 32 secret bytes that all servers of the place share.
    pub(crate) fn secret(&self, key: &str) -> io::Result<Vec<u8>> {
        let secret = self.place.secret(key)?;
        if secret.len() == 32 {
            return Ok(secret);
        }
        let path = self.place.called(key);
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is no key of 32 bytes; remove it, and everybody logs in again", path.display()),
        ))
    }

    /// Keeps the collector of garbage out, in this process and any other, while something
    /// is added to what is there.
    pub(crate) fn adding(&self) -> Result<Guard, Refusal> {
        self.place.adding()
    }

    /// Keeps what the hub tells about a repository.
    pub(crate) fn write_about(&self, name: &Name, about: &[u8]) -> Result<(), Refusal> {
        let key = keys::part(name, "_hub.json");
        self.place.commit(&[Act::write(key, Bytes::copy_from_slice(about))])?;
        self.has_changed(name);
        Ok(())
    }

    /// What the hub tells about a repository, as it was written.
    pub(crate) fn read_about(&self, name: &Name) -> Result<Option<String>, Refusal> {
        self.read_text(&keys::part(name, "_hub.json"))
    }

    /// A small value's text; `None` where there is none.
    fn read_text(&self, key: &str) -> Result<Option<String>, Refusal> {
        let Some(bytes) = self.place.read(key)? else { return Ok(None) };
        let text = String::from_utf8(bytes.into()).map_err(|_| {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it is no text");
            Refusal::disk("read", &self.place.called(key), source)
        })?;
        Ok(Some(text))
    }

    /// When a tag was last held against another registry; `None` for one that was pushed here.
    pub(crate) fn came_from_there(&self, name: &Name, tag: &str) -> Result<Option<SystemTime>, Refusal> {
        Ok(self.place.look(&keys::mirrored(name, tag))?.map(|look| look.changed))
    }

    /// Notes that a tag is as the other registry has it now.
    pub(crate) fn comes_from_there(&self, name: &Name, tag: &str) -> Result<(), Refusal> {
        self.place.mark(&keys::mirrored(name, tag))
    }

    /// Notes that tags are ours.
    pub(crate) fn are_ours(&self, name: &Name, tags: &[String]) {
        let marks: Vec<String> = tags.iter().map(|tag| keys::mirrored(name, tag)).collect();
        // Most tags were ours before. A mark that stays makes the tag follow the other registry.
        let _ = self.place.remove(&marks);
    }
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

/// 32 bytes that nobody can guess.
fn random_secret() -> io::Result<Vec<u8>> {
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(secret)
}
