//! A pull or push behind a reply that is a stream of messages.
//!
//! Nothing is sent before the registry's first answer: until then an error has an
//! HTTP status of its own, afterwards it is the stream's last message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use glassdock_registry::task;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::progress;
use crate::call::Call;
use crate::error::Error;
use crate::operations::Use;
use crate::reply::{self, Reply};

/// Runs `work`, which writes lines to `sender`, until it is done or the client has
/// left; so long, its operation stays open.
pub(crate) fn reply(
    operation: Option<Arc<Use>>,
    sender: UnboundedSender<Bytes>,
    lines: UnboundedReceiver<Bytes>,
    work: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> impl Future<Output = Reply> + Send {
    reply_unless(CancellationToken::new(), operation, sender, lines, Box::new(|_| ()), Box::pin(work))
}

/// As [`reply()`], for work that may say nothing for long: it ends too when the client is `gone` before the
/// first line. `heard` is told of each line that the client takes.
pub(crate) async fn reply_unless(
    gone: CancellationToken,
    operation: Option<Arc<Use>>,
    sender: UnboundedSender<Bytes>,
    mut lines: UnboundedReceiver<Bytes>,
    heard: Box<dyn Fn(&Bytes) + Send>,
    work: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
) -> Reply {
    // An error before the first line goes back here; one after it, into the stream.
    let (early, mut failed) = oneshot::channel();
    task::spawn(async move {
        let result = tokio::select! {
            result = work => result,
            // The client left: what is here stays for the next try.
            () = sender.closed() => return,
        };
        if let Err(error) = result {
            if let Some(operation) = &operation {
                operation.set_status(1);
            }
            if let Err(error) = early.send(error) {
                let _ = sender.send(progress::error(error.message()));
            }
        }
    });
    let first = tokio::select! {
        first = lines.recv() => first,
        // Without the lines' end the work ends as well. Nobody reads this answer.
        () = gone.cancelled() => return Err(Error::internal("the client left")),
    };
    // From here on the work's errors go into the stream; one may have come just before.
    failed.close();
    let late = match (&first, failed.try_recv().ok()) {
        (None, Some(error)) => return Err(error),
        (_, error) => error.map(|error| progress::error(error.message())),
    };
    let rest = UnboundedReceiverStream::new(lines).chain(tokio_stream::iter(late));
    let all = tokio_stream::iter(first).chain(rest);
    let stream = all.map(move |line| {
        heard(&line);
        line
    });
    let stream = stream.map(Ok::<Bytes, std::io::Error>);
    Ok(reply::stream("application/json", stream))
}

/// The two ends of a stream of lines.
pub(crate) fn lines() -> (UnboundedSender<Bytes>, UnboundedReceiver<Bytes>) {
    tokio::sync::mpsc::unbounded_channel()
}

/// What a task of the daemon keeps of a call.
pub(crate) fn parts(call: &Call) -> (Arc<crate::engine::Engine>, glassdock_trace::Trace) {
    (Arc::clone(&call.engine), call.trace.clone())
}
