//! File descriptors across process borders: inherited, passed over sockets, sealed.
//!
//! Rust opens every descriptor close-on-exec. Where one shall survive an execve(2)
//! or go to another process, it is said here.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::process::check;
use crate::{Error, Result};

/// How many descriptors go in one message.
const PASSED_LIMIT: usize = 8;

/// One at a time: between the look at a descriptor and its marking nobody else may take it.
static TAKING: Mutex<()> = Mutex::new(());

/// Takes a descriptor over that this process was started with.
///
/// Only a descriptor that is open, above 2 and not close-on-exec is taken, and it is
/// close-on-exec afterwards: so nothing that Rust opened itself can be taken, and
/// nothing twice.
///
/// # Errors
///
/// `EBADF` if it is not open; [`crate::Error::Invalid`] if it was not inherited.
pub fn inherited(number: RawFd) -> Result<OwnedFd> {
    let refuse = |reason| Error::Invalid { what: "inherited descriptor", value: number.to_string(), reason };
    if number <= 2 {
        return Err(refuse("0 to 2 are the standard streams"));
    }
    let _one = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: it is only asked about, and not kept, if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let failed = |error| Error::call("fcntl", format!("descriptor {number}"), error);
    let flags = fcntl_getfd(borrowed).map_err(failed)?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(refuse("it is close-on-exec, so it was opened here or taken before"));
    }
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC).map_err(failed)?;
    // SAFETY: it is open, and has no owner: whatever Rust opens is close-on-exec from the first, so this one came through
    // execve, and the mark just set keeps it from being taken again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends one byte with descriptors over a Unix socket: `SCM_RIGHTS`, unix(7).
///
/// # Errors
///
/// Those of sendmsg(2); [`crate::Error::Invalid`] for more than 8 descriptors.
pub fn send(socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_LIMIT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.len() <= PASSED_LIMIT
        && (descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
    if !fits {
        return Err(Error::Invalid {
            what: "number of descriptors",
            value: descriptors.len().to_string(),
            reason: "at most 8 go in one message",
        });
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(socket, &[io::IoSlice::new(b"f")], &mut control, SendFlags::NOSIGNAL)
    })
    .map_err(|error| Error::call("sendmsg", "descriptors", error))?;
    Ok(())
}

/// Receives what [`send`] sent: at most 8 descriptors, close-on-exec. Empty once the other
/// end is closed.
///
/// # Errors
///
/// Those of recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_LIMIT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .map_err(|error| Error::call("recvmsg", "descriptors", error))?;
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    Ok(received)
}

/// A copy of a program in memory that nobody can write any more: memfd_create(2)
/// with all seals. What runs from it can't be overwritten through `/proc/PID/exe`
/// (CVE-2019-5736).
///
/// # Errors
///
/// Those of memfd_create(2), and of reading `program`.
pub fn sealed_copy(program: &File, name: &str) -> Result<OwnedFd> {
    let failed = |call| move |error: Errno| Error::call(call, name, error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 don't know MFD_EXEC, and make every memfd executable.
    let memory = memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create(name, flags))
        .map_err(failed("memfd_create"))?;
    let mut copy = File::from(memory);
    io::copy(&mut &*program, &mut copy).map_err(|error| Error::call("read", name, error))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&copy, seals).map_err(failed("fcntl"))?;
    Ok(copy.into())
}

/// Marks every descriptor from `first` upwards close-on-exec: close_range(2). The
/// last thing before an exec, so that nothing of the engine leaks into a container.
///
/// # Errors
///
/// Those of close_range(2).
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    /// Not in libc for this target; `linux/close_range.h`.
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    let number = libc::c_uint::try_from(first).unwrap_or(0);
    // SAFETY: with this flag nothing is closed, only marked.
    let answer =
        unsafe { libc::syscall(libc::SYS_close_range, number, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    check("close_range", &format!("from {first}"), answer)?;
    Ok(())
}

/// Lets a descriptor survive an execve(2).
///
/// # Errors
///
/// Those of fcntl(2).
pub fn keep_on_exec(descriptor: BorrowedFd<'_>) -> Result<()> {
    fcntl_setfd(descriptor, FdFlags::empty()).map_err(|error| Error::call("fcntl", "F_SETFD", error))
}

/// Makes three descriptors the standard input, output and error: dup2(2).
///
/// # Errors
///
/// Those of dup2(2).
pub fn become_stdio(input: BorrowedFd<'_>, output: BorrowedFd<'_>, error: BorrowedFd<'_>) -> Result<()> {
    let failed = |error: rustix::io::Errno| Error::call("dup2", "standard streams", error);
    // Copies above 2 first, so that none of the three is overwritten before it is used.
    let copy = |descriptor: BorrowedFd<'_>| {
        fcntl_dupfd_cloexec(descriptor, 3).map_err(|error| Error::call("fcntl", "F_DUPFD_CLOEXEC", error))
    };
    let (input, output, error) = (copy(input)?, copy(output)?, copy(error)?);
    rustix::stdio::dup2_stdin(&input).map_err(failed)?;
    rustix::stdio::dup2_stdout(&output).map_err(failed)?;
    rustix::stdio::dup2_stderr(&error).map_err(failed)
}

/// A descriptor of `/dev/null`, for reading and writing.
///
/// # Errors
///
/// Those of open(2).
pub fn null() -> Result<OwnedFd> {
    let file = File::options().read(true).write(true).open("/dev/null");
    file.map(OwnedFd::from).map_err(|error| Error::call("open", "/dev/null", error))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_go_over_a_socket() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"hello").expect("written");
        send(near.as_fd(), &[file.as_fd(), near.as_fd()]).expect("sent");
        let mut received = receive(far.as_fd()).expect("received");
        assert_eq!(received.len(), 2);
        let mut file = File::from(received.remove(0));
        file.rewind().expect("rewound");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
        drop((near, received));
        assert!(receive(far.as_fd()).expect("the end").is_empty());
        let many = vec![far.as_fd(); 9];
        assert!(matches!(send(far.as_fd(), &many), Err(Error::Invalid { .. })));
    }

    #[test]
    fn only_inherited_descriptors_are_taken_and_only_once() {
        let file = tempfile::tempfile().expect("a file");
        assert!(matches!(inherited(file.as_raw_fd()), Err(Error::Invalid { .. })));
        keep_on_exec(file.as_fd()).expect("as if it were inherited");
        let number = file.into_raw_fd();
        let taken = inherited(number).expect("taken");
        assert!(matches!(inherited(number), Err(Error::Invalid { .. })));
        drop(taken);
        assert!(matches!(inherited(1), Err(Error::Invalid { .. })));
        assert_eq!(inherited(1_000_000).expect_err("it is refused").errno(), Some(libc::EBADF));
    }

    #[test]
    fn a_sealed_copy_cant_be_written() {
        let program = File::open("/bin/true").expect("every Linux has it");
        let copy = sealed_copy(&program, "copy").expect("copied");
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let mut writable = File::options().write(true).open(path).expect("seals are checked on write");
        assert_eq!(writable.write(b"x").expect_err("it is refused").raw_os_error(), Some(libc::EPERM));
        assert_eq!(
            File::from(copy).metadata().expect("it is open").len(),
            program.metadata().expect("too").len()
        );
    }
}
