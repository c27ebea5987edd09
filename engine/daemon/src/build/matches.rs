//! What a pattern of COPY and ADD means: the paths of a tree.

use std::path::Path;

use glassdock_build::language::pattern::Pattern;

use super::tree::Tree;
use crate::error::Error;

/// A pattern means at most so many files.
const MOST_MATCHES: usize = 1_000_000;

/// The paths that a pattern means in a tree, sorted; a path without wildcards means itself.
///
/// # Errors
///
/// Invalid, for a pattern that can't be read; those of reading.
pub(super) fn expand(tree: &Tree, pattern: &str) -> Result<Vec<String>, Error> {
    let pattern = pattern.trim_start_matches('/');
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![if pattern.is_empty() { ".".to_owned() } else { pattern.to_owned() }]);
    }
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let mut next = Vec::new();
        for folder in found {
            one_part(tree, &folder, part, &mut next)?;
        }
        next.sort_unstable();
        next.dedup();
        if next.len() > MOST_MATCHES {
            return Err(Error::invalid(format!(
                "the pattern {pattern:?} means more than {MOST_MATCHES} files"
            )));
        }
        found = next;
    }
    Ok(found)
}

/// What one part of a pattern means in a folder.
fn one_part(tree: &Tree, folder: &str, part: &str, found: &mut Vec<String>) -> Result<(), Error> {
    let join = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    if !part.contains(['*', '?', '[']) {
        found.extend(tree.has(&join(part)).then(|| join(part)));
        return Ok(());
    }
    let rule =
        Pattern::file(part).ok_or_else(|| Error::invalid(format!("syntax error in pattern {part:?}")))?;
    let deep = part == "**";
    if deep {
        // No folder at all is one of its meanings.
        found.push(folder.to_owned());
    }
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let inside = if folder.is_empty() { "/" } else { &folder };
        let Ok((origin, facts)) = tree.find(Path::new(inside)) else { continue };
        if !facts.is_folder() {
            continue;
        }
        for (name, facts) in origin.list(Path::new(""), &facts)? {
            let Ok(name) = name.into_string() else { continue };
            let whole = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if deep && facts.is_folder() {
                waiting.push(whole.clone());
            }
            if deep || rule.matches(&name) {
                found.push(whole);
            }
        }
        if found.len() > MOST_MATCHES {
            return Ok(());
        }
    }
    Ok(())
}
