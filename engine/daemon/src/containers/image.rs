//! What containers need of images: their configuration, their layers, and the
//! names that they are shown by.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use glassdock_trace::{Body, Trace};

use super::model::ContainerConfig;
use super::record::Record;
use crate::engine::Engine;
use crate::error::Error;

/// An image, as a container needs it.
#[derive(Debug)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// What runs in its containers unless they say otherwise.
    pub config: ContainerConfig,
    /// Its layers, the uppermost first.
    pub layers: Vec<PathBuf>,
}

/// Finds an image by whatever a user calls it.
///
/// # Errors
///
/// Not found or invalid, in Docker's words.
pub fn find(engine: &Engine, trace: &Trace, name: &str, platform: Option<&str>) -> Result<Found, Error> {
    if name.is_empty() {
        return Err(Error::invalid("no image specified"));
    }
    let body = Body::ImageResolve {
        reference: name.to_owned(),
        source: Some("local".to_owned()),
        digest: None,
        platform: platform.map(str::to_owned),
    };
    let (found, image) = trace.step(body, |span| {
        let image = engine.images.resolve(name)?;
        if let Body::ImageResolve { digest, .. } = span.body_mut() {
            *digest = Some(image.id.to_string());
        }
        let own = image.config.platform();
        if let Some(wanted) = platform
            && !fits(&own.os, &own.architecture, wanted)
        {
            return Err(Error::not_found(format!(
                "image with reference {name} was found but does not provide the specified platform ({wanted})"
            )));
        }
        let config =
            serde_json::to_value(&image.config.config).and_then(serde_json::from_value).map_err(|error| {
                Error::internal(format!("the configuration of the image {name} can't be read: {error}"))
            })?;
        Ok::<_, Error>((
            Found { id: image.id.to_string(), config, layers: engine.images.stack(&image) },
            image,
        ))
    })?;
    engine.images.ready(trace, &image.layers)?;
    Ok(found)
}

/// Whether a platform is the wanted one: `linux/amd64`, `linux`, `amd64`.
fn fits(os: &str, architecture: &str, wanted: &str) -> bool {
    wanted.split('/').take(2).all(|part| part == os || part == architecture)
}

/// The ids of the images that an `ancestor` filter names. Names that are no image's
/// name none.
#[must_use]
pub fn ancestors(engine: &Engine, names: &[String]) -> HashSet<String> {
    names
        .iter()
        .filter_map(|name| engine.images.resolve(name).ok())
        .map(|image| image.id.to_string())
        .collect()
}

/// What names of images mean at the moment, each looked up once: `ps` of many containers asks for few.
#[derive(Debug, Default)]
pub struct Meanings(HashMap<String, Option<String>>);

impl Meanings {
    /// The name that `ps` shows: what the container was created with, or the image's
    /// id once that name belongs to another image, or to none.
    pub fn shown_name(&mut self, engine: &Engine, record: &Record) -> String {
        let name = &record.config.image;
        let known = self.0.get(name).cloned().unwrap_or_else(|| {
            let id = engine.images.resolve(name).ok().map(|image| image.id.to_string());
            self.0.insert(name.clone(), id.clone());
            id
        });
        if known.as_ref() == Some(&record.image) { name.clone() } else { record.image.clone() }
    }
}
