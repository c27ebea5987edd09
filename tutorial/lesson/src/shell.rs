//! Commands as a person types them: run by `sh -c`, in a lab's surroundings, watched.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Of each of a command's outputs, so many bytes are kept.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Where a command runs.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The working directory.
    pub folder: PathBuf,
    /// The whole environment; nothing of the runner's own gets through.
    pub environment: Vec<(&'static str, OsString)>,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command.
    pub command: String,
    /// Its exit status; 128 and the signal's number if one ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether it was ended because it took too long.
    pub timed_out: bool,
    /// How long it took.
    pub took: Duration,
}

/// One of a command's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Someone who hears a command's outputs as they are written.
pub type Hear<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// Runs `command`, at most for `limit`, and tells `hear` what it writes. It has a process group of its own, which is
/// ended as a whole when the time is over, or when the future is dropped.
///
/// # Errors
///
/// If there is no `sh`.
pub async fn run(
    command: &str,
    surroundings: &Surroundings,
    limit: Duration,
    hear: Hear<'_>,
) -> io::Result<Ran> {
    let began = Instant::now();
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .current_dir(&surroundings.folder)
        .env_clear()
        .envs(surroundings.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = Group::of(child.id());
    let outputs = listen(child.stdout.take(), child.stderr.take(), hear);
    let all = async { tokio::join!(child.wait(), outputs) };
    match tokio::time::timeout(limit, all).await {
        Ok((status, (stdout, stderr))) => {
            let status = status?;
            group.forget();
            Ok(Ran {
                command: command.to_owned(),
                status: status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
                stdout,
                stderr,
                timed_out: false,
                took: began.elapsed(),
            })
        }
        Err(_) => Ok(Ran {
            command: command.to_owned(),
            status: 124,
            stdout: String::new(),
            stderr: format!("it was stopped after {} seconds", limit.as_secs()),
            timed_out: true,
            took: began.elapsed(),
        }),
    }
}

/// Reads both outputs to their ends.
async fn listen(
    mut stdout: Option<impl AsyncRead + Unpin>,
    mut stderr: Option<impl AsyncRead + Unpin>,
    hear: Hear<'_>,
) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (mut first, mut second) = (vec![0_u8; 8192], vec![0_u8; 8192]);
    while stdout.is_some() || stderr.is_some() {
        let (stream, length) = tokio::select! {
            length = next(&mut stdout, &mut first) => (Stream::Stdout, length),
            length = next(&mut stderr, &mut second) => (Stream::Stderr, length),
        };
        let (bytes, kept) = match stream {
            Stream::Stdout => (first.get(..length), &mut out),
            Stream::Stderr => (second.get(..length), &mut err),
        };
        let bytes = bytes.unwrap_or_default();
        hear(stream, bytes);
        let room = OUTPUT_LIMIT.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(out), text(err))
}

/// The next bytes of a stream; at its end it is taken away, and never ready again.
async fn next(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    let Some(open) = stream else { return std::future::pending().await };
    match open.read(buffer).await {
        Ok(length @ 1..) => length,
        _ => {
            *stream = None;
            0
        }
    }
}

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// The group that a child started with `process_group(0)` leads.
    #[must_use]
    pub fn of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw))
    }

    /// Asks all of it to end.
    pub fn terminate(&self) {
        if let Some(group) = self.0 {
            // Gone already is as good as ended.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }

    /// The group has ended by itself.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(command: &str, limit: Duration) -> Ran {
        let environment = vec![("PATH", "/usr/bin:/bin".into())];
        let surroundings = Surroundings { folder: "/".into(), environment };
        run(command, &surroundings, limit, &mut |_, _| {}).await.expect("sh is there")
    }

    #[tokio::test]
    async fn status_and_outputs() {
        let ran = sh("echo out; echo err >&2; exit 3", Duration::from_secs(10)).await;
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (3, "out\n", "err\n"));
        assert_eq!(sh("kill -9 $$", Duration::from_secs(10)).await.status, 137);
        assert_eq!(sh("echo ${HOME-none}", Duration::from_secs(10)).await.stdout, "none\n");
    }

    #[tokio::test]
    async fn what_is_written_is_heard_when_it_is_written() {
        let surroundings = Surroundings { folder: "/".into(), environment: Vec::new() };
        let mut heard = Vec::new();
        let mut hear = |stream, bytes: &[u8]| heard.push((stream, bytes.to_vec()));
        let command = "echo one; sleep 0.1; echo two >&2";
        let ran = run(command, &surroundings, Duration::from_secs(10), &mut hear).await.expect("sh is there");
        heard.retain(|(_, bytes)| !bytes.is_empty());
        assert_eq!(heard, [(Stream::Stdout, b"one\n".to_vec()), (Stream::Stderr, b"two\n".to_vec())]);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("one\n", "two\n"));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_with_its_children() {
        let ran = sh("sleep 321.5 & wait", Duration::from_millis(200)).await;
        assert!(ran.timed_out && ran.took < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sleeps = std::fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.starts_with(b"sleep\x00321.5")
        });
        assert!(!sleeps, "a child was left behind");
    }
}
