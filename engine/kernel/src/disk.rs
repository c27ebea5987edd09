//! Files to the disk and to sockets, by calls that the standard library doesn't have.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, IFlags};

/// Writes out everything of the file system that `file` is on; syncfs(2).
///
/// # Errors
///
/// If the disk fails or is full.
pub fn sync_filesystem(file: &File) -> io::Result<()> {
    rustix::fs::syncfs(file).map_err(io::Error::from)
}

/// How long a lock may still be held by what is ending.
const ENDING: Duration = Duration::from_secs(1);

/// Locks a file that a process has to itself as long as it lives; flock(2). Gives whether it could.
///
/// A process that was killed may have the lock a moment longer: while the kernel ends a call that can't
/// be interrupted, such as syncfs(2), or in a child that was forked and has not called execve(2) yet. So
/// a lock that is held is tried again for a second.
///
/// # Errors
///
/// If the file system has no locks.
pub fn lock_for_life(file: &File) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= ENDING => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Asks the kernel to begin to write out a part of a file now, rather than when somebody waits
/// for it; sync_file_range(2). It promises nothing, so what it can't do is no error.
pub fn begin_write_out(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the descriptor is open for the length of the call, which touches no memory of ours.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Gives an open file one more name, whatever became of the one that it was opened by; linkat(2).
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if the name is taken, [`io::ErrorKind::NotFound`] if the file has no name any
/// more; otherwise as the call says.
pub fn link_file(file: &File, to: &Path) -> io::Result<()> {
    // By its number in /proc: the kernel has another way only for those who may read every file.
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(rustix::fs::CWD, from, rustix::fs::CWD, to, AtFlags::SYMLINK_FOLLOW)
        .map_err(io::Error::from)
}

/// Asks the file system to spread the folders made in this one over the disk, rather than to keep them
/// near it: ext4 then takes each for the top of a tree of its own (`chattr +T`, ioctl_iflags(2)). For
/// folders of trees that have nothing to do with each other. Without it they share groups of
/// inodes, and an ext4 without a journal looks for each new file past those that were removed there a
/// moment ago. A file system that knows no such wish does as it likes.
pub fn spread_folders(folder: &Path) {
    let Ok(folder) = File::open(folder) else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&folder)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = rustix::fs::ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_one_more_name_while_it_has_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("one"), "it").expect("written");
        let file = File::open(path("one")).expect("opened");
        std::fs::write(path("new"), "another").expect("written");
        link_file(&file, &path("two")).expect("linked");
        std::fs::rename(path("new"), path("one")).expect("replaced");
        assert_eq!(
            std::fs::read_to_string(path("two")).expect("there"),
            "it",
            "the file, not what has its name"
        );
        assert_eq!(link_file(&file, &path("two")).expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(path("two")).expect("removed");
        assert_eq!(link_file(&file, &path("two")).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_lock_is_waited_for_while_its_holder_may_be_ending() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || File::create(folder.path().join("lock")).expect("opened");
        let (first, second, third) = (open(), open(), open());
        assert!(lock_for_life(&first).expect("locks"));
        assert!(!lock_for_life(&second).expect("locks"), "its holder lives");
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(first);
        });
        assert!(lock_for_life(&third).expect("locks"), "its holder ended meanwhile");
        ends.join().expect("ended");
    }
}
