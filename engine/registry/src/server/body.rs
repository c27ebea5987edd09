//! Bodies of answers: what they are made of.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::body::{Frame, SizeHint};

use super::mirror::Growing;
use super::storage::Object;
use super::wire::Outlet;
use crate::task::{self, Task};

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
    reading: Option<Task<io::Result<Bytes>>>,
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

    fn read(&self, offset: u64, left: u64) -> Task<io::Result<Bytes>> {
        let (file, length) = (Arc::clone(&self.file), left.min(PIECE));
        task::spawn_blocking(move || read_piece(&file, offset, length))
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
