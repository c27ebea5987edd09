//! A container's file system, as the daemon sees it.
//!
//! ```text
//!   running    the root of its first process: /proc/PID/root, with all that is mounted there
//!   stopped    its layers stacked anew, as a mount that only a descriptor holds
//!   … with binds and volumes   the same in a mount namespace of one thread, and they mounted in it
//! ```
//!
//! Nothing of it is ever in the host's mount namespace, and what was mounted is gone
//! when the work is done. Paths are looked up from the [`Root`] only.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use glassdock_kernel::mount::{self, Overlay, Words};
use glassdock_kernel::path::{Place, Root};
use glassdock_kernel::process::Process;
use glassdock_trace::{Body, Trace};
use tokio::sync::MutexGuard;

use super::container::Container;
use super::record::{Record, Status};
use super::{events, mounts, volumes};
use crate::engine::Engine;
use crate::error::{Error, Kind};

/// Keeps a container that is stopped from being started or removed, as long as its layers are
/// stacked here; one that runs needs no keeping.
pub(crate) async fn hold(container: &Container) -> Result<Option<MutexGuard<'_, ()>>, Error> {
    if container.status().has_process() {
        return Ok(None);
    }
    let life = container.life.lock().await;
    match container.status() {
        Status::Removing | Status::Dead => Err(gone(container)),
        status if status.has_process() => Ok(None),
        _ => Ok(Some(life)),
    }
}

fn gone(container: &Container) -> Error {
    Error::conflict(format!("container {} is being removed", container.id))
}

/// Does `work` on a container's file system; whoever calls it [`hold`]s the container. Its volumes
/// are there meanwhile, and `docker events` hears of them. Blocks.
pub(crate) fn look<T: Send>(
    engine: &Engine,
    container: &Arc<Container>,
    trace: &Trace,
    write: bool,
    work: impl FnOnce(&Root) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let record = container.record();
    if record.state.status.has_process() {
        let root = running(container, &record)?;
        return told(engine, container, || work(&root));
    }
    let names: Vec<&str> = volumes::of(&record).map(|point| point.name.as_str()).collect();
    engine.volumes.while_held(trace, &names, || {
        let binds = binds(container, &record)?;
        told(engine, container, || {
            if binds.is_empty() {
                return work(&stack(container, &record, write).mount(trace)?.root()?);
            }
            mount::apart(trace, || {
                let stack = stack(container, &record, true).mount(trace)?;
                mount::attach(trace, &stack, &Place::open(&container.bundle.path("work"))?)?;
                let root = stack.root()?;
                for image in record.images.iter().filter(|image| !image.stack.layers.lower.is_empty()) {
                    glassdock_runtime::mount_stack(trace, &image.stack)?;
                }
                for bind in &binds {
                    put_told(trace, &root, &record, bind)?;
                }
                work(&root)
            })
        })
    })
}

/// Does `work` between the events that tell of the volumes' mounts.
fn told<T>(
    engine: &Engine,
    container: &Container,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    events::volumes(engine, container, "mount");
    let done = work();
    events::volumes(engine, container, "unmount");
    done
}

/// Does `work` on a container's layers alone: nothing that is mounted in it is seen. Blocks.
pub(crate) fn layers<T>(
    container: &Arc<Container>,
    trace: &Trace,
    work: impl FnOnce(&Root) -> Result<T, Error>,
) -> Result<T, Error> {
    let record = container.record();
    if record.state.status.has_process() {
        let process = Process::open(record.state.pid)?;
        return work(&mount::root_of(trace, &process)?.root()?);
    }
    work(&stack(container, &record, false).mount(trace)?.root()?)
}

/// The root of the first process.
fn running(container: &Container, record: &Record) -> Result<Root, Error> {
    let path = format!("/proc/{}/root", record.state.pid);
    let root = Root::open(Path::new(&path)).map_err(|_| container.not_running())?;
    // The process may have ended just now, and a stranger have its number.
    let (there, here) = (root.resolve(Path::new("/"))?.metadata()?, std::fs::metadata("/")?);
    let same = container.look(|record| record.state.pid) == record.state.pid;
    if !same || (there.dev(), there.ino()) == (here.dev(), here.ino()) {
        return Err(container.not_running());
    }
    Ok(root)
}

/// The layers of a container that is stopped. Where nothing is to be written, its own layer is one of
/// the read-only ones, so that looking leaves no mark.
fn stack(container: &Container, record: &Record, write: bool) -> Overlay {
    let (upper, work) = (container.bundle.path("upper"), container.bundle.path("work"));
    let mut lower = record.layers.clone();
    if write {
        return Overlay { lower, upper: Some((upper, work)), volatile: false };
    }
    lower.insert(0, upper);
    Overlay { lower, ..Overlay::default() }
}

/// What is bound into a container.
struct Bind {
    source: String,
    destination: String,
    options: Words,
}

/// The binds of a stopped container whose sources are there, the outer before the inner.
fn binds(container: &Container, record: &Record) -> Result<Vec<Bind>, Error> {
    let mut binds = Vec::new();
    for mount in mounts::of_record(&container.bundle, record)? {
        let is_bind = mount.kind.as_deref() == Some("bind");
        let Some(source) = mount.source.filter(|source| is_bind && Path::new(source).exists()) else {
            continue;
        };
        let options = Words::parse(mount.options.iter().map(String::as_str));
        binds.push(Bind { source, destination: mount.destination, options });
    }
    Ok(binds)
}

/// As [`put`]; of a volume the trace tells that it is one.
fn put_told(trace: &Trace, root: &Root, record: &Record, bind: &Bind) -> Result<(), Error> {
    let Some(point) = volumes::of(record).find(|point| point.destination == bind.destination) else {
        return put(trace, root, bind);
    };
    let body = Body::VolumeMount {
        name: point.name.clone(),
        target: point.destination.clone(),
        read_only: bind.options.attributes.read_only,
    };
    trace.step(body, |span| put(span.trace(), root, bind))
}

fn put(trace: &Trace, root: &Root, bind: &Bind) -> Result<(), Error> {
    let source = glassdock_runtime::bind_source(Path::new(&bind.source), &bind.options)?;
    let destination = Path::new(&bind.destination);
    let target = if source.is_dir()? {
        root.create_dir_all(destination, 0o755)
    } else {
        root.create_file(destination, 0o644)
    };
    let target = target.map_err(|error| Error::of(Kind::Internal, &error))?;
    Ok(mount::bind(trace, &source, &target, bind.options.recursive, bind.options.attributes)?)
}
