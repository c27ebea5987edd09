//! JSON documents with unique names: the daemon's containers, networks and volumes.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::{Error, State};

/// The kind of containers' documents.
pub const CONTAINERS: &str = "container";
/// The kind of networks' documents.
pub const NETWORKS: &str = "network";
/// The kind of volumes' documents.
pub const VOLUMES: &str = "volume";

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id, unique within its kind.
    pub id: String,
    /// Its name, unique within its kind, if it has one.
    pub name: Option<String>,
    /// What it says.
    pub json: String,
}

impl State {
    /// Writes a document: a new one, or a new version (and name) of the one with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] if another document of the kind has the name, also
    /// when both come at the same moment.
    pub fn put(&self, kind: &str, id: &str, name: Option<&str>, json: &str) -> Result<(), Error> {
        let holder = self.write("write a document", |transaction| {
            if let Some(name) = name {
                let holder: Option<String> = transaction
                    .prepare_cached("SELECT id FROM document WHERE kind = ?1 AND name = ?2 AND id <> ?3")?
                    .query_row(params![kind, name, id], |row| row.get(0))
                    .optional()?;
                if holder.is_some() {
                    return Ok(holder);
                }
            }
            transaction
                .prepare_cached(
                    "INSERT INTO document (kind, id, name, json) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (kind, id) DO UPDATE SET name = excluded.name, json = excluded.json",
                )?
                .execute(params![kind, id, name, json])?;
            Ok(None)
        })?;
        match holder {
            None => Ok(()),
            Some(holder) => Err(Error::NameTaken {
                kind: kind.to_owned(),
                name: name.unwrap_or_default().to_owned(),
                holder,
            }),
        }
    }

    /// Writes documents without names, by kind and id: all of them or, if it fails, none.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub fn put_all(&self, documents: &BTreeMap<(&str, String), String>) -> Result<(), Error> {
        self.write("write documents", |transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO document (kind, id, name, json) VALUES (?1, ?2, NULL, ?3)
                 ON CONFLICT (kind, id) DO UPDATE SET name = NULL, json = excluded.json",
            )?;
            documents.iter().try_for_each(|((kind, id), json)| put.execute(params![kind, id, json]).map(drop))
        })
    }

    /// Deletes a document. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub fn delete(&self, kind: &str, id: &str) -> Result<bool, Error> {
        self.write("delete a document", |transaction| {
            transaction.execute("DELETE FROM document WHERE kind = ?1 AND id = ?2", params![kind, id])
        })
        .map(|rows| rows > 0)
    }

    /// The document with this id.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, Error> {
        self.read("read a document", |connection| {
            connection
                .prepare_cached("SELECT id, name, json FROM document WHERE kind = ?1 AND id = ?2")?
                .query_row(params![kind, id], document)
                .optional()
        })
    }

    /// Every document of a kind, by id.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub fn all(&self, kind: &str) -> Result<Vec<Document>, Error> {
        self.read("read documents", |connection| {
            connection
                .prepare_cached("SELECT id, name, json FROM document WHERE kind = ?1 ORDER BY id")?
                .query_map(params![kind], document)?
                .collect()
        })
    }
}

fn document(row: &rusqlite::Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document { id: row.get(0)?, name: row.get(1)?, json: row.get(2)? })
}
