//! What `RUN --mount=type=cache` keeps: a folder each, in `ROOT/build-cache`, and who may use it when.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_build::language::mount::{Looks, Sharing};
use glassdock_image::Digest;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::error::Error;

/// So many copies of one private cache may be in use.
const MOST_COPIES: usize = 256;

/// The caches that are in use.
#[derive(Debug, Default)]
pub struct Caches(Mutex<HashMap<PathBuf, Arc<RwLock<()>>>>);

/// A cache that a command has.
#[derive(Debug)]
pub struct Held {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it was made just now.
    pub new: bool,
    _lock: Lock,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held until the command has ended")]
enum Lock {
    Together(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Caches {
    /// The folder of the cache `id` below `root`, as soon as it may be used.
    ///
    /// # Errors
    ///
    /// If it can't be made; conflict, if a private one has too many copies.
    pub async fn hold(&self, root: &Path, id: &str, sharing: Sharing, looks: Looks) -> Result<Held, Error> {
        let own = root.join("build-cache").join(Digest::of(id.as_bytes()).hex());
        let (folder, lock) = match sharing {
            Sharing::Shared => {
                let lock = self.lock(&own).read_owned().await;
                (own, Lock::Together(lock))
            }
            Sharing::Locked => {
                let lock = self.lock(&own).write_owned().await;
                (own, Lock::Alone(lock))
            }
            Sharing::Private => {
                let copies = (0..MOST_COPIES).map(|number| match number {
                    0 => own.clone(),
                    number => own.with_extension(number.to_string()),
                });
                let free = |folder: PathBuf| {
                    let lock = self.lock(&folder).try_write_owned().ok()?;
                    Some((folder, Lock::Alone(lock)))
                };
                copies.into_iter().find_map(free).ok_or_else(|| {
                    Error::conflict(format!("the private cache {id} is in use {MOST_COPIES} times"))
                })?
            }
        };
        let new = make(&folder, looks)?;
        Ok(Held { folder, new, _lock: lock })
    }

    fn lock(&self, folder: &Path) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody holds needs no lock.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(folder.to_owned()).or_default())
    }

    /// The caches that commands have at the moment.
    #[must_use]
    pub fn in_use(&self) -> Vec<PathBuf> {
        let locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks
            .iter()
            .filter(|(_, lock)| Arc::strong_count(lock) > 1)
            .map(|(folder, _)| folder.clone())
            .collect()
    }
}

/// Makes the folder, if it isn't there.
fn make(folder: &Path, looks: Looks) -> Result<bool, Error> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
        // Its files are other users' too: nobody but the engine comes near them.
        fs::set_permissions(parent, Permissions::from_mode(0o700))?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        made => made?,
    }
    chown(folder, Some(looks.uid), Some(looks.gid))?;
    fs::set_permissions(folder, Permissions::from_mode(looks.mode))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sharing_is_what_it_says() {
        let root = tempfile::tempdir().expect("a folder");
        let caches = Caches::default();
        let looks = Looks { mode: 0o710, uid: 0, gid: 0 };
        let hold = |id: &'static str, sharing| caches.hold(root.path(), id, sharing, looks);
        let one = hold("a", Sharing::Shared).await.expect("a cache");
        let two = hold("a", Sharing::Shared).await.expect("the same");
        assert_eq!((&one.folder, one.new, two.new), (&two.folder, true, false));
        let private = hold("a", Sharing::Private).await.expect("another");
        assert_ne!(private.folder, one.folder);
        assert_eq!(fs::metadata(&one.folder).expect("there").permissions().mode() & 0o777, 0o710);
        let locked = hold("b", Sharing::Locked).await.expect("alone");
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), hold("b", Sharing::Locked));
        assert!(waits.await.is_err(), "a second one waits");
        assert_eq!(caches.in_use().len(), 3);
        drop(locked);
        assert!(!hold("b", Sharing::Locked).await.expect("free again").new);
        let first = one.folder.clone();
        drop((one, two, private));
        let again = hold("a", Sharing::Private).await.expect("free again");
        assert_eq!((again.new, again.folder.clone()), (false, first));
    }
}
