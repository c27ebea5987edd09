//! A layer in the making: an archive whose bytes depend on nothing but its content.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::EPOCH;

/// An archive that is being filled.
pub struct Layer {
    archive: Builder<Vec<u8>>,
    /// The instruction that this layer stands for in `docker history`.
    made_by: String,
}

/// A finished layer.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The digest of the plain archive.
    pub diff_id: String,
    /// The archive, compressed with gzip.
    pub bytes: Vec<u8>,
    /// The instruction that it stands for.
    pub made_by: String,
}

impl Layer {
    /// An empty layer.
    #[must_use]
    pub fn new(made_by: &str) -> Self {
        Self { archive: Builder::new(Vec::new()), made_by: made_by.to_owned() }
    }

    /// Adds a file. Paths are relative to the image's root.
    ///
    /// # Errors
    ///
    /// If the path can't be put into an archive.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        self.archive.append_data(&mut header, path, content)
    }

    /// Adds a directory.
    ///
    /// # Errors
    ///
    /// As [`Layer::file`].
    pub fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.archive.append_data(&mut header(EntryType::Directory, mode), format!("{path}/"), io::empty())
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    ///
    /// As [`Layer::file`].
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.archive.append_link(&mut header(EntryType::Symlink, 0o777), path, target)
    }

    /// Adds another name for a file that is in the archive already.
    ///
    /// # Errors
    ///
    /// As [`Layer::file`].
    pub fn hard_link(&mut self, path: &str, existing: &str) -> io::Result<()> {
        self.archive.append_link(&mut header(EntryType::Link, 0o755), path, existing)
    }

    /// Ends and compresses the archive.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn finish(self) -> io::Result<Finished> {
        self.finish_with(Compression::new(6))
    }

    /// As [`Layer::finish`], for a layer that is so large that its compression is waited for.
    ///
    /// # Errors
    ///
    /// As [`Layer::finish`].
    pub fn finish_quickly(self) -> io::Result<Finished> {
        self.finish_with(Compression::fast())
    }

    fn finish_with(self, effort: Compression) -> io::Result<Finished> {
        let plain = self.archive.into_inner()?;
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), effort);
        gzip.write_all(&plain)?;
        Ok(Finished { diff_id: digest(&plain), bytes: gzip.finish()?, made_by: self.made_by })
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(EPOCH);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// The SHA-256 digest in its usual form.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
