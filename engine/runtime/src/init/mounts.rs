//! The bundle's mounts, in its order: proc, sys, dev and its like, binds, tmpfs.

use std::path::Path;

use glassdock_kernel::cgroup;
use glassdock_kernel::mount::{self, Words};
use glassdock_kernel::path::{Place, Root};
use glassdock_trace::Trace;

use super::{Failure, Init, Step};
use crate::bundle::Stack;
use crate::oci::Mount;

/// Makes every mount of the bundle; mount_namespaces(7).
///
/// After the root, since they lie in it, and before the pivot, since the sources
/// of binds are the host's. Each target is found with openat2(2) inside the root, so no link in an image leads out.
pub(super) fn mount_all(init: &mut Init<'_>) -> Step {
    let root = init.root()?;
    for (index, mount) in init.spec.mounts.iter().enumerate() {
        mount_one(&init.trace, root, init.folder, mount, init.made.shared.get(&index))?;
    }
    init.made.shared.clear();
    Ok(())
}

/// Mounts the stacks that binds take their files from, each over an empty folder of the host.
///
/// In this namespace only, so that the host never sees them, and they go with it. A detached mount
/// would do, but its parts can't be bound before Linux 6.15: open_tree(2) wants them attached.
pub(super) fn mount_stacks(init: &mut Init<'_>) -> Step {
    let stacks = &init.extras.stacks;
    Ok(stacks.iter().try_for_each(|stack| mount_stack(&init.trace, stack))?)
}

/// Mounts a stack over its folder, in the mount namespace that this thread is in.
///
/// # Errors
///
/// Those of the kernel, and that a stack has no layer.
pub fn mount_stack(trace: &Trace, stack: &Stack) -> glassdock_kernel::Result<()> {
    let layers = &stack.layers;
    let upper = layers.upper.clone().zip(layers.work.clone());
    let overlay = mount::Overlay { lower: layers.lower.clone(), upper, volatile: layers.volatile };
    let detached = overlay.mount(trace)?;
    mount::attach(trace, &detached, &Place::open(&stack.place)?)
}

/// Whether a mount shows something that exists, instead of a new file system.
pub(super) fn is_bind(mount: &Mount) -> bool {
    mount.kind.as_deref() == Some("bind")
        || mount.options.iter().any(|option| option == "bind" || option == "rbind")
}

fn mount_one(
    trace: &Trace,
    root: &Root,
    folder: &Path,
    mount: &Mount,
    copied: Option<&mount::Detached>,
) -> Step {
    let options = Words::parse(mount.options.iter().map(String::as_str));
    let destination = Path::new(&mount.destination);
    if is_bind(mount) {
        return bind(trace, root, folder, mount, &options, copied);
    }
    let target = root.create_dir_all(destination, 0o755)?;
    let attributes = options.attributes;
    let data = options.data();
    match mount.kind.as_deref().unwrap_or("none") {
        "proc" => mount::proc(trace, &target, attributes)?,
        "sysfs" => mount::sysfs(trace, &target, attributes)?,
        "devpts" => mount::devpts(trace, &target, &data, attributes)?,
        "mqueue" => mount::mqueue(trace, &target, attributes)?,
        "cgroup" | "cgroup2" => mount::cgroup(trace, &cgroup::hierarchy(), &target, attributes)?,
        other => {
            let source = mount.source.as_deref().unwrap_or(other);
            mount::filesystem(trace, other, source, &data, &target, attributes)?;
        }
    }
    propagate(trace, root, destination, &options)
}

/// The option of a bind that says in which mount namespace its source lies, a folder there: `namespace=/proc/4711/ns/mnt`.
const NAMESPACE: &str = "namespace";

/// The option of a bind that says which part of its source is meant, which may not lead out of it: `inside=folder/file`.
pub const INSIDE: &str = "inside";

fn part(options: &Words) -> Option<&str> {
    options.data.iter().find(|(key, _)| key == INSIDE).map(|(_, inside)| inside.as_str())
}

/// What a bind with such options shows: its source, or the part of it that [`INSIDE`] names.
///
/// # Errors
///
/// Those of openat2(2); `EXDEV` if the part is not inside.
pub fn bind_source(source: &Path, options: &Words) -> glassdock_kernel::Result<Place> {
    match part(options) {
        Some(inside) => mount::part_of(source, Path::new(inside)),
        None => Place::open(source),
    }
}

/// The same for init, whose errors go to people.
fn source_of(folder: &Path, source: &str, options: &Words) -> Result<Place, Failure> {
    let source = folder.join(source);
    bind_source(&source, options).map_err(|error| {
        let Some(inside) = part(options) else { return Failure::from(error) };
        let kind = error.errno().map(|errno| std::io::Error::from_raw_os_error(errno).kind());
        let words = if kind == Some(std::io::ErrorKind::CrossesDevices) {
            format!(
                "path concatenation escapes the base directory, base: {}, subpath: {inside}",
                source.display()
            )
        } else {
            format!("cannot access path {inside}: {error}")
        };
        Failure::Invalid(words)
    })
}

/// Copies the sources of binds that stay shared with the host; mount_namespaces(7).
///
/// Before the namespace is cut loose: what is copied afterwards belongs to a peer group of its own, and the host sees
/// nothing of what is mounted below it.
pub(super) fn copy_shared(init: &mut Init<'_>) {
    for (index, mount) in init.spec.mounts.iter().enumerate() {
        let Some(source) = mount.source.as_deref().filter(|_| is_bind(mount)) else { continue };
        let options = Words::parse(mount.options.iter().map(String::as_str));
        if !matches!(options.propagation, Some((mount::Propagation::Shared, _))) {
            continue;
        }
        // What can't be copied is told when it is mounted.
        let Ok(source) = source_of(init.folder, source, &options) else { continue };
        if let Ok(copy) = mount::clone_tree(&source, options.recursive, options.attributes) {
            init.made.shared.insert(index, copy);
        }
    }
}

/// Shows a file or directory of the host in the container.
fn bind(
    trace: &Trace,
    root: &Root,
    folder: &Path,
    mount: &Mount,
    options: &Words,
    copied: Option<&mount::Detached>,
) -> Step {
    let source = mount.source.as_deref().filter(|source| !source.is_empty());
    let source = source.ok_or_else(|| {
        Failure::Invalid(format!("the bind mount at {:?} has no source", mount.destination))
    })?;
    let destination = Path::new(&mount.destination);
    if let Some((_, namespace)) = options.data.iter().find(|(key, _)| key == NAMESPACE) {
        let target = root.create_dir_all(destination, 0o755)?;
        let (recursive, attributes) = (options.recursive, options.attributes);
        let copy = mount::clone_elsewhere(trace, namespace.as_ref(), source.as_ref(), recursive, attributes)?;
        mount::attach(trace, &copy, &target)?;
        return propagate(trace, root, destination, options);
    }
    let source = source_of(folder, source, options)?;
    let target = if source.is_dir()? {
        root.create_dir_all(destination, 0o755)?
    } else {
        root.create_file(destination, 0o644)?
    };
    let own;
    let copy = match copied {
        Some(copy) => copy,
        None => {
            own = mount::clone_tree(&source, options.recursive, options.attributes)?;
            &own
        }
    };
    mount::attach(trace, copy, &target).map_err(|error| {
        if source.is_dir().ok() == target.is_dir().ok() {
            return Failure::from(error);
        }
        Failure::Mismatch(format!(
            "mount {} on {}: not a directory: are you trying to mount a directory onto a file (or vice-versa)? Check if \
             the specified host path exists and is the expected type",
            mount.source.as_deref().unwrap_or_default(),
            mount.destination
        ))
    })?;
    propagate(trace, root, destination, options)
}

/// Says who sees what is later mounted below; `rprivate` unless the bundle says otherwise.
fn propagate(trace: &Trace, root: &Root, destination: &Path, options: &Words) -> Step {
    if let Some((propagation, recursive)) = options.propagation {
        // Found anew: the place that was mounted on is below the mount now.
        mount::set_propagation(trace, &root.resolve(destination)?, propagation, recursive)?;
    }
    Ok(())
}
