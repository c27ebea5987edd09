//! The container's root: mounted, furnished, entered, protected.

use std::os::fd::AsFd;
use std::path::Path;

use glassdock_kernel::device::{self, Device};
use glassdock_kernel::mount::{self, Attributes, Propagation};
use glassdock_kernel::namespace::Kind;
use glassdock_kernel::path::{Place, Root};
use glassdock_kernel::pty::{Pty, Size};

use super::{Failure, Init, Step};
use crate::wire::{self, Report};

/// Cuts the new mount namespace loose from the host's; mount_namespaces(7).
///
/// A new mount namespace is a copy whose mounts still share their events with the
/// originals. As slaves they send nothing back, so nothing that init mounts is ever
/// seen on the host; before the first mount, or that one would leak.
pub(super) fn cut_propagation(init: &mut Init<'_>) -> Step {
    let wanted = init.linux().and_then(|linux| linux.rootfs_propagation.as_deref()).unwrap_or("rslave");
    let propagation = match wanted.trim_start_matches('r') {
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        "shared" => Propagation::Shared,
        "slave" | "" => Propagation::Slave,
        other => return Err(Failure::Invalid(format!("unknown propagation {other:?} of the root"))),
    };
    // pivot_root(2) refuses a shared parent; a shared root becomes so afterwards.
    let now = if propagation == Propagation::Shared { Propagation::Slave } else { propagation };
    if !init.new.contains(Kind::Mount) {
        return Err(Failure::Invalid("a container takes a new mount namespace".to_owned()));
    }
    super::mounts::copy_shared(init);
    Ok(mount::set_propagation(&init.trace, &Place::open(Path::new("/"))?, now, true)?)
}

/// Mounts the root: the image's layers as one tree (overlayfs), or the bundle's
/// own folder for a plain OCI bundle.
///
/// In this namespace only: the host's mount table never has it, so no crash can leave it there.
/// pivot_root(2) wants a mount that is attached, so it is, over a folder that nobody needs here.
pub(super) fn mount_root(init: &mut Init<'_>) -> Step {
    let (detached, target) = match (&init.extras.overlay, &init.spec.root) {
        (Some(overlay), _) => {
            let upper = overlay.upper.clone().zip(overlay.work.clone());
            let place = overlay.work.as_ref().or(overlay.lower.first());
            let place = place.ok_or_else(|| Failure::Invalid("the overlay has no layer".to_owned()))?;
            let stack = mount::Overlay { lower: overlay.lower.clone(), upper, volatile: overlay.volatile };
            (stack.mount(&init.trace)?, place.clone())
        }
        (None, Some(root)) => {
            let path = init.folder.join(&root.path);
            (mount::clone_tree(&Place::open(&path)?, true, Attributes::default())?, path)
        }
        (None, None) => return Err(Failure::Invalid("the bundle names no root".to_owned())),
    };
    init.made.unproven.attached = mount::attach_unproven(&init.trace, &detached, &Place::open(&target)?)?;
    let root = detached.root()?;
    init.made.root = Some((detached, root));
    Ok(())
}

/// Makes the device nodes that every program expects, those that the bundle adds,
/// and the links beside them; OCI `config-linux.md`, "Default Devices".
///
/// After the mounts: `/dev` is a fresh tmpfs by now. A `/dev` that is bound from the host is left alone.
pub(super) fn make_devices(init: &mut Init<'_>) -> Step {
    let bound_dev = init
        .spec
        .mounts
        .iter()
        .any(|mount| mount.destination.trim_end_matches('/') == "/dev" && super::mounts::is_bind(mount));
    if bound_dev {
        return Ok(());
    }
    let root = init.root()?;
    let mut devices = device::defaults();
    for extra in init.linux().map(|linux| linux.devices.as_slice()).unwrap_or_default() {
        let device = device_of(extra)?;
        devices.retain(|known| known.path != device.path);
        devices.push(device);
    }
    for device in &devices {
        device::create(&init.trace, root, device)?;
    }
    for (path, target) in device::LINKS {
        device::link(&init.trace, root, Path::new(path), Path::new(target))?;
    }
    Ok(())
}

fn device_of(device: &crate::oci::Device) -> Result<Device, Failure> {
    let invalid = |what: &str| Failure::Invalid(format!("device {:?}: {what}", device.path));
    let kind = match device.kind.as_str() {
        "c" | "u" => device::Kind::Character,
        "b" => device::Kind::Block,
        "p" => device::Kind::Fifo,
        _ => return Err(invalid("its type is none of c, b, u, p")),
    };
    Ok(Device {
        path: device.path.clone().into(),
        kind,
        major: u32::try_from(device.major)
            .map_err(|_| invalid("its major number is negative or too large"))?,
        minor: u32::try_from(device.minor)
            .map_err(|_| invalid("its minor number is negative or too large"))?,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// Opens a terminal in the container's own devpts, binds it at `/dev/console`, and
/// hands the other side to the shim; pty(7).
///
/// Inside, so that the terminal has a name there (tty(1) finds it); before the
/// pivot, because it takes the root's descriptor.
pub(super) fn open_console(init: &mut Init<'_>) -> Step {
    if !init.privileges.process.terminal {
        return Ok(());
    }
    let root = init.root()?;
    let pty = open_terminal(init, root)?;
    pty.bind_console(&init.trace, root)?;
    init.made.terminal = Some(pty.terminal);
    Ok(())
}

/// Opens a terminal for a further process, which is where the container's root is `/`. Its console
/// is the first process's.
pub(super) fn open_own_terminal(init: &mut Init<'_>) -> Step {
    if init.privileges.process.terminal {
        init.made.terminal = Some(open_terminal(init, &Root::open(Path::new("/"))?)?.terminal);
    }
    Ok(())
}

fn open_terminal(init: &Init<'_>, root: &Root) -> Result<Pty, Failure> {
    let pty = Pty::open(root)?;
    if let Some(size) = init.privileges.process.console_size {
        let size = Size { rows: size.height, columns: size.width };
        glassdock_kernel::pty::resize(pty.terminal.as_fd(), size)?;
    }
    wire::send(init.sync, &Report::Terminal, &[pty.controller.as_fd()])?;
    Ok(pty)
}

/// Makes the working directory if the image lacks it, as Docker does.
pub(super) fn make_working_directory(init: &mut Init<'_>) -> Step {
    let cwd = Path::new(&init.privileges.process.cwd);
    if !cwd.is_absolute() {
        return Err(Failure::Invalid(format!("the working directory {:?} is not absolute", cwd.display())));
    }
    let root = init.root()?;
    if root.resolve(cwd).is_err() {
        root.create_dir_all(cwd, 0o755)?;
    }
    Ok(())
}

/// Enters the root, and leaves the host's files for good; pivot_root(2).
///
/// A chroot(2) could be left again by a process with CAP_SYS_CHROOT. After
/// this, the host's tree is in no mount of the namespace.
pub(super) fn pivot(init: &mut Init<'_>) -> Step {
    let Some((detached, root)) = init.made.root.take() else {
        return Err(Failure::Invalid("there is no root yet".to_owned()));
    };
    init.made.unproven.pivot = mount::pivot_root(&init.trace, &detached, root.path())?;
    if init
        .linux()
        .and_then(|linux| linux.rootfs_propagation.as_deref())
        .is_some_and(|word| word.ends_with("shared"))
    {
        mount::set_propagation(&init.trace, &Place::open(Path::new("/"))?, Propagation::Shared, true)?;
    }
    Ok(())
}

/// Makes paths read-only, and at last the root itself if asked for; mount_setattr(2).
///
/// After everything that still had to be written below them.
pub(super) fn protect_paths(init: &mut Init<'_>) -> Step {
    let root = Root::open(Path::new("/"))?;
    for path in init.linux().map(|linux| linux.readonly_paths.as_slice()).unwrap_or_default() {
        mount::readonly_path(&init.trace, &root, Path::new(path))?;
    }
    if init.extras.readonly || init.spec.root.as_ref().is_some_and(|root| root.readonly) {
        mount::remount_readonly(&init.trace, &Place::open(Path::new("/"))?, false)?;
    }
    Ok(())
}

/// Hides paths of proc and sys that tell of the host, or reach it.
pub(super) fn mask_paths(init: &mut Init<'_>) -> Step {
    let root = Root::open(Path::new("/"))?;
    let paths: Vec<_> =
        init.linux().map(|linux| &linux.masked_paths).into_iter().flatten().map(Into::into).collect();
    Ok(mount::mask(&init.trace, &root, &paths)?)
}
