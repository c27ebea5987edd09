//! A part of a file system as a plain archive: what `cp` and `export` send.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::Error;
use super::walk::{Flavour, Walk};
use super::write::{Writer, failed};

/// Writes a directory and all below it, not compressed, times in seconds. The directory is called
/// `name` in the archive; an empty name leaves it out and its content stands alone.
///
/// File systems that the kernel makes up (`/proc`) are written as empty directories.
///
/// # Errors
///
/// If something can't be read or written; what vanishes while it is read is no error.
pub fn directory(folder: OwnedFd, name: &[u8], out: impl Write) -> Result<(), Error> {
    let mut top = name.to_vec();
    if !name.is_empty() && !name.ends_with(b"/") {
        top.push(b'/');
    }
    let mut walk = Walk::new(folder, Writer::new(out, false), Flavour::Plain, &top);
    if !name.is_empty() {
        walk.top(&top)?;
    }
    walk.all()?;
    walk.out.finish()
}

/// Writes one thing that is no directory: `entry` in `folder`, called `name`.
///
/// # Errors
///
/// As [`directory`].
pub fn single(folder: OwnedFd, entry: &[u8], name: &[u8], out: impl Write) -> Result<(), Error> {
    let entry = CString::new(entry).map_err(|error| failed("open", entry, error.into()))?;
    let mut walk = Walk::new(folder, Writer::new(out, false), Flavour::Plain, name);
    walk.single(&entry)?;
    walk.out.finish()
}
