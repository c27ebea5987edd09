//! Writes tar archives: ustar, with pax headers for all that ustar can't say.
//!
//! Owners are numbers, access times are left out: the same tree gives the same bytes.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{
    FileType, Mode, OFlags, Stat, getxattr, lgetxattr, listxattr, listxattr_query, llistxattr,
    llistxattr_query,
};
use rustix::io::Errno;
use tar::{EntryType, Header};

use super::{Error, shown};

/// An archive being written.
pub(super) struct Writer<W: Write> {
    pub(super) out: W,
    /// Entries so far.
    pub(super) entries: u64,
    /// Bytes of files so far.
    pub(super) bytes: u64,
    /// Whether times are written to the nanosecond, which takes another kilobyte an entry.
    pub(super) nanoseconds: bool,
    /// The latest time that an entry may have, in seconds.
    pub(super) latest: Option<i64>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, nanoseconds: bool) -> Self {
        Self { out, entries: 0, bytes: 0, nanoseconds, latest: None }
    }

    /// Writes a regular file. False if it is none any more: a running container may have
    /// exchanged it since it was listed.
    pub(super) fn file(
        &mut self,
        fd: &OwnedFd,
        name: &CStr,
        path: &[u8],
        stat: &Stat,
        xattrs: &[Xattr],
    ) -> Result<bool, Error> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        // What became a fifo meanwhile must not hold us up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP) => return Ok(false),
            other => other.map_err(|errno| failed("open", path, errno.into()))?,
        };
        let now = rustix::fs::fstat(&file).map_err(|errno| failed("stat", path, errno.into()))?;
        if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        self.header(path, stat, EntryType::Regular, size, None, xattrs)?;
        // A file that shrinks meanwhile is filled up with zeros: the header is written.
        let mut content = File::from(file).take(size).chain(io::repeat(0)).take(size);
        io::copy(&mut content, &mut self.out).map_err(|error| failed("read", path, error))?;
        self.pad(size, path)?;
        self.bytes += size;
        Ok(true)
    }

    /// Writes a header, with a pax header before it for all that ustar can't say.
    pub(super) fn header(
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
        let (mut seconds, mut nanos) = (stat.st_mtime, if self.nanoseconds { stat.st_mtime_nsec } else { 0 });
        if let Some(latest) = self.latest.filter(|latest| seconds >= *latest) {
            (seconds, nanos) = (latest, 0);
        }
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

    pub(super) fn write(&mut self, bytes: &[u8], path: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|error| failed("write the archive at", path, error))
    }

    /// The two empty blocks at an archive's end.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.write(&[0; 1024], b"")
    }
}

/// The extended attributes of an entry, sorted, without those that are overlayfs's
/// own. Two of them mean that the entry is not whole without the layers below.
pub(super) fn attributes(fd: &OwnedFd, name: &CStr, path: &[u8]) -> Result<Attributes, Error> {
    attributes_at(&proc_path(fd, name), path, false)
}

/// The extended attributes of the file that a path of the host leads to, as an archive of a layer has them.
///
/// # Errors
///
/// Those of listxattr(2) and getxattr(2).
pub fn attributes_of(path: &std::path::Path) -> Result<Attributes, Error> {
    use std::os::unix::ffi::OsStrExt;
    attributes_at(path.as_os_str().as_bytes(), path.as_os_str().as_bytes(), true)
}

fn attributes_at(target: &[u8], path: &[u8], follow: bool) -> Result<Attributes, Error> {
    let at = |act| move |errno: Errno| failed(act, path, errno.into());
    // Most files have none: that is known before a buffer is needed. (With an empty buffer, rustix tells nothing.)
    let asked = if follow { listxattr_query(target) } else { llistxattr_query(target) };
    if matches!(asked, Ok(0) | Err(Errno::NOTSUP)) {
        return Ok(Vec::new());
    }
    let mut names = vec![0; 64 * 1024];
    let listed = if follow { listxattr(target, &mut names[..]) } else { llistxattr(target, &mut names[..]) };
    let length = listed.map_err(at("list the extended attributes of"))?;
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
        let got = if follow {
            getxattr(target, key, &mut value[..])
        } else {
            lgetxattr(target, key, &mut value[..])
        };
        let length = got.map_err(at("read an extended attribute of"))?;
        value.truncate(length);
        found.push((key.to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// Names and values of extended attributes.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn failed(act: &'static str, path: &[u8], source: io::Error) -> Error {
    Error::Entry { act, path: shown(path), source }
}

pub(super) fn proc_path(fd: &OwnedFd, name: &CStr) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let mut path = format!("/proc/self/fd/{}/", fd.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
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
