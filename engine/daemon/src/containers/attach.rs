//! `ContainerAttach`: a client gets a container's streams, running or about to be.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use glassdock_registry::task;
use glassdock_runtime::Streams;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

use super::container::{Container, Waiting};
use super::record::Status;
use super::{logs, streams};
use crate::call::{ApiVersion, Call};
use crate::error::Error;
use crate::reply::{self, Reply};

/// The frames of two streams in one.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// A terminal's bytes, or what older clients call everything.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";

/// The content type of a process's streams.
pub(crate) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || version < ApiVersion(42) { RAW } else { MULTIPLEXED }
}

/// `ContainerAttach`.
pub(crate) async fn attach(mut call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let (tty, open_stdin) = container.look(|record| (record.config.tty, record.config.open_stdin));
    let keys = streams::keys_for(tty, call.query("detachKeys"))?;
    check(&container)?;
    let wanted = Streams {
        stdin: call.flag("stdin") && open_stdin,
        stdout: call.flag("stdout"),
        stderr: call.flag("stderr"),
    };
    let past = call.flag("logs").then(|| logs::past(&container, wanted));
    let live =
        if call.flag("stream") { Some(streams_of(&call.engine, &container, wanted).await?) } else { None };
    let content_type = content_type(tty, call.version);
    let part = call.operation.clone();
    if let Some(upgrade) = call.upgrade() {
        let engine = call.engine.clone();
        task::spawn(async move {
            let Ok(client) = upgrade.await else { return };
            let Some(mut client) = streams::Client::of(client).await else { return };
            if let Some(past) = past {
                let mut past = std::pin::pin!(past);
                while let Some(Ok(bytes)) = past.next().await {
                    if tokio::io::AsyncWriteExt::write_all(&mut client.stream, &bytes).await.is_err() {
                        return;
                    }
                }
            }
            let Some(live) = live else { return };
            if let Some(shim) = live.come().await
                && streams::join(client, shim, keys, std::future::ready(())).await
            {
                container.emit(&engine, "detach", &[]);
            }
            drop(part);
        });
        return Ok(reply::upgraded(content_type));
    }
    // Without an upgrade the client only listens.
    let past = futures_util::stream::iter(past).flatten();
    Ok(reply::stream(content_type, past.chain(listened(live))))
}

/// Whether the container is one that clients can attach to now.
pub(crate) fn check(container: &Container) -> Result<(), Error> {
    match container.status() {
        Status::Paused => Err(Error::conflict(format!(
            "container {} is paused, unpause the container before attach",
            container.id
        ))),
        Status::Restarting => Err(Error::conflict(format!(
            "container {} is restarting, wait until the container is running",
            container.id
        ))),
        _ => Ok(()),
    }
}

/// Where a client's streams come from: now, or when the container is started.
pub(crate) enum Live {
    Now(UnixStream),
    Later(oneshot::Receiver<std::os::unix::net::UnixStream>),
}

impl Live {
    /// The streams, as soon as there are any; `None` if the start fails.
    pub(crate) async fn come(self) -> Option<UnixStream> {
        match self {
            Self::Now(stream) => Some(stream),
            Self::Later(coming) => streams::of_shim(coming.await.ok()?).ok(),
        }
    }
}

pub(crate) async fn streams_of(
    engine: &std::sync::Arc<crate::engine::Engine>,
    container: &std::sync::Arc<Container>,
    wanted: Streams,
) -> Result<Live, Error> {
    if let Ok(shim) = container.shim() {
        let stream = engine.blocking(move |_| shim.attach(wanted)).await?;
        container.emit(engine, "attach", &[]);
        return Ok(Live::Now(streams::of_shim(stream)?));
    }
    let (give, coming) = oneshot::channel();
    container.waiting_clients().push(Waiting { streams: wanted, give });
    container.emit(engine, "attach", &[]);
    Ok(Live::Later(coming))
}

fn listened(live: Option<Live>) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let coming = futures_util::stream::iter(live).filter_map(Live::come);
    coming.flat_map(|stream| ReaderStream::new(stream).map(|chunk| chunk.map_err(Error::from)))
}

/// `ContainerResize`.
pub(crate) async fn resize(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let (rows, columns) = size(&call)?;
    let shim = container.shim()?;
    // What has no terminal has no size to set: as in Docker that is no error.
    if container.look(|record| record.config.tty) {
        call.engine.blocking(move |_| shim.resize(None, rows, columns)).await?;
    }
    container.emit(&call.engine, "resize", &[("height", rows.to_string()), ("width", columns.to_string())]);
    Ok(reply::empty(http::StatusCode::OK))
}

/// The `h` and `w` of a resize: rows and columns.
pub(crate) fn size(call: &Call) -> Result<(u16, u16), Error> {
    let number = |name: &str, what: &str| {
        let text = call.query(name).unwrap_or_default();
        let invalid = |why: &str| Error::invalid(format!("invalid resize {what} {text:?}: {why}"));
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid("invalid syntax"));
        }
        text.parse::<u16>().map_err(|_| invalid("value out of range"))
    };
    Ok((number("h", "height")?, number("w", "width")?))
}
