//! Folders that are no longer anyone's: they wait in `ROOT/trash` to be removed.
//!
//! Removing many files takes long where the disk is told of each free block, and nobody has to wait for
//! that: a folder is gone for all who look as soon as it has another name, and its files go after that,
//! in the background. What a crash left there goes at the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where folders wait, below the engine's root.
const TRASH: &str = "trash";

/// Puts a folder aside, and removes it in the background; where it can't be moved, on another file
/// system for instance, it is removed where it is.
///
/// # Errors
///
/// If it isn't there, or can't be removed either.
pub fn discard(root: &Path, folder: &Path) -> io::Result<()> {
    let trash = root.join(TRASH);
    let name = folder.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let to = trash.join(name);
    let moved = match fs::rename(folder, &to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !trash.exists() => {
            fs::create_dir_all(&trash)?;
            fs::rename(folder, &to)
        }
        moved => moved,
    };
    match moved {
        Ok(()) => remove_later(to),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(_) => fs::remove_dir_all(folder)?,
    }
    Ok(())
}

/// Removes what an earlier engine left in the trash, in the background.
pub fn empty(root: &Path) {
    for entry in fs::read_dir(root.join(TRASH)).into_iter().flatten().flatten() {
        remove_later(entry.path());
    }
}

fn remove_later(folder: PathBuf) {
    let work = move || {
        if let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "what was thrown away stays");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(tasks) => drop(tasks.spawn_blocking(work)),
        // Out of the daemon's tasks there is nobody who would wait.
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_at_once_and_its_files_too_in_the_end() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("things/one");
        fs::create_dir_all(folder.join("deep/er")).expect("folders");
        discard(root.path(), &folder).expect("discarded");
        assert!(!folder.exists() && !root.path().join("trash/one").exists());
        let missing = discard(root.path(), &folder).expect_err("nothing there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(root.path().join("trash/left/over")).expect("folders");
        empty(root.path());
        assert!(!root.path().join("trash/left").exists());
    }
}
