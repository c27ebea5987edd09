//! Mounts: what a process's tree of files is put together from.
//!
//! The new mount API (Linux 5.2 and later) takes apart what mount(2) did in one call,
//! so that each part can be seen and can fail with a reason of its own:
//!
//! ```text
//!   fsopen(overlay) ─ fsconfig(lowerdir+ = …) … ─ fsmount ─┐
//!   open_tree(source, CLONE) ──────────────────────────────┤
//!                                                           ▼
//!                                   a detached mount: a descriptor, nowhere in the tree
//!                                                           │ mount_setattr: read-only, nosuid, …
//!                                                           ▼
//!                                   move_mount onto a Place: now it can be walked to
//! ```
//!
//! A detached mount vanishes with its last descriptor, so nothing leaks when its
//! maker dies.
//!
//! See fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2),
//! mount_namespaces(7), and the kernel's `filesystems/sharedsubtree`.

// The doors themselves call what is forbidden elsewhere.
#![expect(clippy::disallowed_methods, reason = "this is the door that the lint points at")]

mod attach;

mod apart;

mod filesystem;

mod overlay;

mod options;

mod root;

mod words;

pub use apart::{apart, clone_elsewhere, root_of};
pub use attach::{
    Attributes, Detached, Propagation, attach, attach_unproven, bind, clone_tree, detach, make_private,
    part_of, readonly_path, remount_readonly, set_propagation,
};
pub(crate) use filesystem::knows_filesystem;
pub use filesystem::{cgroup, devpts, filesystem, filesystem_detached, mqueue, proc, sysfs};
pub use overlay::Overlay;
pub use root::{mask, pivot_root};
pub use words::Words;
