//! A part of a file, read as if it were one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// How much is read at once, in bytes.
const PIECE: usize = 128 * 1024;

/// So many bytes of a file, from a place on. It keeps its own position.
#[derive(Clone, Debug)]
pub struct Part {
    file: Arc<File>,
    start: u64,
    size: u64,
    at: u64,
}

impl Part {
    pub(super) fn new(file: Arc<File>, start: u64, size: u64) -> Self {
        Self { file, start, size, at: 0 }
    }

    /// A file, all of it, as it is now.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub fn whole(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::new(Arc::new(file), 0, size))
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives all of it away, piece by piece.
    ///
    /// # Errors
    ///
    /// Those of reading; `UnexpectedEof` if the file has become shorter.
    pub fn pieces(mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        self.at = 0;
        let length = usize::try_from(self.size).unwrap_or(PIECE).min(PIECE);
        let mut buffer = vec![0; length];
        while self.at < self.size {
            match self.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => take(&buffer[..count]),
            }
        }
        Ok(())
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.start + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?.min(self.size);
        Ok(self.at)
    }
}
