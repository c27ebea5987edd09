//! What each kind of event means, in words: data, so that the engine's code holds none.
//!
//! `narration.yaml` has an entry for every kind of the vocabulary; this module reads
//! it. See the file's head for what an entry says.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::vocabulary::Kind;

/// The entry of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narration {
    /// The event in one line; see [`crate::template`] for its form.
    pub show: String,
    /// What the kernel or the registry does, in English.
    pub en: String,
    /// The same in Chinese.
    pub zh: String,
    /// The manual page or the section of a specification.
    pub see: String,
    /// A shell command that does the same, or shows it.
    pub shell: String,
}

/// The narration of `kind`.
///
/// # Panics
///
/// Only if the file that is compiled in is broken, which a test forbids.
#[must_use]
pub fn of(kind: Kind) -> &'static Narration {
    static EMPTY: OnceLock<Narration> = OnceLock::new();
    all().get(kind.name()).unwrap_or_else(|| {
        EMPTY.get_or_init(|| Narration {
            show: String::new(),
            en: String::new(),
            zh: String::new(),
            see: String::new(),
            shell: String::new(),
        })
    })
}

/// All entries, by the kind's dotted name.
#[must_use]
pub fn all() -> &'static BTreeMap<String, Narration> {
    static ALL: OnceLock<BTreeMap<String, Narration>> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    ALL.get_or_init(|| {
        serde_yaml::from_str(include_str!("../narration.yaml")).expect("narration.yaml is well formed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_entry_and_every_entry_a_kind() {
        for kind in Kind::ALL {
            let entry = all().get(kind.name()).unwrap_or_else(|| panic!("no narration of {}", kind.name()));
            for (what, text) in
                [("show", &entry.show), ("en", &entry.en), ("see", &entry.see), ("shell", &entry.shell)]
            {
                assert!(!text.trim().is_empty(), "{}: {what} is empty", kind.name());
            }
            let chinese = entry.zh.chars().filter(|letter| ('\u{4e00}'..'\u{a000}').contains(letter)).count();
            assert!(chinese >= 5, "{}: zh is not Chinese: {}", kind.name(), entry.zh);
            assert!(
                !entry.en.contains('\n') && !entry.zh.contains('\n'),
                "{}: more than a line",
                kind.name()
            );
        }
        for name in all().keys() {
            assert!(Kind::parse(name).is_some(), "{name} is no kind of the vocabulary");
        }
    }
}
