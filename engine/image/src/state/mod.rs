//! The state database: what the engine knows that is not in a document of its own.
//!
//! One SQLite file, `ROOT/state.db`, that a student can open with `sqlite3`:
//!
//! ```text
//!   image      id, manifest, created, size …       one row an image
//!   layer      image, position, chain, blob …      its layers, the lowest first
//!   reference  name → image                        tags and digests
//!   document   kind, id, name, json                containers, networks, volumes
//!   settled    name                                what is known to be on disk
//! ```
//!
//! WAL with synchronous=NORMAL: a commit is one write(2) without an fsync(2). A
//! killed engine loses nothing; a power loss may take the last commits, never the
//! database's soundness. All access goes through one connection, one at a time;
//! no statement here takes longer than a millisecond or two.
//!
//! See <https://sqlite.org/wal.html>.

mod documents;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

pub use documents::{CONTAINERS, Document, NETWORKS, VOLUMES};

/// Why the database could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that must be unique is taken.
    #[error("the name {name:?} of a {kind} is taken by {holder}")]
    NameTaken {
        /// `container`, `network`, `volume`.
        kind: String,
        /// The name.
        name: String,
        /// The id of who has it.
        holder: String,
    },
    /// The file is no sound database.
    #[error("the state database {} is damaged ({detail}); stop the engine; `sqlite3 {} .recover` saves what can be read; or move the file, its -wal and -shm and the folder containers beside it away, and start again: images can be pulled anew, volumes are found by their names, and what a container wrote is in its folder, in upper", path.display(), path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// There are containers, and no database that knows them.
    #[error("the state database {} is missing or empty, but there are containers in {}: put the database back from a copy; or move that folder away (what a container wrote is in its folder, in upper) and start again: images can be pulled anew, volumes are found by their names", path.display(), containers.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// The folder of the containers.
        containers: PathBuf,
    },
    /// A newer engine wrote it.
    #[error("the state database {} has format {found}, made by a newer engine; this one knows formats up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// Anything else that SQLite says: a full disk, a file that may not be read.
    #[error("cannot {act} in the state database")]
    Database {
        /// What was tried.
        act: &'static str,
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
}

pub(crate) fn failed(act: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| Error::Database { act, source }
}

/// Each step brings the format one further; the number of steps done is `user_version`.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE image (
        id TEXT PRIMARY KEY,
        manifest TEXT NOT NULL,
        manifest_type TEXT NOT NULL,
        manifest_size INTEGER NOT NULL,
        created TEXT,
        size INTEGER NOT NULL,
        tagged_ns INTEGER NOT NULL,
        hidden INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE layer (
        image TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff TEXT NOT NULL,
        chain TEXT NOT NULL,
        blob TEXT NOT NULL,
        media_type TEXT NOT NULL,
        blob_size INTEGER NOT NULL,
        PRIMARY KEY (image, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX layer_chain ON layer(chain);
    CREATE INDEX layer_blob ON layer(blob);
    CREATE TABLE reference (
        name TEXT PRIMARY KEY,
        repository TEXT NOT NULL,
        image TEXT NOT NULL REFERENCES image(id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reference_image ON reference(image);
    CREATE TABLE document (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT,
        json TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX document_name ON document(kind, name) WHERE name IS NOT NULL;
    CREATE TABLE settled (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"];

/// The database, shared by clones.
#[derive(Clone, Debug)]
pub struct State {
    connection: Arc<Mutex<Connection>>,
    path: PathBuf,
}

impl State {
    /// Opens `ROOT/state.db`, makes it if it is missing, checks it, and brings its format up to date.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] and [`Error::Lost`] with what to do about it, [`Error::Newer`], or [`Error::Database`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        let path = root.join("state.db");
        let corrupt = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::Corrupt { path: path.clone(), detail: source.to_string() }
            }
            _ => Error::Database { act: "open", source },
        };
        let mut connection = Connection::open(&path).map_err(corrupt)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(corrupt)?;
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=4000;")
            .map_err(corrupt)?;
        let sound: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(corrupt)?;
        if sound != "ok" {
            return Err(Error::Corrupt { path, detail: sound });
        }
        migrate(&mut connection, root, &path)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path })
    }

    pub(crate) fn read<T>(
        &self,
        act: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        query(&self.lock()).map_err(failed(act))
    }

    /// Writes several rows, all or none.
    pub(crate) fn write<T>(
        &self,
        act: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(act))?;
        let value = change(&transaction).map_err(failed(act))?;
        transaction.commit().map_err(failed(act))?;
        Ok(value)
    }

    /// Brings the log's content into the database's own file, on a connection of its own: whoever writes
    /// meanwhile doesn't wait. Without it a commit does so once in a while, and waits for the disk.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let own = Connection::open(&self.path).map_err(failed("checkpoint"))?;
        own.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed("checkpoint"))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction rolls it back: the connection stays whole.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn migrate(connection: &mut Connection, root: &Path, path: &Path) -> Result<(), Error> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed("migrate"))?;
    let found: u32 =
        transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed("migrate"))?;
    let known = MIGRATIONS.len();
    let Some(missing) = MIGRATIONS.get(found as usize..) else {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known: u32::try_from(known).unwrap_or(u32::MAX),
        });
    };
    let containers = root.join("containers");
    if found == 0 && std::fs::read_dir(&containers).is_ok_and(|mut entries| entries.next().is_some()) {
        // Who goes on with an empty database takes the containers' folders for rubbish.
        return Err(Error::Lost { path: path.to_owned(), containers });
    }
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        transaction.execute_batch(step).map_err(failed("migrate"))?;
    }
    transaction.pragma_update(None, "user_version", known as i64).map_err(failed("migrate"))?;
    transaction.commit().map_err(failed("migrate"))?;
    // The format is on the disk before anything is that needs it: a power loss takes rows, not tables.
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed("migrate"))
}

#[cfg(test)]
mod tests;
