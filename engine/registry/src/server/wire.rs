//! A connection without TLS, on which files go out by sendfile(2): from the disk's cache to
//! the socket, not through this process.
//!
//! The HTTP library knows buffers only. So the body hands it a placeholder, a buffer of the
//! right length at an address of ours that nobody ever reads, and queues the part of the file
//! that is meant. When the library has the placeholder written, the file is sent in its stead.
//!
//! ```text
//!   body ──► placeholder ──► HTTP library ──► Wire: an ordinary buffer? write it
//!     └────► queue of file parts ───────────►       the placeholder?    sendfile the next part
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much of a file goes as one frame of a body.
const PIECE: usize = 1024 * 1024;
/// Never read, so never in memory.
static PLACEHOLDER: [u8; PIECE] = [0; PIECE];

/// The files that are on their way out of one connection, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlet(Arc<Mutex<VecDeque<Part>>>);

#[derive(Debug)]
struct Part {
    file: Arc<File>,
    offset: u64,
    left: usize,
}

impl Outlet {
    /// Queues the next part of a file, at most `length` bytes of it, and gives the buffer that
    /// stands for it.
    pub(super) fn send(&self, file: &Arc<File>, offset: u64, length: u64) -> Bytes {
        let left = usize::try_from(length).unwrap_or(PIECE).min(PIECE);
        self.lock().push_back(Part { file: Arc::clone(file), offset, left });
        Bytes::from_static(&PLACEHOLDER[..left])
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket, and what is to go out of it.
pub(super) struct Wire {
    stream: TcpStream,
    outlet: Outlet,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, outlet: Outlet) -> Self {
        Self { stream, outlet }
    }

    /// Sends of the first queued part what the socket takes, at most `most` bytes.
    fn poll_send(&self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let mut parts = self.outlet.lock();
            let Some(part) = parts.front_mut() else {
                return Poll::Ready(Err(io::Error::other("a placeholder without a file")));
            };
            let count = part.left.min(most);
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                glassdock_kernel::disk::send_file(&self.stream, &part.file, &mut part.offset, count)
            });
            match sent {
                Ok(0) => {
                    let words = "a stored blob is shorter than it was";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, words)));
                }
                Ok(sent) => {
                    part.left -= sent;
                    if part.left == 0 {
                        parts.pop_front();
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Whether a buffer is (a part of) the placeholder. One of ours always has that address;
/// none of another origin can.
fn is_placeholder(buffer: &[u8]) -> bool {
    !buffer.is_empty() && PLACEHOLDER.as_ptr_range().contains(&buffer.as_ptr())
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let ordinary = buffers.iter().take_while(|buffer| !is_placeholder(buffer)).count();
        match buffers.get(ordinary) {
            Some(placeholder) if buffers[..ordinary].iter().all(|buffer| buffer.is_empty()) => {
                self.poll_send(context, placeholder.len())
            }
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, &buffers[..ordinary]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // So the library hands on the buffers that it was given, and copies none.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
