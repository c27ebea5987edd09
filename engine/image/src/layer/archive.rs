//! Reads tar archives: ustar, GNU (long names, sparse files) and pax.
//!
//! Written here because what the `tar` crate's reader keeps in memory is as large
//! as the archive claims (a pax header of gigabytes of zeros compresses to
//! nothing). Its types for headers are used. See `pax(1)` and GNU tar's manual,
//! "Tar Internals".

use std::io::Read;

use super::{Error, source};

const BLOCK: usize = 512;
/// The largest extended header, in bytes; Go's reader has the same bound.
const LARGEST_EXTENSION: u64 = 1 << 20;
/// The longest path that the kernel takes.
const LONGEST_PATH: usize = 4096;
/// The most pieces of a sparse file.
const MOST_PIECES: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// One entry: what is to be made, and where.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file's size, holes included.
    pub(crate) size: u64,
    /// Where the stored bytes belong, as offset and length; `None` if they are the whole file.
    pub(crate) pieces: Option<Vec<(u64, u64)>>,
}

pub(crate) struct Archive<R> {
    reader: R,
    /// Stored bytes of the entry that were not read yet, and the padding after them.
    left: u64,
    padding: u64,
    limit: u64,
}

/// What headers before an entry say about it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

#[derive(Default)]
struct Sparse {
    major: u64,
    real_size: Option<u64>,
    name: Option<Vec<u8>>,
    pieces: Vec<(u64, u64)>,
}

impl<R: Read> Archive<R> {
    /// Reads from `reader`; `limit` is only for the message when the reader says that there is too much.
    pub(crate) fn new(reader: R, limit: u64) -> Self {
        Self { reader, left: 0, padding: 0, limit }
    }

    /// The next entry, or `None` at the archive's end. What was not read of the last one is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.left)?;
            self.padding(self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| Error::Damaged("a header without a size"))?;
            match header.entry_type().as_byte() {
                b'x' => {
                    let bytes = self.extension(size)?;
                    extensions.read(&bytes)?;
                }
                // Global headers are comments in practice (git's commit id).
                b'g' => drop(self.extension(size)?),
                b'L' => extensions.path = Some(trimmed(self.extension(size)?)),
                b'K' => extensions.link = Some(trimmed(self.extension(size)?)),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads stored bytes of the current entry.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..wanted]).map_err(source::too_much(self.limit))?;
        if count == 0 {
            return Err(Error::Damaged("it ends in the middle of a file"));
        }
        self.left -= count as u64;
        Ok(count)
    }

    fn entry(&mut self, header: &tar::Header, size: u64, extensions: Extensions) -> Result<Entry, Error> {
        let damaged = |_| Error::Damaged("a header with a number that is none");
        let path = match &extensions.sparse.name {
            Some(name) => name.clone(),
            None => extensions.path.clone().unwrap_or_else(|| header.path_bytes().into_owned()),
        };
        let link = extensions
            .link
            .clone()
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        if path.len() > LONGEST_PATH || link.len() > LONGEST_PATH {
            return Err(Error::Refused {
                path: super::shown(&path),
                reason: "its path is longer than any that the kernel takes",
            });
        }
        let flag = header.entry_type().as_byte();
        let kind = match flag {
            b'0' | 0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(Error::Refused { path: super::shown(&path), reason: "its type is not known" }),
        };
        let stored = extensions.size.unwrap_or(size);
        if i64::try_from(stored).is_err() {
            return Err(Error::Damaged("a header with a size that no file has"));
        }
        if kind == Kind::File {
            self.left = stored;
            self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        }
        let mut entry = Entry {
            path,
            kind,
            link,
            mode: field(&header.as_old().mode, header.mode()).map_err(damaged)? & 0o7777,
            uid: extensions.uid.map_or_else(|| number(field(&header.as_old().uid, header.uid())), Ok)?,
            gid: extensions.gid.map_or_else(|| number(field(&header.as_old().gid, header.gid())), Ok)?,
            mtime: match extensions.mtime {
                Some(mtime) => mtime,
                // Times before 1970 are written in two's complement, which reads as a huge number.
                None => (field(&header.as_old().mtime, header.mtime()).map_err(damaged)? as i64, 0),
            },
            device: (0, 0),
            xattrs: extensions.xattrs,
            size: if kind == Kind::File { stored } else { 0 },
            pieces: None,
        };
        if matches!(kind, Kind::Char | Kind::Block) {
            entry.device = (
                header.device_major().map_err(damaged)?.unwrap_or_default(),
                header.device_minor().map_err(damaged)?.unwrap_or_default(),
            );
        }
        if flag == b'S' {
            self.gnu_sparse(header, &mut entry)?;
        } else if let Some(real_size) = extensions.sparse.real_size.filter(|_| kind == Kind::File) {
            let pieces =
                if extensions.sparse.major == 1 { self.sparse_map()? } else { extensions.sparse.pieces };
            entry.pieces = Some(pieces);
            entry.size = real_size;
        }
        check_pieces(&entry, self.left)?;
        Ok(entry)
    }

    /// GNU's old sparse format: four pieces in the header, more in blocks after it.
    fn gnu_sparse(&mut self, header: &tar::Header, entry: &mut Entry) -> Result<(), Error> {
        let damaged = |_| Error::Damaged("a sparse header with a number that is none");
        let gnu = header.as_gnu().ok_or(Error::Damaged("a sparse file without GNU's header"))?;
        let mut pieces = Vec::new();
        let mut take = |sparse: &[tar::GnuSparseHeader]| -> Result<(), Error> {
            for piece in sparse.iter().filter(|piece| !piece.is_empty()) {
                pieces.push((piece.offset().map_err(damaged)?, piece.length().map_err(damaged)?));
            }
            if pieces.len() > MOST_PIECES {
                return Err(Error::Damaged("a sparse file in too many pieces"));
            }
            Ok(())
        };
        take(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            self.exact(block.as_mut_bytes())?;
            take(block.sparse())?;
            more = block.is_extended();
        }
        entry.size = gnu.real_size().map_err(damaged)?;
        entry.pieces = Some(pieces);
        Ok(())
    }

    /// Pax's sparse format 1.0: the map is decimal lines before the data, padded to a block.
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, Error> {
        const DAMAGED: Error = Error::Damaged("a sparse map that is none");
        let mut block = [0; BLOCK];
        let mut text: Vec<u8> = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            let wanted = numbers.first().map_or(1, |count| count.saturating_mul(2).saturating_add(1));
            if wanted > 2 * MOST_PIECES as u64 {
                return Err(DAMAGED);
            }
            if numbers.len() as u64 >= wanted {
                break;
            }
            let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
                if self.left < BLOCK as u64 || text.len() > 32 {
                    return Err(DAMAGED);
                }
                self.exact(&mut block)?;
                self.left -= BLOCK as u64;
                text.extend_from_slice(&block);
                continue;
            };
            numbers.push(decimal(&text[..end]).ok_or(DAMAGED)?);
            text.drain(..=end);
        }
        Ok(numbers[1..].chunks_exact(2).map(|piece| (piece[0], piece[1])).collect())
    }

    /// The next header; `None` at the end: two blocks of zeros, or nothing more.
    fn header(&mut self) -> Result<Option<tar::Header>, Error> {
        let mut header = tar::Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            let mut second = [0; BLOCK];
            if self.block(&mut second)? && second.iter().any(|byte| *byte != 0) {
                return Err(Error::Damaged("something follows its end"));
            }
            return Ok(None);
        }
        let bytes = header.as_bytes();
        // The checksum counts its own field as spaces.
        let sum: u32 =
            bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(Error::Damaged("a header with a wrong checksum"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LARGEST_EXTENSION {
            return Err(Error::TooMuch { what: "bytes in an extended header", limit: LARGEST_EXTENSION });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.exact(&mut bytes)?;
        self.skip(size.next_multiple_of(BLOCK as u64) - size)?;
        Ok(bytes)
    }

    /// Fills `block`; false if there is nothing more at all.
    fn block(&mut self, block: &mut [u8]) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < block.len() {
            let count = self.reader.read(&mut block[filled..]).map_err(source::too_much(self.limit))?;
            if count == 0 {
                return if filled == 0 {
                    Ok(false)
                } else {
                    Err(Error::Damaged("it ends in the middle of a header"))
                };
            }
            filled += count;
        }
        Ok(true)
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if buffer.is_empty() || self.block(buffer)? {
            return Ok(());
        }
        Err(Error::Damaged("it ends in the middle of a header"))
    }

    /// Passes over what fills a file's last block. An archive may end there: the docker client's does, where it
    /// puts the Dockerfile of its standard input at the end of a context.
    fn padding(&mut self, count: u64) -> Result<(), Error> {
        let limit = self.limit;
        let copied = std::io::copy(&mut self.reader.by_ref().take(count), &mut std::io::sink());
        copied.map(drop).map_err(source::too_much(limit))
    }

    fn skip(&mut self, mut count: u64) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        while count > 0 {
            let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.reader.read(&mut buffer[..wanted]).map_err(source::too_much(self.limit))?;
            if read == 0 {
                return Err(Error::Damaged("it ends in the middle of a file"));
            }
            count -= read as u64;
        }
        Ok(())
    }
}

impl Extensions {
    /// Records are `LENGTH KEY=VALUE\n`; a value may be any bytes, new lines too.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        const DAMAGED: Error = Error::Damaged("an extended header that is none");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or(DAMAGED)?;
            let length =
                decimal(&bytes[..space]).and_then(|length| usize::try_from(length).ok()).ok_or(DAMAGED)?;
            let record = bytes.get(space + 1..length).ok_or(DAMAGED)?;
            let record = record.strip_suffix(b"\n").ok_or(DAMAGED)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(DAMAGED)?;
            self.take(&record[..equals], &record[equals + 1..]).ok_or(DAMAGED)?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let small = |value: &[u8]| decimal(value).and_then(|number| u32::try_from(number).ok());
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(small(value)?),
            b"gid" => self.gid = Some(small(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.major" => self.sparse.major = decimal(value)?,
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = Some(decimal(value)?),
            b"GNU.sparse.offset" => self.sparse.pieces.push((decimal(value)?, 0)),
            b"GNU.sparse.numbytes" => self.sparse.pieces.last_mut()?.1 = decimal(value)?,
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|byte| *byte == b',').filter(|text| !text.is_empty()).map(decimal).collect();
                self.sparse.pieces = numbers?.chunks_exact(2).map(|piece| (piece[0], piece[1])).collect();
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

/// Pieces go upwards, don't overlap, lie in the file, and are as long as what is stored.
fn check_pieces(entry: &Entry, stored: u64) -> Result<(), Error> {
    let Some(pieces) = &entry.pieces else { return Ok(()) };
    let (mut end, mut sum) = (0, 0_u64);
    for (offset, length) in pieces {
        let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= entry.size);
        end = next.ok_or(Error::Damaged("a sparse file whose pieces don't fit"))?;
        sum += length;
    }
    if sum == stored { Ok(()) } else { Err(Error::Damaged("a sparse file whose pieces don't fit")) }
}

/// A number's field that is empty means 0, as for GNU tar and Go.
fn field<T: Default>(raw: &[u8], number: std::io::Result<T>) -> std::io::Result<T> {
    if raw.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(T::default()) } else { number }
}

fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn number(field: std::io::Result<u64>) -> Result<u32, Error> {
    field
        .ok()
        .and_then(|number| u32::try_from(number).ok())
        .ok_or(Error::Damaged("a header with an owner that is none"))
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Decimal seconds with a fraction, maybe before 1970.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 =
        if fraction.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok()? } else { return None };
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}
