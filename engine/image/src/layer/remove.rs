//! Removes a tree of any depth, and nothing else.
//!
//! A hostile layer, or a container, can make a tree deeper than any stack or
//! descriptor table. So directories that are not empty are moved up beside the
//! tree's top and emptied there: depth becomes a queue, and one directory is open at a time.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Removes `path` and all below it, without following links. It is no error if it is not there.
pub(crate) fn tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(errno) => return Err(errno.into()),
    };
    let mut next = 0_u64;
    loop {
        let mut empty = true;
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            empty = false;
            if entry.file_type() != FileType::Directory {
                match unlinkat(&top, name, AtFlags::empty()) {
                    Err(Errno::ISDIR) => {}
                    other => {
                        other?;
                        continue;
                    }
                }
            }
            if unlinkat(&top, name, AtFlags::REMOVEDIR).is_ok() {
                continue;
            }
            let inner = openat(&top, name, flags, Mode::empty())?;
            for child in Dir::read_from(&inner)? {
                let child = child?;
                let child_name = child.file_name();
                if child_name == c"." || child_name == c".." {
                    continue;
                }
                if child.file_type() != FileType::Directory
                    && unlinkat(&inner, child_name, AtFlags::empty()).is_ok()
                {
                    continue;
                }
                if unlinkat(&inner, child_name, AtFlags::REMOVEDIR).is_err() {
                    lift(&inner, child_name, &top, &mut next)?;
                }
            }
            unlinkat(&top, name, AtFlags::REMOVEDIR)?;
        }
        if empty {
            break;
        }
    }
    std::fs::remove_dir(path)
}

/// Moves a directory up to the top, under a name that is free there.
fn lift(
    from: &impl std::os::fd::AsFd,
    name: &std::ffi::CStr,
    top: &impl std::os::fd::AsFd,
    next: &mut u64,
) -> io::Result<()> {
    loop {
        let free = format!(".lifted-{next}");
        *next += 1;
        match renameat(from, name, top, free.as_str()) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
