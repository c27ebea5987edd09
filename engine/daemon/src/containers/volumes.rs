//! A container's volumes over its run: held from before its start until after its end, so that
//! those with file systems of their own are mounted meanwhile.

use glassdock_trace::{Body, Trace};

use super::model::MountPoint;
use super::record::Record;
use crate::engine::Engine;
use crate::error::Error;

/// Mounts the volumes of a container that is about to start, as far as they have file systems
/// of their own; if one can't be mounted, none is held.
///
/// # Errors
///
/// What the kernel says of a mount.
pub fn hold(engine: &Engine, trace: &Trace, record: &Record) -> Result<(), Error> {
    for point in of(record) {
        let body = Body::VolumeMount {
            name: point.name.clone(),
            target: point.destination.clone(),
            read_only: !point.rw,
        };
        let held = trace.step(body, |span| engine.volumes.hold(span.trace(), &point.name, &record.id));
        if let Err(error) = held {
            let_go(engine, trace, record);
            return Err(error);
        }
    }
    Ok(())
}

/// A container has ended: what only it needed is unmounted.
pub fn let_go(engine: &Engine, trace: &Trace, record: &Record) {
    for point in of(record) {
        if let Err(error) = engine.volumes.let_go(trace, &point.name, &record.id) {
            tracing::warn!(volume = point.name, %error, "a volume that is not used any more stays mounted");
        }
    }
}

/// The mount points of a record that are volumes.
pub fn of(record: &Record) -> impl Iterator<Item = &MountPoint> {
    record.mounts.iter().filter(|point| point.kind == "volume")
}
