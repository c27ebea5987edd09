//! What `/proc` says: the evidence of a trace.
//!
//! Evidence that can't be read is left out; only `read` says why, for those who need the words.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use glassdock_trace::{Evidence, Trace};
use rustix::buffer::spare_capacity;

use crate::namespace::Set;

/// The calling thread's mount table: a thread may have a mount namespace of its own.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// So long most files of `/proc` are, in bytes. Their length is not told before they are read, and a buffer that
/// grows as the words come takes ten calls for what one can do.
const LENGTH: usize = 8 * 1024;

/// What a file of `/proc` says; nothing, if it can't be read.
#[must_use]
pub(crate) fn words(path: &Path) -> String {
    File::open(path).map(words_of).unwrap_or_default()
}

/// As [`words`], of a file that is open.
pub(crate) fn words_of(file: File) -> String {
    read(&file).unwrap_or_default()
}

/// What a file of `/proc` or of a control group says from here on. The standard library asks for the length and for
/// the place in the file first, which for such a file costs as much as reading it, and tells nothing.
pub(crate) fn read(file: &File) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(LENGTH);
    while rustix::io::retry_on_intr(|| rustix::io::read(file, spare_capacity(&mut bytes)))? > 0 {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(LENGTH);
        }
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The line of this thread's mount table for the mount at `target`, the uppermost if
/// there are several. `target` is a path as the process sees it, without links.
#[must_use]
pub fn mount_line(target: &str) -> Option<String> {
    let wanted = escape(target);
    let table = words(Path::new(MOUNTINFO));
    table.lines().rfind(|line| line.split(' ').nth(4) == Some(&wanted)).map(str::to_owned)
}

/// Who hears of what happens to a mount, and of whom it hears; mount_namespaces(7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Where the mount is.
    pub place: PathBuf,
    /// Whether it tells others of what is mounted below it, and hears of them.
    pub shared: bool,
    /// Whether it hears of another mount.
    pub slave: bool,
}

/// The mount that a path lies on, by this thread's mount table; `None` if that can't be read. The path is absolute and
/// without links.
#[must_use]
pub fn mount_around(path: &Path) -> Option<Sharing> {
    sharing(&words(Path::new(MOUNTINFO)), path)
}

fn sharing(table: &str, path: &Path) -> Option<Sharing> {
    let around = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let place = PathBuf::from(unescape(fields.next()?));
        path.starts_with(&place).then_some((place, fields.skip(1)))
    });
    // The last of those at one place is the uppermost.
    let (place, fields) = around.max_by_key(|(place, _)| place.components().count())?;
    let tags: Vec<&str> = fields.take_while(|field| *field != "-").collect();
    let has = |word: &str| tags.iter().any(|tag| tag.starts_with(word));
    Some(Sharing { place, shared: has("shared:"), slave: has("master:") })
}

/// This thread's whole mount table.
#[must_use]
pub fn mount_table() -> Evidence {
    let table = words(Path::new(MOUNTINFO));
    Evidence::new(format!("/proc/{}/mountinfo", host_tid()), table.lines().map(str::to_owned))
}

/// The namespaces of a process, as its links in `/proc/PID/ns` show them:
/// `net -> net:[4026532281]`.
#[must_use]
pub fn namespace_links(pid: u32, kinds: Set) -> Evidence {
    let folder = format!("/proc/{pid}/ns");
    let lines = kinds.kinds().filter_map(|kind| {
        let link = fs::read_link(format!("{folder}/{}", kind.link())).ok()?;
        Some(format!("{} -> {}", kind.link(), link.display()))
    });
    let lines: Vec<_> = lines.collect();
    Evidence::new(folder, lines)
}

/// The number of this process where the host's `/proc` is mounted: its pid as the
/// host sees it, also inside a new pid namespace.
#[must_use]
pub fn host_pid() -> u32 {
    fs::read_link("/proc/self")
        .ok()
        .and_then(|link| link.to_str()?.parse().ok())
        .unwrap_or_else(std::process::id)
}

/// The number of this thread where the host's `/proc` is mounted; in a process of one
/// thread it is the process's. `/proc/TID` is there though `ls` does not show it.
#[must_use]
pub fn host_tid() -> u32 {
    fs::read_link("/proc/thread-self")
        .ok()
        .and_then(|link| link.file_name()?.to_str()?.parse().ok())
        .unwrap_or_else(host_pid)
}

/// As [`host_tid`], for evidence: without asking again in a process whose trace knows the number, because
/// it is in a pid namespace of its own. Such a process has one thread.
#[must_use]
pub(crate) fn traced_tid(trace: &Trace) -> u32 {
    trace.pid().filter(|pid| *pid != std::process::id()).unwrap_or_else(host_tid)
}

/// A path as mountinfo writes it in its fields 4 and 5: space, tab, newline and backslash in octal; proc(5).
pub(crate) fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            ' ' => escaped.push_str("\\040"),
            '\t' => escaped.push_str("\\011"),
            '\n' => escaped.push_str("\\012"),
            '\\' => escaped.push_str("\\134"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The path that mountinfo wrote so.
pub(crate) fn unescape(field: &str) -> String {
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_survive_the_table() {
        for path in ["/plain", "/with space", "/back\\slash", "/tab\tnewline\n", "/hash#", "/ümlaut,colon:"]
        {
            assert_eq!(unescape(&escape(path)), path);
        }
        assert_eq!(unescape("/ends\\04"), "/ends\\04");
    }

    #[test]
    fn a_path_lies_on_the_innermost_and_uppermost_mount() {
        let table = "1 0 0:1 / / rw - rootfs none rw\n\
                     2 1 0:2 / /a rw,relatime shared:7 - tmpfs none rw\n\
                     3 2 0:3 / /a/b\\040c rw shared:8 master:7 - tmpfs none rw\n\
                     4 1 0:4 / /d rw shared:9 - tmpfs none rw\n\
                     5 4 0:5 / /d rw - tmpfs none rw\n";
        let of = |path: &str| {
            let found = sharing(table, Path::new(path)).expect("the root at least");
            (found.place.display().to_string(), found.shared, found.slave)
        };
        assert_eq!(of("/ab"), ("/".to_owned(), false, false));
        assert_eq!(of("/a"), ("/a".to_owned(), true, false));
        assert_eq!(of("/a/b c/d"), ("/a/b c".to_owned(), true, true));
        assert_eq!(of("/d/x"), ("/d".to_owned(), false, false));
    }

    #[test]
    fn the_root_has_a_line() {
        let line = mount_line("/").expect("every process has a root mount");
        assert!(line.contains(" / / "), "{line}");
    }
}
