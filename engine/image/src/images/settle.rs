//! What is known to be on disk, and what to do about the rest after a power loss.
//!
//! ```text
//!   written ──(a few seconds later, once: syncfs(2))──► settled
//!      └─ another boot came before that: blobs are hashed again, layers unpacked again
//! ```
//!
//! A process that is killed loses nothing that it wrote: the kernel has it. Only
//! another boot makes a difference, and the kernel tells boots apart
//! (`/proc/sys/kernel/random/boot_id`).

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use glassdock_trace::Trace;
use rusqlite::{OptionalExtension, params};

use super::{Error, Images};

/// How long after a change all is brought to disk: several pulls share one syncfs(2).
const PATIENCE: Duration = Duration::from_secs(5);

impl Images {
    /// Brings everything to disk and remembers what is there.
    ///
    /// # Errors
    ///
    /// If the disk or the database refuses.
    pub fn settle(&self) -> Result<(), Error> {
        // What is listed before the sync is on disk after it.
        let names = self.names_on_disk()?;
        sync(&self.shared.root)?;
        self.note_settled(&names)
    }

    fn note_settled(&self, names: &[String]) -> Result<(), Error> {
        let _one = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let still: HashSet<String> = self.names_on_disk()?.into_iter().collect();
        self.state.write("note what is on disk", |transaction| {
            let mut put = transaction.prepare_cached("INSERT OR IGNORE INTO settled (name) VALUES (?1)")?;
            for name in names.iter().filter(|name| still.contains(*name)) {
                put.execute([name])?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Settles in the background, soon.
    pub(super) fn settle_soon(&self) {
        let mut settling = self.shared.settling.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *settling, true) {
            return;
        }
        // The thread must not keep the root: it has it only for moments, and not while the disk works.
        let (store, layers, state, shared) = (
            self.store.clone(),
            self.layers.clone(),
            self.state.clone(),
            std::sync::Arc::downgrade(&self.shared),
        );
        let images = move || {
            let shared = shared.upgrade()?;
            Some(Self { store: store.clone(), layers: layers.clone(), state: state.clone(), shared })
        };
        // If it fails, more is verified after a power loss; nothing is lost.
        let settle = move || -> Option<()> {
            let before = images()?;
            *before.shared.settling.lock().unwrap_or_else(PoisonError::into_inner) = false;
            let (root, names) = (before.shared.root.clone(), before.names_on_disk().ok()?);
            drop(before);
            sync(&root).ok()?;
            let after = images()?;
            after.note_settled(&names).ok()?;
            after.state.checkpoint().ok()
        };
        let thread = std::thread::Builder::new().name("settle".to_owned()).spawn(move || {
            std::thread::sleep(PATIENCE);
            settle();
        });
        *settling = thread.is_ok();
    }

    pub(super) fn unsettle(&self, name: &str) -> Result<(), Error> {
        self.state.write("forget what is on disk", |transaction| {
            transaction.prepare_cached("DELETE FROM settled WHERE name = ?1")?.execute([name])
        })?;
        Ok(())
    }

    /// At the start: if this is another boot than that of the last start, verifies all
    /// that is not settled, and drops the images that can't be made whole.
    pub(super) fn recover(&self) -> Result<(), Error> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let last: Option<String> = self.state.read("read the last boot", |connection| {
            connection
                .query_row("SELECT value FROM fact WHERE name = 'boot'", [], |row| row.get(0))
                .optional()
        })?;
        if last.as_deref() == Some(boot.as_str()) {
            return Ok(());
        }
        if last.is_some() {
            self.verify()?;
            self.settle()?;
        }
        self.state.write("note the boot", |transaction| {
            transaction.execute(
                "INSERT INTO fact (name, value) VALUES ('boot', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                params![boot],
            )
        })?;
        Ok(())
    }

    fn verify(&self) -> Result<(), Error> {
        let settled: HashSet<String> = self.state.read("read what is on disk", |connection| {
            connection.prepare("SELECT name FROM settled")?.query_map([], |row| row.get(0))?.collect()
        })?;
        for (blob, _) in self.store.list()? {
            if !settled.contains(&format!("blob {blob}")) && !self.store.is_sound(&blob) {
                self.store.remove(&blob)?;
            }
        }
        for chain in self.layers.list()? {
            if !settled.contains(&format!("layer {chain}")) {
                self.layers.remove(&chain)?;
            }
        }
        // A partial blob may have holes where the disk had not got it; its digest would tell, but late.
        self.store.remove_partial()?;
        for image in self.load()?.images.values() {
            for layer in &image.layers {
                if !self.layers.is_known(&layer.chain)
                    && let Ok(blob) = self.store.reader(&layer.blob.digest)
                {
                    let (media_type, off) = (&layer.blob.media_type, Trace::off());
                    // If it fails, the image is dropped below.
                    let _ = self.layers.unpack(&off, blob, media_type, &layer.diff_id, &layer.chain, &|_| {});
                }
            }
        }
        let known = self.load()?;
        let ids: Vec<String> = self.state.read("read the images", |connection| {
            connection.prepare("SELECT id FROM image")?.query_map([], |row| row.get(0))?.collect()
        })?;
        for id in ids {
            let whole =
                crate::Digest::parse(&id).ok().and_then(|id| known.images.get(&id)).is_some_and(|image| {
                    self.store.has(&image.manifest.digest).is_some()
                        && image.layers.iter().all(|layer| {
                            self.layers.is_known(&layer.chain) && self.store.has(&layer.blob.digest).is_some()
                        })
                });
            if !whole {
                self.state.write("drop a damaged image", |transaction| {
                    transaction.execute("DELETE FROM reference WHERE image = ?1", [&id])?;
                    transaction.execute("DELETE FROM image WHERE id = ?1", [&id])
                })?;
            }
        }
        Ok(())
    }

    fn names_on_disk(&self) -> Result<Vec<String>, Error> {
        let blobs = self.store.list()?.into_iter().map(|(blob, _)| format!("blob {blob}"));
        let layers = self.layers.list()?.into_iter().map(|chain| format!("layer {chain}"));
        Ok(blobs.chain(layers).collect())
    }
}

fn sync(root: &Path) -> Result<(), Error> {
    let disk = |act| move |source| Error::Disk { act, path: root.to_owned(), source };
    let opened = File::open(root).map_err(disk("open"))?;
    glassdock_kernel::disk::sync_filesystem(&opened).map_err(disk("sync"))
}
