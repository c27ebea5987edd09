//! A registry, a proxy before it, and a daemon under strace, in folders of their own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wire::Proxy;

/// The calls that change what a process sees of the machine.
const WATCHED: &str = "mount,umount2,move_mount,mount_setattr,pivot_root,clone3,clone,unshare,setns,sethostname,mknod,mknodat,seccomp";

pub(crate) struct Lab {
    folder: tempfile::TempDir,
    registry: Child,
    strace: Child,
    proxy: Proxy,
}

impl Lab {
    /// Starts everything; `None`, with a message, where something is missing.
    pub(crate) fn start() -> Option<Self> {
        let shim = Path::new(env!("CARGO_BIN_EXE_glassdock")).with_file_name("glassdock-shim");
        let root = fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
        let strace = Command::new("strace").arg("-V").output().is_ok();
        for (there, what) in [
            (root, "root"),
            (strace, "strace (Debian: apt-get install strace)"),
            (Path::new("/bin/busybox").exists(), "busybox (Debian: apt-get install busybox-static)"),
            (shim.exists(), "glassdock-shim beside glassdock (cargo build --workspace)"),
        ] {
            if !there {
                assert!(std::env::var_os("GLASSDOCK_TEST_STRICT").is_none(), "missing: {what}");
                eprintln!("skipped, missing: {what}");
                return None;
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (registry, address) = start_registry(folder.path());
        let (proxy, port) = Proxy::start(address);
        let strace = start_daemon(folder.path(), port);
        let lab = Self { folder, registry, strace, proxy };
        let begin = Instant::now();
        while !lab.command(&["version"]).output().is_ok_and(|output| output.status.success()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the daemon is not ready: {}", lab.errors());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(lab)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glassdock"));
        command.arg("--host").arg(format!("unix://{}", self.at("glassdock.sock").display())).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the client, which must succeed.
    pub(crate) fn glassdock(&self, words: &[&str]) {
        let output = self.command(words).output().expect("the client starts");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs the client, which must fail; returns what it complains of.
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("the client starts");
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs the client as an operation of a known id; returns the events of its trace.
    pub(crate) fn traced(&self, words: &[&str]) -> Vec<Value> {
        let before = self.traces();
        self.glassdock(words);
        // The daemon may still be at work on what the end of a container brings.
        std::thread::sleep(Duration::from_millis(500));
        let new: Vec<PathBuf> = self.traces().into_iter().filter(|path| !before.contains(path)).collect();
        let mut events = Vec::new();
        for path in new {
            let text = fs::read_to_string(path).expect("a trace");
            events
                .extend(text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
        }
        events
    }

    fn traces(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at("root/traces")).expect("the folder of traces");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// All that strace wrote.
    pub(crate) fn strace(&self) -> String {
        fs::read_to_string(self.at("strace")).expect("strace's log")
    }

    /// How many lines strace has written so far.
    pub(crate) fn syscalls_so_far(&self) -> usize {
        std::thread::sleep(Duration::from_millis(300));
        self.strace().lines().count()
    }

    /// The requests that went over the wire.
    pub(crate) fn wire(&self) -> Vec<String> {
        self.proxy.requests()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.at("errors")).unwrap_or_default()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // strace passes no signal on: its child, the daemon, is told to end.
        let children = format!("/proc/{0}/task/{0}/children", self.strace.id());
        for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").arg(pid).status();
        }
        let begin = Instant::now();
        while matches!(self.strace.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

fn start_registry(folder: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_glassdock"))
        .args(["registry", "serve", "--seed", "--listen", "127.0.0.1:0", "--root"])
        .arg(folder.join("registry"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the registry starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its address");
    let address = line.trim().rsplit("http://").next().expect("an address").to_owned();
    (child, address)
}

fn start_daemon(folder: &Path, port: u16) -> Child {
    // Bridges of tests that run side by side differ by the port, which is one's own.
    Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={WATCHED}"), "-o"])
        .arg(folder.join("strace"))
        .arg(env!("CARGO_BIN_EXE_glassdock"))
        .args([
            "daemon",
            "--bridge",
            &format!("gt{port}"),
            "--registry-mirror",
            &format!("http://127.0.0.1:{port}"),
        ])
        .arg("--root")
        .arg(folder.join("root"))
        .arg("--run-dir")
        .arg(folder.join("run"))
        .arg("--host")
        .arg(format!("unix://{}", folder.join("glassdock.sock").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("errors")).expect("a file"))
        .spawn()
        .expect("strace starts")
}
