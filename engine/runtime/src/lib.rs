//! # The runtime: an OCI bundle becomes a running process
//!
//! ```text
//!   daemon                     shim (one a container)             init (becomes the program)
//!     │ create(bundle) ──exec──► reads the bundle
//!     │                          cgroup.create
//!     │                          namespace.create ──clone3──────► layer.mount, mount.*
//!     │ ◄── pid ─────────────────┤                                rootfs.pivot
//!     │ attaches the network     │ cgroup.attach ──────────────►  namespace.create (cgroup)
//!     │                          │                                waits
//!     │ start() ────────────────►│ ────────────────────────────►  capability.set, seccomp.load,
//!     │ ◄── running ─────────────┤ ◄── closed by execve ───────   user.set, process.exec
//!     │                          │ stdio, log, clients            the program
//!     │ ◄── notice: exited ──────┤ ◄── reaped ──────────────────  its end
//!     │                          │ exit.json, cgroup.remove; ends
//! ```
//!
//! The shim is the parent of the container's first process. It holds the standard
//! streams, writes the log, reaps, and keeps the exit status, whether or not a
//! daemon lives. It is small, single-threaded, and waits in one poll(2).
//!
//! Reading order: what a container is ([`bundle`], [`oci`]), how the daemon makes
//! one and talks with it ([`launch`], [`client`]), its output ([`log`]), its process 1 with `--init` ([`first`]), what can go
//! wrong ([`error`]).

pub mod bundle;

pub mod oci;

pub mod launch;

pub mod client;

pub mod log;

pub mod stamp;

pub mod shim;

mod init;

pub mod first;

mod wire;

mod plan;

pub mod error;

pub use bundle::{Bundle, Exit, Extras};
pub use client::{ExecSpec, Execed, Notice, Shim, State, Status, Streams};
pub use error::{Error, Failed};
pub use init::mounts::{INSIDE, bind_source, mount_stack};
pub use init::user::numbers as user_numbers;
pub use launch::{Created, Launch, create};
