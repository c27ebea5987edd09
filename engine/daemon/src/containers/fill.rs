//! A new volume gets what the image has at its place, as Docker does it.
//!
//! The image's layers are stacked to a detached mount, which only a descriptor of
//! this process holds; its place is looked up inside of it, so that no link of the
//! image leads to the host.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use glassdock_kernel::mount::Overlay;
use glassdock_trace::Trace;

use super::record::Record;
use crate::error::Error;

/// Whether a layer of the image has anything at `destination`. Asked first: most images have
/// nothing there, and a mount costs.
#[must_use]
pub fn has_something(layers: &[PathBuf], destination: &str) -> bool {
    let inside = destination.trim_start_matches('/');
    layers.iter().any(|layer| layer.join(inside).symlink_metadata().is_ok())
}

/// Fills an empty volume with what the image has at `destination`; one that has
/// something stays as it is.
///
/// # Errors
///
/// If the layers can't be stacked, or something can't be copied.
pub fn fill(trace: &Trace, record: &Record, destination: &str, volume: &Path) -> Result<(), Error> {
    from_layers(trace, &record.layers, destination, volume)
}

/// As [`fill`], from a stack of layers, the uppermost first.
///
/// # Errors
///
/// As [`fill`].
pub fn from_layers(trace: &Trace, layers: &[PathBuf], destination: &str, volume: &Path) -> Result<(), Error> {
    if fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    let stack = Overlay { lower: layers.to_vec(), ..Overlay::default() }.mount(trace)?;
    let Ok(place) = stack.root()?.resolve(Path::new(destination)) else { return Ok(()) };
    let source = PathBuf::from(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()));
    let metadata = fs::metadata(&source)?;
    if !metadata.is_dir() {
        return Ok(());
    }
    chown(volume, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(volume, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    // The descriptor's link is followed once; what is below is never followed.
    copy_below(&source.join("."), volume)
}

fn copy_below(from: &Path, to: &Path) -> Result<(), Error> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let metadata = source.symlink_metadata()?;
            let owner = (Some(metadata.uid()), Some(metadata.gid()));
            if metadata.is_symlink() {
                symlink(fs::read_link(&source)?, &target)?;
                lchown(&target, owner.0, owner.1)?;
                continue;
            }
            if metadata.is_dir() {
                fs::create_dir(&target)?;
                folders.push((source, target.clone()));
            } else if metadata.is_file() {
                fs::copy(&source, &target)?;
            } else {
                // Devices and sockets have no business in a volume.
                continue;
            }
            // The mode last: changing the owner takes set-user-id bits away.
            chown(&target, owner.0, owner.1)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_copied_with_links_and_modes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep/er")).expect("folders");
        fs::create_dir(&to).expect("a folder");
        fs::write(from.join("deep/file"), "text").expect("a file");
        fs::set_permissions(from.join("deep/file"), fs::Permissions::from_mode(0o4711)).expect("a mode");
        symlink("/etc/passwd", from.join("deep/er/link")).expect("a link");
        copy_below(&from, &to).expect("a copy");
        assert_eq!(fs::read_to_string(to.join("deep/file")).expect("the copy"), "text");
        assert_eq!(fs::metadata(to.join("deep/file")).expect("the copy").mode() & 0o7777, 0o4711);
        assert_eq!(fs::read_link(to.join("deep/er/link")).expect("the link"), Path::new("/etc/passwd"));
    }
}
