//! Text from bytes that come in pieces: a letter may be cut in two.

use crate::shell::Stream;

/// What is still to come of a letter, for each of a command's outputs.
#[derive(Debug, Default)]
pub struct Pieces {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Pieces {
    /// The text of some more bytes; a letter that is not whole yet is kept for later. What is
    /// no UTF-8 becomes U+FFFD.
    pub fn add(&mut self, stream: Stream, bytes: &[u8]) -> String {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        kept.extend_from_slice(bytes);
        // Of a letter that is not whole there are at most three bytes.
        let cut = (1..=kept.len().min(3)).find(|back| {
            let tail = kept.get(kept.len() - back..).unwrap_or_default();
            std::str::from_utf8(tail)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        });
        let rest = kept.split_off(kept.len() - cut.unwrap_or(0));
        let text = String::from_utf8_lossy(kept).into_owned();
        *kept = rest;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_not_torn() {
        let mut pieces = Pieces::default();
        let dash = "–x".as_bytes();
        assert_eq!(pieces.add(Stream::Stdout, &dash[..1]), "");
        assert_eq!(pieces.add(Stream::Stderr, b"other"), "other");
        assert_eq!(pieces.add(Stream::Stdout, &dash[1..2]), "");
        assert_eq!(pieces.add(Stream::Stdout, &dash[2..]), "–x");
        assert_eq!(pieces.add(Stream::Stdout, b"\xffa"), "\u{fffd}a");
        assert_eq!(pieces.add(Stream::Stdout, b"\x80\x80\x80"), "\u{fffd}\u{fffd}\u{fffd}");
    }
}
