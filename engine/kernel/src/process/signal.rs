//! Signals by name, and as something that can be polled.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd as NixSignalFd};

use crate::{Error, Result};

/// A signal's number, as this machine has it; signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// The signals with names, as this machine numbers them.
#[rustfmt::skip]
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("QUIT", libc::SIGQUIT), ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP), ("ABRT", libc::SIGABRT), ("BUS", libc::SIGBUS), ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL), ("USR1", libc::SIGUSR1), ("SEGV", libc::SIGSEGV), ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE), ("ALRM", libc::SIGALRM), ("TERM", libc::SIGTERM), ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD), ("CONT", libc::SIGCONT), ("STOP", libc::SIGSTOP), ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN), ("TTOU", libc::SIGTTOU), ("URG", libc::SIGURG), ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ), ("VTALRM", libc::SIGVTALRM), ("PROF", libc::SIGPROF), ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO), ("PWR", libc::SIGPWR), ("SYS", libc::SIGSYS),
    // Other words for some of them; a number's first name is the one that is told.
    ("IOT", libc::SIGIOT), ("CLD", libc::SIGCHLD), ("POLL", libc::SIGPOLL),
];

/// The first and last of the real-time signals that the C library leaves free.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(libc::SIGINT);
    /// The end, with no handler.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The polite end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// A child ended.
    pub const CHLD: Self = Self(libc::SIGCHLD);
    /// The terminal's size changed.
    pub const WINCH: Self = Self(libc::SIGWINCH);
    /// Stop, with no handler.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// Go on.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// Reads `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(Self(*number));
        }
        let number = if let Some(above) = name.strip_prefix("RTMIN") {
            REAL_TIME.start() + offset(above, '+')?
        } else {
            REAL_TIME.end() - offset(name.strip_prefix("RTMAX")?, '-')?
        };
        REAL_TIME.contains(&number).then_some(Self(number))
    }

    /// The signal of a number, 1 to 64.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name, such as `SIGKILL`.
    #[must_use]
    pub fn name(self) -> String {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => format!("SIG{name}"),
            None if self.0 == *REAL_TIME.start() => "SIGRTMIN".to_owned(),
            None => format!("SIGRTMIN+{}", self.0 - REAL_TIME.start()),
        }
    }
}

/// The number after `RTMIN` or `RTMAX`: none is 0.
fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
        .filter(|offset| *offset < 64)
}

/// Signals that arrive by reading a descriptor: signalfd(2).
#[derive(Debug)]
pub struct SignalFd(NixSignalFd);

impl SignalFd {
    /// Blocks these signals in this thread, and in children until
    /// [`crate::process::reset_signals`]; they arrive here instead. Non-blocking, close-on-exec.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a signal that the C library keeps for itself; those of signalfd(2).
    pub fn new(signals: &[Signal]) -> Result<Self> {
        let set = set_of(signals)?;
        set.thread_block().map_err(|error| Error::call("sigprocmask", "SIG_BLOCK", error))?;
        NixSignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Self)
            .map_err(|error| Error::call("signalfd", "", error))
    }

    /// Takes the next signal; `None` if there is none now.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn take(&self) -> Result<Option<Signal>> {
        let taken = self.0.read_signal().map_err(|error| Error::call("read", "signalfd", error))?;
        Ok(taken.and_then(|info| i32::try_from(info.ssi_signo).ok()).map(Signal))
    }
}

/// The signals as a set; nix has names only for those before the real-time ones.
fn set_of(signals: &[Signal]) -> Result<SigSet> {
    let mut set: libc::sigset_t = *SigSet::empty().as_ref();
    for signal in signals {
        // SAFETY: set is an initialised set that nobody else has.
        if unsafe { libc::sigaddset(&raw mut set, signal.0) } != 0 {
            return Err(Error::Invalid {
                what: "signal",
                value: signal.name(),
                reason: "the C library keeps it for itself",
            });
        }
    }
    // SAFETY: it was initialised as an empty set, and only signals were added.
    Ok(unsafe { SigSet::from_sigset_t_unchecked(set) })
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_every_form() {
        for text in ["KILL", "SIGKILL", "sigkill", "kill", "9"] {
            assert_eq!(Signal::parse(text), Some(Signal::KILL), "{text}");
        }
        assert_eq!(Signal::parse("RTMIN+3").map(Signal::number), Some(37));
        assert_eq!(Signal::parse("SIGRTMAX-1").map(Signal::number), Some(63));
        assert_eq!(Signal::parse("RTMIN").map(Signal::name).as_deref(), Some("SIGRTMIN"));
        for text in
            ["", "0", "65", "-1", "SIG", "NOPE", "RTMIN+31", "RTMIN-1", "RTMIN+99999999999", "RTMAX+1"]
        {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_c_library_keeps_is_in_no_set() {
        let number = |number| Signal::from_number(number).expect("a number of a signal");
        assert!(set_of(&[Signal::TERM, number(34), number(64)]).is_ok());
        assert!(set_of(&[number(32)]).is_err());
    }

    #[test]
    fn every_number_has_a_name_that_reads_back() {
        for signal in (1..=64).filter_map(Signal::from_number).filter(|signal| !matches!(signal.0, 32 | 33)) {
            assert_eq!(Signal::parse(&signal.name()), Some(signal));
        }
    }
}
