//! The terminal: whether there is one, its size, raw mode, signals, detach keys.

pub(crate) mod keys;

pub(crate) mod raw;

pub(crate) mod signals;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether to colour what goes to standard error: a terminal, and no `NO_COLOR`.
pub(crate) fn stderr_has_colour() -> bool {
    stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether to colour what goes to standard output: a terminal, and no `NO_COLOR`.
pub(crate) fn stdout_has_colour() -> bool {
    stdout_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns and rows of a terminal.
pub(crate) fn size(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

pub(crate) fn width_of_stdin() -> Option<u16> {
    size(io::stdin()).map(|(columns, _)| columns)
}

pub(crate) fn width_of_stdout() -> Option<u16> {
    size(io::stdout()).map(|(columns, _)| columns)
}
