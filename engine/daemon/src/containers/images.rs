//! Images whose files a container has at a mount point: `--mount type=image`.
//!
//! ```text
//!   create   the image is found, and remembered with its layers; an empty folder is made in the container's own
//!   start    init mounts the layers over that folder, in the container's mount namespace only, and binds
//!            the folder, or a part of it, at its place: read-only
//! ```
//!
//! An image that a container has so is used by it, as the one that it was made from: its layers stay.

use std::path::{Path, PathBuf};

use glassdock_runtime::bundle::{Overlay, Stack};
use glassdock_trace::Trace;

use super::image;
use super::model::MountPoint;
use super::record::{MountedImage, Record};
use super::wanted::Wanted;
use crate::engine::Engine;
use crate::error::Error;

/// Where the next image of a container is mounted before it is bound.
#[must_use]
pub fn place(folder: &Path, record: &Record) -> PathBuf {
    folder.join("images").join(record.images.len().to_string())
}

/// Finds the image of a mount that is asked for, which will be mounted at `place` first.
///
/// # Errors
///
/// Not found or invalid, in Docker's words.
pub fn choose(
    engine: &Engine,
    trace: &Trace,
    place: PathBuf,
    wanted: Wanted,
) -> Result<(MountPoint, MountedImage), Error> {
    let image::Found { id, layers, .. } = image::find(engine, trace, &wanted.point.name, None)?;
    let point = MountPoint {
        kind: wanted.point.kind.to_owned(),
        name: wanted.point.name,
        source: place.to_string_lossy().into_owned(),
        destination: wanted.point.destination,
        ..MountPoint::default()
    };
    let layers = Overlay { lower: layers, ..Overlay::default() };
    Ok((point, MountedImage { id, stack: Stack { place, layers }, subpath: wanted.subpath }))
}
