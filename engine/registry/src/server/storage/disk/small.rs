//! Small files that were read lately: to look whether one is still the same takes one system
//! call, to read it again five.
//!
//! A file that is replaced (by rename(2), the only way in which ours change) is another inode, or
//! has another time. Inodes are used again and the kernel's clock for files stands still for some
//! milliseconds, so a file that was written just now isn't kept: two of the same inode and
//! the same time are then both too new.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

/// What a file is told by.
type Stamp = (u64, i64, i64, u64);

/// So many files are kept, each of at most so many bytes.
const FILES: usize = 64 * 1024;
const LENGTH: u64 = 1024;
/// How long a file must not have changed to be kept.
const TICK: Duration = Duration::from_millis(50);

/// The files, by key.
#[derive(Debug, Default)]
pub(super) struct Small(Mutex<HashMap<String, (Stamp, Bytes)>>);

impl Small {
    /// What is in a file; from memory if it is still the same.
    pub(super) fn read(&self, key: &str, path: &Path) -> io::Result<Bytes> {
        let now = stamp(&fs::metadata(path)?);
        let held = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, bytes)) = held().get(key)
            && *then == now
        {
            return Ok(bytes.clone());
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).min(64 * 1024));
        file.read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        let settled = metadata.modified()?.elapsed().is_ok_and(|age| age > TICK);
        if settled && bytes.len() as u64 <= LENGTH {
            let mut held = held();
            if held.len() >= FILES {
                // Starting over is simpler than ageing, and as good where the working set fits.
                held.clear();
            }
            held.insert(key.to_owned(), (stamp(&metadata), bytes.clone()));
        }
        Ok(bytes)
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_is_read_again_and_one_that_is_gone_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tag");
        let small = Small::default();
        let write = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, &path).expect("in its place");
        };
        for round in 0..200 {
            let text = format!("{}", round % 10);
            write(&text);
            assert_eq!(small.read("tag", &path).expect("there"), text, "also at once");
        }
        std::thread::sleep(TICK * 2);
        for _ in 0..2 {
            assert_eq!(small.read("tag", &path).expect("there"), "9");
        }
        assert_eq!(small.0.lock().expect("no panic").len(), 1, "from memory the second time");
        write("8");
        assert_eq!(small.read("tag", &path).expect("there"), "8");
        fs::remove_file(&path).expect("removed");
        assert_eq!(small.read("tag", &path).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }
}
