//! Who uses a volume that has a file system of its own, and its mount meanwhile.
//!
//! ```text
//!   first user ──► mounted at ROOT/volumes/NAME/_data, on the host
//!   last user gone ──► unmounted
//!   daemon's start: mounted, and nobody uses it ──► unmounted
//! ```
//!
//! The mount is the host's, as Docker's is: two containers see the same tmpfs, and so does
//! whoever looks at the volume's mount point.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_kernel::{files, mount};
use glassdock_trace::Trace;

use super::{Volumes, options};
use crate::error::{Error, Kind};

/// The users of each volume. A volume has a lock of its own, so that a mount that takes long,
/// or is held at a step, holds up those alone who need the same.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<BTreeMap<String, Users>>);

type Users = Arc<Mutex<BTreeSet<String>>>;

impl Holders {
    fn of(&self, name: &str) -> Users {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_default())
    }
}

impl Volumes {
    /// Makes sure that a volume's file system is there as long as `user` (a container's id,
    /// or an operation's own word) uses it; a plain volume needs nothing.
    ///
    /// # Errors
    ///
    /// Not found, and what the kernel says of the mount.
    pub fn hold(&self, trace: &Trace, name: &str, user: &str) -> Result<(), Error> {
        let volume = self.get(name)?;
        if !options::is_mounted_when_used(&volume.options) {
            return Ok(());
        }
        let users = self.holders.of(name);
        let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name);
        if !is_mounted(&path) {
            options::mount(trace, &volume.options, &path)?;
        }
        users.insert(user.to_owned());
        Ok(())
    }

    /// `user` does not use the volume any more; after the last one it is unmounted.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn let_go(&self, trace: &Trace, name: &str, user: &str) -> Result<(), Error> {
        let Ok(volume) = self.get(name) else { return Ok(()) };
        if !options::is_mounted_when_used(&volume.options) {
            return Ok(());
        }
        let users = self.holders.of(name);
        let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
        users.remove(user);
        if users.is_empty() { unmount(trace, &self.path(name)) } else { Ok(()) }
    }

    /// Does `work` while volumes are held.
    ///
    /// # Errors
    ///
    /// Those of [`Volumes::hold`], of the work, and of [`Volumes::let_go`].
    pub fn while_held<T>(
        &self,
        trace: &Trace,
        names: &[&str],
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let user = format!("operation {}", crate::containers::names::new_id()?);
        let mut done = names.iter().try_for_each(|name| self.hold(trace, name, &user)).and_then(|()| work());
        for name in names {
            let left = self.let_go(trace, name, &user);
            done = done.and_then(|done| left.map(|()| done));
        }
        done
    }

    /// After a start of the daemon: `users` are the containers that run, by the volumes that
    /// they have. What an earlier daemon left mounted for nobody is unmounted.
    pub fn take_up(&self, users: &BTreeMap<String, BTreeSet<String>>) {
        for volume in self.all() {
            if !options::is_mounted_when_used(&volume.options) {
                continue;
            }
            let holders = self.holders.of(&volume.name);
            let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
            holders.extend(users.get(&volume.name).into_iter().flatten().cloned());
            if holders.is_empty()
                && let Err(error) = unmount(&Trace::off(), &self.path(&volume.name))
            {
                tracing::warn!(volume = volume.name, %error, "a volume that nobody uses stays mounted");
            }
        }
    }

    /// Before a volume's folder is deleted: nothing is mounted there, or what is mounted would
    /// be emptied. Whoever holds it is told.
    pub(super) fn unmounted(&self, trace: &Trace, name: &str) -> Result<(), Error> {
        let users = self.holders.of(name);
        let users = users.lock().unwrap_or_else(PoisonError::into_inner);
        if !users.is_empty() {
            return Err(Error::conflict(format!("remove {name}: volume has active mounts")));
        }
        unmount(trace, &self.path(name))
    }
}

/// Takes all away that is mounted at a place.
fn unmount(trace: &Trace, path: &Path) -> Result<(), Error> {
    let Some(path) = without_links(path) else { return Ok(()) };
    while files::mount_line(&path.to_string_lossy()).is_some() {
        mount::detach(trace, &path).map_err(|error| Error::of(Kind::Internal, &error))?;
    }
    Ok(())
}

fn is_mounted(path: &Path) -> bool {
    without_links(path).is_some_and(|path| files::mount_line(&path.to_string_lossy()).is_some())
}

/// The path as the table of mounts has it. The last part is not looked at: a file system whose
/// server is gone would not answer.
fn without_links(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}
