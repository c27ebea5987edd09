//! # Volumes: folders of the host that outlive containers
//!
//! A volume is `ROOT/volumes/NAME/_data` and a document in `state.db`. It belongs
//! to nobody; it is in use while a container has it among its mount points. With options
//! it has a file system of its own, that is mounted there while a container runs with it.

pub mod options;

mod holders;

pub mod endpoints;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glassdock_trace::{Body, Trace};
use serde::{Deserialize, Serialize};

use crate::containers::names;
use crate::error::{Error, Kind};
use crate::saved::Saved;

const KIND: &str = "volume";

/// A volume.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Free words.
    pub labels: BTreeMap<String, String>,
    /// What the driver was told.
    pub options: BTreeMap<String, String>,
    /// Whether nobody gave it a name: `prune` takes these.
    pub anonymous: bool,
}

/// The volumes of an engine.
#[derive(Debug)]
pub struct Volumes {
    folder: PathBuf,
    saved: Saved,
    known: Mutex<BTreeMap<String, Volume>>,
    holders: holders::Holders,
}

/// Checks a volume's name.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn check_name(name: &str) -> Result<(), Error> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && (2..=255).contains(&name.len()) {
        return Ok(());
    }
    if name.len() == 1 {
        return Err(Error::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    Err(Error::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

impl Volumes {
    /// The volumes that `saved` knows, with their folders below `folder`.
    ///
    /// # Errors
    ///
    /// If the database or the folder can't be read.
    pub fn open(folder: PathBuf, saved: Saved) -> Result<Self, Error> {
        std::fs::create_dir_all(&folder)?;
        glassdock_kernel::disk::spread_folders(&folder);
        let mut known = BTreeMap::new();
        for (id, text) in saved.all(KIND)? {
            match serde_json::from_str::<Volume>(&text) {
                Ok(volume) => {
                    known.insert(id, volume);
                }
                Err(error) => tracing::error!(%id, %error, "the record of a volume can't be read: left out"),
            }
        }
        Ok(Self { folder, saved, known: Mutex::new(known), holders: holders::Holders::default() })
    }

    /// Where a volume's files lie.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("_data")
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Volume> {
        self.lock().values().cloned().collect()
    }

    /// The volume of that name.
    ///
    /// # Errors
    ///
    /// Not found, in Docker's words.
    pub fn get(&self, name: &str) -> Result<Volume, Error> {
        let missing = || Error::not_found(format!("get {name}: no such volume"));
        self.lock().get(name).cloned().ok_or_else(missing)
    }

    /// Makes a volume, or finds the one of that name. Returns it, and whether it is new.
    ///
    /// # Errors
    ///
    /// Invalid names, options that the driver does not know, and what the disk says.
    pub fn create(&self, trace: &Trace, mut volume: Volume) -> Result<(Volume, bool), Error> {
        if volume.name.is_empty() {
            volume.name = names::new_id()?;
            volume.anonymous = true;
        }
        check_name(&volume.name)?;
        if let Some(known) = self.lock().get(&volume.name) {
            return Ok((known.clone(), false));
        }
        options::check(&volume.options)
            .map_err(|error| Error::new(error.kind(), format!("create {}: {error}", volume.name)))?;
        volume.created = jiff::Timestamp::now().to_string();
        let path = self.path(&volume.name);
        let body =
            Body::VolumeCreate { name: volume.name.clone(), path: Some(path.to_string_lossy().into_owned()) };
        let text = serde_json::to_string(&volume).map_err(|error| Error::of(Kind::Internal, &error))?;
        trace.step(body, |_| {
            std::fs::create_dir_all(&path)?;
            self.saved.put(KIND, &volume.name, Some(&volume.name), &text)
        })?;
        self.lock().insert(volume.name.clone(), volume.clone());
        Ok((volume, true))
    }

    /// Removes a volume. That nobody uses it is for the caller to know.
    ///
    /// # Errors
    ///
    /// Not found, and what the disk says.
    pub fn remove(&self, trace: &Trace, name: &str) -> Result<(), Error> {
        self.get(name)?;
        trace.step(Body::VolumeRemove { name: name.to_owned() }, |span| {
            self.unmounted(span.trace(), name)?;
            match std::fs::remove_dir_all(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::from(error)),
                _ => {}
            }
            self.saved.delete(KIND, name)
        })?;
        self.lock().remove(name);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Volume>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
