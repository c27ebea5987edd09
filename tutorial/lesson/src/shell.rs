//! Commands as a person types them: run by `sh -c`, in a lab's surroundings, watched.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
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

/// Runs `command`, at most for `limit`. It has a process group of its own, which is
/// ended as a whole when the time is over, or when the future is dropped.
///
/// # Errors
///
/// If there is no `sh`.
pub async fn run(command: &str, surroundings: &Surroundings, limit: Duration) -> io::Result<Ran> {
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
    let stdout = keep(child.stdout.take());
    let stderr = keep(child.stderr.take());
    let all = async { tokio::join!(child.wait(), stdout, stderr) };
    match tokio::time::timeout(limit, all).await {
        Ok((status, stdout, stderr)) => {
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

async fn keep(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = vec![0_u8; 8192];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_LIMIT.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).into_owned()
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
        run(command, &surroundings, limit).await.expect("sh is there")
    }

    #[tokio::test]
    async fn status_and_outputs() {
        let ran = sh("echo out; echo err >&2; exit 3", Duration::from_secs(10)).await;
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (3, "out\n", "err\n"));
        assert_eq!(sh("kill -9 $$", Duration::from_secs(10)).await.status, 137);
        assert_eq!(sh("echo ${HOME-none}", Duration::from_secs(10)).await.stdout, "none\n");
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
