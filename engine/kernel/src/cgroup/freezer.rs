//! Stopping the processes of a group where they stand, and letting them go on.

use std::time::{Duration, Instant};

use glassdock_trace::{Body, Trace};

use super::Cgroup;
use super::directories::{read, write};
use crate::{Error, Result};

/// How long a freeze may take.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Stops all its processes where they stand, and waits until they do.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Unsupported`] without a freezer; `ETIMEDOUT` if a process does not stop within five seconds.
    pub fn freeze(&self, trace: &Trace) -> Result<()> {
        self.set_frozen(trace, true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self, trace: &Trace) -> Result<()> {
        self.set_frozen(trace, false)
    }

    pub(super) fn set_frozen(&self, trace: &Trace, frozen: bool) -> Result<()> {
        let version = self.hierarchy.version();
        let (folder, file, value) = match (version, frozen) {
            (2, true) => (self.folder("unified"), "cgroup.freeze", "1"),
            (2, false) => (self.folder("unified"), "cgroup.freeze", "0"),
            (_, true) => (self.folder("freezer"), "freezer.state", "FROZEN"),
            (_, false) => (self.folder("freezer"), "freezer.state", "THAWED"),
        };
        let Some(folder) = folder else {
            return Err(Error::Unsupported {
                what: "pausing a container",
                reason: "this machine has no freezer among its control groups".to_owned(),
            });
        };
        let path = folder.join(file);
        let body =
            Body::CgroupSet { path: self.name.clone(), file: file.to_owned(), value: value.to_owned() };
        trace.step(body, |_| {
            write(&path, value)?;
            let patience = Instant::now() + FREEZE_PATIENCE;
            loop {
                let done = if version == 2 {
                    let events = read(&folder.join("cgroup.events"))?;
                    events.lines().any(|line| line == if frozen { "frozen 1" } else { "frozen 0" })
                } else {
                    read(&path)?.trim() == value
                };
                if done {
                    return Ok(());
                }
                if Instant::now() > patience {
                    return Err(Error::call(
                        "write",
                        path.display().to_string(),
                        rustix::io::Errno::TIMEDOUT,
                    ));
                }
                if version == 1 {
                    // v1 may stop half-way when processes fork meanwhile, and goes on when asked again.
                    write(&path, value)?;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    }
}
