//! A client's connection and a process's streams, joined.
//!
//! What comes from the shim is passed on as it is: frames, or a terminal's bytes.
//! What comes from the client is the process's input, watched for the keys that
//! detach. The output's end is the end; the input's end is only the input's.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use bytes::Bytes;
use glassdock_registry::task;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::error::Error;
use crate::request_line::Mended;

/// The keys that detach, unless a client names others: ctrl-p, ctrl-q.
const DETACH: [u8; 2] = [16, 17];

/// Whether a client that sends nothing any more still listens is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// So much is read at once.
const CHUNK: usize = 16 * 1024;

/// The keys that detach from a process: those of [`detach_keys`] where a terminal is typed at,
/// none where the input is a file's or a pipe's, since any byte may be in those.
///
/// # Errors
///
/// As [`detach_keys`].
pub fn keys_for(tty: bool, text: Option<&str>) -> Result<Vec<u8>, Error> {
    let keys = detach_keys(text)?;
    Ok(if tty { keys } else { Vec::new() })
}

/// Reads a `detachKeys` parameter: letters, and `ctrl-` with one of `a-z@[\]^_`.
///
/// # Errors
///
/// Invalid, for keys that are none.
pub fn detach_keys(text: Option<&str>) -> Result<Vec<u8>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(DETACH.to_vec()) };
    let invalid = || Error::invalid(format!("Invalid detach keys ({text}) provided"));
    text.split(',')
        .map(|key| {
            let (control, key) = key.strip_prefix("ctrl-").map_or((false, key), |key| (true, key));
            match (control, key.as_bytes()) {
                (true, [byte @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
                    Ok(byte.to_ascii_uppercase() & 0x1f)
                }
                (false, [byte]) => Ok(*byte),
                _ => Err(invalid()),
            }
        })
        .collect()
}

/// A shim's stream, for tasks.
///
/// # Errors
///
/// If it can't be watched.
pub fn of_shim(stream: StdStream) -> Result<UnixStream, Error> {
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}

/// How long a client has to read the reply's head before it gets the output behind it.
const HEAD_TIME: Duration = Duration::from_millis(200);

/// How often it is looked whether it has.
const HEAD_LOOK: Duration = Duration::from_micros(500);

/// A client's connection, that was the carrier of a request and is a stream now.
#[derive(Debug)]
pub struct Client {
    /// The connection.
    pub stream: UnixStream,
    /// What the client sent right behind its request, and was read with it.
    early: Bytes,
}

impl Client {
    /// The connection behind an upgrade: all of the daemon's listeners are Unix sockets.
    ///
    /// A client that reads the reply's head through a buffer may take output that comes right
    /// behind it for a part of that, and lose it (Docker's SDK for Python does). So this
    /// returns when the client has read the head, or had a while for it.
    pub async fn of(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Mended>>().ok()?;
        let (stream, unread) = parts.io.into_inner().into_parts();
        let early =
            if unread.is_empty() { parts.read_buf } else { [&parts.read_buf[..], &unread].concat().into() };
        let read = async {
            while glassdock_kernel::socket::unread(stream.as_fd()).is_ok_and(|bytes| bytes > 0) {
                tokio::time::sleep(HEAD_LOOK).await;
            }
        };
        let _ = tokio::time::timeout(HEAD_TIME, read).await;
        Some(Self { stream, early })
    }
}

/// What a client that takes a process for what it isn't gets: a terminal's bytes in frames,
/// or frames without their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As they are.
    AsIs,
    /// A terminal's bytes as frames of standard output.
    Framed,
    /// What is in the frames.
    Bare,
}

impl Shape {
    /// Of a process that has a terminal or not, for a client that expects one or not.
    #[must_use]
    pub fn of(tty: bool, expected: bool) -> Self {
        match (tty, expected) {
            (true, false) => Self::Framed,
            (false, true) => Self::Bare,
            _ => Self::AsIs,
        }
    }

    /// A stream of that shape. A task of its own goes between until one side ends.
    ///
    /// # Errors
    ///
    /// If the kernel has no more sockets.
    pub fn put_on(self, shim: UnixStream) -> Result<UnixStream, Error> {
        if self == Self::AsIs {
            return Ok(shim);
        }
        let (near, far) = UnixStream::pair()?;
        task::spawn(async move {
            let (mut from_client, mut to_client) = near.into_split();
            let (mut from_shim, mut to_shim) = shim.into_split();
            let input = async {
                let _ = tokio::io::copy(&mut from_client, &mut to_shim).await;
                let _ = to_shim.shutdown().await;
                std::future::pending().await
            };
            tokio::select! {
                _ = self.pass_on(&mut from_shim, &mut to_client) => {}
                () = input => {}
            }
            let _ = to_client.shutdown().await;
        });
        Ok(far)
    }

    async fn pass_on(
        self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            if self == Self::Framed {
                let length = from.read(&mut buffer).await?;
                if length == 0 {
                    return Ok(());
                }
                let mut header = [1, 0, 0, 0, 0, 0, 0, 0];
                header[4..].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
                to.write_all(&header).await?;
                to.write_all(buffer.get(..length).unwrap_or_default()).await?;
            } else {
                let mut header = [0; 8];
                from.read_exact(&mut header).await?;
                let [.., a, b, c, d] = header;
                let length = u64::from(u32::from_be_bytes([a, b, c, d]));
                tokio::io::copy(&mut from.take(length), to).await?;
            }
        }
    }
}

/// What is in whole frames, without their headers.
#[must_use]
pub fn without_headers(frames: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (frames, Vec::with_capacity(frames.len()));
    while let [_, _, _, _, a, b, c, d, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        let (bytes, next) = after.split_at(length.min(after.len()));
        out.extend_from_slice(bytes);
        rest = next;
    }
    out
}

/// Joins a client with a process until the output's end, the client's leaving, or
/// the keys that detach. After the output's end the client is kept until `settled`.
/// True if the client went before the output's end.
pub async fn join(
    client: Client,
    shim: UnixStream,
    keys: Vec<u8>,
    settled: impl Future<Output = ()>,
) -> bool {
    let (from_client, mut to_client) = client.stream.into_split();
    let (mut from_shim, mut to_shim) = shim.into_split();
    let output = async {
        let _ = tokio::io::copy(&mut from_shim, &mut to_client).await;
        settled.await;
    };
    let input = async {
        let mut early = client.early.chain(from_client);
        if forward(&mut early, &mut to_shim, keys).await == InputEnd::Detached {
            return;
        }
        // The process sees the end of its input; its output goes on while the client is there.
        let _ = to_shim.shutdown().await;
        let (_, from_client) = early.into_inner();
        gone(from_client.as_ref()).await;
    };
    let left = tokio::select! {
        // A client that goes because it has seen the end did not go before.
        biased;
        () = output => false,
        () = input => true,
    };
    let _ = to_client.shutdown().await;
    left
}

/// Waits until the other end of a connection is closed both ways. One that only
/// ended its writing goes on listening; reading can't tell the two apart, poll(2) can.
async fn gone(stream: &UnixStream) {
    while let Ok(ready) = stream.ready(Interest::WRITABLE).await {
        if ready.is_write_closed() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputEnd {
    Closed,
    Detached,
}

async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    keys: Vec<u8>,
) -> InputEnd {
    let mut scanner = Scanner { keys, seen: 0 };
    let mut buffer = vec![0; CHUNK];
    loop {
        let chunk = match from.read(&mut buffer).await {
            Ok(length) if length > 0 => buffer.get(..length).unwrap_or_default(),
            _ => return InputEnd::Closed,
        };
        let (bytes, detached) = scanner.scan(chunk);
        if to.write_all(&bytes).await.is_err() {
            // The process reads no more; what the client types is dropped.
            continue;
        }
        if detached {
            return InputEnd::Detached;
        }
    }
}

/// Looks for the detaching keys, also where they come in pieces.
struct Scanner {
    keys: Vec<u8>,
    seen: usize,
}

impl Scanner {
    /// The bytes to pass on, and whether the keys were all there. Keys that are
    /// begun are held back until it is clear what they are.
    fn scan(&mut self, chunk: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(chunk.len());
        for byte in chunk {
            if self.keys.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    self.seen = 0;
                    return (out, true);
                }
                continue;
            }
            out.extend(self.keys.iter().take(self.seen));
            self.seen = 0;
            if self.keys.first() == Some(byte) && self.keys.len() > 1 {
                self.seen = 1;
            } else {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_names() {
        assert_eq!(detach_keys(None), Ok(vec![16, 17]));
        assert_eq!(detach_keys(Some("ctrl-a,x,ctrl-@")), Ok(vec![1, b'x', 0]));
        assert!(detach_keys(Some("ctrl-")).is_err());
        assert!(detach_keys(Some("ab")).is_err());
    }

    #[test]
    fn a_pipe_has_no_keys() {
        let keys = keys_for(false, None).expect("no keys are right keys");
        let mut scanner = Scanner { keys, seen: 0 };
        assert_eq!(scanner.scan(b"a\x10\x11b"), (b"a\x10\x11b".to_vec(), false));
        assert_eq!(keys_for(true, None), Ok(vec![16, 17]));
        assert!(keys_for(false, Some("ab")).is_err());
    }

    #[tokio::test]
    async fn a_stream_gets_the_shape_that_its_client_expects() {
        for (tty, expected, given, wanted) in [
            (true, false, &b"hi"[..], &b"\x01\0\0\0\0\0\0\x02hi"[..]),
            (false, true, b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!", b"hi!"),
            (true, true, b"hi", b"hi"),
        ] {
            let (shim, mut process) = UnixStream::pair().expect("a pair");
            let mut client = Shape::of(tty, expected).put_on(shim).expect("a stream");
            process.write_all(given).await.expect("output");
            client.write_all(b"input").await.expect("input");
            let mut input = [0; 5];
            process.read_exact(&mut input).await.expect("the input");
            drop(process);
            let mut output = Vec::new();
            client.read_to_end(&mut output).await.expect("the output");
            assert_eq!((output.as_slice(), &input), (wanted, b"input"));
        }
    }

    #[test]
    fn frames_lose_their_headers() {
        assert_eq!(without_headers(b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!"), b"hi!");
        assert_eq!(without_headers(b"\x01\0\0\0\0\0\0\x09hi"), b"hi");
        assert_eq!(without_headers(b"\x01\0\0"), b"");
    }

    #[test]
    fn keys_are_found_in_pieces() {
        let mut scanner = Scanner { keys: vec![16, 17], seen: 0 };
        assert_eq!(scanner.scan(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(scanner.scan(b"c\x10\x10"), (b"\x10c\x10".to_vec(), false));
        assert_eq!(scanner.scan(b"\x11rest"), (Vec::new(), true));
    }
}
