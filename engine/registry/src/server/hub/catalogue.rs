//! Which repositories there are, and in which order a search shows them.

use std::cmp::Reverse;
use std::sync::Arc;

use super::Asked;
use super::cards::{Card, card};
use super::shelves::Shelves;
use super::words::Language;
use crate::seed::About;
use crate::server::error::Refusal;
use crate::server::name::Name;

/// A search has at most so many characters; more is cut off.
pub(super) const QUERY_LIMIT: usize = 100;

/// A repository that can be shown: it has a tag.
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) about: Arc<About>,
    /// How often it was pulled, up to this moment.
    pub(super) pulls: u64,
}

impl Entry {
    fn of(card: &Card, shelves: &Shelves) -> Self {
        let pulls = card.about.pulls.saturating_add(shelves.counted_pulls(&card.name));
        Self { name: card.name.clone(), about: Arc::clone(&card.about), pulls }
    }

    /// The name by which an engine finds the repository: without `library/`, and with this
    /// server's address where the name alone would mean another registry's.
    pub(super) fn shown(&self, host: Option<&str>) -> String {
        shown(&self.name, host)
    }

    /// The description in a language, or in English.
    pub(super) fn description(&self, language: Language) -> &str {
        language.choose(&self.about.description, &self.about.description_zh)
    }
}

/// As [`Entry::shown`], of a name.
pub(super) fn shown(name: &Name, host: Option<&str>) -> String {
    let text = name.as_str();
    match (text.split_once('/'), host) {
        (Some(("library", rest)), _) if !rest.contains('/') => rest.to_owned(),
        // `ali/app` is found through a mirror; `app` would be `library/app`, and in `ghcr.io/app`
        // the first part would be a server.
        (Some((first, _)), _) if !first.contains('.') && first != "localhost" => text.to_owned(),
        (_, Some(host)) => format!("{host}/{text}"),
        _ => text.to_owned(),
    }
}

/// A repository with its description, if something in it can be pulled by a tag.
pub(super) fn entry(shelves: &Shelves, name: Name) -> Result<Option<Entry>, Refusal> {
    Ok(card(shelves, name)?.map(|card| Entry::of(&card, shelves)))
}

/// What matches a search, the best first; everything, the most popular first, where the
/// search is empty.
pub(super) fn find(shelves: &Shelves, asked: &Asked) -> Result<Vec<Entry>, Refusal> {
    let query = asked.query.to_lowercase();
    let words: Vec<&str> = query.split_whitespace().collect();
    let mut found = Vec::new();
    for card in shelves.cards()? {
        let matches = words.iter().all(|word| card.name.as_str().contains(word) || card.words.contains(word));
        let official = asked.official.is_none_or(|wanted| wanted == card.about.official);
        if matches && official && card.about.stars >= asked.stars {
            found.push(Entry::of(&card, shelves));
        }
    }
    found.sort_by_cached_key(|entry| (Reverse(rank(entry, &words)), entry.name.clone()));
    Ok(found)
}

/// What makes one result better than another, the weightiest first: that it is called so, that
/// its name begins so, that its name has the words, and then how much it is liked.
fn rank(entry: &Entry, words: &[&str]) -> (bool, bool, usize, bool, u64, u64) {
    let last = entry.name.as_str().rsplit('/').next().unwrap_or_default();
    let first_word = words.first().copied().unwrap_or_default();
    let in_name = words.iter().filter(|word| entry.name.as_str().contains(**word)).count();
    let about = &entry.about;
    let begins = !words.is_empty() && last.starts_with(first_word);
    (words == [last], begins, in_name, about.official, about.stars, entry.pulls)
}
