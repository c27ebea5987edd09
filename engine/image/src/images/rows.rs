//! The rows of images in the database, and the snapshot of them in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::params;

use super::{Error, Image, ImageLayer, Images, now_ns};
use crate::descriptor::Descriptor;
use crate::digest::{ChainId, DiffId, Digest};
use crate::reference::Reference;

/// What is known of all images, at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) images: BTreeMap<Digest, Arc<Image>>,
    pub(super) names: HashMap<Reference, Digest>,
}

impl Images {
    pub(super) fn insert(&self, image: &Image, names: &[Reference]) -> Result<(), Error> {
        self.state.write("write an image", |transaction| {
            let id = image.id.to_string();
            transaction
                .prepare_cached(
                    "INSERT INTO image (id, manifest, manifest_type, manifest_size, created, size, tagged_ns)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest, hidden = 0,
                         manifest_type = excluded.manifest_type, manifest_size = excluded.manifest_size",
                )?
                .execute(params![
                    id,
                    image.manifest.digest.to_string(),
                    image.manifest.media_type,
                    image.manifest.size as i64,
                    image.config.created,
                    image.size as i64,
                    image.tagged_ns,
                ])?;
            transaction.prepare_cached("DELETE FROM layer WHERE image = ?1")?.execute([&id])?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO layer (image, position, diff, chain, blob, media_type, blob_size)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for (position, layer) in image.layers.iter().enumerate() {
                insert.execute(params![
                    id,
                    position as i64,
                    layer.diff_id.to_string(),
                    layer.chain.to_string(),
                    layer.blob.digest.to_string(),
                    layer.blob.media_type,
                    layer.blob.size as i64,
                ])?;
            }
            put_names(transaction, &id, names)
        })?;
        Ok(())
    }

    pub(super) fn insert_names(&self, image: &Digest, names: &[Reference]) -> Result<(), Error> {
        self.state
            .write("write a reference", |transaction| put_names(transaction, &image.to_string(), names))?;
        Ok(())
    }

    pub(super) fn remove_name(&self, name: &Reference) -> Result<(), Error> {
        self.state.write("remove a reference", |transaction| {
            transaction.execute("DELETE FROM reference WHERE name = ?1", [name.to_string()])
        })?;
        Ok(())
    }

    /// Removes an image's rows, or hides it from all but the containers that use it.
    pub(super) fn remove_rows(&self, id: &Digest, hide: bool) -> Result<(), Error> {
        self.state.write("remove an image", |transaction| {
            let id = id.to_string();
            transaction.execute("DELETE FROM reference WHERE image = ?1", [&id])?;
            if hide {
                return transaction.execute("UPDATE image SET hidden = 1 WHERE id = ?1", [&id]);
            }
            transaction.execute("DELETE FROM image WHERE id = ?1", [&id])
        })?;
        Ok(())
    }

    /// Reads all rows. A row that makes no sense (edited by hand), or whose config is
    /// gone, is passed over: one broken image must not hide the others.
    pub(super) fn load(&self) -> Result<Snapshot, Error> {
        let mut references: HashMap<String, Vec<Reference>> = HashMap::new();
        let mut layers: HashMap<String, Vec<ImageLayer>> = HashMap::new();
        let rows = self.state.read("read the images", |connection| {
            let mut query = connection.prepare_cached("SELECT image, name FROM reference ORDER BY name")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                if let Ok(name) = Reference::parse(&row.get::<_, String>(1)?) {
                    references.entry(row.get(0)?).or_default().push(name);
                }
            }
            let mut query = connection.prepare_cached(
                "SELECT image, diff, chain, blob, media_type, blob_size FROM layer ORDER BY image, position",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let digest = |column| row.get::<_, String>(column).map(|text| Digest::parse(&text));
                if let (Ok(diff), Ok(chain), Ok(blob)) = (digest(1)?, digest(2)?, digest(3)?) {
                    let blob = Descriptor::new(row.get::<_, String>(4)?, blob, row.get::<_, i64>(5)? as u64);
                    let layer = ImageLayer { diff_id: DiffId(diff), chain: ChainId(chain), blob };
                    layers.entry(row.get(0)?).or_default().push(layer);
                }
            }
            let mut query = connection.prepare_cached(
                "SELECT id, manifest, manifest_type, manifest_size, size, tagged_ns, hidden FROM image",
            )?;
            let rows = query.query_map([], |row| {
                Ok(Row {
                    id: row.get(0)?,
                    manifest: row.get(1)?,
                    manifest_type: row.get(2)?,
                    manifest_size: row.get(3)?,
                    size: row.get(4)?,
                    tagged_ns: row.get(5)?,
                    hidden: row.get(6)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<Row>>>()
        })?;
        let mut snapshot = Snapshot::default();
        for row in rows {
            let (Ok(id), Ok(manifest)) = (Digest::parse(&row.id), Digest::parse(&row.manifest)) else {
                continue;
            };
            let Ok(config) = self.config(&id) else { continue };
            let references = references.remove(&row.id).unwrap_or_default();
            snapshot.names.extend(references.iter().map(|name| (name.clone(), id.clone())));
            let image = Image {
                id: id.clone(),
                manifest: Descriptor::new(row.manifest_type, manifest, row.manifest_size as u64),
                config,
                layers: layers.remove(&row.id).unwrap_or_default(),
                references,
                size: row.size as u64,
                tagged_ns: row.tagged_ns,
                hidden: row.hidden,
            };
            snapshot.images.insert(id, Arc::new(image));
        }
        Ok(snapshot)
    }
}

struct Row {
    id: String,
    manifest: String,
    manifest_type: String,
    manifest_size: i64,
    size: i64,
    tagged_ns: i64,
    hidden: bool,
}

fn put_names(
    transaction: &rusqlite::Transaction<'_>,
    image: &str,
    names: &[Reference],
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO reference (name, repository, image) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET image = excluded.image",
    )?;
    for name in names {
        put.execute(params![name.to_string(), name.name(), image])?;
    }
    if !names.is_empty() {
        transaction
            .execute("UPDATE image SET tagged_ns = ?1, hidden = 0 WHERE id = ?2", params![now_ns(), image])?;
    }
    Ok(())
}
