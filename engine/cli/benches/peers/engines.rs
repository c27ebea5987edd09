//! The engines under test and the registry that both pull from, each started
//! in folders of its own and ended with the bench.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure;

/// An engine, used through its own client.
pub(crate) trait Engine {
    /// The daemon's process.
    fn pid(&self) -> u32;
    /// The socket that the API is at.
    fn socket(&self) -> &Path;
    /// The client with these words.
    fn command(&self, words: &[&str]) -> Command;
    /// PSS of the daemon and of what it keeps beside each container, in bytes.
    fn helpers_pss(&self) -> Result<u64>;

    /// Runs the client; what it printed.
    fn client(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words).output()?;
        if !output.status.success() {
            return Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the client; the seconds from its start to its end.
    fn timed(&self, words: &[&str]) -> Result<f64> {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        let status = command.status()?;
        let seconds = begin.elapsed().as_secs_f64();
        if status.success() { Ok(seconds) } else { Err(format!("{words:?}: {status}").into()) }
    }
}

/// A child that is asked to end, waited for, and killed if it stays.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        for _ in 0..100 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_ready(engine: &dyn Engine) -> Result<()> {
    for _ in 0..300 {
        if engine.client(&["version"]).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    engine.client(&["version"]).map(drop)
}

/// Docker Engine, from Debian's `docker.io`.
pub(crate) struct Docker {
    server: Server,
    socket: PathBuf,
}

impl Docker {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let at = |name: &str| folder.join("docker").join(name);
        std::fs::create_dir_all(at(""))?;
        let socket = at("docker.sock");
        let host = format!("unix://{}", socket.display());
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .args(["--host", &host])
            .stdin(Stdio::null())
            .stdout(File::create(at("log"))?)
            .stderr(File::create(at("errors"))?)
            .spawn()
            .map_err(|error| format!("dockerd (Debian's docker.io): {error}"))?;
        let docker = Self { server: Server(child), socket };
        wait_ready(&docker)?;
        Ok(docker)
    }
}

impl Engine for Docker {
    fn pid(&self) -> u32 {
        self.server.0.id()
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        // The builder that dockerd itself has.
        command.env("DOCKER_BUILDKIT", "0");
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(words);
        command
    }

    fn helpers_pss(&self) -> Result<u64> {
        // containerd and its shims belong to a container's cost as much as dockerd does.
        let pids = measure::helpers(self.pid(), "containerd")?;
        Ok(pids.into_iter().filter_map(|pid| measure::pss(pid).ok()).sum())
    }
}

/// The engine of this project.
pub(crate) struct Glassdock {
    server: Server,
    socket: PathBuf,
}

/// The release binary that this bench was built with.
fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_glassdock"))
}

impl Glassdock {
    /// `name` tells several engines of one bench apart.
    pub(crate) fn start(folder: &Path, name: &str, options: &[&str]) -> Result<Self> {
        let folder = folder.join(format!("glassdock-{name}"));
        std::fs::create_dir_all(&folder)?;
        let socket = folder.join("glassdock.sock");
        let host = format!("unix://{}", socket.display());
        // Interface names have at most 15 characters.
        let bridge = format!("gb{}{name}", std::process::id() % 100_000);
        let child = Command::new(binary())
            .arg("daemon")
            .arg("--root")
            .arg(folder.join("root"))
            .arg("--run-dir")
            .arg(folder.join("run"))
            .args(["--host", &host, "--bridge", &bridge])
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("log"))?)
            .stderr(File::create(folder.join("errors"))?)
            .spawn()?;
        let glassdock = Self { server: Server(child), socket };
        wait_ready(&glassdock)?;
        Ok(glassdock)
    }
}

impl Engine for Glassdock {
    fn pid(&self) -> u32 {
        self.server.0.id()
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(words);
        command
    }

    fn helpers_pss(&self) -> Result<u64> {
        let pids = measure::helpers(self.pid(), "glassdock-shim")?;
        Ok(pids.into_iter().filter_map(|pid| measure::pss(pid).ok()).sum())
    }
}

/// The embedded registry.
pub(crate) struct Registry {
    _server: Server,
    address: String,
}

impl Registry {
    /// With the lessons' images.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        Self::with(folder, &["--seed"])
    }

    /// With nothing in it.
    pub(crate) fn empty(folder: &Path) -> Result<Self> {
        Self::with(folder, &[])
    }

    fn with(folder: &Path, options: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary())
            .args(["registry", "serve", "--listen", "127.0.0.1:0", "--root"])
            .arg(folder.join("registry"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("registry.errors"))?)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the registry has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address =
            line.trim().rsplit("http://").next().ok_or("the registry tells its address")?.to_owned();
        Ok(Self { _server: Server(child), address })
    }

    /// The name of an image of this registry.
    pub(crate) fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:latest", self.address)
    }
}
