//! How much room things take on the disk.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The bytes of all files below a folder, each counted once however many names it has.
/// What can't be read counts nothing.
#[must_use]
pub fn size_of(folder: &Path) -> u64 {
    size_without(folder, |_| false)
}

/// The same without some files. Links are never followed.
#[must_use]
pub fn size_without(folder: &Path, left_out: impl Fn(&Path) -> bool) -> u64 {
    let mut folders = vec![folder.to_owned()];
    let mut seen = HashSet::new();
    let mut bytes: u64 = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if left_out(&entry.path()) {
                // It counts nothing.
            } else if metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())) {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    bytes
}
