//! overlayfs's upper directory becomes a layer's tree, as it is: nothing is unpacked.
//!
//! What a container wrote lies on the disk already, in overlayfs's own words (whiteouts, opaque
//! directories), which are also those of a layer's tree ([`super::unpack`]). So the directory is
//! renamed; what the archive leaves out is removed from it first. The archive is made before.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use std::ffi::OsStr;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// Takes out of `tree` what its archive leaves out, and makes its top as every layer's.
pub(super) fn tidy(tree: &Path, left_out: &HashSet<Vec<u8>>) -> io::Result<()> {
    let mut paths: Vec<&[u8]> = left_out.iter().map(Vec::as_slice).collect();
    // The inner before the outer: a directory goes when it is empty.
    paths.sort_unstable_by(|one, other| other.cmp(one));
    for path in paths {
        let path = tree.join(OsStr::from_bytes(path));
        let Some(parent) = path.parent() else { continue };
        let times = fs::symlink_metadata(parent)?;
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::remove_dir(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
        // The archive has the directory's time as it was.
        let time = Timespec { tv_sec: times.mtime(), tv_nsec: times.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, parent, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    chown(tree, Some(0), Some(0))?;
    fs::set_permissions(tree, Permissions::from_mode(0o755))
}
