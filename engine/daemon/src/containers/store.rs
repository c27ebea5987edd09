//! All containers of an engine: by id, by name, and on disk.
//!
//! Lists and look-ups are answered from memory; every change is also written to
//! `state.db`, so that a daemon that was killed finds them again. A name is taken
//! in memory, under one short lock, before anything else happens: that decides a
//! race between two creates.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::container::Container;
use super::names;
use super::record::Record;
use crate::error::Error;
use crate::saved::Saved;

/// The kind of a container's document in `state.db`.
const KIND: &str = "container";

/// The containers of an engine.
#[derive(Debug)]
pub struct Containers {
    folder: PathBuf,
    saved: Saved,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: BTreeMap<String, Arc<Container>>,
    /// The id that a name belongs to, from the moment when it is taken.
    names: HashMap<String, String>,
}

/// A name that is taken for a container which is still being made; it is free
/// again if the container comes to nothing.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    containers: &'a Containers,
    pub(crate) name: String,
    kept: bool,
}

impl Containers {
    /// The containers that `saved` knows, with their folders below `folder`.
    ///
    /// # Errors
    ///
    /// If the database or the folder can't be read.
    pub fn open(folder: PathBuf, saved: Saved) -> Result<Self, Error> {
        std::fs::create_dir_all(&folder)?;
        glassdock_kernel::disk::spread_folders(&folder);
        let mut known = Known::default();
        for (id, text) in saved.all(KIND)? {
            // In two steps, as a client's request is read: a record has all of a request's types, and reading
            // them from plain JSON is compiled already.
            match serde_json::from_str::<serde_json::Value>(&text).and_then(serde_json::from_value::<Record>)
            {
                Ok(record) => {
                    known.names.insert(record.name.clone(), id.clone());
                    known.by_id.insert(id, Container::new(&folder, record));
                }
                Err(error) => {
                    tracing::error!(%id, %error, "the record of a container can't be read: left out")
                }
            }
        }
        let containers = Self { folder, saved, known: Mutex::new(known) };
        containers.sweep();
        Ok(containers)
    }

    /// Removes folders that belong to no container: creates that a crash cut off.
    /// Those hold nothing but empty folders. One that holds more is a container
    /// that the database lost: it stays, for its owner to look at.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if name.to_str().is_some_and(|name| self.lock().by_id.contains_key(name)) {
                continue;
            }
            let parts = ["upper", "work"].map(|part| std::fs::remove_dir(path.join(part)));
            let gone = |result: &std::io::Result<()>| match result {
                Ok(()) => true,
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            };
            if parts.iter().all(gone) && std::fs::remove_dir(&path).is_ok() {
                continue;
            }
            tracing::warn!(
                path = %path.display(),
                "the folder of a container that the database doesn't know stays: \
                 what it wrote is in upper; remove the folder if nobody needs it"
            );
        }
    }

    /// The folder of the containers' folders.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All of them, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self
            .lock()
            .by_id
            .values()
            .map(|container| (container.look(|record| record.created.clone()), Arc::clone(container)))
            .collect();
        all.sort_by(|(a, _), (b, _)| b.cmp(a));
        all.into_iter().map(|(_, container)| container).collect()
    }

    /// Looks at the records of all of them, in the order of their ids.
    pub(crate) fn each(&self, mut look: impl FnMut(&Record)) {
        for container in self.lock().by_id.values() {
            container.look(&mut look);
        }
    }

    /// The container of that id, name (with or without a slash), or unique prefix of an id.
    ///
    /// # Errors
    ///
    /// Not found, or invalid for a prefix that several have, in Docker's words.
    pub fn find(&self, name: &str) -> Result<Arc<Container>, Error> {
        let known = self.lock();
        if let Some(container) = known.by_id.get(name) {
            return Ok(Arc::clone(container));
        }
        let bare = name.strip_prefix('/').unwrap_or(name);
        if let Some(container) = known.names.get(bare).and_then(|id| known.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        let missing = || Error::not_found(format!("No such container: {name}"));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut found = known.by_id.range(name.to_owned()..).take_while(|(id, _)| id.starts_with(name));
        match (found.next(), found.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("multiple IDs found with provided prefix: {name}")))
            }
            _ => Err(missing()),
        }
    }

    /// Takes a name for the container `id`; a random one if none is wanted.
    ///
    /// # Errors
    ///
    /// Conflict, in Docker's words, if it belongs to another.
    pub(crate) fn take_name(&self, wanted: Option<String>, id: &str) -> Result<Taken<'_>, Error> {
        let mut known = self.lock();
        let name = match wanted {
            Some(name) => {
                if let Some(owner) = known.names.get(&name) {
                    return Err(Error::conflict(format!(
                        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
                         You have to remove (or rename) that container to be able to reuse that name."
                    )));
                }
                name
            }
            None => (0..).map(names::random).find(|name| !known.names.contains_key(name)).unwrap_or_default(),
        };
        known.names.insert(name.clone(), id.to_owned());
        Ok(Taken { containers: self, name, kept: false })
    }

    /// Adds a container whose name was taken: it is on disk, and everyone sees it.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(crate) fn add(&self, mut name: Taken<'_>, record: Record) -> Result<Arc<Container>, Error> {
        self.saved.put(KIND, &record.id, Some(&record.name), &text_of(&record)?)?;
        name.kept = true;
        let container = Container::new(&self.folder, record);
        self.lock().by_id.insert(container.id.clone(), Arc::clone(&container));
        Ok(container)
    }

    /// Writes a container's record as it is now.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(crate) fn save(&self, container: &Container) -> Result<(), Error> {
        let record = container.record();
        self.saved.put(KIND, &record.id, Some(&record.name), &text_of(&record)?)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    ///
    /// Conflict if it is taken; and if it can't be written.
    pub(crate) fn rename(&self, container: &Container, name: String) -> Result<String, Error> {
        let mut taken = self.take_name(Some(name.clone()), &container.id)?;
        let old = container.change(|record| std::mem::replace(&mut record.name, name));
        if let Err(error) = self.save(container) {
            container.change(|record| record.name.clone_from(&old));
            return Err(error);
        }
        taken.kept = true;
        self.lock().names.remove(&old);
        Ok(old)
    }

    /// Forgets a container: on disk first, then in memory.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(crate) fn forget(&self, container: &Container) -> Result<(), Error> {
        self.saved.delete(KIND, &container.id)?;
        let name = container.name();
        let mut known = self.lock();
        known.by_id.remove(&container.id);
        if known.names.get(&name) == Some(&container.id) {
            known.names.remove(&name);
        }
        Ok(())
    }

    /// The containers that were made from an image: id, and whether they run.
    #[must_use]
    pub fn using_image(&self, image: &str) -> Vec<(String, bool)> {
        let known = self.lock();
        let uses = |container: &Arc<Container>| {
            container.look(|record| {
                let uses = record.image == image || record.images.iter().any(|mounted| mounted.id == image);
                uses.then(|| record.state.status.has_process())
            })
        };
        known.by_id.values().filter_map(|container| Some((container.id.clone(), uses(container)?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.containers.lock().names.remove(&self.name);
        }
    }
}

fn text_of(record: &Record) -> Result<String, Error> {
    serde_json::to_string(record).map_err(|error| Error::of(crate::error::Kind::Internal, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_cut_off_create_left_is_swept_up() {
        let root = tempfile::tempdir().expect("a folder");
        let saved = Saved::new(glassdock_image::State::open(root.path()).expect("a database"));
        let folder = root.path().join("containers");
        for parts in ["cut/upper", "cut/work", "early", "lost/upper", "unread/upper", "ran/upper"] {
            std::fs::create_dir_all(folder.join(parts)).expect("folders");
        }
        std::fs::write(folder.join("lost/upper/precious"), "x").expect("a file");
        std::fs::write(folder.join("ran/config.json"), "{}").expect("a file");
        saved.put(KIND, "unread", Some("otter"), "no record").expect("a document");
        std::fs::write(folder.join("unread/upper/precious"), "x").expect("a file");
        Containers::open(folder.clone(), saved).expect("containers");
        let is = |path: &str| folder.join(path).exists();
        assert!(!is("cut") && !is("early"));
        assert!(is("lost/upper/precious") && is("unread/upper/precious") && is("ran/config.json"));
    }
}
