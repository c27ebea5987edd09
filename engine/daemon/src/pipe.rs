//! Archives on their way: bodies are asynchronous, what makes and reads archives
//! blocks. A pipe of a few pieces stands between them, so that memory stays flat
//! whatever the archive's size.

use std::io::{self, Read, Write};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Error;

/// How much goes at once, in bytes.
const PIECE: usize = 64 * 1024;

/// How many pieces may wait.
const WAITING: usize = 8;

/// A client that sends nothing for so long has forgotten us.
const PATIENCE: Duration = Duration::from_secs(600);

/// When nobody reads a body any more, so much of it is still taken, in bytes: a client that is in the
/// middle of sending hears a broken connection else, and never sees the answer.
const POLITE: usize = 32 * 1024 * 1024;

/// And for so long.
const POLITELY: Duration = Duration::from_secs(10);

/// Where blocking work writes a reply's body.
#[derive(Debug)]
pub struct Writer {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

/// A reply's body, and where to write it.
pub fn reply() -> (Writer, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Writer { sender, piece: Vec::with_capacity(PIECE) }, ReceiverStream::new(receiver))
}

impl Writer {
    /// Ends the body. After an error the client sees a broken one: what it has is not whole.
    pub fn end(mut self, result: Result<(), Error>) {
        let failed = match result {
            Ok(()) => self.flush().err(),
            Err(error) => Some(io::Error::other(error)),
        };
        if let Some(error) = failed {
            tracing::debug!(%error, "an archive breaks off");
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client left"))
    }
}

/// What blocking work reads a request's body from.
#[derive(Debug)]
pub struct Reader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    over: bool,
}

/// Reads a body, piece by piece. Call it before anything can fail: see [`POLITE`].
#[must_use]
pub fn request(body: Body) -> Reader {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut pieces = body.into_data_stream();
        loop {
            let piece = match tokio::time::timeout(PATIENCE, pieces.next()).await {
                Ok(None) => return,
                Ok(Some(piece)) => piece.map_err(io::Error::other),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing any more")),
            };
            let failed = piece.is_err();
            if sender.send(piece).await.is_err() {
                let _ = tokio::time::timeout(POLITELY, discard(pieces)).await;
                return;
            }
            if failed {
                return;
            }
        }
    });
    Reader { receiver, piece: Bytes::new(), over: false }
}

/// Takes what nobody wants, within reason.
async fn discard(mut pieces: axum::body::BodyDataStream) {
    let mut left = POLITE;
    while let Some(Ok(piece)) = pieces.next().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.over {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece.inspect_err(|_| self.over = true)?,
                None => self.over = true,
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
