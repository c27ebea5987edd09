//! Blobs: opened, put into repositories, taken out of them.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Act, Guard, Opened, Storage, collect, keys};
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use glassdock_image::digest::Digest;

/// What a manifest names that is in its repository.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) blobs: Vec<Digest>,
    /// With their media types.
    pub(crate) manifests: Vec<(Digest, String)>,
}

impl Storage {
    /// Opens a blob of a repository; gives its size in bytes too.
    pub(crate) fn open_blob(&self, name: &Name, digest: &Digest) -> Result<(Opened, u64), Refusal> {
        let unknown = || Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}"));
        if !self.has_blob(name, digest)? {
            return Err(unknown());
        }
        self.place.open_blob(digest)?.ok_or_else(unknown)
    }

    /// A blob of a repository, whole, if it has at most `limit` bytes.
    pub(crate) fn read_blob(&self, name: &Name, digest: &Digest, limit: u64) -> Result<Vec<u8>, Refusal> {
        let (opened, size) = self.open_blob(name, digest)?;
        if size > limit {
            let words = format!("{digest} is larger than {limit} bytes");
            return Err(Refusal::new(Code::ManifestInvalid, words));
        }
        self.read_opened(&opened, size, digest)
    }

    /// What a blob is called in an error for who runs the registry.
    pub(crate) fn called(&self, digest: &Digest) -> PathBuf {
        self.place.called(&keys::blob(digest))
    }

    pub(super) fn read_opened(
        &self,
        opened: &Opened,
        size: u64,
        digest: &Digest,
    ) -> Result<Vec<u8>, Refusal> {
        let read = match opened {
            Opened::File(file) => {
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
                std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).map(|()| bytes)
            }
            Opened::Object(object) => object.read(size),
        };
        read.map_err(|source| Refusal::disk("read", &self.called(digest), source))
    }

    fn has_blob(&self, name: &Name, digest: &Digest) -> Result<bool, Refusal> {
        Ok(self.place.look(&keys::blob_link(name, digest))?.is_some())
    }

    /// The size of a blob of a repository, in bytes.
    pub(crate) fn blob_size(&self, name: &Name, digest: &Digest) -> Result<u64, Refusal> {
        let unknown = || Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}"));
        if !self.has_blob(name, digest)? {
            return Err(unknown());
        }
        self.stored_size(digest)?.ok_or_else(unknown)
    }

    /// The size of a blob, whichever repositories have it.
    pub(crate) fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, Refusal> {
        self.place.blob_size(digest)
    }

    /// Puts a blob that is stored into a repository. Nobody waits for the disk here: that is for who pushes
    /// the manifest that names it.
    pub(crate) fn link_blob(&self, name: &Name, digest: &Digest, _adding: &Guard) -> Result<(), Refusal> {
        self.place.refresh_blob(digest);
        let link = keys::blob_link(name, digest);
        if self.place.look(&link)?.is_some() {
            self.place.refresh(&link);
            return Ok(());
        }
        self.place.mark(&link)
    }

    /// Puts back into a repository what was in it a moment ago, where a collection of garbage that
    /// couldn't be kept out took it away.
    pub(crate) fn put_back(&self, name: &Name, there: &Contents, _adding: &Guard) -> Result<(), Refusal> {
        for digest in &there.blobs {
            if self.place.bring_back(digest)? && !self.has_blob(name, digest)? {
                self.place.commit(&[Act::write(keys::blob_link(name, digest), Bytes::new())])?;
            }
        }
        for (digest, media_type) in &there.manifests {
            if self.place.bring_back(digest)? && self.manifest_type(name, digest)?.is_none() {
                let link = keys::manifest_link(name, digest);
                self.place.commit(&[Act::write(link, media_type.clone())])?;
            }
        }
        Ok(())
    }

    /// A client asks whether a blob is here, and will not send it if so: it is wanted.
    pub(crate) fn blob_is_wanted(&self, name: &Name, digest: &Digest) {
        let link = keys::blob_link(name, digest);
        let Ok(Some(look)) = self.place.look(&link) else { return };
        if look.changed.elapsed().is_ok_and(|age| age > collect::GRACE / 4)
            && let Ok(_adding) = self.adding()
        {
            self.place.refresh(&link);
            self.place.refresh_blob(digest);
        }
    }

    /// Takes a blob out of a repository. Its bytes stay until they are collected.
    pub(crate) fn unlink_blob(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        if !self.has_blob(name, digest)? {
            return Err(Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}")));
        }
        self.place.commit(&[Act::remove(keys::blob_link(name, digest))])
    }

    /// Makes a verified file, which [`Storage::half`] gave, a blob.
    pub(crate) fn adopt_blob(
        &self,
        file: &File,
        from: &Path,
        digest: &Digest,
        _adding: &Guard,
    ) -> Result<(), Refusal> {
        self.place.adopt(file, from, digest)
    }

    /// Puts a blob into a repository that is in memory and was verified.
    pub(crate) fn put_blob(
        &self,
        name: &Name,
        digest: &Digest,
        bytes: &Bytes,
        _adding: &Guard,
    ) -> Result<(), Refusal> {
        let mut acts = Vec::with_capacity(2);
        if self.place.blob_size(digest)?.is_some() {
            self.place.refresh_blob(digest);
        } else {
            acts.push(self.place.blob_of(digest, bytes)?);
        }
        let link = keys::blob_link(name, digest);
        if self.place.look(&link)?.is_some() {
            self.place.refresh(&link);
        } else {
            acts.push(Act::write(link, Bytes::new()));
        }
        if acts.is_empty() { Ok(()) } else { self.place.commit(&acts) }
    }

    /// The file that a download of a blob goes into, with what an earlier one left of it.
    pub(crate) fn half(&self, digest: &Digest) -> Result<(PathBuf, File), Refusal> {
        self.place.half(digest)
    }
}
