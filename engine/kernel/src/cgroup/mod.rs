//! Control groups: what a group of processes may use, and what it did use.
//!
//! Version 2 has one tree with all controllers (`/sys/fs/cgroup`); version 1 has a
//! tree per controller. A machine may have both, with the controllers in either. The
//! engine takes v2 where that has controllers, v1 where only that has, and else none,
//! saying so.
//!
//! ```text
//!   Cgroup::create ── limits are written
//!        │
//!        ├─ v2: the first process is born in it (clone3, CLONE_INTO_CGROUP)
//!        └─ v1: the first process enters it, before it does anything else
//!        │
//!   stats, freeze, thaw, update, kill
//!        │
//!   remove ── the directories go, once the last process is gone
//! ```
//!
//! A group is a directory in each tree; a limit is a file in it. Reading order: where
//! the trees are ([`hierarchy`]), what may be limited ([`Limits`]) and which files
//! that is, the group itself ([`Cgroup`]), and what it used ([`Stats`]).
//!
//! See cgroups(7), the kernel's `admin-guide/cgroup-v2` and `cgroup-v1`; OCI
//! runtime-spec `config-linux.md`, "Control groups".

mod hierarchy;

mod limits;

mod settings;

mod device_filter;

mod group;

mod directories;

mod writing;

mod freezer;

mod stats;

mod oom;

pub use group::Cgroup;
pub use hierarchy::{Hierarchy, hierarchy};
pub use limits::{DeviceRule, Limits, Throttle, ThrottleKind};
pub use oom::OomWatch;
pub use stats::{BlockStats, Stats};
