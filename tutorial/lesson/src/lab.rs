//! A lab: the private world that a lesson runs in.
//!
//! ```text
//!   /tmp/glassdock-lesson-SLOT-PID/
//!     root/       the daemon's root: blobs, layers, state.db, traces
//!     run/        its socket
//!     registry/   the embedded registry's root, seeded
//!     bin/docker  a link to glassdock, so that commands are typed as the book prints them
//!     home/       the working directory of the commands
//! ```
//!
//! The daemon has a bridge and a subnet of the lab's [`Slot`], and asks the lab's
//! registry, on a port that the kernel chose, for everything of docker.io. Nothing
//! of it is shared with the host's engines or with another lab, and [`Lab::close`]
//! looks whether anything is left.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use glassdock_trace::redact::Names;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api;
use crate::files::{self, Files};
use crate::leftovers;
use crate::shell::{Group, Surroundings};
use crate::slot::Slot;
use crate::tools::Tools;

/// A daemon or a registry must be ready after so long.
const READY: Duration = Duration::from_secs(30);
/// A daemon that is asked to stop may take so long.
const STOP: Duration = Duration::from_secs(15);

/// The images that each lab's registry has. Others take time to make, so that only the
/// lessons that name them get them.
pub const SEED: [&str; 7] =
    ["hello-world", "busybox", "ubuntu", "java", "postgres", "lessons/java-app", "lessons/coffee"];

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    slot: Slot,
    registry: Option<Server>,
    registry_url: String,
    daemon: Option<Server>,
}

#[derive(Debug)]
struct Server {
    child: Child,
    group: Group,
}

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of the host refused.
    #[error("cannot set the lab up: {what}")]
    Setup {
        /// What was being done.
        what: String,
        /// The host's error.
        source: io::Error,
    },
    /// A server did not come up.
    #[error("the {name} did not get ready{said}")]
    Server {
        /// `daemon` or `registry`.
        name: &'static str,
        /// What it said last, on lines of their own.
        said: String,
    },
    /// The run shall end.
    #[error("interrupted")]
    Interrupted,
}

fn setup(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Setup { what: what.into(), source }
}

impl Lab {
    /// Sets a lab up: folder, registry, daemon, in this order.
    ///
    /// # Errors
    ///
    /// What failed; nothing is left behind then.
    pub async fn open(tools: &Tools) -> Result<Self, Error> {
        let slot = Slot::claim().map_err(setup("claim a slot"))?;
        sweep(&slot);
        let folder = std::env::temp_dir().join(format!("{}{}", slot.prefix(), std::process::id()));
        let mut lab = Self { folder, slot, registry: None, registry_url: String::new(), daemon: None };
        let started = tools.interrupt.or(lab.start(tools)).await.unwrap_or(Err(Error::Interrupted));
        match started {
            Ok(()) => Ok(lab),
            Err(error) => {
                lab.close().await;
                Err(error)
            }
        }
    }

    async fn start(&mut self, tools: &Tools) -> Result<(), Error> {
        for name in ["root", "run", "registry", "bin", "home"] {
            let path = self.folder.join(name);
            fs::create_dir_all(&path).map_err(setup(format!("make {}", path.display())))?;
        }
        let link = self.folder.join("bin/docker");
        std::os::unix::fs::symlink(&tools.glassdock, &link)
            .map_err(setup(format!("link {}", link.display())))?;
        std::os::unix::fs::symlink(&tools.glassdock, self.folder.join("bin/glassdock"))
            .map_err(setup("link glassdock"))?;
        self.start_registry(tools).await?;
        self.start_daemon(tools).await
    }

    /// Puts images of the seed into the lab's registry.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn seed<S: AsRef<OsStr>>(&self, images: &[S]) -> Result<(), Error> {
        let mut command = Command::new(self.folder.join("bin/glassdock"));
        command.args(["registry", "seed", "--root"]).arg(self.folder.join("registry")).args(images);
        let output = command.output().await.map_err(setup("start glassdock"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = format!("\n  {}", String::from_utf8_lossy(&output.stderr).trim_end());
        Err(Error::Server { name: "registry", said })
    }

    async fn start_registry(&mut self, tools: &Tools) -> Result<(), Error> {
        Box::pin(self.seed(&SEED)).await?;
        let mut command = self.server(tools, "registry");
        command
            .args(["registry", "serve", "--listen", "127.0.0.1:0", "--root"])
            .arg(self.folder.join("registry"))
            .stdout(Stdio::piped());
        let mut server = spawn(command)?;
        let stdout = server.child.stdout.take();
        self.registry = Some(server);
        let first = async {
            let mut lines = BufReader::new(stdout?).lines();
            let line = lines.next_line().await.ok()??;
            // The rest is read and dropped, so that the registry never waits for a reader.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            line.strip_prefix("listening on ").map(|url| url.trim().to_owned())
        };
        match tokio::time::timeout(READY, first).await {
            Ok(Some(url)) => {
                self.registry_url = url;
                Ok(())
            }
            _ => Err(self.not_ready("registry")),
        }
    }

    async fn start_daemon(&mut self, tools: &Tools) -> Result<(), Error> {
        let mut command = self.server(tools, "daemon");
        let mut host = OsString::from("unix://");
        host.push(self.socket());
        command.arg("daemon").arg("--root").arg(self.root()).arg("--run-dir").arg(self.folder.join("run"));
        command.arg("--host").arg(host).args(["--registry-mirror", &self.registry_url]);
        command.args(["--bridge", &self.slot.bridge(), "--bip", &self.slot.address(), "--stop-containers"]);
        self.daemon = Some(spawn(command)?);
        let began = Instant::now();
        while began.elapsed() < READY {
            if api::ping(&self.socket()).await {
                return Ok(());
            }
            if let Some(daemon) = &mut self.daemon
                && matches!(daemon.child.try_wait(), Ok(Some(_)))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self.not_ready("daemon"))
    }

    fn server(&self, tools: &Tools, name: &str) -> Command {
        let mut command = Command::new(&tools.glassdock);
        let log = fs::File::create(self.folder.join(format!("{name}.log")));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        // Not killed by the terminal's Ctrl-C: the runner stops it in order.
        command.process_group(0).env_clear().envs(self.environment()).current_dir(&self.folder);
        command
    }

    fn not_ready(&self, name: &'static str) -> Error {
        let log = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(10)..).unwrap_or_default();
        let said = last.iter().map(|line| format!("\n  {line}")).collect();
        Error::Server { name, said }
    }

    /// The folder that all of it is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The daemon's root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/glassdock.sock")
    }

    /// Where the lesson's commands run.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { folder: self.folder.join("home"), environment: self.environment() }
    }

    /// Puts files where the lesson's commands run.
    ///
    /// # Errors
    ///
    /// With the path that could not be written.
    pub fn write(&self, files: &Files) -> io::Result<()> {
        files::write(&self.folder.join("home"), files)
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut path = self.folder.join("bin").into_os_string();
        path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut host = OsString::from("unix://");
        host.push(self.socket());
        vec![
            ("PATH", path),
            ("HOME", self.folder.join("home").into()),
            ("DOCKER_HOST", host),
            ("LANG", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("TERM", "dumb".into()),
            ("GLASSDOCK_LAB", self.folder.clone().into()),
        ]
    }

    /// Names for what is this lab's own, so that another lab's transcript is the same.
    #[must_use]
    pub fn names(&self) -> Names {
        let mut names = Names::default();
        names.literal(self.root().to_string_lossy(), "ROOT");
        names.literal(self.folder.join("run").to_string_lossy(), "RUN");
        names.literal(self.folder.to_string_lossy(), "LAB");
        names.literal(self.registry_url.clone(), "http://REGISTRY");
        let registry = self.registry_url.trim_start_matches("http://");
        names.literal(registry, "REGISTRY");
        // As a part of a request's path.
        names.literal(registry.replace(':', "%3A"), "REGISTRY");
        names.literal(self.slot.bridge(), "BRIDGE");
        names
    }

    /// Gives names to the containers and images that are there: the lesson's preparation
    /// made them, so no step's trace tells what they are.
    pub async fn name_objects(&self, names: &mut Names) {
        let listed = async |path| match api::get(&self.socket(), path).await {
            Ok(Value::Array(objects)) => objects,
            _ => Vec::new(),
        };
        let text =
            |object: &Value, pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut images = listed("/images/json").await;
        images.sort_by_key(|image| text(image, "/RepoTags/0"));
        for id in images.iter().filter_map(|image| text(image, "/Id")) {
            names.name("image", &id);
        }
        // The newest is listed first.
        for container in listed("/containers/json?all=1").await.iter().rev() {
            if let Some(id) = text(container, "/Id") {
                names.name("c", &id);
            }
            if let Some(name) = text(container, "/Names/0") {
                names.maybe_generated(name.trim_start_matches('/'));
            }
        }
    }

    /// Takes the lab down: background jobs, daemon with its containers, registry, folder. Returns what
    /// is left all the same, in words; that is an error of the engine.
    pub async fn close(mut self) -> Vec<String> {
        leftovers::end_jobs(&self.folder, &self.folder.join("home"));
        let containers = self.containers();
        for id in &containers {
            // Asked to stop, a program may take ten seconds to be killed in the end; one that
            // has ended already is what is wanted.
            let _ = api::kill(&self.socket(), id).await;
        }
        if let Some(daemon) = self.daemon.take() {
            stop(daemon).await;
        }
        // The registry has nothing on the host but its folder, which goes too: it needs no farewell.
        if let Some(Server { mut child, group }) = self.registry.take() {
            drop(group);
            let _ = child.wait().await;
        }
        let mut left = leftovers::find(&self.folder, &self.slot.bridge(), &containers);
        // Processes that were just killed may need a moment to be gone.
        for _ in 0..20 {
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            left = leftovers::find(&self.folder, &self.slot.bridge(), &containers);
        }
        if !left.is_empty() {
            clear(&self.folder, &self.slot.bridge());
        }
        if let Err(error) = leftovers::remove_folder(&self.folder) {
            left.push(error.to_string());
        }
        left
    }

    /// The ids of all containers that the daemon has made and not removed.
    fn containers(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root().join("containers")) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

fn spawn(mut command: Command) -> Result<Server, Error> {
    let child = command.spawn().map_err(setup("start glassdock"))?;
    let group = Group::of(child.id());
    Ok(Server { child, group })
}

async fn stop(mut server: Server) {
    server.group.terminate();
    if tokio::time::timeout(STOP, server.child.wait()).await.is_ok() {
        server.group.forget();
    }
}

/// Removes what a run that died left under this slot's number.
fn sweep(slot: &Slot) {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    let prefix = slot.prefix();
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            clear(&entry.path(), &slot.bridge());
            let _ = leftovers::remove_folder(&entry.path());
        }
    }
}

/// Ends and takes down by force what belongs to a lab. What can't be cleared is
/// found by whoever looks next.
fn clear(folder: &Path, bridge: &str) {
    leftovers::end_processes(folder);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let here = folder.to_string_lossy().into_owned();
    for target in
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|target| target.starts_with(&here))
    {
        let _ = std::process::Command::new("umount").arg("-l").arg(target).stderr(Stdio::null()).status();
    }
    leftovers::remove_network(bridge);
}
