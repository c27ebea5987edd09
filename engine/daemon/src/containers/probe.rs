//! One check of a container's health: a command that is executed in it, its output
//! and its exit status.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::container::Container;
use super::exec;
use crate::engine::Engine;
use crate::error::Error;

/// So much of the output is kept, in bytes.
const OUTPUT: usize = 4096;

/// What is still on its way when the command has ended comes within that time; a process
/// that it left behind may hold its output open for ever.
const AFTER: Duration = Duration::from_millis(200);

/// A check that is about to be made.
pub(crate) struct Probe<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) container: &'a Arc<Container>,
    pub(crate) command: &'a [String],
    pub(crate) timeout: Duration,
    /// Whether it is an operation with a trace of its own.
    pub(crate) recorded: bool,
    /// The container is not watched any more.
    pub(crate) stop: &'a CancellationToken,
}

impl Probe<'_> {
    /// Makes the check: its exit status (-1 if there is none) and what it said.
    pub(crate) async fn run(&self) -> (i32, String) {
        self.checked().await.unwrap_or_else(|error| (-1, error.to_string()))
    }

    async fn checked(&self) -> Result<(i32, String), Error> {
        let id = exec::prepare(self.engine, self.container, self.command)?;
        let operation = self.recorded.then(|| {
            let name = self.container.name();
            self.engine.operations.own(vec!["container".to_owned(), "health".to_owned(), name])
        });
        let begun = exec::begin(self.engine, self.container, &id, operation.as_ref());
        let begun = tokio::time::timeout(self.timeout, begun).await;
        let stream = begun.unwrap_or_else(|_| Ok(None));
        // A failed one is an exec that ended; what it is called by is not asked for again.
        let Some(stream) = stream? else { return Ok((-1, self.too_long(&[]))) };
        let mut output = Vec::new();
        let code = tokio::select! {
            code = self.listen(&id, stream, &mut output) => Some(code),
            () = tokio::time::sleep(self.timeout) => None,
            () = self.stop.cancelled() => None,
        };
        if code.is_none() {
            self.kill(&id).await;
        }
        self.engine.execs.forget(&id);
        Ok(match code {
            Some(code) => (code, shown(&output)),
            None => (-1, self.too_long(&output)),
        })
    }

    /// Hears the command out.
    async fn listen(&self, id: &str, stream: UnixStream, output: &mut Vec<u8>) -> i32 {
        let mut reading = std::pin::pin!(read(stream, output));
        tokio::select! {
            () = &mut reading => {}
            () = self.engine.execs.over(id) => {
                let _ = tokio::time::timeout(AFTER, &mut reading).await;
            }
        }
        self.engine.execs.over(id).await;
        self.engine.execs.exit_code(id).unwrap_or(-1)
    }

    fn too_long(&self, output: &[u8]) -> String {
        let message = format!("Health check exceeded timeout ({:?})", self.timeout);
        if output.is_empty() { message } else { format!("{message}: {}", shown(output)) }
    }

    /// Ends the command's process, and waits for its end so that slow checks don't gather.
    async fn kill(&self, id: &str) {
        let Ok(shim) = self.container.shim() else { return };
        let exec = id.to_owned();
        let killed = self.engine.blocking(move |_| shim.kill_exec(&exec, 9)).await;
        if killed.is_ok() {
            let _ = tokio::time::timeout(self.timeout, self.engine.execs.over(id)).await;
        }
    }
}

/// Reads frames (a header of 8 bytes with the length, then so many bytes) until the end,
/// and keeps the beginning of what is in them.
async fn read(mut stream: UnixStream, output: &mut Vec<u8>) {
    let (mut header, mut chunk) = ([0; 8], [0; 4096]);
    while stream.read_exact(&mut header).await.is_ok() {
        let [.., a, b, c, d] = header;
        let mut left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        while left > 0 {
            let room = chunk.len().min(left);
            let Some(part) = chunk.get_mut(..room) else { return };
            let Ok(length @ 1..) = stream.read(part).await else { return };
            left -= length;
            // One byte more than is shown tells that there was more.
            let room = (OUTPUT + 1).saturating_sub(output.len());
            output.extend(part.iter().take(length.min(room)));
        }
    }
}

/// The output as `inspect` shows it: its beginning.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output.get(..OUTPUT).unwrap_or(output)).into_owned();
    if output.len() > OUTPUT { text + "..." } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_is_cut() {
        assert_eq!(shown(b"hi\n"), "hi\n");
        assert_eq!(shown(&[b'x'; OUTPUT]).len(), OUTPUT);
        assert_eq!(shown(&[b'x'; OUTPUT + 1]), "x".repeat(OUTPUT) + "...");
    }
}
