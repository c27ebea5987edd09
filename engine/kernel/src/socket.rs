//! What a socket's other side has still to read.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Error, Result};

/// How much memory is held by what was written to a Unix socket and not yet read at its other
/// end, in bytes; 0 when the reader has everything. See unix(7), `SIOCOUTQ` in tcp(7).
///
/// # Errors
///
/// The kernel's, for what is no socket.
pub fn unread(socket: BorrowedFd<'_>) -> Result<u32> {
    let mut held: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed and so open; TIOCOUTQ (the same number as SIOCOUTQ) writes
    // one int to the address, which is that of a local int.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut held) };
    if answer < 0 {
        return Err(Error::call("ioctl", "SIOCOUTQ", io::Error::last_os_error()));
    }
    Ok(u32::try_from(held).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_was_read_is_not_unread() {
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        assert_eq!(unread(near.as_fd()).expect("a socket"), 0);
        near.write_all(b"hi").expect("room");
        assert!(unread(near.as_fd()).expect("a socket") > 0);
        far.read_exact(&mut [0; 2]).expect("two bytes");
        assert_eq!(unread(near.as_fd()).expect("a socket"), 0);
    }
}
