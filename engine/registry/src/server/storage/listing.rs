//! Lists: the tags of a repository, the repositories of a registry.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Storage;
use crate::server::error::{Code, Refusal};
use crate::server::name::{Name, is_tag};

/// A walk through the repositories goes at most so deep: a name has at most this many parts.
const DEPTH_LIMIT: usize = 128;

impl Storage {
    /// The tags of a repository, in the order of their bytes.
    pub(crate) fn tags(&self, name: &Name) -> Result<Arc<Vec<String>>, Refusal> {
        let repository = self.repository(name);
        let folder = repository.join("_tags");
        let changed = fs::metadata(&folder).and_then(|metadata| metadata.modified()).ok();
        if let Some(tags) = changed.and_then(|changed| self.listed.get(&folder, changed)) {
            return Ok(tags);
        }
        let mut tags = file_names(&folder)?;
        if tags.is_empty() && !is_repository(&repository) {
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
        walk(&self.root.join("repositories"), "", part, 0, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether something was ever pushed there.
pub(super) fn is_repository(folder: &Path) -> bool {
    ["_manifests", "_blobs"].iter().any(|part| folder.join(part).is_dir())
}

fn walk(
    folder: &Path,
    prefix: &str,
    wanted: &str,
    depth: usize,
    names: &mut Vec<Name>,
) -> Result<(), Refusal> {
    for part in file_names(folder)? {
        // What begins with an underscore is ours; the grammar of names keeps the two apart.
        let name = if prefix.is_empty() { part.clone() } else { format!("{prefix}/{part}") };
        let Some(parsed) = Name::parse(&name) else { continue };
        let inside = folder.join(&part);
        if inside.join(wanted).is_dir() {
            names.push(parsed);
        }
        if depth < DEPTH_LIMIT {
            walk(&inside, &name, wanted, depth + 1, names)?;
        }
    }
    Ok(())
}

/// The names in a folder; none where there is no folder.
pub(super) fn file_names(folder: &Path) -> Result<Vec<String>, Refusal> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(Refusal::disk("list", folder, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Refusal::disk("list", folder, source))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Lists of tags that were read lately. A folder's time changes with every entry that comes
/// or goes, also when another server of the same folder does it.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<PathBuf, Listed>>);

/// A list, and the time of its folder when it was read.
type Listed = (SystemTime, Arc<Vec<String>>);

/// The cache holds at most so many lists.
const LISTS: usize = 256;
/// The kernel's clock for files stands still for some milliseconds: a list that was read so
/// shortly after a change may lack another change at the same time, and isn't kept.
const TICK: Duration = Duration::from_millis(50);

impl Cache {
    fn get(&self, folder: &Path, changed: SystemTime) -> Option<Arc<Vec<String>>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(folder).filter(|(at, _)| *at == changed).map(|(_, tags)| Arc::clone(tags))
    }

    fn put(&self, folder: PathBuf, changed: SystemTime, tags: &Arc<Vec<String>>) {
        if changed.elapsed().is_ok_and(|age| age > TICK) {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() >= LISTS {
                held.clear();
            }
            held.insert(folder, (changed, Arc::clone(tags)));
        }
    }
}
