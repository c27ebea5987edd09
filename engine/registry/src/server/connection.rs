//! Connections: accepted while there is room, each served by a task of its own.
//!
//! A slow client costs a task and a buffer, never a thread, so it can't keep others
//! waiting. A connection that sends nothing for the idle time is closed. One that takes
//! nothing is not: it keeps its task, its buffer and its place among the connections. One whose
//! body was refused before it was all there is listened to a little longer, so that the answer
//! reaches it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::wire::{Outlet, Wire};
use super::{Server, Shared, body::Body, handlers};
use crate::task;

/// So long is taken, and thrown away, what a client sends that has its last answer.
const LINGER: Duration = Duration::from_secs(5);

/// Accepts connections until `shutdown` is ready, and waits for those that are served.
pub(super) async fn accept(server: Server, shutdown: impl Future<Output = ()> + Send) {
    let Server { listener, tls, connections, grace, shared, .. } = server;
    let room = Arc::new(Semaphore::new(connections));
    let (stop, stopping) = watch::channel(false);
    let serving = async {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Out of descriptors, most likely: those in use come back as clients leave.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (tls, shared, stopping) = (tls.clone(), Arc::clone(&shared), stopping.clone());
            task::spawn(async move {
                one(stream, peer, tls, shared, stopping).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = serving => {}
        () = shutdown => {}
    }
    drop(listener);
    let _ = stop.send(true);
    let everyone = u32::try_from(connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(grace, room.acquire_many(everyone)).await;
}

async fn one(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting to fill packets would only delay small ones.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let outlet = Outlet::default();
        return serve(Wire::new(stream, outlet.clone()), Some(outlet), peer, shared, stopping).await;
    };
    let greeted = tokio::select! {
        greeted = greet(stream, &tls, shared.idle) => greeted,
        () = stopped(&mut stopping) => None,
    };
    if let Some(stream) = greeted {
        serve(stream, None, peer, shared, stopping).await;
    }
}

/// The encrypted stream, once the client has shaken hands. One that fails or stalls there is the
/// client's affair.
async fn greet(mut stream: TcpStream, tls: &TlsAcceptor, idle: Duration) -> Option<TlsStream<TcpStream>> {
    if speaks_plainly(&stream).await {
        // The words of Go's server, which clients know and explain.
        let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        // Whether they read it is their affair.
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        return None;
    }
    tokio::time::timeout(idle, tls.accept(stream)).await.ok()?.ok()
}

/// Whether a client that should greet with TLS begins a request of plain HTTP.
async fn speaks_plainly(stream: &TcpStream) -> bool {
    let mut first = [0];
    let peeked = tokio::time::timeout(Duration::from_secs(10), stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1))) && first[0].is_ascii_uppercase()
}

async fn serve<S>(
    stream: S,
    outlet: Option<Outlet>,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle = shared.idle;
    let asked = Arc::new(AtomicBool::new(false));
    let ever_asked = Arc::clone(&asked);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        ever_asked.store(true, Ordering::Relaxed);
        let (shared, outlet) = (Arc::clone(&shared), outlet.clone());
        Box::pin(async move {
            let mut response = handlers::answer(&shared, request, peer).await;
            if let Some(outlet) = &outlet {
                response.body_mut().send_by(outlet);
            }
            Ok::<http::Response<Body>, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .writev(true)
        .max_buf_size(512 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // Errors here are clients that left; there is nobody to tell.
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = stopped(&mut stopping) => {
            // Of one that asked nothing yet hyper awaits a request even so.
            if asked.load(Ordering::Relaxed) {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                let _ = connection.await;
            }
            return;
        }
    };
    if ended.is_ok() {
        let mut stream = connection.into_parts().io.into_inner();
        if stream.shutdown().await.is_ok() {
            tokio::select! {
                () = linger(stream) => {}
                () = stopped(&mut stopping) => {}
            }
        }
    }
}

/// Waits until the server is to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Where nobody can say it any more, it has stopped.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Takes what a client still sends after its last answer, for a while. Bytes that nobody takes would
/// reset the connection, and the client, who sends first and listens then, would never read why
/// its body was refused.
async fn linger<S: AsyncRead + Unpin>(mut stream: S) {
    let mut nowhere = vec![0; 8 * 1024];
    let reading = async {
        while let Ok(Ok(1..)) = tokio::time::timeout(LINGER / 5, stream.read(&mut nowhere)).await {}
    };
    let _ = tokio::time::timeout(LINGER, reading).await;
}
