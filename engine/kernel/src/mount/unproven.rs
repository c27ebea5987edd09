//! What the kernel says of a container's mounts, read by another process.
//!
//! Reading a mount table takes the kernel a tenth of a millisecond. Init has more to do; the shim, which waits
//! for it, sees the same table in `/proc/PID`:
//!
//! ```text
//!   init    attach, pivot ─► Unproven ──►┐    the filter, execve(2) …
//!   shim                                 └─► open, "go on", read ─► evidence
//! ```

use std::fs::File;

use glassdock_trace::Evidence;
use serde::{Deserialize, Serialize};

use crate::files;

/// A root that was entered, by the numbers of the steps that are still to be proven.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Unproven {
    /// The step in which the root was attached.
    pub attached: u64,
    /// The step in which it was entered.
    pub pivot: u64,
}

/// The mount table of a process. It is open, so that it can be read also when the process has ended.
#[derive(Debug)]
pub struct Opened {
    source: String,
    file: File,
    steps: Unproven,
}

impl Unproven {
    /// Opens the mount table of the process `pid`, in this process's numbering; `None` if it has ended.
    #[must_use]
    pub fn open(self, pid: u32) -> Option<Opened> {
        let source = format!("/proc/{pid}/mountinfo");
        Some(Opened { file: File::open(&source).ok()?, source, steps: self })
    }
}

impl Opened {
    /// Reads it, with all that was mounted until now: the evidence of the pivot, and its line for the root that of the
    /// step that attached it. Each comes with the number of its step.
    #[must_use]
    pub fn read(self) -> [(u64, Evidence); 2] {
        let Self { source, file, steps } = self;
        let table = files::words_of(file);
        let is_root = |line: &&str| line.split(' ').nth(4) == Some("/");
        let root = Evidence::new(source.clone(), table.lines().filter(is_root).map(str::to_owned));
        let all = Evidence::new(source, table.lines().map(str::to_owned));
        [(steps.attached, root), (steps.pivot, all)]
    }
}
