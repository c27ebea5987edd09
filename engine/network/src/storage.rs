//! Where networks and endpoints outlive the daemon: documents under a key, kept by
//! the caller (the daemon keeps them in its state database).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Whatever the storage says about its failure.
pub type StorageError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps small JSON documents by key. Keys are `network/ID`, `endpoint/CONTAINER/NETWORK`
/// and `host`; a `put` is there after a `kill -9`.
pub trait Storage: Send + Sync {
    /// Every document with its key.
    ///
    /// # Errors
    ///
    /// The storage's own.
    fn load(&self) -> Result<Vec<(String, String)>, StorageError>;

    /// Writes a document, in place of an earlier one of that key.
    ///
    /// # Errors
    ///
    /// The storage's own.
    fn put(&self, key: &str, json: &str) -> Result<(), StorageError>;

    /// Removes a document; one that isn't there is no error.
    ///
    /// # Errors
    ///
    /// The storage's own.
    fn remove(&self, key: &str) -> Result<(), StorageError>;
}

/// A storage that forgets everything at the end of the process: for tests.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, String>>);

impl Storage for Memory {
    fn load(&self) -> Result<Vec<(String, String)>, StorageError> {
        let documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(documents.iter().map(|(key, json)| (key.clone(), json.clone())).collect())
    }

    fn put(&self, key: &str, json: &str) -> Result<(), StorageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), json.to_owned());
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<(), StorageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}
