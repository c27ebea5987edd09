//! The daemon's side of a container's birth: starts the shim, and hears of the
//! first process as soon as there is one.
//!
//! The shim's binary is not executed from its file but from a sealed copy in
//! memory, made once a daemon. A container's first process is a shim until its
//! execve(2); whoever gets hold of its `/proc/PID/exe` holds something that nobody
//! can write, and never the host's file (CVE-2019-5736). All shims of a daemon share
//! the copy's pages.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use glassdock_kernel::descriptor;
use glassdock_kernel::process::{self, Process, Spawn};
use glassdock_trace::{Channel, Trace};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::bundle::Bundle;
use crate::error::Error;
use crate::wire::{self, Birth, Carried, Order};

/// A container that is to be created.
#[derive(Debug)]
pub struct Launch {
    /// Its bundle, absolute.
    pub bundle: Bundle,
    /// The far end of a trace channel whose near end the caller reads (in a
    /// thread or task of its own: with a step gate, [`create`] waits for answers).
    pub channel: Option<Channel>,
    /// The shim's binary; the one beside the running executable, or the
    /// environment's `GLASSDOCK_SHIM`, if absent.
    pub shim: Option<PathBuf>,
}

/// A container that is being created.
#[derive(Debug)]
pub struct Created {
    /// The shim. It is a child of this process: once it has ended (its descriptor
    /// polls readable), [`Process::wait`] collects it. It ends after its container.
    pub shim: Process,
    /// The container's first process. Its namespaces exist: now is the time to
    /// attach the network to `/proc/PID/ns/net`.
    pub init_pid: u32,
    /// What was lent to it. To be [given back](Lent::give_back) once [`crate::Shim::start`] has succeeded.
    pub lent: Lent,
}

/// Memory that a shim and its init have for what they tell of a start, if it is traced.
///
/// Dropped, it is not used again: it is gone with the processes that have it.
#[derive(Debug)]
pub struct Lent(Option<OwnedFd>);

/// Memory that nobody uses at the moment. New memory would cost a start more than all that is told in it.
static MEMORY: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// So many starts at a time have memory that was used before.
const KEPT: usize = 4;

impl Lent {
    fn memory() -> Self {
        let kept = MEMORY.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Without any the shim finds its own.
        Self(kept.or_else(|| process::tape_memory().ok()))
    }

    /// The program runs: neither the shim nor init needs it any more.
    pub fn give_back(self) {
        let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() < KEPT {
            memory.extend(self.0);
        }
    }
}

/// Creates a container: a shim, a control group, and a first process in new
/// namespaces, which goes on to set itself up and then waits for
/// [`crate::Shim::start`].
///
/// Returns as soon as the first process exists. Whether its set-up succeeds is
/// told by [`crate::Shim::ready`] and [`crate::Shim::start`].
///
/// # Errors
///
/// If the bundle is not valid, the shim can't be started, or a step up to the
/// first process fails. Nothing is left behind then.
pub fn create(launch: Launch, trace: &Trace) -> Result<Created, Error> {
    let path = launch.shim.unwrap_or_else(shim_beside_us);
    let copy = sealed_copy(&path)?;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|error| Error::Talk { call: "socketpair", source: error.into() })?;
    let carried = launch.channel.as_ref().and_then(|_| Carried::from_trace(trace));
    let is_told = carried.as_ref().is_some_and(|carried| !carried.is_stepping());
    let lent = if is_told { Lent::memory() } else { Lent(None) };
    let program = Spawn {
        role: "shim",
        path: PathBuf::from(format!("/proc/self/fd/{}", wire::OWN_IMAGE)),
        argv: vec!["glassdock-shim".into(), launch.bundle.folder().as_os_str().to_owned()],
        env: shim_environment(),
        descriptors: vec![(far.as_fd(), 0), (copy.as_fd(), wire::OWN_IMAGE)],
        session: true,
    };
    let shim = process::spawn(trace, &program)?;
    drop(far);
    let order = Order { bundle: launch.bundle.folder().to_owned(), carried };
    let fds: Vec<_> = launch.channel.iter().map(AsFd::as_fd).chain(lent.0.iter().map(AsFd::as_fd)).collect();
    let answer = wire::send(&near, &order, &fds).and_then(|()| wire::receive::<Birth>(&near));
    drop(launch.channel);
    match answer {
        Ok(Some((Birth::Created { init_pid, .. }, _))) => Ok(Created { shim, init_pid, lent }),
        Ok(Some((Birth::Failed(failed), _))) => {
            collect(&shim);
            Err(Error::Step(failed))
        }
        Ok(None) => {
            let source = std::io::Error::other(collect(&shim));
            Err(Error::Spawn { path, source })
        }
        Err(source) => {
            collect(&shim);
            Err(Error::Talk { call: "sendmsg", source })
        }
    }
}

/// Waits for a shim that said that it ends; returns how it ended, in words.
fn collect(shim: &Process) -> String {
    match shim.wait(&Trace::off()) {
        Ok(exit) => format!("it ended with status {} before it answered", exit.code()),
        Err(error) => format!("it ended before it answered ({error})"),
    }
}

/// The binary beside the running one, or the one that the environment names.
#[must_use]
pub fn shim_beside_us() -> PathBuf {
    if let Some(path) = std::env::var_os("GLASSDOCK_SHIM") {
        return PathBuf::from(path);
    }
    let here = std::env::current_exe().unwrap_or_default();
    let beside = here.with_file_name("glassdock-shim");
    if beside.exists() { beside } else { PathBuf::from("glassdock-shim") }
}

/// What of the environment reaches the shim: nothing that could name secrets.
fn shim_environment() -> Vec<OsString> {
    let backtrace = std::env::var_os("RUST_BACKTRACE").map(|value| {
        let mut pair = OsString::from("RUST_BACKTRACE=");
        pair.push(value);
        pair
    });
    backtrace.into_iter().collect()
}

/// The copies made so far: usually one. Kept by the file's identity, so that a new
/// shim (an update) is copied anew.
static COPIES: Mutex<Vec<(FileIdentity, std::sync::Arc<OwnedFd>)>> = Mutex::new(Vec::new());

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

fn sealed_copy(path: &Path) -> Result<std::sync::Arc<OwnedFd>, Error> {
    use std::os::unix::fs::MetadataExt;
    let spawn_error = |source| Error::Spawn { path: path.to_owned(), source };
    let file = File::open(path).map_err(spawn_error)?;
    let meta = file.metadata().map_err(spawn_error)?;
    let identity = FileIdentity {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    };
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, copy)) = copies.iter().find(|(known, _)| *known == identity) {
        return Ok(copy.clone());
    }
    let copy = std::sync::Arc::new(descriptor::sealed_copy(&file, "glassdock-shim")?);
    copies.clear();
    copies.push((identity, copy.clone()));
    Ok(copy)
}
