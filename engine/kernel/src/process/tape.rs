//! Memory that outlives its writer: what a child puts there, its parent reads even after the
//! child was killed; mmap(2) with `MAP_SHARED`.
//!
//! ```text
//!   0            taken          written                        ROOM
//!   ├── read ─────┼── to be read ──┼── free ─────────────────────┤
//! ```
//!
//! Bytes are written once and never again: those before `written` don't change.

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_trace::Tape;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};

use super::check;
use crate::Result;

/// How many bytes fit. Pages that nobody wrote to cost nothing.
const ROOM: usize = 256 * 1024;

/// What is in the memory.
#[repr(C)]
struct Shared {
    written: AtomicUsize,
    taken: AtomicUsize,
    bytes: [UnsafeCell<u8>; ROOM],
}

/// The mapping, for as long as this process has an end of it.
#[derive(Debug)]
struct Mapping(NonNull<Shared>);

// SAFETY: Shared is made for several processes: its numbers are atomic, and its bytes are written by one writer, before
// the number says so (see TapeWriter), and only read afterwards.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn shared(&self) -> &Shared {
        // SAFETY: the pointer is to a mapping of that size and alignment (a page's), zeroed, which is a valid Shared, and
        // which is unmapped only when self is dropped.
        unsafe { self.0.as_ref() }
    }

    /// See [`Tape::take`].
    fn take(&self, give: &mut dyn FnMut(&[u8])) -> bool {
        let shared = self.shared();
        loop {
            let (from, to) = (shared.taken.load(Ordering::Acquire), shared.written.load(Ordering::Acquire));
            let Some(cells) = shared.bytes.get(..to).filter(|_| from < to) else { return false };
            // SAFETY: these bytes were written before `written` was stored with Release, and nobody writes them again.
            let bytes = unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<u8>(), cells.len()) };
            let taken = shared.taken.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                give(bytes.get(from..).unwrap_or_default());
                return true;
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, as long as it was made, and nobody has a reference any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// The writer's end: goes to the child.
#[derive(Debug)]
pub struct TapeWriter {
    mapping: Arc<Mapping>,
    usual: usize,
    /// Where the next line goes.
    next: Mutex<usize>,
}

/// The reader's end: stays with the parent.
#[derive(Debug)]
pub struct TapeReader(Arc<Mapping>);

/// Memory for a tape, which several processes may use, one after the other: memfd_create(2).
///
/// # Errors
///
/// Those of memfd_create(2) and ftruncate(2).
pub fn tape_memory() -> Result<OwnedFd> {
    let failed = |call| move |error| crate::Error::call(call, "memory for events", error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("glassdock-tape", flags).map_err(failed("memfd_create"))?;
    ftruncate(&memory, size_of::<Shared>() as u64).map_err(failed("ftruncate"))?;
    // A mapping of what was cut off would kill who reads it.
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW;
    fcntl_add_seals(&memory, seals).map_err(failed("fcntl"))?;
    Ok(memory)
}

/// A new tape, in memory of its own or in what [`tape_memory`] has made and nobody else uses. The writer is to be moved
/// into the body of [`super::clone_child`]: of its two copies, only the child's is written to. `usual`: as many bytes as it
/// is going to take, most likely; memory for them is made at once, which is cheaper than page by page.
///
/// # Errors
///
/// Those of fstat(2) and mmap(2), and memory that was not made for a tape.
pub fn tape(usual: usize, memory: Option<BorrowedFd<'_>>) -> Result<(TapeWriter, TapeReader)> {
    if let Some(memory) = memory {
        let length =
            fstat(memory).map_err(|error| crate::Error::call("fstat", "memory for events", error))?;
        if usize::try_from(length.st_size) != Ok(size_of::<Shared>()) {
            let (what, value) = ("length of the memory for events", length.st_size.to_string());
            return Err(crate::Error::Invalid { what, value, reason: "it was not made for that" });
        }
    }
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let (descriptor, kind) = memory.map_or((-1, libc::MAP_ANONYMOUS), |memory| (memory.as_raw_fd(), 0));
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | kind;
    // SAFETY: a new mapping touches no memory that is in use, and what it is of is long enough, and stays so (sealed).
    let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), rights, flags, descriptor, 0) };
    let failed = at == libc::MAP_FAILED;
    check("mmap", "memory for events", if failed { -1 } else { 0 })?;
    if memory.is_none() {
        // Here and not in the child: a start was measured to take a tenth of a millisecond longer when the child made them.
        populate(at, usual);
    }
    let at = NonNull::new(at.cast::<Shared>()).ok_or_else(|| crate::Error::Invalid {
        what: "address of a mapping",
        value: "0".to_owned(),
        reason: "nothing can lie there",
    })?;
    let mapping = Arc::new(Mapping(at));
    if memory.is_some() {
        // Somebody may have used it before.
        mapping.shared().written.store(0, Ordering::Release);
        mapping.shared().taken.store(0, Ordering::Release);
    }
    let writer = TapeWriter { mapping: Arc::clone(&mapping), usual, next: Mutex::new(0) };
    Ok((writer, TapeReader(mapping)))
}

/// Where the kernel doesn't know how (before 5.14), the pages come one by one.
fn populate(mapping: *mut libc::c_void, length: usize) {
    let length = length.min(size_of::<Shared>());
    // SAFETY: the mapping is there, and at least so long; its pages keep what is in them.
    unsafe { libc::madvise(mapping, length, libc::MADV_POPULATE_WRITE) };
}

impl Tape for TapeWriter {
    fn add(&self, line: &[u8]) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = self.mapping.shared();
        let end = next.saturating_add(line.len());
        let Some(cells) = shared.bytes.get(*next..end) else { return false };
        if *next == 0 {
            // A clone has the mapping, but not the pages in its table.
            populate(self.mapping.0.as_ptr().cast(), self.usual);
        }
        // SAFETY: the cells are as many as the line's bytes, and not beyond `written`, so nobody reads them yet; the lock
        // keeps other threads from writing them, and the other process has no writer.
        unsafe {
            std::ptr::copy_nonoverlapping(line.as_ptr(), UnsafeCell::raw_get(cells.as_ptr()), line.len());
        }
        *next = end;
        shared.written.store(end, Ordering::Release);
        true
    }

    fn take(&self, give: &mut dyn FnMut(&[u8])) -> bool {
        self.mapping.take(give)
    }
}

impl Tape for TapeReader {
    fn add(&self, _line: &[u8]) -> bool {
        false
    }

    fn take(&self, give: &mut dyn FnMut(&[u8])) -> bool {
        self.0.take(give)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn taken(tape: &dyn Tape) -> Option<String> {
        let mut lines = Vec::new();
        tape.take(&mut |taken| lines.extend_from_slice(taken))
            .then(|| String::from_utf8(lines).expect("text"))
    }

    #[test]
    fn lines_are_taken_whole_and_once() {
        let (writer, reader) = tape(0, None).expect("memory");
        assert_eq!(taken(&reader), None);
        for line in ["one\n", "two\n"] {
            assert!(writer.add(line.as_bytes()));
        }
        assert_eq!(taken(&reader).as_deref(), Some("one\ntwo\n"));
        assert!(writer.add(b"three\n"));
        assert_eq!(taken(&writer).as_deref(), Some("three\n"), "the writer takes what the reader has left");
        assert_eq!(taken(&reader), None);
        assert!(!reader.add(b"four\n"), "the reader does not write");
    }

    #[test]
    fn memory_is_used_again() {
        let memory = tape_memory().expect("memory");
        for line in ["one\n", "two\n"] {
            let (writer, reader) = tape(64, Some(memory.as_fd())).expect("a mapping");
            assert_eq!(taken(&reader), None, "what another told is not told again");
            assert!(writer.add(line.as_bytes()));
            assert_eq!(taken(&reader).as_deref(), Some(line));
        }
        let null = std::fs::File::open("/dev/null").expect("open");
        assert!(tape(0, Some(null.as_fd())).is_err(), "that is no memory for a tape");
    }

    #[test]
    fn a_full_tape_says_so() {
        let (writer, reader) = tape(0, None).expect("memory");
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        assert_eq!((0..1000).filter(|_| writer.add(&line)).count(), ROOM / 1024);
        let mut all = Vec::new();
        while reader.take(&mut |taken| all.extend_from_slice(taken)) {}
        assert_eq!(all.len(), ROOM);
    }
}
