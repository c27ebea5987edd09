//! Lists: the tags of a repository, the repositories of a registry.

use std::fs;
use std::io;
use std::path::Path;

use super::Storage;
use crate::server::error::{Code, Refusal};
use crate::server::name::{Name, is_tag};

/// A walk through the repositories goes at most so deep: a name has at most this many parts.
const DEPTH_LIMIT: usize = 128;

impl Storage {
    /// The tags of a repository, in the order of their bytes.
    pub(crate) fn tags(&self, name: &Name) -> Result<Vec<String>, Refusal> {
        let repository = self.repository(name);
        let mut tags = file_names(&repository.join("_tags"))?;
        if tags.is_empty() && !is_repository(&repository) {
            return Err(Refusal::new(Code::NameUnknown, format!("there is no repository {name}")));
        }
        tags.retain(|tag| is_tag(tag));
        tags.sort_unstable();
        Ok(tags)
    }

    /// The names of all repositories that have something in them, sorted.
    pub(crate) fn repositories(&self) -> Result<Vec<Name>, Refusal> {
        let mut names = Vec::new();
        walk(&self.root.join("repositories"), "", 0, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether something was ever pushed there.
pub(super) fn is_repository(folder: &Path) -> bool {
    ["_manifests", "_blobs"].iter().any(|part| folder.join(part).is_dir())
}

fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<Name>) -> Result<(), Refusal> {
    for part in file_names(folder)? {
        // What begins with an underscore is ours; the grammar of names keeps the two apart.
        let name = if prefix.is_empty() { part.clone() } else { format!("{prefix}/{part}") };
        let Some(parsed) = Name::parse(&name) else { continue };
        let inside = folder.join(&part);
        if inside.join("_manifests").is_dir() {
            names.push(parsed);
        }
        if depth < DEPTH_LIMIT {
            walk(&inside, &name, depth + 1, names)?;
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
