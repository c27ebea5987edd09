//! Keys, as they are pressed: one is enough to go on.
//!
//! Standard input is read by a thread of its own, since a read from a terminal can't be
//! called off. Where it is no terminal, each byte of it is a key, so that a lesson can
//! be played from a script.

use std::io::{IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What a person wants by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Go on.
    Go,
    /// Go on; this is what I guess.
    Guess(usize),
    /// Leave.
    Leave,
}

/// Where keys come from.
#[derive(Debug)]
pub struct Keys {
    bytes: UnboundedReceiver<u8>,
    /// Whether keys that were pressed too early are to be forgotten.
    forgets: bool,
    _mode: Option<Mode>,
}

impl Keys {
    /// The keys of standard input. A terminal gives them at once and unseen until this is dropped.
    #[must_use]
    pub fn of_stdin() -> Self {
        let mode = Mode::enter(Mode::key_by_key);
        Self { bytes: bytes_of_stdin(), forgets: std::io::stdin().is_terminal(), _mode: mode }
    }

    /// These keys, and no more.
    #[must_use]
    pub fn these(keys: &[u8]) -> Self {
        let (sender, bytes) = unbounded_channel();
        for key in keys {
            // The receiver is here.
            let _ = sender.send(*key);
        }
        Self { bytes, forgets: false, _mode: None }
    }

    /// Waits for a key. The end of the input is leaving.
    pub async fn next(&mut self) -> Key {
        if self.forgets {
            while self.bytes.try_recv().is_ok() {}
        }
        loop {
            match self.bytes.recv().await {
                None | Some(b'q' | b'Q' | 3 | 4) => return Key::Leave,
                Some(digit @ b'0'..=b'9') => return Key::Guess(usize::from(digit - b'0')),
                // The line's end behind a key that a script sent.
                Some(b'\r') => {}
                Some(_) => return Key::Go,
            }
        }
    }
}

/// Everything that comes in on standard input, until its end.
#[must_use]
pub fn bytes_of_stdin() -> UnboundedReceiver<u8> {
    let (sender, bytes) = unbounded_channel();
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 256];
        let mut stdin = std::io::stdin().lock();
        while let Ok(length @ 1..) = stdin.read(&mut buffer) {
            for byte in buffer.iter().take(length) {
                if sender.send(*byte).is_err() {
                    return;
                }
            }
        }
    });
    bytes
}

/// A way of standard input's terminal, until it is dropped. See termios(3).
#[derive(Debug)]
pub struct Mode {
    before: Termios,
}

impl Mode {
    /// Changes the terminal; `None` where standard input is none.
    #[must_use]
    pub fn enter(change: fn(&mut Termios)) -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut after = before.clone();
        change(&mut after);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &after).ok()?;
        Some(Self { before })
    }

    /// Keys come at once, and are not echoed. Ctrl-C still interrupts.
    pub fn key_by_key(terminal: &mut Termios) {
        terminal.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    }

    /// All keys come as they are, for a terminal behind this one.
    pub fn raw(terminal: &mut Termios) {
        terminal.make_raw();
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing back.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_mean_something() {
        let mut keys = Keys::these(b" 2\r\nq");
        let wanted = [Key::Go, Key::Guess(2), Key::Go, Key::Leave, Key::Leave];
        for key in wanted {
            assert_eq!(keys.next().await, key);
        }
    }
}
