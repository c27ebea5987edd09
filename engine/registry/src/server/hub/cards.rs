//! The card index: a card for each repository with a tag, with what a search looks at. So a
//! search walks through memory, not through the storage.
//!
//! What this server changes is on its card before the next search. What other servers of the same
//! place change is seen when the whole index is read again, which a search does when the last
//! time was too long ago: within seconds in a folder, within half a minute in a bucket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::shelves::Shelves;
use crate::seed::About;
use crate::server::error::Refusal;
use crate::server::name::Name;
use crate::server::storage::changes::Changes;

/// How old the index may be, where reading it anew is cheap, and where it isn't.
const FRESH: Duration = Duration::from_secs(2);
const FRESH_AFAR: Duration = Duration::from_secs(30);

/// What is known of a repository.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) name: Name,
    pub(super) about: Arc<About>,
    /// The descriptions, in lower case.
    pub(super) words: String,
}

/// All cards, by name.
#[derive(Debug, Default)]
pub(in crate::server) struct Cards(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    cards: BTreeMap<Name, Arc<Card>>,
    /// When all were read; `None` where some may be wrong.
    read: Option<Instant>,
}

impl Cards {
    /// The cards as they are now. Whoever comes while they are read waits: once is enough.
    pub(super) fn all(&self, shelves: &Shelves) -> Result<Vec<Arc<Card>>, Refusal> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = if shelves.is_near() { FRESH } else { FRESH_AFAR };
        let good = held.read.take().filter(|at| at.elapsed() < fresh);
        // Before anything is read: what changes meanwhile is looked at the next time.
        let changes = shelves.changes();
        held.read = match (good, changes) {
            (Some(at), Changes::Of(names)) => {
                for name in names {
                    match card(shelves, name.clone())? {
                        Some(card) => held.cards.insert(name, Arc::new(card)),
                        None => held.cards.remove(&name),
                    };
                }
                Some(at)
            }
            _ => {
                let begun = Instant::now();
                let mut cards = BTreeMap::new();
                for name in shelves.repositories()? {
                    if let Some(card) = card(shelves, name.clone())? {
                        cards.insert(name, Arc::new(card));
                    }
                }
                held.cards = cards;
                Some(begun)
            }
        };
        Ok(held.cards.values().cloned().collect())
    }
}

/// A repository's card, if something in it can be pulled by a tag.
pub(super) fn card(shelves: &Shelves, name: Name) -> Result<Option<Card>, Refusal> {
    if !shelves.has_tags(&name)? {
        return Ok(None);
    }
    let about = shelves.about(&name)?;
    let words = format!("{}\n{}", about.description, about.description_zh).to_lowercase();
    Ok(Some(Card { name, about: Arc::new(about), words }))
}
