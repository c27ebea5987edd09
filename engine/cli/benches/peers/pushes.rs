//! Pushes of an image that was pulled, into a registry that has nothing of it.

use std::path::Path;

use crate::Result;
use crate::engines::{Docker, Engine, Glassdock, Registry};
use crate::measure::{self, Row, median};

/// Whole client processes of `push`. Each goes to a registry of its own: in one that has the layers
/// they would only be mounted.
pub(crate) fn push(
    what: &str,
    repository: &str,
    registry: &Registry,
    docker: &Docker,
    glassdock: &Glassdock,
    folder: &Path,
) -> Result<Row> {
    const ROUNDS: usize = 3;
    let image = registry.image(repository);
    let engines = [docker as &dyn Engine, glassdock];
    for engine in engines {
        engine.client(&["pull", "-q", &image])?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (engine, times) in engines.into_iter().zip(&mut times) {
            let own = tempfile::tempdir_in(folder)?;
            let target = Registry::empty(own.path())?;
            let name = target.image(repository);
            engine.client(&["tag", &image, &name])?;
            // What was written before is not this push's to wait for.
            measure::sync()?;
            times.push(engine.timed(&["push", &name])?);
            engine.client(&["rmi", &name])?;
        }
    }
    for engine in engines {
        engine.client(&["rmi", &image])?;
    }
    Ok(Row::seconds(what, median(&times[0]), median(&times[1])))
}
