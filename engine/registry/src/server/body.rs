//! Bodies: what answers are made of, and how the bytes of a request are taken in.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::task::JoinHandle;

use super::error::{Code, Refusal};
use super::mirror::Growing;
use super::storage::Object;
use super::storage::uploads::Upload;
use super::wire::Outlet;

/// What an answer carries.
#[derive(Debug)]
pub(super) enum Body {
    Empty,
    Bytes(Bytes),
    File(FilePart),
    /// A blob that is still coming in from another registry.
    Growing(Growing),
    /// A part of a blob that lies elsewhere.
    Remote(Remote),
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(part) => part.left,
            Self::Growing(growing) => growing.left(),
            Self::Remote(remote) => remote.left,
        }
    }

    /// The `length` bytes from `offset` on.
    pub(super) fn remote(object: &dyn Object, offset: u64, length: u64) -> Self {
        if length == 0 {
            return Self::Empty;
        }
        Self::Remote(Remote { coming: object.stream(offset, offset + length), left: length })
    }

    /// Files go out by this way, if they do at all.
    pub(super) fn send_by(&mut self, outlet: &Outlet) {
        if let Self::File(part) = self {
            part.outlet = Some(outlet.clone());
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(_) => {
                let Self::Bytes(bytes) = std::mem::replace(&mut *self, Self::Empty) else {
                    return Poll::Ready(None);
                };
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::File(part) => part.poll(context),
            Self::Growing(growing) => growing.poll(context),
            Self::Remote(remote) => remote.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

/// Bytes of an object storage, handed on as they come.
pub(super) struct Remote {
    coming: BoxStream<'static, io::Result<Bytes>>,
    left: u64,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remote({} bytes left)", self.left)
    }
}

impl Remote {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match std::task::ready!(self.coming.as_mut().poll_next(context)) {
            Some(Ok(bytes)) if bytes.len() as u64 <= self.left => {
                self.left -= bytes.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Some(Ok(_)) => io::Error::other("the object storage sent too much"),
            Some(Err(error)) => error,
            None => io::Error::new(io::ErrorKind::UnexpectedEof, "a stored blob is shorter than it was"),
        };
        self.left = 0;
        Poll::Ready(Some(Err(piece)))
    }
}

/// A part of a file. Where there is an outlet the kernel sends it. Otherwise it is read a piece
/// ahead of the client, so that disk and network work at the same time and no more than two
/// pieces are in memory.
#[derive(Debug)]
pub(super) struct FilePart {
    file: Arc<File>,
    outlet: Option<Outlet>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Where the next piece begins.
    offset: u64,
    /// Bytes that did not go out yet, those that are being read included.
    left: u64,
}

/// How much of a file is read at a time.
const PIECE: u64 = 512 * 1024;
/// What is at most so long is read where the request is answered: handing it to a
/// thread would take longer than the read.
const AT_ONCE: u64 = 64 * 1024;

impl FilePart {
    /// The `length` bytes from `offset` on.
    pub(super) fn body(file: File, offset: u64, length: u64) -> io::Result<Body> {
        if length <= AT_ONCE {
            return Ok(Body::Bytes(read_piece(&file, offset, length)?));
        }
        Ok(Body::File(Self { file: Arc::new(file), outlet: None, reading: None, offset, left: length }))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &self.outlet {
            Some(outlet) => Ok(outlet.send(&self.file, self.offset, self.left)),
            None => {
                let mut reading = self.reading.take().unwrap_or_else(|| self.read(self.offset, self.left));
                match Pin::new(&mut reading).poll(context) {
                    Poll::Ready(read) => read.map_err(io::Error::other).and_then(|read| read),
                    Poll::Pending => {
                        self.reading = Some(reading);
                        return Poll::Pending;
                    }
                }
            }
        };
        match piece {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                self.left -= bytes.len() as u64;
                if self.outlet.is_none() && self.left > 0 {
                    self.reading = Some(self.read(self.offset, self.left));
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => {
                self.left = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn read(&self, offset: u64, left: u64) -> JoinHandle<io::Result<Bytes>> {
        let (file, length) = (Arc::clone(&self.file), left.min(PIECE));
        tokio::task::spawn_blocking(move || read_piece(&file, offset, length))
    }
}

fn read_piece(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut piece, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "a stored blob is shorter than it was"),
        _ => error,
    })?;
    Ok(Bytes::from(piece))
}

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
        let mut writing: Option<JoinHandle<Result<Upload, Refusal>>> = None;
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
            let job = tokio::task::spawn_blocking(move || {
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
    ///
    /// A round ends at a multiple of its length: the kernel keeps a file in pieces as large as
    /// one write fills, if they begin where they should, and a large piece is sent faster than
    /// many small ones.
    async fn gather(&mut self, at: u64) -> (Vec<Bytes>, Option<Result<(), Refusal>>) {
        const ROUND: usize = 1024 * 1024;
        // A client may send a byte at a time; so many are written at once.
        const PIECES: usize = 1024;
        let mut left = ROUND - usize::try_from(at % ROUND as u64).unwrap_or(0);
        let mut batch = Vec::new();
        while left > 0 && batch.len() < PIECES {
            match self.next().await {
                Ok(Some(mut bytes)) => {
                    if bytes.len() > left {
                        self.over = bytes.split_off(left);
                    }
                    left -= bytes.len();
                    batch.push(bytes);
                }
                Ok(None) => return (batch, Some(Ok(()))),
                Err(refusal) => return (batch, Some(Err(refusal))),
            }
        }
        (batch, None)
    }
}

/// A thread that wrote for us is gone.
fn broken() -> Refusal {
    Refusal::new(Code::Internal, "the registry could not write its storage")
}
