//! # The only door to Linux
//!
//! Whatever the engine asks of the kernel (mounts, namespaces, control groups,
//! privileges, processes, links) it asks here. Each function is a *door*: it does
//! one thing, tells the [`Trace`](glassdock_trace::Trace) what it is about to do,
//! does it, and tells how it went. Nothing else in the engine has `unsafe` or
//! calls mount(2) and its like; `clippy.toml` forbids it.
//!
//! How a container's process comes to be, in the order of its doors:
//!
//! ```text
//!   cgroup::Cgroup::create          limits for a process that is not there yet
//!   process::clone_child            clone3(2): new namespaces, and the first process in them
//!     in the child, step by step:
//!     namespace::set_names          its own hostname
//!     mount::make_private           nothing it mounts is seen outside
//!     mount::Overlay::mount         the image's layers as one tree
//!     mount::attach, mount::proc …  the tree, and the file systems in it
//!     device::create                /dev/null and its like
//!     mount::pivot_root             the tree becomes /
//!     mount::mask, remount_readonly what must not be seen or written
//!     rlimit::set
//!     seccomp::load                 which system calls are left
//!     capability::drop_to           which powers are left, and which user it is
//!     process::exec                 the child becomes the user's program
//! ```
//!
//! Invariants:
//!
//! - A door acts and reports; it decides nothing about containers or images.
//! - Paths inside a container are found from a [`path::Root`] with openat2(2), and
//!   from there on held as descriptors. No door joins a container's path to a host's.
//! - Errors name the call, its subject and the reason ([`Error`]); where the reason
//!   is known, they say what to do.
//! - Everything between clone and exec runs in a process of one thread, so that
//!   ordinary Rust is sound there.

#![allow(unsafe_code, reason = "this crate is the one that wraps system calls; each block has its reason")]

mod error;

pub mod files;

pub mod disk;

pub mod descriptor;

pub mod features;

pub mod path;

pub mod namespace;

pub mod process;

pub mod mount;

pub mod unproven;

pub mod device;

pub mod cgroup;

pub mod rlimit;

pub mod user;

pub mod capability;

pub mod seccomp;

pub mod pty;

pub mod socket;

mod netlink;

pub mod link;

pub mod nft;

pub use error::{Error, ErrorKind, Warning};

/// What the doors return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
