//! `ContainerAttachWebsocket`: a container's streams for a page in a browser.
//!
//! Both outputs come as binary messages, without frames; what the page sends, as text or
//! binary, is the input. See RFC 6455.

use futures_util::{SinkExt, StreamExt};
use glassdock_registry::task;
use glassdock_runtime::Streams;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::{attach, logs, streams};
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// A message of a client is at most so long, in bytes.
const LIMIT: usize = 1024 * 1024;

/// So much of the output is one message.
const CHUNK: usize = 16 * 1024;

const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;

/// `ContainerAttachWebsocket`.
pub(crate) async fn attach(mut call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let key = call.header("sec-websocket-key").map(str::to_owned);
    let asks = call.header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    let (Some(key), true) = (key, asks) else {
        return Err(Error::invalid(
            "this endpoint is for web sockets: the request has no key or no upgrade to one",
        ));
    };
    attach::check(&container)?;
    let (tty, open_stdin) = container.look(|record| (record.config.tty, record.config.open_stdin));
    streams::keys_for(tty, call.query("detachKeys"))?;
    let wanted = Streams {
        stdin: call.flag("stdin") && open_stdin,
        stdout: call.flag("stdout"),
        stderr: call.flag("stderr"),
    };
    let past = call.flag("logs").then(|| logs::past(&container, wanted));
    let live = match call.flag("stream") {
        true => Some(attach::streams_of(&call.engine, &container, wanted).await?),
        false => None,
    };
    let Some(upgrade) = call.upgrade() else {
        return Err(Error::invalid("this connection can't become a web socket"));
    };
    let (part, shape) = (call.operation.clone(), streams::Shape::of(tty, true));
    task::spawn(async move {
        let Ok(client) = upgrade.await else { return };
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(LIMIT);
        config.max_frame_size = Some(LIMIT);
        let client = TokioIo::new(client);
        let mut client = WebSocketStream::from_raw_socket(client, Role::Server, Some(config)).await;
        if let Some(past) = past {
            let mut past = std::pin::pin!(past);
            while let Some(Ok(bytes)) = past.next().await {
                let bytes = if tty { bytes } else { streams::without_headers(&bytes).into() };
                if client.send(Message::Binary(bytes)).await.is_err() {
                    return;
                }
            }
        }
        if let Some(live) = live
            && let Some(shim) = live.come().await
            && let Ok(shim) = shape.put_on(shim)
        {
            join(client, shim).await;
        } else {
            let _ = client.close(None).await;
        }
        drop(part);
    });
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Error::internal("a web socket's key makes no header"))?;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(ACCEPT, accept);
    Ok(response)
}

/// Joins a client with a process until the output's end or the client's leaving.
async fn join(client: WebSocketStream<TokioIo<Upgraded>>, shim: UnixStream) {
    let (mut to_client, mut from_client) = client.split();
    let (mut from_shim, mut to_shim) = shim.into_split();
    let output = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from_shim.read(&mut buffer).await {
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            if to_client.send(Message::Binary(bytes.into())).await.is_err() {
                return;
            }
        }
        let _ = to_client.close().await;
    };
    let input = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => return,
                _ => continue,
            };
            // A process that reads no more goes on all the same.
            let _ = to_shim.write_all(&bytes).await;
        }
    };
    tokio::select! {
        () = output => {}
        () = input => {}
    }
}
