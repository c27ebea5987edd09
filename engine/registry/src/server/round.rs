//! A round of writing: the bytes that go into a file at once.
//!
//! A round ends at a multiple of its length: the kernel keeps a file in pieces as large as one
//! write fills, if they begin where they should, and a large piece is sent faster than many
//! small ones.

use std::fs::File;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;

/// So long is a round that begins where it should.
const LENGTH: usize = 1024 * 1024;
/// A sender may send a byte at a time; so many are written at once.
const PIECES: usize = 1024;

/// How long a round is that begins at this place of a file.
pub(super) fn length_at(place: u64) -> usize {
    LENGTH - usize::try_from(place % LENGTH as u64).unwrap_or(0)
}

/// Bytes for one place of a file, as they come.
#[derive(Debug)]
pub(super) struct Round {
    pieces: Vec<Bytes>,
    left: usize,
}

impl Round {
    /// One that begins at this place of a file.
    pub(super) fn at(place: u64) -> Self {
        Self { pieces: Vec::new(), left: length_at(place) }
    }

    /// Takes these bytes, and gives back those that belong to the next round.
    pub(super) fn take(&mut self, mut bytes: Bytes) -> Bytes {
        let over = if bytes.len() > self.left { bytes.split_off(self.left) } else { Bytes::new() };
        self.left -= bytes.len();
        self.pieces.push(bytes);
        over
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0 || self.pieces.len() >= PIECES
    }

    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }
}

/// Writes all pieces at once where the file stands, so that the kernel keeps them in large pieces
/// too: a page cache of 4 KiB pages is sent at about half the speed.
pub(super) fn write_all(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> =
        pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_where_the_next_begins() {
        let mut round = Round::at(3 * LENGTH as u64 + 10);
        let over = round.take(Bytes::from(vec![1; LENGTH]));
        assert!(round.is_full());
        assert_eq!(over.len(), 10);
        assert_eq!(round.into_pieces().iter().map(Bytes::len).sum::<usize>(), LENGTH - 10);
        assert!(!Round::at(4 * LENGTH as u64).is_full());
    }

    #[test]
    fn bytes_one_by_one_fill_a_round_too() {
        let mut round = Round::at(0);
        let count = std::iter::repeat_with(|| round.take(Bytes::from_static(b"x")))
            .take_while(|over| over.is_empty())
            .take(PIECES)
            .count();
        assert_eq!(count, PIECES);
        assert!(round.is_full());
    }

    #[test]
    fn pieces_are_written_in_their_order() {
        let file = tempfile::tempfile().expect("a file");
        write_all(&file, &[Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")])
            .expect("written");
        let mut read = [0; 3];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 0).expect("three bytes");
        assert_eq!(&read, b"abc");
    }
}
