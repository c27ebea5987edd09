//! An archive on its way into a spool.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::super::archive::{Archive, Entry, Kind as Tagged};
use super::super::extract::Target;
use super::super::tree::Clean;
use super::super::write::Attributes;
use super::super::{Error, Limits, disk, shown};
use super::index::{Content, Found, Index, Node};
use super::{Kind, Spool, Sum};

/// How much is read and written at once, in bytes.
const PIECE: usize = 256 * 1024;

/// Entries that come, one after the other: each is kept, or left out.
pub struct Arrival<R> {
    archive: Archive<R>,
    /// The root of all: nothing goes outside, and folders and other things don't take each other's places.
    target: Target,
    limits: Limits,
    entries: u64,
    bytes: u64,
    index: Index,
    path: PathBuf,
    file: Arc<File>,
    out: BufWriter<File>,
    /// Where the next content begins.
    end: u64,
    entry: Option<(Entry, Clean)>,
    buffer: Vec<u8>,
}

impl<R: Read> Arrival<R> {
    /// Makes the spool's file, which is not there yet, to take in an archive that is not compressed.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`].
    pub fn new(path: &Path, archive: R, limits: Limits) -> Result<Self, Error> {
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = opened.map_err(disk("make", path))?;
        let other = file.try_clone().map_err(disk("open", path))?;
        Ok(Self {
            archive: Archive::new(archive, limits.bytes),
            target: Target::new(b"/", true, None)?,
            limits,
            entries: 0,
            bytes: 0,
            index: Index::new(),
            path: path.to_owned(),
            file: Arc::new(file),
            out: BufWriter::with_capacity(PIECE, other),
            end: 0,
            entry: None,
            buffer: vec![0; PIECE],
        })
    }

    /// The path of the next entry, as far as it is text. What is not kept is left out.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the archive.
    pub fn next_entry(&mut self) -> Result<Option<String>, Error> {
        let Some(entry) = self.archive.next()? else { return Ok(None) };
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.entries > self.limits.entries {
            return Err(Error::TooMuch { what: "entries", limit: self.limits.entries });
        }
        if self.bytes > self.limits.bytes {
            return Err(Error::TooMuch { what: "bytes", limit: self.limits.bytes });
        }
        let clean = self.target.place(&entry.path)?;
        let path = String::from_utf8_lossy(&clean.parts().join(&b'/')).into_owned();
        self.entry = Some((entry, clean));
        Ok(Some(path))
    }

    /// Takes the entry in.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, or the disk.
    pub fn keep(&mut self) -> Result<(), Error> {
        let Some((mut entry, clean)) = self.entry.take() else { return Ok(()) };
        let Some((parent, name)) = clean.split() else {
            // The root itself stays as it is.
            let fine = entry.kind == Tagged::Directory;
            return if fine { Ok(()) } else { Err(self.target.outside(&entry.path)) };
        };
        let folder = self.index.folder(parent, Some(entry.mtime))?;
        let there = self.index.child(folder.id, name);
        if let Some(there) = there {
            let is_folder = self.index.node(there).kind == Kind::Folder;
            let kind =
                if is_folder { rustix::fs::FileType::Directory } else { rustix::fs::FileType::RegularFile };
            self.target.check_overwrite(&clean, Some(kind), entry.kind)?;
        }
        if entry.kind == Tagged::HardLink {
            let target = self.index.target(&self.target.link(&entry.link)?)?;
            // A name of itself changes nothing.
            if there != Some(target) {
                self.index.link(folder, name, target)?;
            }
            return Ok(());
        }
        let attributes = attributes(std::mem::take(&mut entry.xattrs));
        if let Some(there) = there.filter(|_| entry.kind == Tagged::Directory) {
            let cost = attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            self.index.pay(cost as u64)?;
            let node = self.index.node_mut(there);
            (node.mode, node.owner, node.modified) = (mode(&entry), (entry.uid, entry.gid), entry.mtime);
            if !attributes.is_empty() {
                node.attributes = Some(Box::new(attributes));
            }
            return Ok(());
        }
        self.add(entry, attributes, folder, name)
    }

    fn add(&mut self, entry: Entry, attributes: Attributes, folder: Found, name: &[u8]) -> Result<(), Error> {
        let (kind, content) = match entry.kind {
            Tagged::File => {
                let at = self.end;
                let sum = self.content(&entry, &attributes)?;
                (Kind::File, Content::File { at, sum })
            }
            Tagged::Directory => (Kind::Folder, Content::Folder(std::collections::BTreeMap::new())),
            Tagged::Symlink => (Kind::Link, Content::Link(entry.link.as_slice().into())),
            _ => (Kind::Other, Content::Nothing),
        };
        let node = Node {
            kind,
            mode: mode(&entry),
            owner: (entry.uid, entry.gid),
            modified: entry.mtime,
            size: if kind == Kind::File { entry.size } else { 0 },
            names: 1,
            content,
            attributes: (!attributes.is_empty()).then(|| Box::new(attributes)),
        };
        self.index.add(folder, name, node).map(drop)
    }

    /// Writes a file's content to the spool's end, and sums it up; one with holes when somebody asks.
    fn content(&mut self, entry: &Entry, attributes: &Attributes) -> Result<OnceLock<[u8; 32]>, Error> {
        let path = &self.path;
        if let Some(pieces) = &entry.pieces {
            self.out.flush().map_err(disk("write", path))?;
            for (offset, length) in pieces {
                let (mut at, end) = (self.end + offset, self.end + offset + length);
                while at < end {
                    let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                    let count = self.archive.read(&mut self.buffer[..wanted])?;
                    self.file.write_all_at(&self.buffer[..count], at).map_err(disk("write", path))?;
                    at += count as u64;
                }
            }
            self.end += entry.size;
            self.file.set_len(self.end).map_err(disk("write", path))?;
            self.out.seek(SeekFrom::Start(self.end)).map_err(disk("write", path))?;
            return Ok(OnceLock::new());
        }
        let mut sum = Sum::new(mode(entry), attributes);
        let mut left = entry.size;
        while left > 0 {
            let count = self.archive.read(&mut self.buffer)?;
            let piece = &self.buffer[..count];
            sum.update(piece);
            self.out.write_all(piece).map_err(disk("write", path))?;
            left -= count as u64;
        }
        self.end += entry.size;
        Ok(OnceLock::from(sum.finish()))
    }

    /// The first bytes of a file that came already, so many at most; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`].
    pub fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Ok(id) = self.index.find(path.as_bytes()) else { return Ok(None) };
        let node = self.index.node(id);
        let Content::File { at, .. } = node.content else { return Ok(None) };
        let size = node.size.min(limit);
        self.out.flush().map_err(disk("write", &self.path))?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, at).map_err(disk("read", &self.path))?;
        Ok(Some(bytes))
    }

    /// The spool, when all entries have come.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`].
    pub fn finish(mut self) -> Result<Spool, Error> {
        self.out.flush().map_err(disk("write", &self.path))?;
        Ok(Spool { file: self.file, index: self.index })
    }
}

/// The mode as lstat(2) tells it, the kind included.
fn mode(entry: &Entry) -> u32 {
    match entry.kind {
        Tagged::File | Tagged::HardLink => 0o100_000 | entry.mode,
        Tagged::Directory => 0o040_000 | entry.mode,
        Tagged::Symlink => 0o120_777,
        Tagged::Char => 0o020_000 | entry.mode,
        Tagged::Block => 0o060_000 | entry.mode,
        Tagged::Fifo => 0o010_000 | entry.mode,
    }
}

/// Those attributes that an archive may set, sorted. overlayfs's own could show what is not the archive's.
fn attributes(mut all: Attributes) -> Attributes {
    all.retain(|(name, _)| {
        !(name.starts_with(b"trusted.overlay.")
            || name.starts_with(b"user.overlay.")
            || name == b"security.selinux"
            || name.contains(&0))
    });
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    // The last one of a name counts.
    all.dedup_by(|later, one| {
        let same = later.0 == one.0;
        if same {
            std::mem::swap(&mut later.1, &mut one.1);
        }
        same
    });
    all
}

impl<R> std::fmt::Debug for Arrival<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival")
            .field("path", &shown(self.path.as_os_str().as_encoded_bytes()))
            .finish_non_exhaustive()
    }
}
