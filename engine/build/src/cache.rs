//! The cache's keys: what a step's result depends on, and what was different when it isn't there.
//!
//! ```text
//!   key = sha256(parent's key, the instruction, its other inputs, its files)
//! ```
//!
//! Nothing else goes in: no time, no name of the image, no path of this machine.

use std::borrow::Cow;
use std::collections::BTreeMap;

use glassdock_image::Digest;
use glassdock_image::digest::{Algorithm, Hasher};
use serde::{Deserialize, Serialize};

/// All that a step's result depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The key of what it stands on.
    pub parent: String,
    /// The instruction with its variables known.
    pub instruction: String,
    /// Other inputs by name: arguments, the user, the folder.
    pub inputs: BTreeMap<String, String>,
    /// The files that are copied: path, and the digest of kind, mode and content.
    pub files: BTreeMap<String, String>,
}

impl Step {
    /// The step's key.
    #[must_use]
    pub fn key(&self) -> String {
        // Maps of texts can't fail to be JSON.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default()).hex().to_owned()
    }

    /// The step as it is remembered, to tell later why another one isn't it: many files are summed up
    /// by their folders.
    #[must_use]
    pub fn remembered(&self) -> Self {
        Self { files: outline(&self.files).into_owned(), ..self.clone() }
    }

    /// Why this step isn't `before`, which stood on the same parent; `None` if it is the same.
    #[must_use]
    pub fn differs(&self, before: &Self) -> Option<String> {
        if before.instruction != self.instruction {
            return Some(format!("the instruction changed: it was {}", short(&before.instruction)));
        }
        if let Some(name) = changed(&before.inputs, &self.inputs) {
            return Some(format!("the input {name} changed"));
        }
        let now = outline(&self.files);
        let path = changed(&before.files, &now)?;
        Some(match (before.files.contains_key(path), now.contains_key(path)) {
            _ if path.ends_with('/') => format!("something in the folder {path} changed"),
            (true, false) => format!("the file {path} is gone"),
            (false, true) => format!("the file {path} is new"),
            _ => format!("the file {path} changed"),
        })
    }
}

/// So many files are remembered by their names.
const MOST_NAMES: usize = 1000;

/// And folders so deep.
const DEEPEST_FOLDERS: usize = 8;

/// The files as they are remembered: themselves, or if there are too many the folders that they lie in, with a
/// slash at the end; of too many folders, those above them.
fn outline(files: &BTreeMap<String, String>) -> Cow<'_, BTreeMap<String, String>> {
    if files.len() <= MOST_NAMES {
        return Cow::Borrowed(files);
    }
    let mut depth = DEEPEST_FOLDERS;
    loop {
        let mut folders: BTreeMap<String, Hasher> = BTreeMap::new();
        for (path, sum) in files {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let mut name: String = folder.split('/').take(depth).collect::<Vec<_>>().join("/");
            name.push('/');
            let hasher = folders.entry(name).or_insert_with(|| Hasher::new(Algorithm::Sha256));
            hasher.update(path.as_bytes());
            hasher.update(sum.as_bytes());
        }
        if folders.len() <= MOST_NAMES || depth == 0 {
            let summed = folders.into_iter().map(|(name, hasher)| (name, hasher.finish().hex().to_owned()));
            return Cow::Owned(summed.collect());
        }
        depth -= 1;
    }
}

/// The first name whose value is another.
fn changed<'a>(before: &'a BTreeMap<String, String>, now: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let names = now.keys().chain(before.keys());
    names.filter(|name| before.get(*name) != now.get(*name)).map(String::as_str).min()
}

fn short(text: &str) -> String {
    let line: String = text.chars().take(120).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(instruction: &str, files: &[(&str, &str)]) -> Step {
        let files = files.iter().map(|(path, sum)| ((*path).to_owned(), (*sum).to_owned())).collect();
        Step { instruction: instruction.to_owned(), files, ..Step::default() }
    }

    #[test]
    fn a_miss_names_what_changed() {
        let before = step("COPY a /", &[("a", "1"), ("b", "2")]);
        let reason = |now: &Step| now.differs(&before).unwrap_or_default();
        assert_eq!(reason(&before), "");
        assert_eq!(reason(&step("COPY b /", &[])), "the instruction changed: it was COPY a /");
        assert_eq!(reason(&step("COPY a /", &[("a", "1"), ("b", "3")])), "the file b changed");
        assert_eq!(reason(&step("COPY a /", &[("a", "1")])), "the file b is gone");
        assert_eq!(reason(&step("COPY a /", &[("0", "1"), ("a", "1"), ("b", "2")])), "the file 0 is new");
        let many = |changed: &str| -> Step {
            let sum = |path: &str| if path == changed { "2" } else { "1" }.to_owned();
            let paths = (0..3000).map(|number| format!("d{}/x/{number}", number % 3));
            Step { files: paths.map(|path| (path.clone(), sum(&path))).collect(), ..Step::default() }
        };
        let remembered = many("").remembered();
        assert_eq!(remembered.files.keys().collect::<Vec<_>>(), ["d0/x/", "d1/x/", "d2/x/"]);
        assert_eq!(many("").differs(&remembered), None);
        assert_eq!(
            many("d1/x/4").differs(&remembered).unwrap_or_default(),
            "something in the folder d1/x/ changed"
        );
        let flat = |count: usize| Step {
            files: (0..count).map(|number| (number.to_string(), "1".into())).collect(),
            ..Step::default()
        };
        assert_eq!(flat(5000).remembered().files.len(), 1);
        assert!(flat(5001).differs(&flat(5000).remembered()).is_some());
        let mut argument = before.clone();
        argument.inputs.insert("HTTP_PROXY".into(), "x".into());
        assert_eq!(reason(&argument), "the input HTTP_PROXY changed");
        assert_ne!(before.key(), argument.key());
    }
}
