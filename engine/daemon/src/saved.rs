//! The durable copy of the daemon's objects: JSON documents in `state.db`, by kind
//! and id, with names that are unique in their kind.

use glassdock_image::{State, state};

use crate::containers::names;
use crate::error::{Error, Kind};

/// The kind of the one document that stands for the engine itself.
const ENGINE: &str = "engine";

/// Where documents are kept.
#[derive(Clone, Debug)]
pub struct Saved(State);

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        let kind = match error {
            state::Error::NameTaken { .. } => Kind::Conflict,
            _ => Kind::Internal,
        };
        Self::of(kind, &error)
    }
}

impl Saved {
    /// Documents in that database.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(state)
    }

    /// Every document of a kind, with its id.
    ///
    /// # Errors
    ///
    /// If the database can't be read.
    pub fn all(&self, kind: &str) -> Result<Vec<(String, String)>, Error> {
        Ok(self.0.all(kind)?.into_iter().map(|document| (document.id, document.json)).collect())
    }

    /// Writes a document, in place of an earlier one of that id.
    ///
    /// # Errors
    ///
    /// If the database can't be written, or the name is another's.
    pub fn put(&self, kind: &str, id: &str, name: Option<&str>, text: &str) -> Result<(), Error> {
        Ok(self.0.put(kind, id, name, text)?)
    }

    /// The engine's own id, made when its root is new: what `docker info` shows, so that a client can
    /// tell two engines apart. In the form of a UUID of version 4 (RFC 9562, section 5.4).
    ///
    /// # Errors
    ///
    /// If the database can't be read or written.
    pub fn engine_id(&self) -> Result<String, Error> {
        if let Some(document) = self.0.all(ENGINE)?.into_iter().next() {
            return Ok(document.id);
        }
        let hex = names::new_id()?;
        let id =
            format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30]);
        self.0.put(ENGINE, &id, None, "{}")?;
        Ok(id)
    }

    /// Removes a document; one that isn't there is no error.
    ///
    /// # Errors
    ///
    /// If the database can't be written.
    pub fn delete(&self, kind: &str, id: &str) -> Result<(), Error> {
        self.0.delete(kind, id)?;
        Ok(())
    }
}

/// The kind of the network room's documents; their keys are their ids.
const NETWORK: &str = "network-room";

impl glassdock_network::Storage for Saved {
    fn load(&self) -> Result<Vec<(String, String)>, glassdock_network::StorageError> {
        Ok(self.all(NETWORK)?)
    }

    fn put(&self, key: &str, json: &str) -> Result<(), glassdock_network::StorageError> {
        Ok(Saved::put(self, NETWORK, key, None, json)?)
    }

    fn remove(&self, key: &str) -> Result<(), glassdock_network::StorageError> {
        Ok(self.delete(NETWORK, key)?)
    }
}
