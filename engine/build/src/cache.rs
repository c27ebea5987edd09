//! The cache's keys: what a step's result depends on, and what was different when it isn't there.
//!
//! ```text
//!   key = sha256(parent's key, the instruction, its other inputs, its files)
//! ```
//!
//! Nothing else goes in: no time, no name of the image, no path of this machine.

use std::collections::BTreeMap;

use glassdock_image::Digest;
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

    /// Why this step isn't `before`, which stood on the same parent; `None` if it is the same.
    #[must_use]
    pub fn differs(&self, before: &Self) -> Option<String> {
        if before.instruction != self.instruction {
            return Some(format!("the instruction changed: it was {}", short(&before.instruction)));
        }
        if let Some(name) = changed(&before.inputs, &self.inputs) {
            return Some(format!("the input {name} changed"));
        }
        let path = changed(&before.files, &self.files)?;
        Some(match (before.files.contains_key(path), self.files.contains_key(path)) {
            (true, false) => format!("the file {path} is gone"),
            (false, true) => format!("the file {path} is new"),
            _ => format!("the file {path} changed"),
        })
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
        let mut argument = before.clone();
        argument.inputs.insert("HTTP_PROXY".into(), "x".into());
        assert_eq!(reason(&argument), "the input HTTP_PROXY changed");
        assert_ne!(before.key(), argument.key());
    }
}
