//! Raw mode: each key goes to the container as it is pressed, and the container's
//! terminal echoes. What was before comes back when the guard is dropped, also
//! after a panic; a signal that ends the client is caught first (signals.rs).
//!
//! See termios(3), cfmakeraw.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

static RAW: AtomicBool = AtomicBool::new(false);

/// Whether the terminal is in raw mode now, where a line's end needs `\r\n`.
pub(crate) fn is_raw() -> bool {
    RAW.load(Ordering::Relaxed)
}

/// Standard input's terminal in raw mode.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches standard input to raw mode; `None` where it is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        RAW.store(true, Ordering::Relaxed);
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        RAW.store(false, Ordering::Relaxed);
        // A terminal that has gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Reads a line from the terminal without showing it, for passwords.
pub(crate) fn read_secret() -> io::Result<String> {
    use rustix::termios::LocalModes;
    let before = tcgetattr(io::stdin()).ok();
    let guard = before.map(|before| {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &silent);
        Raw { before }
    });
    let mut line = String::new();
    let result = io::stdin().read_line(&mut line);
    if guard.is_some() {
        crate::show::output::error_bytes(b"\n");
    }
    drop(guard);
    result.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
}
