//! What an image was made of here by `commit`, as `inspect` shows it.
//!
//! No image says that itself, and one that was pulled has nothing of it. So it is a document of its own.

use glassdock_image::{Digest, Images};
use serde::{Deserialize, Serialize};

use crate::containers::model::ContainerConfig;
use crate::error::{Error, Kind};

/// The kind of the document in `state.db`, by the image's id.
const KIND: &str = "image-origin";

/// Where an image comes from; empty for one that was not made here.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Origin {
    /// The image that it was made on.
    pub(super) parent: String,
    /// The container whose changes it has.
    pub(super) container: String,
    /// How that one ran.
    pub(super) config: ContainerConfig,
}

impl Origin {
    /// What is known of an image. The parent is told as long as it is there.
    pub(super) fn of(images: &Images, image: &Digest) -> Self {
        let known = images.state().get(KIND, &image.to_string()).ok().flatten();
        let known = known.and_then(|known| serde_json::from_str::<Self>(&known.json).ok());
        let mut origin = known.unwrap_or_default();
        if !is_there(images, &origin.parent) {
            origin.parent.clear();
        }
        origin
    }

    /// Remembers it; what is remembered of images that are gone is forgotten.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(super) fn remember(&self, images: &Images, image: &Digest) -> Result<(), Error> {
        let state = images.state();
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
