//! Detach keys: a sequence that leaves a container without ending it, `ctrl-p,ctrl-q`
//! unless told otherwise.

/// Watches what is typed for the sequence.
#[derive(Debug)]
pub(crate) struct Keys {
    sequence: Vec<u8>,
    held: usize,
}

/// What became of some typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// These go to the container.
    Pass(Vec<u8>),
    /// Leave; these go to the container before that.
    Detach(Vec<u8>),
}

impl Keys {
    /// Reads `ctrl-p,ctrl-q`, `a,b`, and the like.
    ///
    /// # Errors
    ///
    /// The key that is none, in Docker's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut sequence = Vec::new();
        for key in text.split(',') {
            let mut letters = key.bytes();
            let code = match (letters.next(), letters.next()) {
                (Some(letter), None) => letter,
                _ => match key.to_lowercase().strip_prefix("ctrl-").map(str::as_bytes) {
                    Some([letter @ b'a'..=b'z']) => letter - b'a' + 1,
                    Some([b'@']) => 0,
                    Some([letter @ (b'[' | b'\\' | b']' | b'^' | b'_')]) => letter - b'[' + 27,
                    _ => return Err(format!("Unknown character: '{key}'")),
                },
            };
            sequence.push(code);
        }
        Ok(Self { sequence, held: 0 })
    }

    /// The sequence that Docker has.
    pub(crate) fn usual() -> Self {
        Self { sequence: vec![16, 17], held: 0 }
    }

    /// Takes typed bytes. A part of the sequence is held back until it is clear
    /// whether it is the sequence.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Typed {
        let mut pass = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.sequence.get(self.held) == Some(byte) {
                self.held += 1;
                if self.held == self.sequence.len() {
                    return Typed::Detach(pass);
                }
                continue;
            }
            pass.extend(self.sequence.iter().take(self.held));
            self.held = 0;
            if self.sequence.first() == Some(byte) {
                self.held = 1;
            } else {
                pass.push(*byte);
            }
        }
        Typed::Pass(pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_detaches_and_its_parts_pass() {
        let mut keys = Keys::usual();
        assert_eq!(keys.feed(b"ab\x10"), Typed::Pass(b"ab".to_vec()));
        assert_eq!(keys.feed(b"c"), Typed::Pass(b"\x10c".to_vec()));
        assert_eq!(keys.feed(b"x\x10"), Typed::Pass(b"x".to_vec()));
        assert_eq!(keys.feed(b"\x11y"), Typed::Detach(Vec::new()));
        assert!(Keys::parse("ctrl-a,x").is_ok());
        assert!(Keys::parse("ctrl-").is_err());
    }
}
