//! Writing past the page cache: open(2) with `O_DIRECT`.
//!
//! A large blob would go through memory that the kernel finds for it page by page, and wait there to be
//! written out; most of a push would be that. Past the cache, the disk works while the next bytes come,
//! and has them all when the last ones are there. Whoever pulls the blob first reads it from the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

/// What the kernel asks of places, lengths and memory, in bytes: at most a page.
const ALIGNMENT: usize = 4096;
/// A shorter piece is quicker through the cache.
const LEAST: usize = 256 * 1024;

/// A way into a file past the cache, as long as its file system has one.
#[derive(Debug)]
pub(super) struct Direct {
    file: Option<File>,
    /// Where bytes lie as the kernel wants them; it has room for alignment.
    memory: Vec<u8>,
}

impl Direct {
    /// A way into this file. Where there is none, [`Direct::write`] never writes.
    pub(super) fn open(path: &Path) -> Self {
        Self { file: glassdock_kernel::disk::open_past_cache(path).ok(), memory: Vec::new() }
    }

    /// Writes pieces at a place of the file. False if they have to go the ordinary way: they are not
    /// aligned, or short, or the file system has no other.
    ///
    /// # Errors
    ///
    /// Those of write(2), but for `EINVAL`, by which a file system says that it has no such way.
    pub(super) fn write(&mut self, pieces: &[Bytes], at: u64) -> io::Result<bool> {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let Some(file) = &self.file else { return Ok(false) };
        if length < LEAST || !length.is_multiple_of(ALIGNMENT) || !at.is_multiple_of(ALIGNMENT as u64) {
            return Ok(false);
        }
        self.memory.resize(self.memory.len().max(length + ALIGNMENT), 0);
        let begin = self.memory.as_ptr().align_offset(ALIGNMENT);
        let Some(memory) = self.memory.get_mut(begin..).and_then(|memory| memory.get_mut(..length)) else {
            return Ok(false);
        };
        let mut rest = &mut *memory;
        for piece in pieces {
            let (place, after) = rest.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = after;
        }
        match file.write_all_at(memory, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.file = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_written_and_the_rest_is_left_to_others() {
        // Beside this source, since /tmp may be memory, which has no way past itself.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
        let path = folder.path().join("blob");
        File::create(&path).expect("a file");
        let mut direct = Direct::open(&path);
        let pieces: Vec<Bytes> =
            (0..5_u8).map(|piece| vec![piece; 100_000 + usize::from(piece)].into()).collect();
        let odd: usize = pieces.iter().map(Bytes::len).sum();
        assert!(!direct.write(&pieces, 0).expect("no error"), "{odd} bytes are no whole pages");
        let padding = ALIGNMENT - odd % ALIGNMENT;
        let even: Vec<Bytes> = pieces.iter().cloned().chain([vec![7; padding].into()]).collect();
        assert!(!direct.write(&even, 10).expect("no error"), "10 is no page's begin");
        let written = direct.write(&even, ALIGNMENT as u64).expect("no error");
        // Where it can't be done it says so, and nothing is written.
        let there = std::fs::read(&path).expect("read");
        let expected = if written { [vec![0; ALIGNMENT], even.concat()].concat() } else { Vec::new() };
        assert!(there == expected);
        assert!(!direct.write(&[vec![0; ALIGNMENT].into()], 0).expect("no error"), "short");
    }
}
