//! A part of a file system as a plain archive: what `cp` and `export` send.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use super::Error;
use super::walk::{Flavour, Walk};
use super::write::{Writer, failed};

/// What went into an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// How many entries it has.
    pub entries: u64,
    /// Bytes of the archive before its end mark, headers and padding included.
    pub bytes: u64,
}

/// Counts what goes through.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn writer<W: Write>(out: W) -> Writer<Counted<W>> {
    Writer::new(Counted { out, bytes: 0 }, false)
}

/// Writes a directory and all below it, not compressed, times in seconds. The directory is called
/// `name` in the archive; an empty name leaves it out and its content stands alone.
///
/// File systems that the kernel makes up (`/proc`) are written as empty directories.
///
/// # Errors
///
/// If something can't be read or written; what vanishes while it is read is no error.
pub fn directory(folder: OwnedFd, name: &[u8], out: impl Write) -> Result<Packed, Error> {
    let mut top = name.to_vec();
    if !name.is_empty() && !name.ends_with(b"/") {
        top.push(b'/');
    }
    let mut walk = Walk::new(folder, writer(out), Flavour::Plain, &top);
    if !name.is_empty() {
        walk.top(&top)?;
    }
    walk.all()?;
    end(walk)
}

/// Writes one thing that is no directory: `entry` in `folder`, called `name`.
///
/// # Errors
///
/// As [`directory`].
pub fn single(folder: OwnedFd, entry: &[u8], name: &[u8], out: impl Write) -> Result<Packed, Error> {
    let entry = CString::new(entry).map_err(|error| failed("open", entry, error.into()))?;
    let mut walk = Walk::new(folder, writer(out), Flavour::Plain, name);
    walk.single(&entry)?;
    end(walk)
}

fn end<W: Write>(mut walk: Walk<'_, Counted<W>>) -> Result<Packed, Error> {
    let packed = Packed { entries: walk.out.entries, bytes: walk.out.out.bytes };
    walk.out.finish()?;
    Ok(packed)
}
