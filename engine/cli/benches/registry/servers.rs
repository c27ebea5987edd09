//! The two registries, each in folders and at a port of its own, and ended with the bench.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::http::Connection;

/// A registry that runs.
pub(crate) struct Registry {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    root: PathBuf,
    child: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Debian's `docker-registry`.
    pub(crate) fn distribution(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let root = folder.join("distribution");
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{address}'}}\n",
            root.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config);
        Self::start("docker-registry", address, root, command, folder)
    }

    /// Ours, as it is out of the box.
    pub(crate) fn glassdock(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let root = folder.join("glassdock");
        let binary =
            std::env::var_os("GLASSDOCK_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_glassdock").into());
        let mut command = Command::new(binary);
        command.args(["registry", "serve", "--listen", &address, "--root"]).arg(&root);
        Self::start("glassdock", address, root, command, folder)
    }

    fn start(
        name: &'static str,
        address: String,
        root: PathBuf,
        mut command: Command,
        folder: &Path,
    ) -> Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let registry = Self { name, address, root, child: command.spawn()? };
        for _ in 0..200 {
            let ready = registry.connect().and_then(|mut connection| connection.ask("GET", "/v2/", "", b""));
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("{name} does not come up").into())
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address)
    }

    /// Puts tags on a manifest, right on the disk: by requests it would take minutes.
    pub(crate) fn plant_tags(&self, repository: &str, digest: &str, count: usize) -> Result<()> {
        for number in 0..count {
            let tag = format!("tag-{number:05}");
            let path = if self.name == "glassdock" {
                self.root.join("repositories").join(repository).join("_tags").join(tag)
            } else {
                let repositories = self.root.join("docker/registry/v2/repositories");
                repositories.join(repository).join("_manifests/tags").join(tag).join("current/link")
            };
            fs::create_dir_all(path.parent().ok_or("a path has a parent")?)?;
            fs::write(path, digest)?;
        }
        Ok(())
    }

    /// The most memory that it ever had, in MiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
        let kibibytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kibibytes / 1024.0)
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
