//! What a bucket does for the registry: see [`Place`] for what each call promises.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Location;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::content::Content;
use super::parts::{PART, Parts};
use super::upload::BucketUpload;
use super::{AT_A_TIME, Bucket, Pointer};
use crate::server::error::Refusal;
use crate::server::storage::collect::Collected;
use crate::server::storage::place::{Act, Guard, Incoming, Look, Opened, Place};
use crate::server::storage::{keys, random_name};
use glassdock_image::digest::{Algorithm, Digest};

impl Place for Bucket {
    fn is_near(&self) -> bool {
        false
    }

    fn read(&self, key: &str) -> Result<Option<Bytes>, Refusal> {
        self.0.wait(self.0.get(&self.0.location(key))).map_err(self.0.failed("read", key))
    }

    fn look(&self, key: &str) -> Result<Option<Look>, Refusal> {
        let location = self.0.location(key);
        match self.0.wait(self.0.store.head(&location)) {
            Ok(meta) => Ok(Some(Look { changed: meta.last_modified.into() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.0.failed("look at", key)(error)),
        }
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, Refusal> {
        let location = self.0.location(folder);
        let listed = self.0.wait(self.0.store.list_with_delimiter(Some(&location)));
        let listed = listed.map_err(self.0.failed("list", folder))?;
        let objects = listed.objects.iter().map(|meta| &meta.location);
        Ok(objects.chain(&listed.common_prefixes).filter_map(|at| at.filename().map(str::to_owned)).collect())
    }

    fn is_folder(&self, folder: &str) -> Result<bool, Refusal> {
        let location = self.0.location(folder);
        let first = self.0.wait(async { self.0.store.list(Some(&location)).next().await.transpose() });
        first.map(|first| first.is_some()).map_err(self.0.failed("list", folder))
    }

    fn changed(&self, _folder: &str) -> Option<SystemTime> {
        None
    }

    /// One folder after the other, in the order of the acts: so that a manifest is there before its tag.
    fn commit(&self, acts: &[Act]) -> Result<(), Refusal> {
        for together in acts.chunk_by(|one, next| folder_of(one.key()) == folder_of(next.key())) {
            let done = stream::iter(together.iter().map(|act| self.apply(act)))
                .buffer_unordered(AT_A_TIME)
                .try_collect::<()>();
            self.0.wait(done).map_err(self.0.failed("write", folder_of(together[0].key())))?;
        }
        Ok(())
    }

    fn mark(&self, key: &str) -> Result<(), Refusal> {
        self.commit(&[Act::write(key, Bytes::new())])
    }

    fn refresh(&self, key: &str) {
        if matches!(self.look(key), Ok(Some(_))) {
            // Where it can't be told, the age of the object protects it all the same.
            let _ = self.mark(key);
        }
    }

    fn remove(&self, keys: &[String]) -> Result<(), Refusal> {
        let acts: Vec<Act> = keys.iter().map(Act::remove).collect();
        self.commit(&acts)
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Refusal> {
        Ok(self.0.pointer(digest)?.map(|pointer| pointer.size))
    }

    fn open_blob(&self, digest: &Digest) -> Result<Option<(Opened, u64)>, Refusal> {
        let Some(pointer) = self.0.pointer(digest)? else { return Ok(None) };
        let content = Content { shared: Arc::clone(&self.0), location: self.0.content(&pointer.content) };
        Ok(Some((Opened::Object(Box::new(content)), pointer.size)))
    }

    fn blob_of(&self, digest: &Digest, bytes: &Bytes) -> Result<Act, Refusal> {
        let pointer = Pointer::new(bytes.len() as u64);
        let location = self.0.content(&pointer.content);
        let put = self.0.store.put(&location, PutPayload::from(bytes.clone()));
        self.0.wait(put).map_err(self.0.failed("write", location.as_ref()))?;
        Ok(Act::write(keys::blob(digest), pointer.json()))
    }

    fn refresh_blob(&self, digest: &Digest) {
        let key = keys::blob(digest);
        if let Ok(Some(bytes)) = self.read(&key) {
            let _ = self.commit(&[Act::write(key, bytes)]);
        }
    }

    /// What the blob was is noted first: whoever relied on it meanwhile finds it there.
    fn retire_blob(&self, digest: &Digest) -> Result<(), Refusal> {
        let key = keys::blob(digest);
        let Some(bytes) = self.read(&key)? else { return Ok(()) };
        self.commit(&[Act::write(gone(digest), bytes)])?;
        self.commit(&[Act::remove(key)])
    }

    fn bring_back(&self, digest: &Digest) -> Result<bool, Refusal> {
        if self.0.pointer(digest)?.is_some() {
            return Ok(true);
        }
        let Some(bytes) = self.read(&gone(digest))? else { return Ok(false) };
        self.commit(&[Act::write(keys::blob(digest), bytes)])?;
        Ok(true)
    }

    fn adopt(&self, file: &File, _from: &Path, digest: &Digest) -> Result<(), Refusal> {
        if self.blob_size(digest)?.is_some() {
            self.refresh_blob(digest);
            return Ok(());
        }
        let key = keys::blob(digest);
        let mut pointer = Pointer::new(0);
        let mut parts = Parts::new(&self.0, &pointer.content, None, Vec::new());
        let sent = send_file(file, &mut parts);
        match sent.and_then(|size| parts.complete().map(|()| size)) {
            Ok(size) => pointer.size = size,
            Err(error) => {
                let _ = parts.abort();
                return Err(self.0.failed("write", &key)(error));
            }
        }
        self.commit(&[Act::write(key, pointer.json())])
    }

    /// An object is there for good when the storage has answered.
    fn settle_blobs(&self, _blobs: &[(Digest, String)], _adding: &Guard) -> Result<Vec<Act>, Refusal> {
        Ok(Vec::new())
    }

    fn temporary(&self) -> Result<(PathBuf, File), Refusal> {
        let path = std::env::temp_dir().join(format!("glassdock-registry-{}", random_name()));
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        // It has no name any more, so that nothing is left of it after a crash.
        let opened = opened.and_then(|file| std::fs::remove_file(&path).map(|()| file));
        opened.map(|file| (path.clone(), file)).map_err(|source| Refusal::disk("make", &path, source))
    }

    fn half(&self, _digest: &Digest) -> Result<(PathBuf, File), Refusal> {
        // What this machine has is of no use to the next one.
        self.temporary()
    }

    fn begin_upload(&self, key: &str, algorithm: Option<Algorithm>) -> Result<Box<dyn Incoming>, Refusal> {
        Ok(Box::new(BucketUpload::begin(&self.0, key, algorithm)?))
    }

    fn open_upload(&self, key: &str) -> Result<Option<Box<dyn Incoming>>, Refusal> {
        Ok(BucketUpload::open(&self.0, key)?.map(|upload| Box::new(upload) as Box<dyn Incoming>))
    }

    fn expire_upload(&self, key: &str, age: Duration) -> Result<bool, Refusal> {
        let Some(look) = self.look(key)? else { return Ok(false) };
        if !look.changed.elapsed().is_ok_and(|idle| idle >= age) {
            return Ok(false);
        }
        if Path::new(key).extension().is_some() {
            // A tail: its note is as old, or gone.
            self.remove(&[key.to_owned()])?;
            return Ok(false);
        }
        let Some(mut upload) = BucketUpload::open(&self.0, key)? else { return Ok(false) };
        upload.forget().map(|()| true)
    }

    fn adding(&self) -> Result<Guard, Refusal> {
        Ok(Guard::new(None))
    }

    fn alone(&self) -> Result<Guard, Refusal> {
        Ok(Guard::new(None))
    }

    fn looks_again(&self) -> bool {
        true
    }

    fn tidy(&self, before: SystemTime, dry_run: bool, _done: &mut Collected) -> Result<(), Refusal> {
        let settled = SystemTime::now().checked_sub(self.0.settle).unwrap_or(SystemTime::UNIX_EPOCH);
        if !dry_run {
            self.forget_gone(settled)?;
        }
        let before = before.min(settled);
        // What is old now, and after that in use by no blob, nor by what was one until lately.
        let found = self.0.wait(self.0.all("content")).map_err(self.0.failed("list", "content"))?;
        let old: Vec<Location> = found
            .into_iter()
            .filter(|meta| SystemTime::from(meta.last_modified) < before)
            .map(|meta| meta.location)
            .collect();
        if old.is_empty() || dry_run {
            return Ok(());
        }
        let used = self.0.wait(self.contents()).map_err(self.0.failed("read", "blobs"))?;
        let unused = old.iter().filter(|at| at.filename().is_some_and(|id| !used.contains(id)));
        let removed = stream::iter(unused.map(|location| self.0.delete(location)))
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>();
        self.0.wait(removed).map_err(self.0.failed("remove", "content"))
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }

    fn secret(&self, key: &str) -> io::Result<Vec<u8>> {
        let location = self.0.location(key);
        self.0.wait(async {
            if let Some(secret) = self.0.get(&location).await? {
                return Ok(secret.into());
            }
            let secret = crate::server::storage::random_secret()
                .map_err(|error| object_store::Error::Generic { store: "S3", source: error.into() })?;
            let payload = PutPayload::from(secret.clone());
            match self.0.store.put_opts(&location, payload, PutMode::Create.into()).await {
                Ok(_) => Ok(secret),
                // Another server was first.
                Err(object_store::Error::AlreadyExists { .. }) => {
                    Ok(self.0.get(&location).await?.unwrap_or_default().into())
                }
                Err(error) => Err(error),
            }
        })
    }

    fn called(&self, key: &str) -> PathBuf {
        self.0.called(key)
    }
}

impl Bucket {
    async fn apply(&self, act: &Act) -> object_store::Result<()> {
        let location = self.0.location(act.key());
        match act {
            Act::Write { bytes, .. } => {
                self.0.store.put(&location, PutPayload::from(bytes.clone())).await.map(|_| ())
            }
            Act::Remove { .. } => self.0.delete(&location).await,
        }
    }

    /// Forgets blobs that were taken away before this time.
    fn forget_gone(&self, settled: SystemTime) -> Result<(), Refusal> {
        let found = self.0.wait(self.0.all("gone")).map_err(self.0.failed("list", "gone"))?;
        let old = found.iter().filter(|meta| SystemTime::from(meta.last_modified) < settled);
        let forgotten = stream::iter(old.map(|meta| self.0.delete(&meta.location)))
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>();
        self.0.wait(forgotten).map_err(self.0.failed("remove", "gone"))
    }

    /// The names of all content that blobs use, or used until lately.
    async fn contents(&self) -> object_store::Result<HashSet<String>> {
        let mut blobs = self.0.all("blobs").await?;
        // After the blobs: what goes from there to here between the two is seen twice, not missed.
        blobs.extend(self.0.all("gone").await?);
        stream::iter(blobs.iter().map(|meta| async {
            // One that is gone meanwhile uses nothing.
            let Some(bytes) = self.0.get(&meta.location).await? else { return Ok(None) };
            let pointer = serde_json::from_slice::<Pointer>(&bytes);
            let pointer = pointer.map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: format!("{} can't be understood: {error}", meta.location).into(),
            })?;
            Ok(Some(pointer.content))
        }))
        .buffer_unordered(AT_A_TIME)
        .try_filter_map(|content| async { Ok(content) })
        .try_collect()
        .await
    }
}

/// Sends a file in parts; tells its size.
fn send_file(mut file: &File, parts: &mut Parts) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut size = 0;
    loop {
        let mut piece = Vec::with_capacity(PART);
        let count = file.take(PART as u64).read_to_end(&mut piece)?;
        if count == 0 && size > 0 {
            return Ok(size);
        }
        size += count as u64;
        parts.put(piece.into())?;
        if count < PART {
            return Ok(size);
        }
    }
}

/// Where it is noted what a blob was that was taken away.
fn gone(digest: &Digest) -> String {
    keys::blob(digest).replacen("blobs", "gone", 1)
}

fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}
