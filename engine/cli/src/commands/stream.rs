//! Both ways between the terminal and a container: `run`, `attach`, `start -a`, `exec`.
//!
//! ```text
//!   stdin ──► detach keys ──► connection ──► container
//!   stdout ◄──┐
//!   stderr ◄──┴── frames ◄── connection ◄── container      (with a tty: one stream, no frames)
//! ```
//!
//! The end of standard input closes our half of the connection: the process reads
//! an end of file and may go on to write. The container's end closes the other.

use std::io::{self, Read, Write};

use glassdock_registry::task::{self, Task};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::text;
use crate::client::frames::{Frames, Target};
use crate::client::{Client, Stream, with_query};
use crate::failure::Failure;
use crate::show::output::{error_bytes, write_failure};
use crate::term::keys::{Keys, Typed};
use crate::term::raw::Raw;
use crate::term::{self, signals};

/// What is connected.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Whether the process has a terminal: one stream without frames.
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub keys: Keys,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The container closed it.
    Closed,
    /// The detach keys were pressed.
    Detached,
}

/// Reads the keys that `--detach-keys` or the configuration names.
pub(crate) fn keys(given: &str) -> Result<Keys, Failure> {
    if given.is_empty() {
        return Ok(Keys::usual());
    }
    Keys::parse(given).map_err(|error| Failure::say(format!("invalid detach keys ({given}): {error}")))
}

/// Docker's refusal of a terminal that is none.
pub(crate) fn check_tty(tty: bool, stdin: bool) -> Result<(), Failure> {
    if tty && stdin && !term::stdin_is_terminal() {
        return Err(Failure::say("the input device is not a TTY"));
    }
    Ok(())
}

/// Carries bytes both ways until the container or the user ends it.
///
/// # Errors
///
/// A broken connection, a standard output that takes no more.
pub(crate) async fn carry(stream: Stream, wires: Wires) -> Result<End, Failure> {
    let raw = if wires.tty && wires.stdin { Raw::enter() } else { None };
    let mut keys = wires.keys;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut typed = wires.stdin.then(read_stdin);
    let mut frames = Frames::default();
    let mut buffer = vec![0_u8; 32 * 1024];
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => match read {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    if wires.tty {
                        write_out(wires.stdout, bytes)?;
                    } else {
                        frames.feed(bytes, |target, piece| write_to(target, piece, wires.stdout, wires.stderr))?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(Failure::say(error.to_string())),
            },
            bytes = next(&mut typed) => match bytes {
                Some(bytes) if wires.tty => match keys.feed(&bytes) {
                    Typed::Pass(bytes) => send(&mut writer, &bytes).await,
                    Typed::Detach(bytes) => {
                        send(&mut writer, &bytes).await;
                        drop(raw);
                        return Ok(End::Detached);
                    }
                },
                Some(bytes) => send(&mut writer, &bytes).await,
                None => {
                    typed = None;
                    // A container that has gone already needs no end of file.
                    let _ = writer.shutdown().await;
                }
            },
        }
    }
    drop(raw);
    Ok(End::Closed)
}

/// A process that does not read its input is no error; the stream's end tells.
async fn send(writer: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) {
    if writer.write_all(bytes).await.is_ok() {
        let _ = writer.flush().await;
    }
}

async fn next(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

/// Standard input, read on a thread of its own: it may be a file, which can't be
/// polled, or a terminal that nobody types on.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0_u8; 32 * 1024];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                    if sender.blocking_send(bytes).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}

/// A piece of a framed stream to where it belongs.
pub(crate) fn write_to(target: Target, piece: &[u8], stdout: bool, stderr: bool) -> Result<(), Failure> {
    match target {
        Target::Out => write_out(stdout, piece),
        Target::Err => {
            if stderr {
                error_bytes(piece);
            }
            Ok(())
        }
        Target::System => {
            Err(Failure::say(format!("error from daemon in stream: {}", String::from_utf8_lossy(piece))))
        }
    }
}

/// A container's output goes out as it is.
fn write_out(wanted: bool, bytes: &[u8]) -> Result<(), Failure> {
    if !wanted {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(write_failure)
}

/// Passes signals on to a container, on a connection of its own.
pub(crate) fn proxy_signals(mut client: Client, container: String) -> Task<()> {
    let mut signals = signals::listen();
    task::spawn(async move {
        while let Some(name) = signals.recv().await {
            let path = with_query(&format!("/containers/{container}/kill"), &[("signal", name)]);
            // The container may have ended just now.
            let _ = client.post(&path, None).await;
        }
    })
}

/// Tells the container's terminal the size of ours, now and at each change.
/// `base` is `/containers/ID` or `/exec/ID`.
pub(crate) fn follow_size(mut client: Client, base: String) -> Task<()> {
    task::spawn(async move {
        let mut changes = signals::resizes();
        loop {
            if let Some((columns, rows)) =
                term::size(io::stdout()).filter(|(columns, rows)| *columns > 0 || *rows > 0)
            {
                let path = with_query(
                    &format!("{base}/resize"),
                    &[("h", &rows.to_string()), ("w", &columns.to_string())],
                );
                let mut tries = 0;
                // Just after the start the terminal may not be there yet.
                while client.send(Method::POST, &path, None, &[]).await.is_err() && tries < 5 {
                    tries += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(10 * tries)).await;
                }
            }
            let Some(signal) = &mut changes else { return };
            if signal.recv().await.is_none() {
                return;
            }
        }
    })
}

/// The API's path for attaching.
pub(crate) fn attach_path(container: &str, wires: &Wires, detach_keys: &str, logs: bool) -> String {
    let flag = |on: bool| if on { "1" } else { "" };
    with_query(
        &format!("/containers/{container}/attach"),
        &[
            ("stream", "1"),
            ("stdin", flag(wires.stdin)),
            ("stdout", flag(wires.stdout)),
            ("stderr", flag(wires.stderr)),
            ("detachKeys", detach_keys),
            ("logs", flag(logs)),
        ],
    )
}

/// A wait for a container's end, begun before its start so that nothing is missed.
/// The request is with the daemon when this returns.
pub(crate) fn wait(mut client: Client, container: &str, condition: &str) -> Task<Result<i32, Failure>> {
    let path = with_query(&format!("/containers/{container}/wait"), &[("condition", condition)]);
    task::spawn(async move {
        let answer = client.post_json(&path, None).await?;
        if let Some(error) = answer.get("Error").filter(|error| !error.is_null()) {
            let message = text(error, "Message");
            if !message.is_empty() {
                return Err(Failure::new(125, format!("Error waiting for container: {message}")));
            }
        }
        let status = answer.get("StatusCode").and_then(serde_json::Value::as_i64).unwrap_or(125);
        Ok(i32::try_from(status).unwrap_or(125))
    })
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::say(error.to_string())
    }
}
