//! Leases: what a pull or a build needs is not collected under its feet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// What is held, and how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases(Arc<Mutex<HashMap<Digest, usize>>>);

impl Leases {
    pub(super) fn lease(&self) -> Lease {
        Lease { leases: self.clone(), held: Mutex::default() }
    }

    /// Nothing new can be held until the guard is dropped.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps blobs and layers from being collected, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    leases: Leases,
    held: Mutex<Vec<Digest>>,
}

impl Lease {
    /// Holds a digest: of a blob, or a layer's chain id.
    pub fn hold(&self, digest: &Digest) {
        *self.leases.lock().entry(digest.clone()).or_default() += 1;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(digest.clone());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut counts = self.leases.lock();
        for digest in self.held.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(count) = counts.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&digest);
                }
            }
        }
    }
}
