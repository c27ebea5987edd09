//! A blob that goes out while it comes in: behind the writer, and its last byte only when the digest
//! was right.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::watch;

use super::flight::State;
use crate::task::{self, Task};

/// A reader takes at most so much at a time.
const PIECE: u64 = 512 * 1024;

/// A blob that is read while it comes.
pub(in crate::server) struct Growing {
    file: Arc<File>,
    state: watch::Receiver<State>,
    pub(in crate::server) size: u64,
    /// Where the part that is read ends.
    end: u64,
    sent: u64,
    waiting: Option<Task<io::Result<Bytes>>>,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Growing({} of {})", self.sent, self.size)
    }
}

impl Growing {
    pub(super) fn new(file: Arc<File>, state: watch::Receiver<State>, size: u64) -> Self {
        Self { file, state, size, end: size, sent: 0, waiting: None }
    }

    pub(in crate::server) fn left(&self) -> u64 {
        self.end - self.sent
    }

    /// The part of `length` bytes from `offset` on.
    pub(in crate::server) fn part(mut self, offset: u64, length: u64) -> Self {
        self.sent = offset.min(self.size);
        self.end = self.sent.saturating_add(length).min(self.size);
        self
    }

    pub(in crate::server) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let mut waiting = self.waiting.take().unwrap_or_else(|| {
            task::spawn(next_piece(Arc::clone(&self.file), self.state.clone(), self.sent, self.end))
        });
        match Pin::new(&mut waiting).poll(context) {
            Poll::Pending => {
                self.waiting = Some(waiting);
                Poll::Pending
            }
            Poll::Ready(read) => {
                let read = read.map_err(io::Error::other).and_then(|read| read);
                match &read {
                    Ok(bytes) => self.sent += bytes.len() as u64,
                    Err(_) => self.sent = self.end,
                }
                Poll::Ready(Some(read.map(Frame::data)))
            }
        }
    }
}

/// The next bytes from `sent` on, as soon as there are any that may go out.
async fn next_piece(
    file: Arc<File>,
    mut state: watch::Receiver<State>,
    sent: u64,
    end: u64,
) -> io::Result<Bytes> {
    let ready = |state: &State| match state {
        // The last byte is kept back until it is known that all bytes of the blob were right.
        State::Coming { here, .. } => (*here).min(end.saturating_sub(1)),
        State::Landed { .. } => end,
        _ => 0,
    };
    let over = |state: &State| matches!(state, State::Lost(_) | State::Nowhere);
    let now =
        state.wait_for(|state| ready(state) > sent || over(state)).await.map_err(io::Error::other)?.clone();
    if let State::Lost(words) = &now {
        return Err(io::Error::other(words.to_string()));
    }
    let length = (ready(&now) - sent).min(PIECE);
    let read = task::spawn_blocking(move || {
        let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut piece, sent)?;
        Ok(Bytes::from(piece))
    });
    read.await.map_err(io::Error::other)?
}
