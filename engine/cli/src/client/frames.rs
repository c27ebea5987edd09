//! Standard output and error on one connection: Docker's multiplexed framing.
//!
//! ```text
//!   byte 0      which stream: 0 or 1 output, 2 error, 3 an error of the daemon
//!   bytes 1-3   nothing
//!   bytes 4-7   how many bytes follow, big end first
//! ```
//!
//! See "Attach to a container" in the Engine API.

use std::io;

/// Where a piece of a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Out,
    Err,
    /// The daemon itself says what went wrong.
    System,
}

/// Takes framed bytes apart, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: Vec<u8>,
    left: usize,
    target: Option<Target>,
}

impl Frames {
    /// Takes the next bytes, and hands each piece on.
    ///
    /// # Errors
    ///
    /// A frame of an unknown stream, and those of `each`.
    pub(crate) fn feed<E: From<io::Error>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Target, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if let Some(target) = self.target {
                let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
                each(target, piece)?;
                self.left -= piece.len();
                if self.left == 0 {
                    self.target = None;
                }
                bytes = rest;
                continue;
            }
            let (piece, rest) = bytes.split_at((8 - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(piece);
            bytes = rest;
            if let [kind, _, _, _, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                let target = match kind {
                    0 | 1 => Target::Out,
                    2 => Target::Err,
                    3 => Target::System,
                    other => {
                        let message = format!("unrecognized stream: {other}");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, message).into());
                    }
                };
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.target = (self.left > 0).then_some(target);
                self.head.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_streams() {
        let bytes = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x01!\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01d";
        for size in 1..bytes.len() {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut frames = Frames::default();
            for chunk in bytes.chunks(size) {
                let fed: io::Result<()> = frames.feed(chunk, |target, piece| {
                    if target == Target::Out { &mut out } else { &mut err }.extend_from_slice(piece);
                    Ok(())
                });
                fed.expect("good frames");
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"abcd"[..], &b"!"[..]), "{size}");
        }
    }

    #[test]
    fn an_unknown_stream_is_an_error() {
        let fed: io::Result<()> = Frames::default().feed(b"HTTP/1.1", |_, _| Ok(()));
        assert!(fed.is_err());
    }
}
