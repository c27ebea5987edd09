//! Trees of mounts that one thread has for itself, or takes from another process.
//!
//! The daemon has many threads and must not leave the host's mount namespace. But
//! unshare(2) and setns(2) move one thread only, if it shares its root and working
//! directory with no other. So a thread is made for it, and is gone with the namespace.
//!
//! See mount_namespaces(7), open_tree(2).

use std::fs::File;
use std::path::Path;

use glassdock_trace::Trace;

use super::attach::{Attributes, Detached, clone_tree, make_private};
use crate::namespace::{self, Kind, Set};
use crate::path::Place;
use crate::process::Process;
use crate::{Error, Result};

/// Does `work` on a thread of its own, in a mount namespace of its own: what it mounts, nobody
/// else sees, and it is gone when the work is done, also after a crash.
///
/// # Errors
///
/// Those of unshare(2) and mount_setattr(2), and those of the work.
pub fn apart<T, E>(trace: &Trace, work: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E>
where
    T: Send,
    E: From<Error> + Send,
{
    on_a_thread(|| {
        namespace::unshare(trace, Set::EMPTY.with(Kind::Mount))?;
        make_private(trace)?;
        work()
    })
}

/// The root of a process as a detached mount, read-only, without what is mounted below it: of a
/// container, its layers and nothing else.
///
/// # Errors
///
/// Those of setns(2) and open_tree(2); `ESRCH` if the process is gone.
pub fn root_of(trace: &Trace, process: &Process) -> Result<Detached> {
    on_a_thread(|| {
        namespace::unshare_directories()?;
        let pidfd = std::os::fd::AsFd::as_fd(process);
        namespace::join_process(trace, pidfd, process.pid(), Set::EMPTY.with(Kind::Mount))?;
        let read_only = Attributes { read_only: true, ..Attributes::default() };
        clone_tree(&Place::open(Path::new("/"))?, false, read_only)
    })
}

/// As [`clone_tree`], of a place in another mount namespace, such as `/proc/4711/ns/mnt`, where no path from here leads.
///
/// The process goes there and comes back; it must have one thread, and be in no chroot(2).
///
/// # Errors
///
/// Those of setns(2) and open_tree(2).
pub fn clone_elsewhere(
    trace: &Trace,
    namespace: &Path,
    source: &Path,
    recursive: bool,
    attributes: Attributes,
) -> Result<Detached> {
    // Opened first: from there, this process has no path.
    const OWN: &str = "/proc/self/ns/mnt";
    let own = File::open(OWN).map_err(|error| Error::call("open", OWN, error))?;
    namespace::join_path(trace, namespace, Kind::Mount)?;
    let copy = Place::open(source).and_then(|source| clone_tree(&source, recursive, attributes));
    namespace::join_open(trace, &own, Kind::Mount)?;
    copy
}

fn on_a_thread<T, E>(work: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E>
where
    T: Send,
    E: From<Error> + Send,
{
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mounts".to_owned()).spawn_scoped(scope, work);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::call("clone", "a thread", error).into()),
        }
    })
}
