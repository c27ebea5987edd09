//! What an image was made of here by `commit` or `build`, as `inspect` shows it to older clients.
//!
//! Compose 1 finds in it which volumes of a container to keep for the next one. No image of today says that itself,
//! so it is a document of its own; those that older builders made have it in their configs.

use glassdock_image::config::Process;
use glassdock_image::{Digest, Images};
use serde::{Deserialize, Serialize};

use crate::containers::model::ContainerConfig;
use crate::error::{Error, Kind};

/// The kind of the document in `state.db`, by the image's id.
const KIND: &str = "image-origin";

/// Where an image comes from; empty for one that was not made here.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Origin {
    /// The image that it was made on.
    pub(super) parent: String,
    /// The container whose changes it has; the last step's, if it was built.
    pub(super) container: String,
    /// How that one ran.
    pub(super) config: ContainerConfig,
}

/// What older builders wrote into an image's config.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    container: String,
    container_config: ContainerConfig,
}

impl Origin {
    /// What is known of an image that ends with such a step: the image's own config, with the step's command.
    ///
    /// # Errors
    ///
    /// None that can come: configs are JSON.
    pub(crate) fn of_step(process: &Process, command: Vec<String>) -> Result<Self, Error> {
        let config: ContainerConfig = serde_json::to_value(process)
            .and_then(serde_json::from_value)
            .map_err(|error| Error::of(Kind::Internal, &error))?;
        Ok(Self { config: ContainerConfig { cmd: Some(command), ..config }, ..Self::default() })
    }

    /// What is known of an image. The parent is told as long as it is there.
    pub(super) fn of(images: &Images, image: &Digest) -> Self {
        let written = || Self::written(&images.store().read(image).unwrap_or_default());
        let mut origin = Self::remembered(images, image).unwrap_or_else(written);
        if !is_there(images, &origin.parent) {
            origin.parent.clear();
        }
        origin
    }

    fn remembered(images: &Images, image: &Digest) -> Option<Self> {
        let known = images.state().get(KIND, &image.to_string()).ok().flatten()?;
        serde_json::from_str(&known.json).ok()
    }

    /// What an image's config says of it.
    fn written(config: &[u8]) -> Self {
        let mut document: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
        crate::route::without_nulls(&mut document);
        let written: Written = serde_json::from_value(document).unwrap_or_default();
        Self { container: written.container, config: written.container_config, ..Self::default() }
    }

    /// Remembers it; what is remembered of images that are gone is forgotten.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(crate) fn remember(&self, images: &Images, image: &Digest) -> Result<(), Error> {
        let state = images.state();
        // A build that finds all its steps in the cache makes the same image again.
        if Self::remembered(images, image).is_some_and(|known| known == *self) {
            return Ok(());
        }
        for known in state.all(KIND)? {
            if !is_there(images, &known.id) {
                state.delete(KIND, &known.id)?;
            }
        }
        let text = serde_json::to_string(self).map_err(|error| Error::of(Kind::Internal, &error))?;
        Ok(state.put(KIND, &image.to_string(), None, &text)?)
    }
}

fn is_there(images: &Images, id: &str) -> bool {
    Digest::parse(id).is_ok_and(|id| images.by_id(&id).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_of_older_builders_are_read() {
        let config = br#"{"os":"linux","container":"abc","container_config":{"Cmd":["|1","v=1"],"Env":null,
            "Volumes":{"/data":{}}},"history":[]}"#;
        let origin = Origin::written(config);
        assert_eq!((origin.container.as_str(), origin.parent.as_str()), ("abc", ""));
        assert_eq!(origin.config.cmd, Some(vec!["|1".to_owned(), "v=1".to_owned()]));
        let shown = serde_json::to_value(&origin.config).expect("JSON");
        assert_eq!(shown["Volumes"], serde_json::json!({ "/data": {} }));
        for nothing in ["", "[]", "{}", r#"{"container":7}"#] {
            assert_eq!(Origin::written(nothing.as_bytes()), Origin::default(), "{nothing}");
        }
    }
}
