//! What a registry keeps, and where on the disk.
//!
//! ```text
//!   ROOT/
//!     blobs/sha256/e3/e3b0c442…             every blob and manifest, once
//!     temporary/…                           on their way to one of the others
//!     repositories/library/busybox/
//!       _blobs/sha256-e3b0c442…             empty: this repository has that blob
//!       _manifests/sha256-5f70bf18…         the media type: this repository has that manifest
//!       _tags/latest                        the digest that the tag stands for
//!       _referrers/sha256-5f70…/sha256-9a…  the descriptor of a manifest about a manifest
//!       _uploads/4b1c…                      what came so far of an upload
//!       _hub.json                           what the hub tells about it
//! ```
//!
//! Invariants, which hold after a crash at any moment:
//!
//! - A file appears under its final name by rename(2), and only when it is whole and,
//!   for blobs, when its bytes were held against its digest and are on the disk.
//! - A blob is never changed. Who reads one while it is deleted reads on.
//! - Names are parsed ([`Name`], [`Digest`], tags) before they become part of a path.
//!
//! All of this is plain blocking code, for many threads at once; there is no lock but
//! the one that an upload is under. The small calls (a few system calls on files of some
//! bytes) are made right where a request is answered, the large ones on threads for that.

pub(crate) mod listing;
pub(crate) mod manifests;
pub(crate) mod uploads;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Code, Refusal};
use super::name::Name;
use glassdock_image::digest::Digest;

/// The folder of a registry.
#[derive(Debug)]
pub(crate) struct Storage {
    root: PathBuf,
    temporary: AtomicU64,
    pub(crate) uploads: uploads::Sessions,
    pub(crate) cache: manifests::Cache,
}

impl Storage {
    /// Opens the folder, and makes it where it is missing.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        for folder in ["blobs/sha256", "blobs/sha512", "temporary", "repositories"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|source| {
                io::Error::new(source.kind(), format!("cannot make {}: {source}", path.display()))
            })?;
        }
        let storage = Self {
            root: root.to_owned(),
            temporary: AtomicU64::new(0),
            uploads: uploads::Sessions::default(),
            cache: manifests::Cache::default(),
        };
        storage.sweep();
        Ok(storage)
    }

    /// Removes what an earlier server left half written. Another server of the same
    /// folder may be writing now: only what nobody touched for a day goes.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("temporary")) else { return };
        for entry in entries.flatten() {
            let age =
                entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|age| age.as_secs() > 24 * 60 * 60) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    pub(crate) fn repository(&self, name: &Name) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn blob_link(&self, name: &Name, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(file_name(digest))
    }

    /// Opens a blob of a repository; gives its size in bytes too.
    pub(crate) fn open_blob(&self, name: &Name, digest: &Digest) -> Result<(File, u64), Refusal> {
        let size = self.blob_size(name, digest)?;
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(|source| Refusal::disk("open", &path, source))?;
        Ok((file, size))
    }

    /// The size of a blob of a repository, in bytes.
    pub(crate) fn blob_size(&self, name: &Name, digest: &Digest) -> Result<u64, Refusal> {
        let unknown = || Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}"));
        if !self.blob_link(name, digest).exists() {
            return Err(unknown());
        }
        self.stored_size(digest)?.ok_or_else(unknown)
    }

    /// The size of a blob, whichever repositories have it.
    pub(crate) fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, Refusal> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Refusal::disk("look at", &path, source)),
        }
    }

    /// Puts a blob that is stored into a repository.
    pub(crate) fn link_blob(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let path = self.blob_link(name, digest);
        if path.exists() {
            return Ok(());
        }
        make_parent(&path)?;
        match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
            Ok(_) => Ok(()),
            Err(source) => Err(Refusal::disk("make", &path, source)),
        }
    }

    /// Takes a blob out of a repository. Its bytes stay until they are collected.
    pub(crate) fn unlink_blob(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let path = self.blob_link(name, digest);
        fs::remove_file(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}"))
            }
            _ => Refusal::disk("remove", &path, source),
        })
    }

    /// Makes a verified file a blob. The file is on the disk before it gets its name, so
    /// that a blob is whole after a power failure too.
    fn adopt_blob(&self, file: &File, from: &Path, digest: &Digest) -> Result<(), Refusal> {
        let path = self.blob_path(digest);
        if path.exists() {
            let _ = fs::remove_file(from);
            return Ok(());
        }
        make_parent(&path)?;
        file.sync_data().map_err(|source| Refusal::disk("write out", from, source))?;
        fs::rename(from, &path).map_err(|source| Refusal::disk("rename", from, source))
    }

    /// Stores a blob that is in memory and was verified.
    pub(crate) fn store_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Refusal> {
        if self.blob_path(digest).exists() {
            return Ok(());
        }
        let (path, mut file) = self.temporary()?;
        file.write_all(bytes).map_err(|source| Refusal::disk("write", &path, source))?;
        self.adopt_blob(&file, &path, digest)
    }

    /// Keeps what the hub tells about a repository.
    pub(crate) fn write_about(&self, name: &Name, about: &[u8]) -> Result<(), Refusal> {
        self.write_small(&self.repository(name).join("_hub.json"), about)
    }

    /// What the hub tells about a repository, as it was written.
    pub(crate) fn read_about(&self, name: &Name) -> Result<Option<String>, Refusal> {
        manifests::read_small(self.repository(name).join("_hub.json"))
    }

    /// Writes a small file whole or not at all.
    fn write_small(&self, path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
        make_parent(path)?;
        let (temporary, mut file) = self.temporary()?;
        file.write_all(bytes).map_err(|source| Refusal::disk("write", &temporary, source))?;
        fs::rename(&temporary, path).map_err(|source| Refusal::disk("rename", &temporary, source))
    }

    /// A new file that nobody else writes.
    fn temporary(&self) -> Result<(PathBuf, File), Refusal> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-{}", std::process::id(), random_name());
        let path = self.root.join("temporary").join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| Refusal::disk("make", &path, source))?;
        Ok((path, file))
    }
}

/// A digest as part of a file's name.
fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest that a file's name stands for.
fn digest_of(file_name: &str) -> Option<Digest> {
    file_name.replacen('-', ":", 1).parse().ok()
}

fn make_parent(path: &Path) -> Result<(), Refusal> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| Refusal::disk("make", parent, source))
}

/// 128 random bits in hex.
fn random_name() -> String {
    let mut random = [0_u8; 16];
    // Without the kernel's randomness, the time and the process must do.
    if getrandom::fill(&mut random).is_err() {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
        random = (now ^ (u128::from(std::process::id()) << 96)).to_be_bytes();
    }
    hex::encode(random)
}
