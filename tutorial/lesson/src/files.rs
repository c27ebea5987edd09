//! The files of a step: a Dockerfile, a context, a script, as they stand in the scenario.
//!
//! They are written into the folder of the lesson's commands before the step, whoever types it,
//! and may be changed by then: a later step that names a file writes it anew.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

/// A path is at most so long, in bytes.
const PATH_LIMIT: usize = 200;

/// Files by their paths, which are below the folder of the commands.
pub type Files = BTreeMap<String, String>;

/// What is wrong with a file's path; `None` if it leads to a file below the folder.
#[must_use]
pub fn fault(path: &str) -> Option<String> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let named = !path.is_empty() && path.len() <= PATH_LIMIT && !path.ends_with('/') && !path.contains('\0');
    (!inside || !named).then(|| {
        format!("\"{path}\" is no file below the lesson's folder: write a relative path without . and ..")
    })
}

/// Writes files below `folder`. What begins with `#!` may be executed; all may be read by everyone,
/// whatever the runner's umask, since containers with other users copy them.
///
/// # Errors
///
/// With the path that could not be written.
pub fn write(folder: &Path, files: &Files) -> io::Result<()> {
    for (path, text) in files {
        one(folder, path, text).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write the lesson's file {path}: {error}"))
        })?;
    }
    Ok(())
}

fn one(folder: &Path, path: &str, text: &str) -> io::Result<()> {
    if let Some(fault) = fault(path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, fault));
    }
    let whole = folder.join(path);
    let mut above = folder.to_owned();
    for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
        above.push(part);
        if !above.is_dir() {
            fs::create_dir(&above)?;
            fs::set_permissions(&above, Permissions::from_mode(0o755))?;
        }
    }
    // A link that somebody put there is replaced, not followed.
    match fs::remove_file(&whole) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&whole)?;
    file.write_all(text.as_bytes())?;
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &str, text: &str) -> Files {
        Files::from([(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn files_are_written_and_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &str| {
            fs::metadata(folder.path().join(path)).expect("it is there").permissions().mode() & 0o777
        };
        write(folder.path(), &files("app/run", "#!/bin/sh\n")).expect("written");
        write(folder.path(), &files("Dockerfile", "FROM a\n")).expect("written");
        assert_eq!((mode("app"), mode("app/run"), mode("Dockerfile")), (0o755, 0o755, 0o644));
        write(folder.path(), &files("Dockerfile", "FROM b\n")).expect("written");
        assert_eq!(fs::read_to_string(folder.path().join("Dockerfile")).expect("text"), "FROM b\n");
    }

    #[test]
    fn no_path_leads_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = tempfile::tempdir().expect("a folder");
        for path in ["", "/etc/x", "../x", "a/../../x", "a/", "./x", &"a/".repeat(200), "a\0b"] {
            assert!(fault(path).is_some(), "{path}");
            assert!(write(folder.path(), &files(path, "x")).is_err(), "{path}");
        }
        assert_eq!(fault("a/.dockerignore"), None);
        let target = other.path().join("kept");
        fs::write(&target, "kept").expect("a file");
        std::os::unix::fs::symlink(&target, folder.path().join("link")).expect("a link");
        write(folder.path(), &files("link", "new")).expect("written");
        assert_eq!(fs::read_to_string(&target).expect("text"), "kept");
    }
}
