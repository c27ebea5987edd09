//! Snapshots: what a lesson printed and traced when its author last looked.
//!
//! `snapshots/ID.transcript.snap` and `snapshots/ID.trace.snap` are insta's files: the
//! test in `tests/scenarios.rs` asserts them, `cargo insta review` accepts a change.
//! Here they are only read, so that `glassdock lesson check` needs no Cargo.

use std::fs;
use std::path::Path;

use glassdock_trace::diff::diff;

use crate::run::Outcome;

/// The two snapshots of a lesson: what they are called, and their texts.
#[must_use]
pub fn of(outcome: &Outcome) -> [(&'static str, &str); 2] {
    [("transcript", &outcome.transcript), ("trace", &outcome.trace)]
}

/// Holds a lesson's texts against its snapshots; returns the differences, readably.
#[must_use]
pub fn compare(outcome: &Outcome, folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, text) in of(outcome) {
        let path = folder.join(format!("{}.{name}.snap", outcome.id));
        match fs::read_to_string(&path) {
            Ok(saved) => {
                if let Some(difference) = diff(content(&saved).trim_end(), text.trim_end()) {
                    wrong.push(format!(
                        "the {name} is not as in snapshots/{}.{name}.snap (- snapshot, + now):\n{difference}",
                        outcome.id
                    ));
                }
            }
            Err(_) => wrong.push(format!(
                "there is no snapshot {}.{name}.snap: cargo insta test --review -p glassdock-lesson",
                outcome.id
            )),
        }
    }
    wrong
}

/// What stands behind insta's head, which is between two lines of `---`.
fn content(saved: &str) -> &str {
    saved
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(saved, |(_, content)| content)
}

/// Snapshots that no lesson has, as their files' names.
#[must_use]
pub fn orphans(folder: &Path, ids: &[&str]) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".snap"))
        .filter(|name| !ids.iter().any(|id| name.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'))))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_not_content() {
        assert_eq!(content("---\nsource: x\n---\na\n---\nb\n"), "a\n---\nb\n");
        assert_eq!(content("no head"), "no head");
    }

    #[test]
    fn differences_and_orphans_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let save = |name: &str, text: &str| {
            fs::write(folder.path().join(name), format!("---\nsource: x\n---\n{text}\n")).expect("a file");
        };
        let outcome = Outcome {
            id: "03-x".into(),
            transcript: "$ a\n\n".into(),
            trace: "b\nc\n".into(),
            ..Outcome::default()
        };
        assert_eq!(compare(&outcome, folder.path()).len(), 2, "both are missing");
        save("03-x.transcript.snap", "$ a");
        save("03-x.trace.snap", "b\nd");
        save("04-y.trace.snap", "");
        let wrong = compare(&outcome, folder.path());
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("- d\n+ c\n"), "{wrong:?}");
        assert_eq!(orphans(folder.path(), &["03-x"]), ["04-y.trace.snap"]);
    }
}
