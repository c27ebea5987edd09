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
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_trace::Tape;

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
    fn take(&self, give: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        let shared = self.shared();
        loop {
            let (from, to) = (shared.taken.load(Ordering::Acquire), shared.written.load(Ordering::Acquire));
            let Some(cells) = shared.bytes.get(..to).filter(|_| from < to) else { return false };
            // SAFETY: these bytes were written before `written` was stored with Release, and nobody writes them again.
            let bytes = unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<u8>(), cells.len()) };
            let taken = shared.taken.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                let (earlier, new) = bytes.split_at(from);
                give(earlier, new);
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

/// A new tape. The writer is to be moved into the body of [`super::clone_child`]: of its two copies,
/// only the child's is written to. `usual`: as many bytes as it is going to take, most likely; memory for
/// them is made at once, which is cheaper than page by page.
///
/// # Errors
///
/// mmap(2)'s.
pub fn tape(usual: usize) -> Result<(TapeWriter, TapeReader)> {
    let (rights, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), rights, flags, -1, 0) };
    let failed = at == libc::MAP_FAILED;
    check("mmap", "memory for events", if failed { -1 } else { 0 })?;
    // Here and not in the child: a start was measured to take a tenth of a millisecond longer when the child made them.
    populate(at, usual);
    let at = NonNull::new(at.cast::<Shared>()).ok_or_else(|| crate::Error::Invalid {
        what: "address of a mapping",
        value: "0".to_owned(),
        reason: "nothing can lie there",
    })?;
    let mapping = Arc::new(Mapping(at));
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

    fn take(&self, give: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        self.mapping.take(give)
    }
}

impl Tape for TapeReader {
    fn add(&self, _line: &[u8]) -> bool {
        false
    }

    fn take(&self, give: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        self.0.take(give)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(tape: &dyn Tape) -> Option<String> {
        let mut lines = Vec::new();
        tape.take(&mut |_, taken| lines.extend_from_slice(taken))
            .then(|| String::from_utf8(lines).expect("text"))
    }

    #[test]
    fn lines_are_taken_whole_and_once() {
        let (writer, reader) = tape(0).expect("memory");
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
    fn a_full_tape_says_so() {
        let (writer, reader) = tape(0).expect("memory");
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        assert_eq!((0..1000).filter(|_| writer.add(&line)).count(), ROOM / 1024);
        let mut all = Vec::new();
        while reader.take(&mut |_, taken| all.extend_from_slice(taken)) {}
        assert_eq!(all.len(), ROOM);
    }
}
