//! A bucket of an S3-compatible object storage, as a place to keep a registry in: several servers
//! behind one address share it.
//!
//! ```text
//!   PREFIX/
//!     blobs/sha256/e3/e3b0c442…     {"content": "4b1c…", "size": 1234}: which content the blob is
//!     gone/sha256/e3/e3b0c442…      what a blob was that was taken away lately
//!     content/4b/4b1c…              bytes, under a name that says nothing
//!     r/library/busybox/…           as in a folder's `repositories`: every listing repeats it
//!       _uploads/9d02…              how far an upload is: its parts, and the state of its digest
//!       _uploads/9d02….7f31         what came of it and is too little for a part
//! ```
//!
//! An object can't be renamed, and a large one is only copied at a price. So the bytes of a blob lie
//! where they were written, and the blob is a small object that says where: it appears when they are
//! whole and were held against their digest.
//!
//! Nor can an object storage lock anybody out. So a collection takes out in steps that can be undone:
//!
//! 1. a blob that nothing needs loses its small object, which is noted under `gone/` first;
//! 2. what a manifest names that came meanwhile gets its small object back;
//! 3. the bytes go at a later collection, if they belong to no blob then, and to none that was
//!    taken away within the time to settle (a quarter of an hour).
//!
//! Whoever pushes a manifest looks, when it is visible, whether all that it names still is, and
//! puts back what was taken away under their hands. Either the collection sees the manifest in its
//! second step, or the push sees what the first step did: a push never needs to be sent again.
//!
//! What the object storage must do: be consistent after a write (S3 is, since 2020), parts of
//! uploads, and writes that fail where there is something already (`If-None-Match`).

mod content;
mod door;
mod objects;
mod parts;
mod upload;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Location;
use object_store::{BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::{keys, random_name};
use crate::server::error::Refusal;
use glassdock_image::digest::Digest;
use glassdock_trace::Trace;

/// Where the bucket is. Who may use it is told by the environment, as every client of S3
/// has it: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or a role of the machine.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    /// The bucket's name.
    pub bucket: String,
    /// What all keys begin with, without slashes around it; may be empty.
    pub prefix: String,
    /// The address of the object storage; Amazon's for the region where it is missing.
    pub endpoint: Option<String>,
    /// The region; `AWS_REGION` or `us-east-1` where it is missing.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name (`BUCKET.HOST`) and not of the path.
    pub virtual_hosted: bool,
    /// Key and secret, in place of those of the environment.
    pub credentials: Option<(String, Secret)>,
    /// Bytes without a blob stay for so long at least: an upload may be about to make them one.
    pub settle: Duration,
}

/// What is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl BucketConfig {
    /// A bucket of Amazon's.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            virtual_hosted: false,
            credentials: None,
            settle: Duration::from_secs(15 * 60),
        }
    }
}

impl fmt::Display for BucketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix, .. } = self;
        write!(f, "s3://{bucket}")?;
        if !prefix.is_empty() {
            write!(f, "/{prefix}")?;
        }
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
    }
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket(Arc<Shared>);

/// What uploads and reads share with the bucket.
#[derive(Debug)]
struct Shared {
    store: AmazonS3,
    prefix: String,
    name: String,
    settle: Duration,
    // Taken out when the last one goes.
    runtime: Option<Runtime>,
}

/// What a blob's small object says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pointer {
    content: String,
    size: u64,
}

/// So many small requests are under way at a time for one call.
const AT_A_TIME: usize = 16;
/// A small object is at most so long: a manifest's, an upload's state with 10,000 parts.
const SMALL_LIMIT: u64 = 16 * 1024 * 1024;

impl Bucket {
    /// Looks whether the bucket answers. What it is asked goes into the trace.
    pub(super) fn open(config: &BucketConfig, trace: &Trace) -> io::Result<Self> {
        // Another part of the process may have set it already; either way there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new()
            .with_allow_http(config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")))
            .with_connect_timeout(Duration::from_secs(5))
            // A blob goes out as fast as the client takes it; only silence is too long.
            .with_timeout_disabled()
            .with_read_timeout(Duration::from_secs(60));
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 4,
            retry_timeout: Duration::from_secs(30),
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&config.bucket)
            .with_virtual_hosted_style_request(config.virtual_hosted)
            .with_client_options(options)
            .with_retry(retry)
            .with_http_connector(door::Door(trace.clone()));
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((key, Secret(secret))) = &config.credentials {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("object-storage")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            store: builder.build().map_err(io_error)?,
            prefix: config.prefix.trim_matches('/').to_owned(),
            name: config.to_string(),
            settle: config.settle,
            runtime: Some(runtime),
        });
        let asked = Arc::clone(&shared);
        shared
            .wait(async move { asked.store.list(Some(&asked.location("blobs"))).next().await.transpose() })?;
        Ok(Self(shared))
    }
}

impl Shared {
    /// Does something that waits for the object storage. This thread may block.
    fn wait<T, F>(&self, work: F) -> io::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        match &self.runtime {
            Some(runtime) => runtime.handle().block_on(work).map_err(io_error),
            None => Err(io::Error::other("the bucket is closed")),
        }
    }

    fn location(&self, key: &str) -> Location {
        let key = match key.strip_prefix("repositories") {
            Some(rest) => format!("r{rest}"),
            None => key.to_owned(),
        };
        if self.prefix.is_empty() {
            Location::from(key)
        } else {
            Location::from(format!("{}/{key}", self.prefix))
        }
    }

    fn content(&self, id: &str) -> Location {
        self.location(&format!("content/{}/{id}", id.get(..2).unwrap_or("00")))
    }

    fn called(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("{}: {key}", self.name))
    }

    fn failed(&self, act: &str, key: &str) -> impl FnOnce(io::Error) -> Refusal + use<> {
        let called = self.called(key);
        let act = act.to_owned();
        move |source| Refusal::disk(&act, &called, source)
    }

    /// A small object, whole.
    async fn get(&self, location: &Location) -> object_store::Result<Option<Bytes>> {
        match self.store.get(location).await {
            Ok(found) if found.meta.size > SMALL_LIMIT => Err(object_store::Error::Generic {
                store: "S3",
                source: "the object is too large for what it is".into(),
            }),
            Ok(found) => found.bytes().await.map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object; one that isn't there is removed.
    async fn delete(&self, location: &Location) -> object_store::Result<()> {
        match self.store.delete(location).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// All objects below a key.
    async fn all(&self, folder: &str) -> object_store::Result<Vec<ObjectMeta>> {
        self.store.list(Some(&self.location(folder))).try_collect().await
    }

    fn pointer(&self, digest: &Digest) -> Result<Option<Pointer>, Refusal> {
        let key = keys::blob(digest);
        let found = self.wait(self.get(&self.location(&key))).map_err(self.failed("read", &key))?;
        let Some(bytes) = found else { return Ok(None) };
        let pointer = serde_json::from_slice(&bytes).map_err(io::Error::from);
        pointer.map(Some).map_err(self.failed("understand", &key))
    }
}

impl Pointer {
    fn new(size: u64) -> Self {
        Self { content: random_name(), size }
    }

    fn json(&self) -> Bytes {
        serde_json::json!(self).to_string().into()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last one may go in the middle of asynchronous code, where nothing may be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn io_error(error: object_store::Error) -> io::Error {
    let kind = match &error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
