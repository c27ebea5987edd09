//! How often images are pulled, for the hub.
//!
//! Each server of a place counts by itself, in memory, and notes its count of each repository now
//! and then under its own name; what the hub shows is their sum. A crash loses the last seconds.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::place::Act;
use super::{Storage, keys};
use crate::server::error::Refusal;
use crate::server::name::Name;

/// The pulls that this server counted and did not note yet.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<Name, u64>>);

/// So many repositories are counted between two notes; more are not, so that names alone fill no memory.
const COUNTED: usize = 100_000;
/// A server's name in a key is at most so long.
const NAME_LIMIT: usize = 64;

impl Pulls {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, u64>> {
        // Every change is one number: a panic elsewhere leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// Somebody took an image out of a repository.
    pub(crate) fn count_pull(&self, name: &Name) {
        let mut pulls = self.pulls.lock();
        let room = pulls.len() < COUNTED;
        if let Some(count) = pulls.get_mut(name) {
            *count += 1;
        } else if room {
            pulls.insert(name.clone(), 1);
        }
    }

    /// Adds what was counted to what this server noted before.
    pub(crate) fn note_pulls(&self) -> Result<(), Refusal> {
        let mut counted = std::mem::take(&mut *self.pulls.lock()).into_iter();
        for (name, count) in counted.by_ref() {
            let key = format!("{}/{}", keys::part(&name, "_pulls"), self.server);
            let noted = self.pulls_under(&key).and_then(|before| {
                let total = before.saturating_add(count);
                self.place.commit(&[Act::write(key, total.to_string())])
            });
            if let Err(refusal) = noted {
                let mut pulls = self.pulls.lock();
                for (name, count) in counted.chain([(name, count)]) {
                    *pulls.entry(name).or_default() += count;
                }
                return Err(refusal);
            }
            self.has_changed(&name);
        }
        Ok(())
    }

    /// How often images of a repository were pulled, as far as its servers noted it.
    pub(crate) fn noted_pulls(&self, name: &Name) -> Result<u64, Refusal> {
        let folder = keys::part(name, "_pulls");
        let servers = self.place.names(&folder)?;
        servers.iter().map(|server| self.pulls_under(&format!("{folder}/{server}"))).sum()
    }

    /// How often they were pulled from this server since it noted it.
    pub(crate) fn counted_pulls(&self, name: &Name) -> u64 {
        self.pulls.lock().get(name).copied().unwrap_or(0)
    }

    fn pulls_under(&self, key: &str) -> Result<u64, Refusal> {
        // What is no number was no count.
        Ok(self.read_text(key)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }
}

/// The name under which the server at this address counts: that of the machine, and the port.
pub(super) fn server_name(port: u16) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let host: String = host.trim().chars().filter(plain).take(NAME_LIMIT).collect();
    format!("{host}-{port}")
}
