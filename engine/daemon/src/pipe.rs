//! Archives on their way: bodies are asynchronous, what makes and reads archives
//! blocks. A pipe of a few pieces stands between them, so that memory stays flat
//! whatever the archive's size.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, stream};
use glassdock_registry::task;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Error;

/// How much goes at once, in bytes.
const PIECE: usize = 64 * 1024;

/// How many pieces may wait.
const WAITING: usize = 8;

/// How long the writer sleeps while all pieces wait for the client.
const PAUSE: Duration = Duration::from_millis(1);

/// A client that sends or takes nothing for so long has forgotten us.
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
    /// Whether the body came to its true end. Until then its end is an error.
    whole: Arc<AtomicBool>,
}

/// A reply's body, and where to write it.
pub fn reply() -> (Writer, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let whole = Arc::new(AtomicBool::new(false));
    let writer = Writer { sender, piece: Vec::with_capacity(PIECE), whole: Arc::clone(&whole) };
    let end = stream::once(async move {
        let whole = whole.load(Ordering::Acquire);
        (!whole).then(|| Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive broke off")))
    });
    let end = end.filter_map(std::future::ready);
    (writer, ReceiverStream::new(receiver).chain(end))
}

impl Writer {
    /// Ends the body. After an error the client sees a broken one: what it has is not whole.
    pub fn end(mut self, result: Result<(), Error>) {
        match result.map_err(io::Error::other).and_then(|()| self.flush()) {
            Ok(()) => self.whole.store(true, Ordering::Release),
            Err(error) => tracing::debug!(%error, "an archive breaks off"),
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
        let mut piece = Ok(Bytes::from(std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE))));
        let begin = Instant::now();
        loop {
            piece = match self.sender.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(piece)) => piece,
                Err(_) => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client left")),
            };
            // A container may be held for this: not forever for one who doesn't take what it asked for.
            if begin.elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing any more"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// What blocking work reads a request's body from.
#[derive(Debug)]
pub struct Reader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    over: bool,
}

/// Reads a body, piece by piece. Call it before anything can fail: what nobody reads any more is still taken.
#[must_use]
pub fn request(body: Body) -> Reader {
    let (sender, receiver) = mpsc::channel(WAITING);
    task::spawn(async move {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_off_does_not_look_whole() {
        for (result, whole) in [(Ok(()), true), (Err(Error::internal("no")), false)] {
            let (mut writer, body) = reply();
            tokio::task::spawn_blocking(move || {
                writer.write_all(&[7; 3 * PIECE + 1]).expect("written");
                writer.end(result);
            });
            let pieces: Vec<_> = body.collect().await;
            assert_eq!(pieces.iter().all(Result::is_ok), whole);
            let length: usize = pieces.iter().flatten().map(Bytes::len).sum();
            assert_eq!(length == 3 * PIECE + 1, whole);
        }
        // Who writes and vanishes (a panic) leaves a broken body too.
        let (writer, body) = reply();
        drop(writer);
        assert!(body.collect::<Vec<_>>().await.iter().any(Result::is_err));
    }

    #[tokio::test]
    async fn a_body_is_read_piece_by_piece() {
        let pieces = (0..100).map(|at| Ok::<_, io::Error>(Bytes::from(vec![at; 1000])));
        let mut reader = request(Body::from_stream(stream::iter(pieces)));
        let read = tokio::task::spawn_blocking(move || {
            let mut whole = Vec::new();
            reader.read_to_end(&mut whole).map(|_| whole)
        });
        assert_eq!(read.await.expect("no panic").expect("read").len(), 100_000);
    }
}
