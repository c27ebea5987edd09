//! Bodies that nobody read to their end.
//!
//! A handler may answer before it has read the request's body: the container isn't there,
//! the path is none. A client that still writes would then see a broken pipe instead of the
//! answer, so the rest of the body is taken in and thrown away, within bounds; Go's server,
//! and so Docker, does the same.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// So much is thrown away, in bytes; the connection of a client that sends more is closed.
const MOST: usize = 256 * 1024;

/// And so long it may take.
const TIME: Duration = Duration::from_secs(2);

/// A request's body that is read to its end even when its reader lets go of it.
#[derive(Debug)]
pub struct Drained(Option<Incoming>);

impl Drained {
    /// The body of a request; not of one whose client waits to be told to send it (`Expect`).
    #[must_use]
    pub fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(tasks) = tokio::runtime::Handle::try_current() else { return };
        tasks.spawn(tokio::time::timeout(TIME, async move {
            let mut taken = 0;
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > MOST {
                    return;
                }
            }
        }));
    }
}
