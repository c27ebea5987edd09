//! Files to the disk and to sockets, by calls that the standard library doesn't have.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Writes out everything of the file system that `file` is on; syncfs(2).
///
/// # Errors
///
/// If the disk fails or is full.
pub fn sync_filesystem(file: &File) -> io::Result<()> {
    rustix::fs::syncfs(file).map_err(io::Error::from)
}

/// Sends at most `count` bytes of `file`, from `offset` on, to a socket, without a way
/// through this process; sendfile(2). Gives how many bytes went, and moves `offset` on by them.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if the socket takes nothing now; otherwise as the call says.
pub fn send_file(socket: impl AsFd, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
    rustix::fs::sendfile(socket, file, Some(offset), count).map_err(io::Error::from)
}
