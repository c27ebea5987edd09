//! Lists: the tags of a repository, the repositories of a registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Storage, keys};
use crate::server::error::{Code, Refusal};
use crate::server::name::{Name, is_tag};

/// A walk through the repositories goes at most so deep: a name has at most this many parts.
const DEPTH_LIMIT: usize = 128;

impl Storage {
    /// The tags of a repository, in the order of their bytes.
    pub(crate) fn tags(&self, name: &Name) -> Result<Arc<Vec<String>>, Refusal> {
        let folder = keys::part(name, "_tags");
        let changed = self.place.changed(&folder);
        if let Some(tags) = changed.and_then(|changed| self.listed.get(&folder, changed)) {
            return Ok(tags);
        }
        let mut tags = self.place.names(&folder)?;
        if tags.is_empty() && !self.is_repository(name)? {
            return Err(Refusal::new(Code::NameUnknown, format!("there is no repository {name}")));
        }
        tags.retain(|tag| is_tag(tag));
        tags.sort_unstable();
        let tags = Arc::new(tags);
        if let Some(changed) = changed {
            self.listed.put(folder, changed, &tags);
        }
        Ok(tags)
    }

    /// The names of all repositories that have something in them, sorted.
    pub(crate) fn repositories(&self) -> Result<Vec<Name>, Refusal> {
        self.repositories_with("_manifests")
    }

    /// The names of all repositories with such a folder of ours, sorted.
    pub(super) fn repositories_with(&self, part: &str) -> Result<Vec<Name>, Refusal> {
        let mut names = Vec::new();
        self.walk("", part, 0, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }

    fn walk(&self, prefix: &str, wanted: &str, depth: usize, names: &mut Vec<Name>) -> Result<(), Refusal> {
        let inside = self.place.names(&format!("repositories{prefix}"))?;
        if inside.iter().any(|part| part == wanted)
            && let Some(name) = prefix.strip_prefix('/').and_then(Name::parse)
        {
            names.push(name);
        }
        // What begins with an underscore is ours; the grammar of names keeps the two apart.
        for part in inside.iter().filter(|part| Name::parse(part).is_some()) {
            if depth < DEPTH_LIMIT {
                self.walk(&format!("{prefix}/{part}"), wanted, depth + 1, names)?;
            }
        }
        Ok(())
    }

    /// Whether something was ever pushed there.
    pub(super) fn is_repository(&self, name: &Name) -> Result<bool, Refusal> {
        Ok(self.place.is_folder(&keys::part(name, "_manifests"))?
            || self.place.is_folder(&keys::part(name, "_blobs"))?)
    }
}

/// Lists of tags that were read lately. A folder's time changes with every entry that comes
/// or goes, also when another server of the same folder does it.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<String, Listed>>);

/// A list, and the time of its folder when it was read.
type Listed = (SystemTime, Arc<Vec<String>>);

/// The cache holds at most so many lists.
const LISTS: usize = 256;
/// The kernel's clock for files stands still for some milliseconds: a list that was read so
/// shortly after a change may lack another change at the same time, and isn't kept.
const TICK: Duration = Duration::from_millis(50);

impl Cache {
    fn get(&self, folder: &str, changed: SystemTime) -> Option<Arc<Vec<String>>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(folder).filter(|(at, _)| *at == changed).map(|(_, tags)| Arc::clone(tags))
    }

    fn put(&self, folder: String, changed: SystemTime, tags: &Arc<Vec<String>>) {
        if changed.elapsed().is_ok_and(|age| age > TICK) {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() >= LISTS {
                held.clear();
            }
            held.insert(folder, (changed, Arc::clone(tags)));
        }
    }
}
