//! The endpoints of images: list, inspect, history, pull, push, tag, delete, prune, search; and
//! images that are made here: commit, import, save, load.
//!
//! They shape what the image room and the registry's client know into Docker's
//! words; see `Image` in the API's specification.

pub(crate) mod list;

pub(crate) mod inspect;

pub(crate) mod change;

pub(crate) mod pull;

pub(crate) mod push;

pub(crate) mod distribution;

pub(crate) mod search;

pub(crate) mod commit;

pub(crate) mod origin;

mod import;

pub(crate) mod platform;

pub(crate) mod save;

pub(crate) mod load;

mod instructions;

pub(crate) mod stream;

pub(crate) mod progress;

pub(crate) mod credentials;

use std::collections::BTreeMap;

use glassdock_image::images::{Error as ImageError, User};
use glassdock_image::{Digest, layer};
use glassdock_registry::client::{ClientConfig, Error as RegistryError, Kind as RegistryKind};

use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Error, Kind};

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::NotFound(_) | ImageError::Ambiguous(_) => Kind::NotFound,
            ImageError::Conflict(_) => Kind::Conflict,
            ImageError::Reference(_) | ImageError::Archive { .. } => Kind::Invalid,
            ImageError::Layer(
                layer::Error::Damaged(_) | layer::Error::Refused { .. } | layer::Error::TooMuch { .. },
            ) => Kind::Invalid,
            _ => Kind::Internal,
        };
        Self::of(kind, &error)
    }
}

impl From<glassdock_image::reference::Error> for Error {
    fn from(error: glassdock_image::reference::Error) -> Self {
        Self::of(Kind::Invalid, &error)
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        let kind = match error.kind() {
            RegistryKind::NotFound => Kind::NotFound,
            RegistryKind::Unauthorized => Kind::Unauthorized,
            RegistryKind::Unavailable
            | RegistryKind::Invalid
            | RegistryKind::Aborted
            | RegistryKind::Internal => Kind::Internal,
        };
        match error {
            // Its words are Docker's, and name the cause already.
            RegistryError::Connection { .. } => Self::new(kind, error.to_string()),
            error => Self::of(kind, &error),
        }
    }
}

/// Tells everyone what happened to an image.
pub(crate) fn tell(
    engine: &Engine,
    action: &str,
    id: &Digest,
    name: &str,
    labels: &BTreeMap<String, String>,
) {
    let mut attributes = labels.clone();
    attributes.insert("name".to_owned(), name.to_owned());
    engine.events.emit("image", action, &id.to_string(), attributes);
}

/// Which containers use an image.
fn users(engine: &Engine) -> impl Fn(&Digest) -> Vec<User> + '_ {
    |id| {
        let users = engine.containers.using_image(&id.to_string());
        users.into_iter().map(|(id, running)| User { id, running }).collect()
    }
}

/// How the registry's client is set up by the daemon's options.
///
/// A mirror on a loopback address is a lesson's own registry: it stands for Docker
/// Hub, which is then not asked, so that nothing depends on the internet.
pub(crate) fn client(config: &Config) -> ClientConfig {
    let loopback = |mirror: &String| {
        let host = mirror.split("://").last().unwrap_or_default();
        ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
    };
    ClientConfig {
        mirrors: config.registry_mirrors.clone(),
        hub: !config.registry_mirrors.iter().any(loopback),
        insecure: config.insecure_registries.clone(),
        ..ClientConfig::default()
    }
}
