//! Pseudo-terminals: for programs that want to talk with a person.
//!
//! The container's own devpts gives a pair: the terminal, which the program has as its
//! standard streams and as `/dev/console`, and the controller, at which the shim reads
//! and writes. The pair is made inside the container, so the terminal has a name there.
//!
//! See pty(7), pts(4), ioctl_tty(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use glassdock_trace::Trace;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::mount::{Attributes, bind};
use crate::path::Root;
use crate::{Error, Result};

/// A pair.
#[derive(Debug)]
pub struct Pty {
    /// The shim's side.
    pub controller: OwnedFd,
    /// The program's side.
    pub terminal: OwnedFd,
    /// The terminal's number: it is `/dev/pts/NUMBER` in the container.
    pub number: u32,
}

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The major number of `/dev/pts/ptmx`, `TTYAUX_MAJOR`, and its minor.
const PTMX: (u32, u32) = (5, 2);

impl Pty {
    /// Makes a pair from the devpts mounted at `/dev/pts` below `root`.
    ///
    /// grantpt(3) is not needed: the devpts gives the terminal its owner and mode.
    ///
    /// # Errors
    ///
    /// `ENOENT` without a devpts there; `ENOSPC` if all numbers are taken.
    pub fn open(root: &Root) -> Result<Self> {
        let place = root.resolve(Path::new("/dev/pts/ptmx"))?;
        let stat = place.stat()?;
        let device = FileType::from_raw_mode(stat.st_mode).is_char_device();
        if !device || stat.st_rdev != rustix::fs::makedev(PTMX.0, PTMX.1) {
            return Err(Error::Invalid {
                what: "terminal multiplexer",
                value: "/dev/pts/ptmx".to_owned(),
                reason: "no devpts is mounted there",
            });
        }
        let failed = |call| move |error: rustix::io::Errno| Error::call(call, "/dev/pts/ptmx", error);
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = rustix::fs::ResolveFlags::IN_ROOT;
        let controller = rustix::fs::openat2(root, "/dev/pts/ptmx", flags, Mode::empty(), resolve)
            .map_err(failed("openat2"))?;
        unlockpt(&controller).map_err(failed("ioctl TIOCSPTLCK"))?;
        // By the controller, and not by a path that might lead to another devpts.
        let terminal =
            ioctl_tiocgptpeer(&controller, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .map_err(failed("ioctl TIOCGPTPEER"))?;
        let name = ptsname(&controller, Vec::new()).map_err(failed("ioctl TIOCGPTN"))?;
        let digits = name.to_string_lossy().rsplit('/').next().and_then(|digits| digits.parse().ok());
        Ok(Self { controller, terminal, number: digits.unwrap_or(0) })
    }

    /// The terminal's path in the container.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/pts/{}", self.number))
    }

    /// Binds the terminal at `/dev/console` below `root`.
    ///
    /// # Errors
    ///
    /// Those of open_tree(2) and move_mount(2).
    pub fn bind_console(&self, trace: &Trace, root: &Root) -> Result<()> {
        let console = root.create_file(Path::new("/dev/console"), 0o620)?;
        bind(trace, &root.resolve(&self.path())?, &console, false, Attributes::default())
    }

    /// Gives the terminal to the user whose program has it: fchown(2).
    ///
    /// # Errors
    ///
    /// Those of fchown(2).
    pub fn set_owner(&self, uid: u32) -> Result<()> {
        rustix::fs::fchown(&self.terminal, Some(rustix::fs::Uid::from_raw(uid)), None)
            .map_err(|error| Error::call("fchown", self.path().display().to_string(), error))
    }
}

/// Makes a terminal the controlling one of this process's session, which it must lead: `TIOCSCTTY`.
///
/// # Errors
///
/// `EPERM` if it leads no session, or has a terminal.
pub fn set_controlling(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a number, 0 for "don't steal it", and touches no memory.
    let answer = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    if answer == -1 {
        return Err(Error::call("ioctl", "TIOCSCTTY", io::Error::last_os_error()));
    }
    Ok(())
}

/// Sets a terminal's size; its programs get SIGWINCH. Either side will do.
///
/// # Errors
///
/// `ENOTTY`.
pub fn resize(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(|error| Error::call("ioctl", "TIOCSWINSZ", error))
}
