//! Blobs' bytes, read from the bucket.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path as Location;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::{Shared, io_error};
use crate::server::storage::place::Object;

/// Bytes in the bucket.
pub(super) struct Content {
    pub(super) shared: Arc<Shared>,
    pub(super) location: Location,
}

impl Object for Content {
    fn stream(&self, begin: u64, end: u64) -> BoxStream<'static, io::Result<Bytes>> {
        let (shared, location) = (Arc::clone(&self.shared), self.location.clone());
        let opened = async move {
            let range = Some(GetRange::Bounded(begin..end));
            let found = shared.store.get_opts(&location, GetOptions { range, ..GetOptions::default() }).await;
            // The bucket stays open as long as somebody reads.
            found.map(|found| found.into_stream().inspect(move |_| drop(Arc::clone(&shared))))
        };
        opened.into_stream().try_flatten().map_err(io_error).boxed()
    }

    fn read(&self, size: u64) -> io::Result<Vec<u8>> {
        if size == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.shared.wait(self.shared.store.get_range(&self.location, 0..size))?;
        Ok(bytes.into())
    }
}
