//! When a group is out of memory.
//!
//! v1 tells by an eventfd that is registered in `cgroup.event_control`; v2 by a change of
//! `memory.events`, which inotify(7) sees. Both count the processes that the kernel ended.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::stats::table;
use crate::{Error, Result};

/// Tells when a group is out of memory. The descriptor polls readable when something may have happened.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    /// The file with the line `oom_kill N`.
    counter: PathBuf,
    told: u64,
}

impl OomWatch {
    pub(super) fn v1(folder: &Path) -> Result<Self> {
        let counter = folder.join("memory.oom_control");
        let subject = || counter.display().to_string();
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::call("eventfd", "", error))?;
        let control = fs::File::open(&counter).map_err(|error| Error::call("open", subject(), error))?;
        let line = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
        // The kernel wants the line in one write to the file as it is.
        let file = fs::OpenOptions::new().write(true).open(folder.join("cgroup.event_control"));
        file.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes())).map_err(|error| {
            Error::call("write", folder.join("cgroup.event_control").display().to_string(), error)
        })?;
        Ok(Self::from(fd, counter))
    }

    pub(super) fn v2(folder: &Path) -> Result<Self> {
        let counter = folder.join("memory.events");
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| Error::call("inotify_init", "", error))?;
        inotify::add_watch(&fd, &counter, WatchFlags::MODIFY)
            .map_err(|error| Error::call("inotify_add_watch", counter.display().to_string(), error))?;
        Ok(Self::from(fd, counter))
    }

    fn from(fd: OwnedFd, counter: PathBuf) -> Self {
        let mut watch = Self { fd, counter, told: 0 };
        watch.told = watch.count();
        watch
    }

    /// How many processes the kernel has ended for want of memory since the last call. To be called when the
    /// descriptor polls readable, and at the container's end, before the group is removed.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn killed(&mut self) -> Result<u64> {
        let mut buffer = [0_u8; 4096];
        // Only to make it unreadable again; what it says, the counter says better.
        while rustix::io::read(&self.fd, &mut buffer).is_ok_and(|length| length == buffer.len()) {}
        let count = self.count();
        let new = count.saturating_sub(self.told);
        self.told = self.told.max(count);
        Ok(new)
    }

    fn count(&self) -> u64 {
        let text = fs::read_to_string(&self.counter).unwrap_or_default();
        table(&text).get("oom_kill").copied().unwrap_or(0)
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
