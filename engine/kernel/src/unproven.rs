//! What the kernel says of a container's first process, read by another one.
//!
//! A mount table takes the kernel a tenth of a millisecond, and the list of a process's control groups a quarter of
//! that. Init has more to do; the shim, which waits for it, sees the same in `/proc/PID`:
//!
//! ```text
//!   init    enter, attach, pivot ─► Unproven ──►┐    the filter, execve(2) …
//!   shim                                        └─► open, "go on", read ─► evidence
//! ```

use std::fs::File;

use glassdock_trace::Evidence;
use serde::{Deserialize, Serialize};

use crate::files;

/// The steps that are still to be proven, by their numbers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Unproven {
    /// The step in which the process went under its control group.
    pub entered: Option<u64>,
    /// The step in which the root was attached.
    pub attached: Option<u64>,
    /// The step in which it was entered.
    pub pivot: Option<u64>,
}

/// The files of a process that prove them. They are open, so that they can be read also when the process has ended.
#[derive(Debug)]
pub struct Opened {
    steps: Unproven,
    groups: Option<(String, File)>,
    mounts: Option<(String, File)>,
}

impl Unproven {
    /// Opens what proves them for the process `pid`, in this process's numbering.
    #[must_use]
    pub fn open(self, pid: u32) -> Opened {
        let opened = |name: &str| {
            let source = format!("/proc/{pid}/{name}");
            // Without it there is no evidence.
            Some((File::open(&source).ok()?, source)).map(|(file, source)| (source, file))
        };
        Opened {
            steps: self,
            groups: self.entered.and_then(|_| opened("cgroup")),
            mounts: self.attached.or(self.pivot).and_then(|_| opened("mountinfo")),
        }
    }
}

impl Opened {
    /// Reads them, as they are by now: the control groups, and the mount table with all that was mounted, of which the
    /// line for the root belongs to the step that attached it. Each comes with the number of its step.
    #[must_use]
    pub fn read(self) -> Vec<(u64, Evidence)> {
        let Self { steps, groups, mounts } = self;
        let mut proofs = Vec::new();
        let mut prove = |step: Option<u64>, source: &str, lines: &mut dyn Iterator<Item = &str>| {
            if let Some(step) = step {
                proofs.push((step, Evidence::new(source, lines.map(str::to_owned))));
            }
        };
        if let Some((source, file)) = groups {
            prove(steps.entered, &source, &mut files::words_of(file).lines());
        }
        if let Some((source, file)) = mounts {
            let table = files::words_of(file);
            let is_root = |line: &&str| line.split(' ').nth(4) == Some("/");
            prove(steps.attached, &source, &mut table.lines().filter(is_root));
            prove(steps.pivot, &source, &mut table.lines());
        }
        proofs
    }
}
