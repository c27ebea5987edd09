//! The new root, and what is hidden below it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use glassdock_trace::{Body, Evidence, Trace};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{UnmountFlags, unmount};

use super::attach::{Attributes, Detached, attach, clone_tree};
use super::filesystem::filesystem_detached;
use crate::path::{Place, Root};
use crate::{Error, Result, files};

/// Makes an attached mount the root of this process's mount namespace, and takes the old
/// root out of it with all that is mounted below.
///
/// `pivot_root(".", ".")` puts the old root on top of the new one, at the same
/// place, so that no directory for it is needed in the container; detaching it
/// then leaves the new root alone. The process is in `/` afterwards. The evidence is the
/// whole mount table of the container; where the trace takes it later, another process is to read it
/// ([`Unproven`](crate::unproven::Unproven)), for the step whose number is given. See pivot_root(2), "pivot_root(".", ".")".
///
/// # Errors
///
/// `EINVAL` if `root` is not attached, or its parent's propagation is shared.
pub fn pivot_root(trace: &Trace, root: &Detached, path: &Path) -> Result<Option<u64>> {
    let subject = path.display().to_string();
    trace.step(Body::RootfsPivot { root: subject.clone() }, |span| {
        // Afterwards the host's /proc can't be walked to, only held.
        let own = (span.trace().is_on() && !span.trace().takes_proofs()).then(|| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            (files::traced_tid(span.trace()), rustix::fs::openat(CWD, "/proc/self", flags, Mode::empty()))
        });
        let failed = |call| {
            let subject = subject.clone();
            move |error| Error::call(call, subject, error)
        };
        rustix::process::fchdir(root).map_err(failed("fchdir"))?;
        rustix::process::pivot_root(".", ".").map_err(failed("pivot_root"))?;
        // The old root lies on the new one now; with it go all mounts of the host.
        let detached = Body::MountDetach { target: "/".to_owned(), flags: vec!["MNT_DETACH".to_owned()] };
        span.trace().step(detached, |_| unmount(".", UnmountFlags::DETACH).map_err(failed("umount2")))?;
        rustix::process::chdir("/").map_err(failed("chdir"))?;
        if let Some((pid, Ok(folder))) = own {
            span.evidence(|| mount_table(pid, &folder));
        }
        Ok(span.trace().takes_proofs().then(|| span.trace().span()))
    })
}

/// The mount table of the process `pid`, whose folder in the host's `/proc` is held.
fn mount_table(pid: u32, folder: &OwnedFd) -> Evidence {
    let table = rustix::fs::openat(folder, "mountinfo", OFlags::RDONLY, Mode::empty());
    let table = table.map(|fd| files::words_of(fd.into())).unwrap_or_default();
    Evidence::new(format!("/proc/{pid}/mountinfo"), table.lines().map(str::to_owned))
}

/// Hides paths of the container: a file under `/dev/null`, a directory under an empty read-only
/// tmpfs (one for all of them). A path that does not exist needs no hiding.
///
/// # Errors
///
/// Those of openat2(2) and move_mount(2).
pub fn mask(trace: &Trace, root: &Root, inside: &[PathBuf]) -> Result<()> {
    let mut empty: Option<Place> = None;
    for path in inside {
        let target = path.display().to_string();
        let place = match root.resolve(path) {
            Err(error) if error.errno() == Some(libc::ENOENT) => {
                trace.skip(Body::MountMask { target, source: String::new() }, "it does not exist");
                continue;
            }
            found => found?,
        };
        let directory = place.is_dir()?;
        let source = if directory { "tmpfs" } else { "/dev/null" }.to_owned();
        trace.step(Body::MountMask { target, source }, |span| -> Result<()> {
            let cover = match (directory, &empty) {
                (false, _) => clone_tree(&null_device(root)?, false, Attributes::default())?,
                (true, Some(there)) => clone_tree(there, false, Attributes::default())?,
                (true, None) => empty_directory()?,
            };
            attach(span.trace(), &cover, &place)?;
            if directory && empty.is_none() {
                // The others are copies of this one: only what is attached can be copied on older kernels.
                empty = Some(Place::from_fd(cover.fd, "tmpfs"));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Nothing, to hide directories under.
fn empty_directory() -> Result<Detached> {
    let attributes =
        Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: true, ..Attributes::default() };
    filesystem_detached("tmpfs", "tmpfs", &[("size", "4k"), ("nr_inodes", "1")], attributes)
}

/// The null device, of the container or else of the host; never what an image put in its place.
fn null_device(root: &Root) -> Result<Place> {
    let inside = root.resolve(Path::new("/dev/null")).and_then(|place| {
        let stat = place.stat()?;
        let null = rustix::fs::makedev(1, 3);
        let real = FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == null;
        Ok(Some(place).filter(|_| real))
    });
    match inside {
        Ok(Some(place)) => Ok(place),
        _ => Place::open(Path::new("/dev/null")),
    }
}
