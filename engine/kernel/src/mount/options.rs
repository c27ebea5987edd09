//! Layers stacked the old way, for kernels before 6.8, which know no `lowerdir+` or know it only in part.
//!
//! mount(2) takes one page of options, so each layer goes by a descriptor: some
//! `/proc/self/fd/17`, which has no character that would need quoting, and leaves
//! room for some 200 layers. It also wants a place to mount at. The upper layer's
//! `work` directory is taken for it (or the uppermost layer, where there is none),
//! the mount is copied to a detached one at once, and the place is given free
//! again: what the caller gets is the same as from the new interface.
//!
//! See mount(2), the kernel's `filesystems/overlayfs`.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::attach::{Attributes, clone_tree};
use super::overlay::{Upper, path_of};
use crate::path::Place;
use crate::{Error, Result};

/// The longest string of options, in bytes: a page without its final zero.
const PAGE: usize = 4095;

/// Whether this kernel takes layers one by one. The release decides, since an
/// older kernel accepts any option and complains only when it mounts.
pub(super) fn has_lowerdir_plus() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse::<u32>());
    let mut next = || numbers.next().and_then(std::result::Result::ok).unwrap_or(0);
    (next(), next()) >= (6, 8)
}

/// Stacks `lower`, the uppermost first, and returns the detached mount.
///
/// # Errors
///
/// [`Error::Invalid`] for more layers than a page names; those of open(2), mount(2), open_tree(2).
pub(super) fn mount_by_options(lower: &[PathBuf], upper: Option<&Upper<'_>>) -> Result<OwnedFd> {
    let mut held = Vec::new();
    let mut hold = |path: &Path| -> Result<String> {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| Error::call("open", path.display().to_string(), error))?;
        let short = path_of(&fd).display().to_string();
        held.push(fd);
        Ok(short)
    };
    let layers = lower.iter().map(|layer| hold(layer)).collect::<Result<Vec<_>>>()?;
    let mut options = format!("lowerdir={}", layers.join(":"));
    let mut target = layers.into_iter().next().unwrap_or_default();
    if let Some(Upper { upper, work, volatile }) = upper {
        let place = hold(work)?;
        options += &format!(",upperdir={},workdir={place}", hold(upper)?);
        if *volatile {
            options += ",volatile";
        }
        target = place;
    }
    if options.len() > PAGE {
        return Err(Error::Invalid {
            what: "stack of layers",
            value: format!("{} layers", lower.len()),
            reason: "before Linux 6.8 the options of an overlay must fit into a page: about 200 layers",
        });
    }
    let data = CString::new(options).map_err(|_| Error::Invalid {
        what: "stack of layers",
        value: String::new(),
        reason: "its options contain a zero byte",
    })?;
    // The descriptor of what lies there now leads below the mount; the path leads to it.
    let failed = |call| move |error| Error::call(call, "overlay", error);
    let real = std::fs::read_link(&target).map_err(|error| Error::call("readlink", &target, error))?;
    mount("overlay", &real, "overlay", MountFlags::empty(), data.as_c_str()).map_err(failed("mount"))?;
    let copied = Place::open(&real).and_then(|place| clone_tree(&place, false, Attributes::default()));
    unmount(&real, UnmountFlags::DETACH).map_err(failed("umount2"))?;
    Ok(copied?.fd)
}
