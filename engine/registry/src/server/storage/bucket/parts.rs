//! An object that is written in parts, some of them at the same time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::multipart::{MultipartStore, PartId};
use tokio::task::JoinHandle;

use super::Shared;

/// How long a part is. S3 wants 5 MiB at least, and some storages that all are alike.
pub(super) const PART: usize = 8 * 1024 * 1024;
/// S3 takes no more parts of one object.
pub(super) const PARTS: usize = 10_000;
/// So many parts are on their way at a time.
const FLYING: usize = 3;

/// The parts of one object.
#[derive(Debug)]
pub(super) struct Parts {
    shared: Arc<Shared>,
    content: String,
    /// What the object storage calls this upload, and which parts it has.
    pub(super) id: Option<String>,
    pub(super) done: Vec<String>,
    flying: VecDeque<JoinHandle<object_store::Result<PartId>>>,
}

impl Parts {
    /// Goes on with an upload, or begins one with its first part.
    pub(super) fn new(shared: &Arc<Shared>, content: &str, id: Option<String>, done: Vec<String>) -> Self {
        let content = content.to_owned();
        Self { shared: Arc::clone(shared), content, id, done, flying: VecDeque::new() }
    }

    /// How many parts there are, those on their way included.
    pub(super) fn count(&self) -> usize {
        self.done.len() + self.flying.len()
    }

    /// Sends a part; returns when there is room for another.
    pub(super) fn put(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.count() >= PARTS {
            let words = format!("an object of {PARTS} parts of {PART} bytes is the largest possible");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
        }
        let location = self.shared.content(&self.content);
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let id = self.shared.wait(self.shared.store.create_multipart(&location))?;
                self.id = Some(id.clone());
                id
            }
        };
        while self.flying.len() >= FLYING {
            self.land()?;
        }
        let number = self.count();
        let shared = Arc::clone(&self.shared);
        let runtime = self.shared.runtime.as_ref().ok_or_else(|| io::Error::other("the bucket is closed"))?;
        self.flying.push_back(runtime.spawn(async move {
            shared.store.put_part(&location, &id, number, PutPayload::from(bytes)).await
        }));
        Ok(())
    }

    fn land(&mut self) -> io::Result<()> {
        let Some(part) = self.flying.pop_front() else { return Ok(()) };
        let part = self.shared.wait(async { Ok(part.await) })?.map_err(io::Error::other)?;
        self.done.push(part.map_err(super::io_error)?.content_id);
        Ok(())
    }

    /// Waits for all parts that are on their way.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        while !self.flying.is_empty() {
            self.land()?;
        }
        Ok(())
    }

    /// Makes the object.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        self.settle()?;
        let Some(id) = self.id.take() else { return Err(io::Error::other("there is no part")) };
        let parts = self.done.drain(..).map(|content_id| PartId { content_id }).collect();
        let location = self.shared.content(&self.content);
        self.shared.wait(self.shared.store.complete_multipart(&location, &id, parts)).map(|_| ())
    }

    /// Forgets the parts.
    pub(super) fn abort(&mut self) -> io::Result<()> {
        // Those on their way would come after.
        let _ = self.settle();
        self.done.clear();
        let Some(id) = self.id.take() else { return Ok(()) };
        let location = self.shared.content(&self.content);
        self.shared.wait(self.shared.store.abort_multipart(&location, &id))
    }
}
