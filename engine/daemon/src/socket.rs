//! The daemon's places on the host: the lock on its root, and its sockets.
//!
//! A root belongs to one daemon: `ROOT/daemon.lock` is held with flock(2) as long
//! as the daemon lives, and the kernel lets go of it however the daemon dies. A
//! socket that a dead daemon left behind is taken over; one that somebody answers
//! on is not. See unix(7).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why a daemon can't have its place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon has the root.
    #[error("another daemon uses the root {}: stop it, or give this one a --root of its own", root.display())]
    Taken {
        /// The root.
        root: PathBuf,
    },
    /// Somebody answers on the socket.
    #[error("another process answers on {}: stop it, or give this daemon a --host of its own", path.display())]
    Answered {
        /// The socket.
        path: PathBuf,
    },
    /// Something else than a socket is where the socket should be.
    #[error("{} is there and is no socket: remove it, or choose another --host", path.display())]
    NoSocket {
        /// What is there.
        path: PathBuf,
    },
    /// A call failed.
    #[error("cannot {act} {}", path.display())]
    Call {
        /// What was to be done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn call<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Call { act, path: path.to_owned(), source }
}

/// Takes the root for this daemon, and makes it if it is missing. Its owner alone
/// may look inside: layers hold what set-user-id programs images bring.
///
/// # Errors
///
/// [`Error::Taken`], and what the file system says.
pub fn lock_root(root: &Path) -> Result<File, Error> {
    fs::create_dir_all(root).map_err(call("make the folder", root))?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).map_err(call("set the mode of", root))?;
    // Containers come and go; a trace, which stays, is not to be looked for a place among what they leave.
    glassdock_kernel::disk::spread_folders(root);
    let path = root.join("daemon.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(call("open", &path))?;
    match glassdock_kernel::disk::lock_for_life(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(Error::Taken { root: root.to_owned() }),
        Err(source) => Err(Error::Call { act: "lock", path, source }),
    }
}

/// A socket that listens, and goes with the daemon.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    identity: Option<Identity>,
}

impl Socket {
    /// Listens at `path`, for root and the group `docker` (if there is one).
    ///
    /// # Errors
    ///
    /// [`Error::Answered`], [`Error::NoSocket`], and what the kernel says.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), Error> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(call("make the folder", folder))?;
        // An address is at most 107 bytes long; through the folder's descriptor any path is short.
        let opened = File::open(folder).map_err(call("open", folder))?;
        let name = path.file_name().unwrap_or_default();
        let short = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
        clear_stale(path, &short)?;
        let listener = UnixListener::bind(&short).map_err(call("listen on", path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .map_err(call("set the mode of", path))?;
        if let Some(group) = docker_group() {
            std::os::unix::fs::chown(path, None, Some(group)).map_err(call("set the group of", path))?;
        }
        listener.set_nonblocking(true).map_err(call("set up", path))?;
        let identity = identity_of(path);
        Ok((Self { path: path.to_owned(), identity }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon may have bound the path meanwhile: its socket stays.
        if self.identity.is_some() && identity_of(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What tells one file from another: its inode, and when that was changed last (a
/// number is given anew as soon as it is free).
type Identity = (u64, i64, i64);

fn identity_of(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}

fn clear_stale(path: &Path, short: &Path) -> Result<(), Error> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(call("look at", path)(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(Error::NoSocket { path: path.to_owned() });
    }
    match UnixStream::connect(short) {
        Ok(_) => Err(Error::Answered { path: path.to_owned() }),
        Err(_) => fs::remove_file(path).map_err(call("remove the stale socket", path)),
    }
}

/// The number of the group `docker`, as group(5) has it.
fn docker_group() -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| line.strip_prefix("docker:")?.split(':').nth(1)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_one_daemon() {
        let root = tempfile::tempdir().expect("a folder");
        let first = lock_root(root.path()).expect("the first daemon");
        assert!(matches!(lock_root(root.path()), Err(Error::Taken { .. })));
        drop(first);
        lock_root(root.path()).expect("the root is free again");
    }

    #[test]
    fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = folder.path().join("x".repeat(100));
        let path = long.join("y".repeat(60));
        let (socket, listener) = Socket::bind(&path).expect("a long path");
        assert!(matches!(Socket::bind(&path), Err(Error::Answered { .. })));
        drop(listener);
        let (again, _listener) = Socket::bind(&path).expect("nobody answers any more");
        drop(socket);
        assert!(path.exists(), "the first daemon's end must not take the second one's socket");
        drop(again);
        assert!(!path.exists());
        fs::write(&path, "precious").expect("a file");
        assert!(matches!(Socket::bind(&path), Err(Error::NoSocket { .. })));
    }
}
