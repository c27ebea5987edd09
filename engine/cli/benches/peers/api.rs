//! The Engine API without a client: one request a connection, so that what is measured is the
//! daemon and not a program's start.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::Result;

/// An answer that takes longer than this is none.
const PATIENCE: Duration = Duration::from_secs(300);

/// An engine's socket.
pub(crate) struct Api<'a>(pub(crate) &'a Path);

impl Api<'_> {
    /// One request; the body of the answer.
    ///
    /// # Errors
    ///
    /// An answer that tells of a failure.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.0)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} /v1.41{path} HTTP/1.0\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        let status: u16 = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        if status >= 400 {
            Err(format!("{method} {path}: {status} {body}").into())
        } else {
            Ok(body.to_owned())
        }
    }

    /// Creates a container that sleeps; its name is the bench's own.
    ///
    /// # Errors
    ///
    /// As [`Api::ask`].
    pub(crate) fn create(&self, image: &str, name: &str) -> Result<()> {
        let body = format!(r#"{{"Image":"{image}","Cmd":["sleep","1000"]}}"#);
        self.ask("POST", &format!("/containers/create?name={name}"), &body).map(drop)
    }

    /// Creates an exec of `true` and runs it to its end.
    ///
    /// # Errors
    ///
    /// As [`Api::ask`].
    pub(crate) fn exec_true(&self, name: &str) -> Result<()> {
        let made = self.ask(
            "POST",
            &format!("/containers/{name}/exec"),
            r#"{"Cmd":["true"],"AttachStdout":true,"AttachStderr":true}"#,
        )?;
        let id = made.split('"').nth(3).ok_or("no id")?.to_owned();
        self.ask("POST", &format!("/exec/{id}/start"), r#"{"Detach":false}"#).map(drop)
    }
}
