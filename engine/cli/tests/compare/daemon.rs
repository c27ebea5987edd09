//! The daemon that both clients talk to.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A daemon with the image `busybox` in it.
pub(crate) struct Daemon {
    pub host: String,
    child: Option<Child>,
    folder: Option<TempDir>,
}

impl Daemon {
    /// The daemon that the environment names, or one of our own.
    pub(crate) fn start() -> Result<Self, String> {
        if let Ok(host) = std::env::var("GLASSDOCK_COMPARE_HOST") {
            return Ok(Self { host, child: None, folder: None });
        }
        if !Path::new("/usr/sbin/dockerd").exists() || !Path::new("/bin/busybox").exists() {
            return Err("no dockerd or no busybox on this machine".to_owned());
        }
        let root = fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0);
        if !root.unwrap_or(false) {
            return Err("dockerd needs root".to_owned());
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let host = format!("unix://{}", at("docker.sock"));
        let child = Command::new("/usr/sbin/dockerd")
            .args([
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
                "--host",
                &host,
            ])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--log-level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start dockerd: {error}"))?;
        let daemon = Self { host, child: Some(child), folder: Some(folder) };
        daemon.wait_until_it_answers()?;
        daemon.import()?;
        Ok(daemon)
    }

    fn wait_until_it_answers(&self) -> Result<(), String> {
        let path = self.host.trim_start_matches("unix://");
        for _ in 0..300 {
            if UnixStream::connect(path).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("dockerd did not answer within 30 s".to_owned())
    }

    /// A file system of BusyBox alone.
    fn import(&self) -> Result<(), String> {
        let script = r#"set -e
            cd "$(mktemp -d)"; mkdir -p r/bin r/etc r/tmp r/proc r/sys r/dev r/root; cp /bin/busybox r/bin/
            for a in sh true false echo sleep cat ls id env ps head tail mkdir touch rm ln seq kill pwd; do ln -s busybox r/bin/$a; done
            echo root:x:0:0:root:/root:/bin/sh > r/etc/passwd
            tar -C r -c . | docker import -c 'CMD ["sh"]' -c 'ENV PATH=/bin' - busybox:latest
            rm -rf "$PWD""#;
        let status = Command::new("sh")
            .args(["-c", script])
            .env("DOCKER_HOST", &self.host)
            .stdout(Stdio::null())
            .status()
            .map_err(|error| error.to_string())?;
        if status.success() {
            Ok(())
        } else {
            Err("the image for the comparison could not be imported".to_owned())
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            // SIGTERM: dockerd stops containerd and unmounts what it mounted.
            let _ = Command::new("kill").arg(pid).status();
            let _ = child.wait();
        }
        drop(self.folder.take());
    }
}
