//! The first line of a connection, put right where a client was careless.
//!
//! People ask with `curl '…/containers/json?filters={"name":["web"]}'`, and Go's server, and so Docker,
//! takes that. By RFC 3986 a quote has to be escaped in a query, and the library that reads requests
//! here refuses it. So the characters that it refuses are escaped before it sees them. Only in a
//! connection's first request: programs that send more than one on a connection escape by themselves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// A longer line passes as it is; the library says that it is too long.
const LONGEST: usize = 64 * 1024;

/// A connection whose first line is mended.
#[derive(Debug)]
pub struct Mended {
    stream: UnixStream,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The line so far, without its end.
    Line(Vec<u8>),
    /// The mended line and what came with it: how much of it was read, and all of it.
    Ready(usize, Vec<u8>),
    /// Nothing is between.
    Through,
}

impl Mended {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, state: State::Line(Vec::new()) }
    }

    /// The connection, and what was taken from it and not read.
    #[must_use]
    pub fn into_parts(self) -> (UnixStream, Vec<u8>) {
        let unread = match self.state {
            State::Line(bytes) => bytes,
            State::Ready(read, mut bytes) => bytes.split_off(read.min(bytes.len())),
            State::Through => Vec::new(),
        };
        (self.stream, unread)
    }
}

/// Whether a byte has to be escaped that clients send as it is.
fn is_refused(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>')
}

/// Bytes that begin with a request's line, with the line's refused characters escaped.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    let mut out = Vec::with_capacity(bytes.len() + 64);
    for byte in line {
        if is_refused(*byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out.extend_from_slice(rest);
    out
}

impl AsyncRead for Mended {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, state } = &mut *self;
        loop {
            match state {
                State::Through => return Pin::new(stream).poll_read(context, buffer),
                State::Ready(read, bytes) => {
                    let rest = bytes.get(*read..).unwrap_or_default();
                    let now = rest.len().min(buffer.remaining());
                    buffer.put_slice(rest.get(..now).unwrap_or_default());
                    *read += now;
                    if *read >= bytes.len() {
                        *state = State::Through;
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Line(line) => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
                    let came = buffer.filled().get(before..).unwrap_or_default();
                    let end = came.iter().position(|byte| *byte == b'\n');
                    let of_line = came.get(..end.unwrap_or(came.len())).unwrap_or_default();
                    let plain = line.is_empty() && !of_line.iter().any(|byte| is_refused(*byte));
                    // Nearly always: a whole line that is as it should be, or the end of the stream.
                    if plain && (end.is_some() || came.is_empty()) {
                        *state = State::Through;
                        return Poll::Ready(Ok(()));
                    }
                    let (over, too_long) = (came.is_empty(), line.len() + came.len() > LONGEST);
                    line.extend_from_slice(came);
                    buffer.set_filled(before);
                    if end.is_some() || over || too_long {
                        let bytes = if too_long { std::mem::take(line) } else { escaped(line) };
                        *state = State::Ready(0, bytes);
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Mended {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What is read of a connection on which these pieces are sent one after the other.
    async fn read(pieces: &[&str]) -> String {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let writer = tokio::spawn(async move {
            for piece in pieces {
                far.write_all(piece.as_bytes()).await.expect("written");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        let mut text = String::new();
        Mended::new(near).read_to_string(&mut text).await.expect("text");
        writer.await.expect("the writer");
        text
    }

    #[tokio::test]
    async fn quotes_in_the_first_line_are_escaped_and_nothing_else_is_touched() {
        let plain = "GET /_ping HTTP/1.1\r\nHost: \"<x>\"\r\n\r\n\"body\"";
        assert_eq!(read(&[plain]).await, plain);
        assert_eq!(
            read(&["GET /a?f={\"n\":[\"<w>\"]} HTTP/1.1\r\nA: \"\r\n\r\n"]).await,
            "GET /a?f={%22n%22:[%22%3Cw%3E%22]} HTTP/1.1\r\nA: \"\r\n\r\n"
        );
        let pieces = ["GET ", "/a?f=\"", "x\" HTTP/1.1\r", "\nB: \"", "c\"\r\n\r\n"];
        assert_eq!(read(&pieces).await, "GET /a?f=%22x%22 HTTP/1.1\r\nB: \"c\"\r\n\r\n");
        assert_eq!(read(&[]).await, "");
        assert_eq!(read(&["no line\""]).await, "no line%22");
        let long = "\"".repeat(LONGEST + 1);
        assert_eq!(read(&[&long]).await.len(), LONGEST + 1);
    }

    #[tokio::test]
    async fn what_was_not_read_goes_with_the_connection() {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        far.write_all(b"G \" H\r\n\r\nearly").await.expect("written");
        let mut mended = Mended::new(near);
        let mut head = [0; 10];
        mended.read_exact(&mut head).await.expect("a head");
        assert_eq!(&head, b"G %22 H\r\n\r");
        // Together with what is still on its way nothing is missing.
        let (mut rest, mut text) = mended.into_parts();
        drop(far);
        rest.read_to_end(&mut text).await.expect("the rest");
        assert_eq!(text, b"\nearly");
    }
}
