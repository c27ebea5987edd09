//! Bodies of requests: how their bytes are taken in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::{Code, Refusal};
use super::round::Round;
use super::storage::uploads::Upload;
use crate::task::{self, Task};

/// A request's body, with patience for `idle` at a time.
pub(super) struct Received {
    incoming: Incoming,
    idle: Duration,
    /// What came and belongs to the next round of writing.
    over: Bytes,
}

impl Received {
    pub(super) fn new(incoming: Incoming, idle: Duration) -> Self {
        Self { incoming, idle, over: Bytes::new() }
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if !self.over.is_empty() {
            return Ok(Some(std::mem::take(&mut self.over)));
        }
        loop {
            match tokio::time::timeout(self.idle, self.incoming.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(Refusal::new(Code::SizeInvalid, format!("the body broke off: {error}")));
                }
                Err(_) => return Err(Refusal::new(Code::Timeout, "no byte of the body came for too long")),
            }
        }
    }

    /// The whole body, at most `limit` bytes of it.
    pub(super) async fn all(mut self, limit: usize) -> Result<Bytes, Refusal> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > limit {
                let words = format!("the body is larger than {limit} bytes");
                return Err(Refusal::new(Code::ManifestTooLarge, words));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// Appends the body to an upload. Whatever came is in the upload afterwards, also when
    /// the body broke off: the client asks how far it is, and goes on from there.
    ///
    /// Where the upload is finished right after the body, nobody needs to find what came of it.
    pub(super) async fn append_to(
        mut self,
        upload: Upload,
        limit: u64,
        finishing: bool,
    ) -> Result<Upload, Refusal> {
        let (mut room, mut at) = (limit.saturating_sub(upload.size), upload.size);
        let mut at_rest = Some(upload);
        let mut writing: Option<Task<Result<Upload, Refusal>>> = None;
        loop {
            // The next bytes come in while the last ones are hashed and written.
            let (mut batch, mut end) = self.gather(at).await;
            let size = batch.iter().map(|bytes| bytes.len() as u64).sum();
            at += size;
            if room < size {
                batch.clear();
                let words = format!("a blob may have at most {limit} bytes here");
                end = Some(Err(Refusal::new(Code::BlobTooLarge, words)));
            }
            room = room.saturating_sub(size);
            let mut upload = match (writing.take(), at_rest.take()) {
                (Some(before), _) => before.await.map_err(|_| broken())??,
                (None, Some(upload)) => upload,
                (None, None) => return Err(broken()),
            };
            let last = end.is_some();
            let job = task::spawn_blocking(move || {
                upload.append(batch)?;
                if last && !finishing {
                    upload.rest()?;
                }
                Ok(upload)
            });
            match end {
                None => writing = Some(job),
                Some(result) => {
                    let upload = job.await.map_err(|_| broken())??;
                    return result.map(|()| upload);
                }
            }
        }
    }

    /// Bytes for one round of writing at this place of an upload, and how the body ended if it did.
    async fn gather(&mut self, at: u64) -> (Vec<Bytes>, Option<Result<(), Refusal>>) {
        let mut round = Round::at(at);
        let end = loop {
            if round.is_full() {
                break None;
            }
            match self.next().await {
                Ok(Some(bytes)) => self.over = round.take(bytes),
                Ok(None) => break Some(Ok(())),
                Err(refusal) => break Some(Err(refusal)),
            }
        };
        (round.into_pieces(), end)
    }
}

/// A thread that wrote for us is gone.
fn broken() -> Refusal {
    Refusal::new(Code::Internal, "the registry could not write its storage")
}
