//! Layers stacked to one tree: overlayfs.
//!
//! A name is looked up from the top: the first layer that has it wins. What is written
//! goes to the upper layer; a file of a lower one is copied up first. What is deleted
//! leaves a whiteout above.
//!
//! Each layer is an option of its own (`lowerdir+`, Linux 6.8), so no separator limits
//! what a path may contain, and no page size their number. The kernel takes 500 layers;
//! beyond that, the lowest 500 are stacked by themselves first, and that stack is one layer.
//! Older kernels get all layers in one string of options, as [`super::options`] tells.
//!
//! See the kernel's `filesystems/overlayfs`; OCI image-spec `layer.md`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use glassdock_trace::{Body, Trace};
use rustix::fs::{Mode, OFlags};

use super::attach::{Attributes, Description, Detached, clone_tree};
use super::filesystem::Context;
use super::options::{has_lowerdir_plus, mount_by_options};
use crate::path::Place;
use crate::{Error, Result};

/// A stack of layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The read-only layers, the uppermost first; at least one. Any bytes may be in the paths.
    pub lower: Vec<PathBuf>,
    /// The layer that takes changes, and the kernel's scratch directory on the same
    /// file system; without them the stack is read-only.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Whether the upper layer may be lost with the machine's power: nothing is ever
    /// synchronised to the disk for it, not even when the stack goes. For a container that is
    /// removed when it ends. The upper layer can't be stacked a second time then.
    pub volatile: bool,
}

/// `OVL_MAX_STACK` in the kernel.
const LAYERS_LIMIT: usize = 500;

/// The longest value of an option, in bytes; fsconfig(2).
const VALUE_LIMIT: usize = 255;

impl Overlay {
    /// Stacks the layers to a detached mount.
    ///
    /// # Errors
    ///
    /// `ENODEV` without overlayfs, `ENOENT` for a missing layer, `EINVAL` for more layers than the kernel
    /// takes or an upper on a file system that can't be one; [`Error::Invalid`] for no layers,
    /// or more than 999.
    pub fn mount(&self, trace: &Trace) -> Result<Detached> {
        let show = |path: &PathBuf| path.display().to_string();
        let body = Body::LayerMount {
            lower: self.lower.iter().map(show).collect(),
            upper: self.upper.as_ref().map(|(upper, _)| show(upper)),
            work: self.upper.as_ref().map(|(_, work)| show(work)),
            target: None,
        };
        trace.step(body, |_| match (self.lower.as_slice(), &self.upper) {
            ([], _) => Err(Error::Invalid {
                what: "stack of layers",
                value: String::new(),
                reason: "it has no layer",
            }),
            // overlayfs refuses a single read-only layer, and there is nothing to stack.
            ([only], None) => clone_tree(
                &Place::open(only)?,
                false,
                Attributes { read_only: true, ..Attributes::default() },
            ),
            (lower, _) if has_lowerdir_plus() => self.stack(lower),
            (lower, _) => self.stack_by_options(lower),
        })
    }

    /// As [`Overlay::mount`] does before Linux 6.8; works on newer kernels too.
    ///
    /// # Errors
    ///
    /// Those of mount(2), and [`Error::Invalid`] for more than about 200 layers.
    pub fn mount_by_options(&self) -> Result<Detached> {
        self.stack_by_options(&self.lower)
    }

    fn stack_by_options(&self, lower: &[PathBuf]) -> Result<Detached> {
        let fd = mount_by_options(lower, self.upper().as_ref())?;
        Ok(Detached { fd, what: description() })
    }

    fn upper(&self) -> Option<Upper<'_>> {
        self.upper.as_ref().map(|(upper, work)| Upper { upper, work, volatile: self.volatile })
    }

    fn stack(&self, lower: &[PathBuf]) -> Result<Detached> {
        // Held until the mount is made; the mount then holds what it needs.
        let mut held = Vec::new();
        let mut lower = lower.to_vec();
        if lower.len() > LAYERS_LIMIT {
            // Only the lowest can be stacked by themselves: a whiteout in them hides what lies below
            // it, which is in the same stack. The kernel stacks stacks twice at most, so there is one such.
            let below = lower.split_off(lower.len().saturating_sub(LAYERS_LIMIT));
            if lower.len() >= LAYERS_LIMIT {
                return Err(Error::Invalid {
                    what: "stack of layers",
                    value: format!("{} layers", lower.len() + below.len()),
                    reason: "the kernel takes at most 999, in two stacks",
                });
            }
            let inner = mount_stack(&below, None, &mut held)?;
            lower.push(path_of(&inner));
            held.push(inner);
        }
        let fd = mount_stack(&lower, self.upper(), &mut held)?;
        Ok(Detached { fd, what: description() })
    }
}

fn description() -> Description {
    Description {
        fstype: Some("overlay".to_owned()),
        source: Some("overlay".to_owned()),
        flags: Vec::new(),
        data: None,
    }
}

/// The layer that takes changes.
pub(super) struct Upper<'a> {
    pub(super) upper: &'a Path,
    pub(super) work: &'a Path,
    pub(super) volatile: bool,
}

fn mount_stack(lower: &[PathBuf], upper: Option<Upper<'_>>, held: &mut Vec<OwnedFd>) -> Result<OwnedFd> {
    let context = Context::open("overlay")?;
    context.set("source", "overlay")?;
    for layer in lower {
        context.set("lowerdir+", shorten(layer, held)?)?;
    }
    if let Some(Upper { upper, work, volatile }) = upper {
        context.set("upperdir", escape(shorten(upper, held)?))?;
        context.set("workdir", escape(shorten(work, held)?))?;
        if volatile {
            context.set_flag("volatile")?;
        }
    }
    context.mount(Attributes::default())
}

/// A path that fits an option: one that is too long goes by a descriptor.
fn shorten(path: &Path, held: &mut Vec<OwnedFd>) -> Result<PathBuf> {
    if path.as_os_str().len() <= VALUE_LIMIT - 16 {
        return Ok(path.to_owned());
    }
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Error::call("open", path.display().to_string(), error))?;
    let short = path_of(&fd);
    held.push(fd);
    Ok(short)
}

pub(super) fn path_of(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// In `upperdir` and `workdir` a backslash quotes the next character; in `lowerdir+` it does not.
fn escape(path: PathBuf) -> PathBuf {
    if !path.as_os_str().as_bytes().contains(&b'\\') {
        return path;
    }
    let mut escaped = Vec::new();
    for byte in path.into_os_string().into_vec() {
        if byte == b'\\' {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    PathBuf::from(std::ffi::OsString::from_vec(escaped))
}
