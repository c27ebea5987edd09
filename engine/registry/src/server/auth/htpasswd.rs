//! The file of users and their passwords' hashes, as Apache's `htpasswd -B` writes it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::task;

use glassdock_image::digest::{Algorithm, Hasher};
use tokio::sync::Semaphore;

/// Checking a password takes a tenth of a second of work, on purpose. One that was right is
/// believed again for so long.
const BELIEVED: Duration = Duration::from_secs(60);
/// So many right passwords are remembered.
const REMEMBERED: usize = 1024;
/// So many are checked at a time: guessing must not take the machine from everybody else.
const AT_A_TIME: usize = 2;
/// Somebody whom the file doesn't name gets checked against this, and so takes as long.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuW7zYv6sCX3cTkQn5IeWkZP2m0q1vG6e";

/// A mark has so many characters.
const MARK: usize = 32;

#[derive(Debug)]
pub(super) struct Htpasswd {
    path: PathBuf,
    checking: Semaphore,
    users: Mutex<Users>,
    /// Unknown outside this process, so that what is remembered is of no use to anybody.
    salt: [u8; 32],
}

#[derive(Debug, Default)]
struct Users {
    changed: Option<SystemTime>,
    hashes: Arc<HashMap<String, String>>,
    remembered: HashMap<String, Instant>,
}

impl Htpasswd {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
        let file = Self {
            path: path.to_owned(),
            checking: Semaphore::new(AT_A_TIME),
            users: Mutex::default(),
            salt,
        };
        file.read()?;
        Ok(file)
    }

    /// The users, read again when the file was changed.
    fn read(&self) -> io::Result<Arc<HashMap<String, String>>> {
        let failed = |source: io::Error| {
            io::Error::new(source.kind(), format!("cannot read {}: {source}", self.path.display()))
        };
        let changed = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).map_err(failed)?;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.changed != Some(changed) {
            let text = fs::read_to_string(&self.path).map_err(failed)?;
            let hashes =
                parse(&text).map_err(|words| failed(io::Error::new(io::ErrorKind::InvalidData, words)))?;
            *users = Users { changed: Some(changed), hashes: Arc::new(hashes), remembered: HashMap::new() };
        }
        Ok(Arc::clone(&users.hashes))
    }

    /// Whether this is a user, with this password.
    pub(super) async fn knows(&self, user: &str, password: &str) -> bool {
        // A file that someone is just changing, or that is broken now: the users from before.
        let hashes = self.read().unwrap_or_else(|_| {
            Arc::clone(&self.users.lock().unwrap_or_else(PoisonError::into_inner).hashes)
        });
        let key = self.key(user, password);
        if self.remembers(&key) {
            return true;
        }
        let known = hashes.get(user).cloned();
        let (hash, exists) = known.map_or((NOBODY.to_owned(), false), |hash| (hash, true));
        let Ok(_turn) = self.checking.acquire().await else { return false };
        let password = password.to_owned();
        let fits = task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
        let good = fits.await.unwrap_or(false) && exists;
        if good {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            if users.remembered.len() >= REMEMBERED {
                users.remembered.clear();
            }
            if Arc::ptr_eq(&users.hashes, &hashes) {
                users.remembered.insert(key, Instant::now());
            }
        }
        good
    }

    /// What tells whether a user is still there with the same password; says nothing about it.
    pub(super) fn mark(&self, user: &str) -> Option<String> {
        let hashes = self.read().ok()?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(hashes.get(user)?.as_bytes());
        Some(hasher.finish().hex()[..MARK].to_owned())
    }

    fn remembers(&self, key: &str) -> bool {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.remembered.get(key).is_some_and(|since| since.elapsed() < BELIEVED)
    }

    fn key(&self, user: &str, password: &str) -> String {
        let text = [&self.salt[..], user.as_bytes(), b":", password.as_bytes()].concat();
        glassdock_image::Digest::of(&text).hex().to_owned()
    }
}

fn parse(text: &str) -> Result<HashMap<String, String>, String> {
    let mut hashes = HashMap::new();
    for (number, line) in (1..).zip(text.lines()).map(|(number, line)| (number, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (user, hash) =
            line.split_once(':').ok_or_else(|| format!("line {number}: a line is NAME:HASH"))?;
        if !["$2y$", "$2a$", "$2b$"].iter().any(|kind| hash.starts_with(kind)) {
            return Err(format!(
                "line {number}: the hash of {user} is not bcrypt's; make it with `htpasswd -B`"
            ));
        }
        hashes.insert(user.to_owned(), hash.to_owned());
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bcrypt_will_do() {
        assert_eq!(parse("# users\n\nali:$2y$05$x\n").map(|users| users.len()), Ok(1));
        assert!(
            parse("ali:{SHA}x").is_err_and(|words| words.contains("line 1") && words.contains("htpasswd -B"))
        );
        assert!(parse("ali").is_err());
    }

    #[test]
    fn nobody_has_a_hash_that_can_be_checked() {
        assert!(bcrypt::verify("x", NOBODY).is_ok_and(|fits| !fits));
    }
}
