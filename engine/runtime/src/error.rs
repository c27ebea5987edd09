//! What can go wrong between a bundle and a running process.

use std::io;
use std::path::PathBuf;

use glassdock_trace::Aborted;
use serde::{Deserialize, Serialize};

/// Why the runtime could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the bundle can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the bundle can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the bundle, or a request, isn't what it should be.
    #[error("{} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The shim can't be started.
    #[error("cannot start the shim {}: is glassdock-shim installed beside glassdock, or named by GLASSDOCK_SHIM?", path.display())]
    Spawn {
        /// The shim's binary.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Talking with the shim failed in the middle.
    #[error("{call} between the runtime and the shim failed")]
    Talk {
        /// The call that failed.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No shim answers for this bundle: the container isn't running (any more).
    #[error("no shim answers for {}: the container is not running", bundle.display())]
    Gone {
        /// The bundle.
        bundle: PathBuf,
    },
    /// The shim, or the container's init, said that a step failed.
    #[error(transparent)]
    Step(#[from] Failed),
    /// A door to Linux on the daemon's side.
    #[error(transparent)]
    Kernel(#[from] glassdock_kernel::Error),
    /// The one who steps through the operation said abort.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// A step that failed in the shim or in a container's init, as it travels
/// between the processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// The step's name: `overlay`, `mounts`, `pivot`, `seccomp`, `exec`, …; `user` if there is no
    /// such user or group.
    pub step: String,
    /// What failed, in words, with its causes. For the step `exec` it is what
    /// Docker's clients know: `exec: "foo": executable file not found in $PATH`.
    pub message: String,
    /// The kernel's error number, where the kernel refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The exit status that the failure means for the container: 127 not found,
    /// 126 can't be executed, 128 otherwise (as Docker has it for a failed start).
    pub status: i32,
    /// Whether the one who steps through said abort.
    #[serde(default)]
    pub aborted: bool,
}
