//! Which repositories this server changed since somebody asked, as far as the hub shows it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Storage;
use crate::server::name::Name;

/// What changed.
#[derive(Debug)]
pub(crate) enum Changes {
    /// Tags, description or pulls of these.
    Of(HashSet<Name>),
    /// More than can be listed.
    Many,
}

/// So many names are kept.
const LISTED: usize = 10_000;

/// The names, for the one who asks.
#[derive(Debug)]
pub(super) struct Changed(Mutex<Changes>);

impl Default for Changed {
    fn default() -> Self {
        Self(Mutex::new(Changes::Of(HashSet::new())))
    }
}

impl Changed {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        // Every change is one insertion: a panic elsewhere leaves the set whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// Notes a change that was made.
    pub(super) fn has_changed(&self, name: &Name) {
        let mut changed = self.changed.lock();
        let Changes::Of(names) = &mut *changed else { return };
        if names.len() >= LISTED {
            *changed = Changes::Many;
        } else if !names.contains(name) {
            names.insert(name.clone());
        }
    }

    /// The changes since this was last called.
    pub(crate) fn changes(&self) -> Changes {
        std::mem::replace(&mut self.changed.lock(), Changes::Of(HashSet::new()))
    }
}
