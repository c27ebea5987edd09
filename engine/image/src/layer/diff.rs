//! What a container changed becomes an archive: the way back from overlayfs's
//! upper directory to a layer.
//!
//! The same tree gives the same bytes: names are sorted, owners are numbers, access
//! times are left out. A character device 0/0 becomes `.wh.NAME`, an opaque
//! directory has `.wh..wh..opq` as its first entry.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, lgetxattr, llistxattr, open, readlinkat, statat,
};
use rustix::io::Errno;
use tar::{EntryType, Header};

use super::tree::open_in;
use super::{Error, disk, shown};
use crate::digest::{Algorithm, DiffId, Hasher};

/// What a container changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diffed {
    /// The archive's identity.
    pub diff_id: DiffId,
    /// The archive's bytes.
    pub size: u64,
    /// Entries that are there.
    pub entries: u64,
    /// Marks of what was deleted.
    pub whiteouts: u64,
}

pub(super) fn diff(upper: &Path, out: impl Write) -> Result<Diffed, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(upper, flags, Mode::empty()).map_err(|errno| disk("open", upper)(errno.into()))?;
    let out = Hashing { out, hasher: Hasher::new(Algorithm::Sha256), size: 0 };
    let mut diff = Diff { root, out, links: HashMap::new(), entries: 0, whiteouts: 0 };
    // Directories to be read, the next one last; each is written before what is in it.
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        diff.directory(&path, &mut waiting)?;
    }
    diff.write(&[0; 1024], b"")?;
    let Hashing { hasher, size, .. } = diff.out;
    Ok(Diffed { diff_id: DiffId(hasher.finish()), size, entries: diff.entries, whiteouts: diff.whiteouts })
}

struct Diff<W: Write> {
    root: OwnedFd,
    out: Hashing<W>,
    /// The first path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    whiteouts: u64,
}

impl<W: Write> Diff<W> {
    /// Writes what is in a directory, sorted; its own directories are written here and read later.
    fn directory(&mut self, path: &[u8], waiting: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        let at = |act| move |errno: io::Error| failed(act, path, errno);
        let place = CString::new(if path.is_empty() { b"." } else { path })
            .map_err(|error| at("open")(error.into()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = open_in(&self.root, &place, flags).map_err(at("open"))?;
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(&fd).map_err(|errno| at("list")(errno.into()))? {
            let name = entry.map_err(|errno| at("list")(errno.into()))?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut inner = Vec::new();
        for name in names {
            let mut whole = path.to_vec();
            if !whole.is_empty() {
                whole.push(b'/');
            }
            whole.extend_from_slice(name.as_bytes());
            if self.one(&fd, &name, path, &whole)? {
                inner.push(whole);
            }
        }
        waiting.extend(inner.into_iter().rev());
        Ok(())
    }

    /// Writes one entry. Returns whether it is a directory.
    fn one(&mut self, fd: &OwnedFd, name: &CString, parent: &[u8], path: &[u8]) -> Result<bool, Error> {
        let at = |act| move |errno: Errno| failed(act, path, errno.into());
        let stat = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("stat"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            let mut mark = parent.to_vec();
            mark.extend_from_slice(if parent.is_empty() { b".wh." } else { b"/.wh." });
            mark.extend_from_slice(name.as_bytes());
            return self.mark(&mark, &stat).map(|()| false);
        }
        if name.as_bytes().starts_with(b".wh.") {
            return Err(Error::Refused {
                path: shown(path),
                reason: "a layer can't have a file of that name: it would mean a deletion",
            });
        }
        let xattrs = self.attributes(fd, name, path)?;
        let key = (stat.st_dev, stat.st_ino);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&key).cloned() {
                self.header(path, &stat, EntryType::Link, 0, Some(&first), &[])?;
                return Ok(false);
            }
            self.links.insert(key, path.to_vec());
        }
        match kind {
            FileType::RegularFile => self.file(fd, name, path, &stat, &xattrs)?,
            FileType::Directory => {
                let mut with_slash = path.to_vec();
                with_slash.push(b'/');
                self.header(&with_slash, &stat, EntryType::Directory, 0, None, &xattrs)?;
                if self.is_opaque(fd, name) {
                    with_slash.extend_from_slice(b".wh..wh..opq");
                    self.mark(&with_slash, &stat)?;
                }
                return Ok(true);
            }
            FileType::Symlink => {
                let target = readlinkat(fd, name, Vec::new()).map_err(at("read the link"))?;
                self.header(path, &stat, EntryType::Symlink, 0, Some(target.as_bytes()), &xattrs)?;
            }
            FileType::CharacterDevice => self.header(path, &stat, EntryType::Char, 0, None, &xattrs)?,
            FileType::BlockDevice => self.header(path, &stat, EntryType::Block, 0, None, &xattrs)?,
            FileType::Fifo => self.header(path, &stat, EntryType::Fifo, 0, None, &xattrs)?,
            // A socket without its process means nothing; Docker leaves them out too.
            _ => {}
        }
        Ok(false)
    }

    fn file(
        &mut self,
        fd: &OwnedFd,
        name: &CString,
        path: &[u8],
        stat: &Stat,
        xattrs: &[Xattr],
    ) -> Result<(), Error> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(fd, name, flags, Mode::empty())
            .map_err(|errno| failed("open", path, errno.into()))?;
        self.header(path, stat, EntryType::Regular, size, None, xattrs)?;
        // A file that shrinks meanwhile is filled up with zeros: the header is written.
        let mut content = File::from(file).take(size).chain(io::repeat(0)).take(size);
        io::copy(&mut content, &mut self.out).map_err(|error| failed("read", path, error))?;
        self.pad(size, path)
    }

    fn mark(&mut self, path: &[u8], stat: &Stat) -> Result<(), Error> {
        self.whiteouts += 1;
        let mut plain = *stat;
        // Nothing but its name means anything.
        (plain.st_mode, plain.st_uid, plain.st_gid, plain.st_mtime, plain.st_mtime_nsec) = (0, 0, 0, 0, 0);
        self.header(path, &plain, EntryType::Regular, 0, None, &[])?;
        self.entries -= 1;
        Ok(())
    }

    /// Writes a header, with a pax header before it for all that ustar can't say.
    fn header(
        &mut self,
        path: &[u8],
        stat: &Stat,
        kind: EntryType,
        size: u64,
        link: Option<&[u8]>,
        xattrs: &[Xattr],
    ) -> Result<(), Error> {
        self.entries += 1;
        let mut pax = Vec::new();
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        if header_field(&mut header.as_old_mut().name, path) {
            record(&mut pax, b"path", path);
        }
        if link.is_some_and(|link| header_field(&mut header.as_old_mut().linkname, link)) {
            record(&mut pax, b"linkpath", link.unwrap_or_default());
        }
        let mut number = |key: &[u8], value: u64, limit: u64| {
            if value > limit {
                record(&mut pax, key, value.to_string().as_bytes());
            }
            if value > limit { 0 } else { value }
        };
        header.set_uid(number(b"uid", u64::from(stat.st_uid), 0o777_7777));
        header.set_gid(number(b"gid", u64::from(stat.st_gid), 0o777_7777));
        header.set_size(number(b"size", size, 0o777_7777_7777));
        let (seconds, nanos) = (stat.st_mtime, stat.st_mtime_nsec);
        header.set_mtime(u64::try_from(seconds).unwrap_or_default().min(0o777_7777_7777));
        if nanos != 0 || !(0..=0o777_7777_7777).contains(&seconds) {
            record(
                &mut pax,
                b"mtime",
                pax_time(seconds, i64::try_from(nanos).unwrap_or_default()).as_bytes(),
            );
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            let set = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
            set.map_err(|error| failed("describe the device", path, error))?;
        }
        for (name, value) in xattrs {
            record(&mut pax, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !pax.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            header_field(&mut extended.as_old_mut().name, b"PaxHeaders.0/x");
            extended.set_size(pax.len() as u64);
            extended.set_mode(0);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_mtime(0);
            extended.set_cksum();
            self.write(extended.as_bytes(), path)?;
            self.write(&pax, path)?;
            self.pad(pax.len() as u64, path)?;
        }
        header.set_cksum();
        self.write(header.as_bytes(), path)
    }

    fn pad(&mut self, size: u64, path: &[u8]) -> Result<(), Error> {
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        self.write(&[0; 512][..padding], path)
    }

    fn write(&mut self, bytes: &[u8], path: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|error| failed("write the archive at", path, error))
    }

    /// The extended attributes of an entry, sorted, without those that are overlayfs's
    /// own. Two of them mean that the entry is not whole without the layers below.
    fn attributes(&self, fd: &OwnedFd, name: &CString, path: &[u8]) -> Result<Vec<Xattr>, Error> {
        let target = proc_path(fd, name);
        let at = |act| move |errno: Errno| failed(act, path, errno.into());
        let mut names = vec![0; 64 * 1024];
        let length = match llistxattr(&*target, &mut names[..]) {
            Err(Errno::NOTSUP) => 0,
            other => other.map_err(at("list the extended attributes of"))?,
        };
        let mut found = Vec::new();
        for key in names[..length].split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
            if matches!(key, b"trusted.overlay.redirect" | b"trusted.overlay.metacopy") {
                return Err(Error::Refused {
                    path: shown(path),
                    reason: "overlayfs keeps only a part of it here (redirect_dir or metacopy is on)",
                });
            }
            // SELinux's label is the host's, not the image's.
            if key.starts_with(b"trusted.overlay.") || key == b"security.selinux" {
                continue;
            }
            let mut value = vec![0; 64 * 1024];
            let length =
                lgetxattr(&*target, key, &mut value[..]).map_err(at("read an extended attribute of"))?;
            value.truncate(length);
            found.push((key.to_vec(), value));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn is_opaque(&self, fd: &OwnedFd, name: &CString) -> bool {
        let mut value = [0; 1];
        lgetxattr(&*proc_path(fd, name), "trusted.overlay.opaque", &mut value[..]) == Ok(1) && value == *b"y"
    }
}

type Xattr = (Vec<u8>, Vec<u8>);

fn failed(act: &'static str, path: &[u8], source: io::Error) -> Error {
    Error::Entry { act, path: shown(path), source }
}

fn proc_path(fd: &OwnedFd, name: &CString) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let mut path = format!("/proc/self/fd/{}/", fd.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    path
}

/// Fills a header's text field; true if the text does not fit or is not plain, and pax must say it.
fn header_field(field: &mut [u8], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field.fill(0);
    field[..length].copy_from_slice(&text[..length]);
    text.len() > field.len() || !text.is_ascii()
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(pax: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    pax.extend_from_slice(length.to_string().as_bytes());
    pax.push(b' ');
    pax.extend_from_slice(key);
    pax.push(b'=');
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

/// Seconds with a fraction; before 1970 the fraction goes the other way.
fn pax_time(seconds: i64, nanos: i64) -> String {
    if seconds < 0 && nanos > 0 {
        return format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos);
    }
    format!("{seconds}.{nanos:09}")
}

struct Hashing<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
