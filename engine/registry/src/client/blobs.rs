//! Blobs: fetched into the content store, with a break in the middle if need be.
//!
//! ```text
//!   network ──► pieces of at most about 1 MiB ──► hash and write, on a thread ──► the store's ingest
//!                    └ the next piece comes in while the last one is written
//! ```
//!
//! No more than two pieces of a blob are in memory. What is written stays when the fetch
//! breaks off, and the next request asks for the rest by a `Range`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use glassdock_image::content::{Error as StoreError, Ingest};
use glassdock_image::{Descriptor, Digest, Images};
use glassdock_trace::{Body, Trace};
use http::{Method, StatusCode, header};

use super::progress::{LayerState, Progress, Update};
use super::session::{Ask, Session};
use super::transport::Reply;
use super::{Error, retry};
use crate::task::{self, Task};

/// How much is gathered before it is written.
const PIECE: usize = 1024 * 1024;

/// How long it is gathered: of what comes slowly the progress is to be seen.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a blob is on its way in: moved between the task that receives and the thread that writes.
struct Filling {
    ingest: Option<Ingest>,
    writing: Option<Task<Result<Ingest, Error>>>,
}

impl Session {
    /// Fetches a small blob (a config) and gives its bytes too.
    pub(super) async fn document(
        &self,
        trace: &Trace,
        images: &Images,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Error> {
        let store = images.store().clone();
        let digest = descriptor.digest.clone();
        if store.has(&digest) == Some(descriptor.size) {
            trace.point(Body::BlobReuse { digest: digest.to_string(), size: descriptor.size });
        } else {
            let limit = glassdock_image::content::LARGEST_DOCUMENT;
            if descriptor.size > limit {
                let reason = format!("it has {} bytes; at most {limit} are read", descriptor.size);
                return Err(Error::Document { what: "config", digest, reason });
            }
            let ingest = store.ingest_apart(&digest, Some(descriptor.size))?;
            self.fetch(trace, descriptor, ingest, &super::Silent).await?;
        }
        blocking(move || Ok(store.read(&digest)?)).await
    }

    /// Fetches a blob into `ingest`, from where that stands, and publishes it.
    pub(super) async fn fetch(
        &self,
        trace: &Trace,
        blob: &Descriptor,
        ingest: Ingest,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let offset = ingest.offset();
        let mut span = trace
            .begin_async(Body::BlobFetch {
                digest: blob.digest.to_string(),
                size: blob.size,
                media_type: Some(blob.media_type.clone()),
                offset: (offset > 0).then_some(offset),
            })
            .await?;
        let inside = span.trace().clone();
        span.evidence(|| glassdock_trace::Evidence::new("bytes that were here before", [offset.to_string()]));
        let result = self.fetch_whole(&inside, blob, ingest, progress).await;
        span.finish(result)
    }

    async fn fetch_whole(
        &self,
        trace: &Trace,
        blob: &Descriptor,
        ingest: Ingest,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let config = &self.client.config;
        let mut filling = Filling { ingest: Some(ingest), writing: None };
        let mut attempt = 1;
        loop {
            let before = filling.settle().await?.offset();
            if before >= blob.size {
                break;
            }
            match self.fetch_rest(trace, blob, &mut filling, before, progress).await {
                Ok(()) => break,
                Err(error) if error.is_passing() => {
                    let here = filling.settle().await?.offset();
                    // Only tries that bring nothing count: a slow, brittle line gets there too.
                    attempt = if here > before { 1 } else { attempt + 1 };
                    if attempt > config.attempts {
                        return Err(error);
                    }
                    let pause = retry::pause(config, attempt.max(2) - 1, None);
                    let seconds = pause.as_secs();
                    progress.report(Update::Layer {
                        digest: blob.digest.clone(),
                        state: LayerState::Retrying { seconds },
                    });
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
        progress.report(Update::Layer { digest: blob.digest.clone(), state: LayerState::Verifying });
        let Some(ingest) = filling.take().await? else { return Err(Error::Worker) };
        let trace = trace.clone();
        blocking(move || Ok(ingest.commit(&trace)?)).await
    }

    /// One request for all that is missing, into the store as it comes.
    async fn fetch_rest(
        &self,
        trace: &Trace,
        blob: &Descriptor,
        filling: &mut Filling,
        offset: u64,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut ask = Ask::new(Method::GET, format!("blobs/{}", blob.digest));
        if offset > 0 {
            ask = ask.header(header::RANGE, &format!("bytes={offset}-"));
        }
        let mut reply = self.send(trace, &ask).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(reply, None).await);
        }
        let mut surplus = check_extent(&mut reply, blob, offset)?;
        let mut current = offset;
        loop {
            let (pieces, end) = gather(&mut reply, &mut surplus).await;
            let bytes: usize = pieces.iter().map(Bytes::len).sum();
            if bytes > 0 {
                filling.write(pieces).await?;
                current += bytes as u64;
                let state = LayerState::Downloading { current: current.min(blob.size), total: blob.size };
                progress.report(Update::Layer { digest: blob.digest.clone(), state });
            }
            match end {
                None if current > blob.size => {
                    // The write that is under way finds it too; an endless body must not go on.
                    filling.settle().await?;
                    return Err(too_much(&blob.digest, blob.size, current));
                }
                None => {}
                Some(Ok(())) if current < blob.size => {
                    let (method, url) = reply.asked();
                    return Err(Error::Connection {
                        method,
                        url,
                        reason: "unexpected EOF".to_owned(),
                        again: true,
                        source: None,
                    });
                }
                Some(result) => return result,
            }
        }
    }
}

/// Holds what the answer says of its length against what the manifest promised. Returns how
/// many bytes from the beginning are to be skipped, because the registry knows no ranges.
fn check_extent(reply: &mut Reply, blob: &Descriptor, offset: u64) -> Result<u64, Error> {
    let length: Option<u64> = reply.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let begin = if reply.status() == StatusCode::PARTIAL_CONTENT {
        let range = reply.header(header::CONTENT_RANGE).unwrap_or_default();
        let first =
            range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse::<u64>().ok());
        if first != Some(offset) {
            return Err(
                reply.nonsense(format!("bytes from {offset} on were asked for, but it sends {range:.80?}"))
            );
        }
        offset
    } else {
        0
    };
    if let Some(total) = length.map(|length| begin.saturating_add(length)).filter(|total| *total != blob.size)
    {
        reply.finish();
        return Err(too_much(&blob.digest, blob.size, total));
    }
    Ok(offset - begin)
}

fn too_much(digest: &Digest, expected: u64, actual: u64) -> Error {
    Error::Content(StoreError::Size { digest: digest.clone(), expected, actual })
}

/// The next pieces of a body, and how it ended if it did.
async fn gather(reply: &mut Reply, surplus: &mut u64) -> (Vec<Bytes>, Option<Result<(), Error>>) {
    let mut pieces = Vec::new();
    let mut size = 0;
    let begun = Instant::now();
    while size < PIECE && (size == 0 || begun.elapsed() < PATIENCE) {
        match reply.chunk().await {
            Ok(Some(mut bytes)) => {
                let skipped = usize::try_from(*surplus).unwrap_or(usize::MAX).min(bytes.len());
                *surplus -= skipped as u64;
                let bytes = bytes.split_off(skipped);
                size += bytes.len();
                pieces.push(bytes);
            }
            Ok(None) => return (pieces, Some(Ok(()))),
            Err(error) => return (pieces, Some(Err(error))),
        }
    }
    (pieces, None)
}

impl Filling {
    /// Hands pieces to a thread, once the last ones are written.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        let Some(mut ingest) = self.take().await? else { return Err(Error::Worker) };
        self.writing = Some(task::spawn_blocking(move || {
            pieces.iter().try_for_each(|bytes| ingest.write(bytes))?;
            Ok(ingest)
        }));
        Ok(())
    }

    async fn take(&mut self) -> Result<Option<Ingest>, Error> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(|_| Error::Worker)?.map(Some),
            None => Ok(self.ingest.take()),
        }
    }

    /// Waits until everything is written.
    async fn settle(&mut self) -> Result<&Ingest, Error> {
        self.ingest = self.take().await?;
        self.ingest.as_ref().ok_or(Error::Worker)
    }
}

/// Work for the disk or the processor, on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    task::run(work).await.ok_or(Error::Worker)?
}
