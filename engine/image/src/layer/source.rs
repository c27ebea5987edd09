//! The bytes of an archive: decompressed, counted, hashed as they pass.

use std::io::{self, BufRead, BufReader, Read};

use super::Error;
use crate::digest::{DiffId, Hasher};

/// How much is decompressed at once, in bytes.
const BUFFER: usize = 128 * 1024;

/// zstd's frames may ask for windows of gigabytes; 128 MiB (2^27) is what `zstd -d` takes too.
const LARGEST_WINDOW_LOG: u32 = 27;

/// What xz may use of memory, in bytes: its highest level takes a quarter of it.
const XZ_MEMORY: u64 = 256 << 20;

/// The uncompressed archive. Reading it hashes it.
pub(super) struct Source<'a, R: Read> {
    inner: Box<dyn Read + 'a>,
    hasher: Hasher,
    passed: u64,
    limit: u64,
    marker: std::marker::PhantomData<R>,
}

impl<'a, R: Read + 'a> Source<'a, R> {
    /// Looks at the first bytes of `blob` to see how it is compressed: a media
    /// type can lie, and Docker's says gzip of layers that are not.
    pub(super) fn new(
        blob: R,
        diff_id: &DiffId,
        limit: u64,
        progress: &'a dyn Fn(u64),
    ) -> Result<Self, Error> {
        let inner = decompress(Counted { inner: blob, count: 0, progress })?;
        Ok(Self { inner, hasher: diff_id.0.hasher(), passed: 0, limit, marker: std::marker::PhantomData })
    }

    /// Reads what stands after the archive's end, since it is part of the diff id.
    pub(super) fn finish(mut self) -> Result<DiffId, Error> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer).map_err(too_much(self.limit))? > 0 {}
        Ok(DiffId(self.hasher.finish()))
    }
}

/// Decompresses what is compressed: gzip, zstd, bzip2 and xz, told by the first bytes; anything else passes as it is.
///
/// # Errors
///
/// [`Error::Read`] if the first bytes can't be read, or the decompressor can't be made.
pub fn decompressed<'a>(blob: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    decompress(Counted { inner: blob, count: 0, progress: &|_| {} })
}

fn decompress<'a, R: Read + 'a>(counted: Counted<'a, R>) -> Result<Box<dyn Read + 'a>, Error> {
    let mut buffered = BufReader::with_capacity(BUFFER, counted);
    let magic = peek(&mut buffered).map_err(Error::Read)?;
    Ok(match Compression::of(&magic) {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered).map_err(Error::Read)?;
            decoder.window_log_max(LARGEST_WINDOW_LOG).map_err(Error::Read)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered)),
        Compression::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags);
            let stream = stream.map_err(|error| Error::Read(error.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, stream))
        }
        Compression::None => Box::new(buffered),
    })
}

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or in a way that is not known here.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// As bzip2(1) does; for no layer of an image.
    Bzip2,
    /// As xz(1) does; for no layer of an image.
    Xz,
}

impl Compression {
    /// Tells it by the first four bytes.
    #[must_use]
    pub fn of(magic: &[u8]) -> Self {
        if magic.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
            || (magic.len() >= 4 && magic[0] & 0xf0 == 0x50 && magic[1..4] == [0x2a, 0x4d, 0x18])
        {
            Self::Zstd
        } else if magic.starts_with(b"BZh") {
            Self::Bzip2
        } else if magic.starts_with(&[0xfd, 0x37, 0x7a, 0x58]) {
            Self::Xz
        } else {
            Self::None
        }
    }
}

/// Up to four bytes without taking them. A first read may bring fewer.
fn peek<R: Read>(buffered: &mut BufReader<R>) -> io::Result<Vec<u8>> {
    let start = buffered.fill_buf()?;
    Ok(start[..start.len().min(4)].to_vec())
}

pub(super) fn too_much(limit: u64) -> impl Fn(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::FileTooLarge => Error::TooMuch { what: "bytes", limit },
        _ => Error::Read(error),
    }
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.passed += count as u64;
        if self.passed > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(count)
    }
}

/// Tells how much of the blob was read. A first read that brings less than four
/// bytes is asked again, so that the magic can be seen.
struct Counted<'a, R> {
    inner: R,
    count: u64,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = if self.count == 0 { buffer.len().min(4) } else { 1 };
        let mut count = 0;
        while count < wanted {
            match self.inner.read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.count += count as u64;
        (self.progress)(self.count);
        Ok(count)
    }
}
