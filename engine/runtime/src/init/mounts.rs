//! The bundle's mounts, in its order: proc, sys, dev and its like, binds, tmpfs.

use std::path::Path;

use glassdock_kernel::cgroup;
use glassdock_kernel::mount::{self, Words};
use glassdock_kernel::path::{Place, Root};
use glassdock_trace::Trace;

use super::{Failure, Init, Step};
use crate::oci::Mount;

/// Makes every mount of the bundle; mount_namespaces(7).
///
/// After the root, since they lie in it, and before the pivot, since the sources
/// of binds are the host's. Each target is found with openat2(2) inside the root, so no link in an image leads out.
pub(super) fn mount_all(init: &mut Init<'_>) -> Step {
    let root = init.root()?;
    for mount in &init.spec.mounts {
        mount_one(&init.trace, root, init.folder, mount)?;
    }
    Ok(())
}

/// Mounts the stacks that binds take their files from, each over an empty folder of the host.
///
/// In this namespace only, so that the host never sees them, and they go with it. A detached mount
/// would do, but its parts can't be bound before Linux 6.15: open_tree(2) wants them attached.
pub(super) fn mount_stacks(init: &mut Init<'_>) -> Step {
    for stack in &init.extras.stacks {
        let layers = &stack.layers;
        let upper = layers.upper.clone().zip(layers.work.clone());
        let overlay = mount::Overlay { lower: layers.lower.clone(), upper, volatile: layers.volatile };
        let detached = overlay.mount(&init.trace)?;
        mount::attach(&init.trace, &detached, &Place::open(&stack.place)?)?;
    }
    Ok(())
}

/// Whether a mount shows something that exists, instead of a new file system.
pub(super) fn is_bind(mount: &Mount) -> bool {
    mount.kind.as_deref() == Some("bind")
        || mount.options.iter().any(|option| option == "bind" || option == "rbind")
}

fn mount_one(trace: &Trace, root: &Root, folder: &Path, mount: &Mount) -> Step {
    let options = Words::parse(mount.options.iter().map(String::as_str));
    let destination = Path::new(&mount.destination);
    if is_bind(mount) {
        return bind(trace, root, folder, mount, &options);
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

/// Shows a file or directory of the host in the container.
fn bind(trace: &Trace, root: &Root, folder: &Path, mount: &Mount, options: &Words) -> Step {
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
    let source = Place::open(&folder.join(source))?;
    let target = if source.is_dir()? {
        root.create_dir_all(destination, 0o755)?
    } else {
        root.create_file(destination, 0o644)?
    };
    let copy = mount::clone_tree(&source, options.recursive, options.attributes)?;
    mount::attach(trace, &copy, &target).map_err(|error| {
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
