//! A daemon of a test's own, and ways to talk with it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use glassdock_image::{Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, Silent};
use glassdock_registry::{seed, server};
use glassdock_trace::Trace;

/// Where the process of a daemon reads what it shall be.
const ROOT: &str = "GLASSDOCK_TEST_DAEMON_ROOT";
const BRIDGE: &str = "GLASSDOCK_TEST_DAEMON_BRIDGE";

/// A daemon with all that belongs to it. Goes with everything when it is dropped.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    bridge: String,
    daemon: Option<Child>,
}

/// A lab with the seed's images, or `None` with a message of what is missing.
pub(crate) fn lab() -> Option<Lab> {
    let missing = missing();
    if let Some(missing) = &missing {
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("skipped: {missing}");
        }
        return None;
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab { folder, bridge: format!("gdt{}n{number}", std::process::id()), daemon: None };
    lab.plant();
    lab.start();
    Some(lab)
}

fn missing() -> Option<String> {
    if !std::fs::read_to_string("/proc/self/status").unwrap_or_default().contains("\nUid:\t0\t") {
        return Some("the test needs root".to_owned());
    }
    if !Path::new(seed::BUSYBOX).exists() {
        return Some(format!("the test needs a static BusyBox at {}", seed::BUSYBOX));
    }
    let shim = shim();
    (!shim.exists())
        .then(|| format!("the test needs {}: cargo build -p glassdock-runtime --bins", shim.display()))
}

fn shim() -> PathBuf {
    let test = std::env::current_exe().expect("this test's file");
    test.ancestors().nth(2).expect("a target folder").join("glassdock-shim")
}

/// Not a test: the daemon's process. A lab starts this binary with this name.
#[test]
#[ignore = "it is the process of a daemon that other tests start"]
fn daemon_process() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let config = glassdock_daemon::Config {
        root: root.join("root"),
        run_dir: root.join("run"),
        hosts: vec![root.join("docker.sock")],
        bridge: std::env::var(BRIDGE).expect("a bridge"),
        ..glassdock_daemon::Config::default()
    };
    glassdock_daemon::run(config).expect("a daemon");
}

impl Lab {
    /// Pulls the seed's images from a registry of its own into the root.
    fn plant(&self) {
        let (registry, root) = (self.folder.path().join("registry"), self.folder.path().join("root"));
        std::fs::create_dir(&root).expect("a root");
        let seed = seed::images(Path::new(seed::BUSYBOX)).expect("the seed");
        server::plant(&registry, &seed.images).expect("a planted registry");
        let tasks = tokio::runtime::Runtime::new().expect("tasks");
        tasks.block_on(async {
            let mut config = server::Config::new(&registry);
            config.listen = "127.0.0.1:0".parse().expect("an address");
            let server = server::Server::bind(config).await.expect("a registry");
            let mirrors = vec![format!("http://{}", server.address())];
            tokio::spawn(server.serve(std::future::pending()));
            let client = Client::new(ClientConfig { mirrors, hub: false, ..ClientConfig::default() });
            let images = Images::open(&root).expect("images");
            for name in ["busybox", "hello-world"] {
                let reference = Reference::parse(name).expect("a name");
                let (trace, platform) = (Trace::off(), Platform::host());
                let pull = client.pull(&trace, &reference, &platform, None, &images, Arc::new(Silent));
                pull.await.expect("a pull");
            }
        });
    }

    /// Starts the daemon (again), and waits until it answers.
    pub(crate) fn start(&mut self) {
        let child = Command::new(std::env::current_exe().expect("this test's file"))
            .args(["--ignored", "--exact", "support::daemon_process", "--nocapture"])
            .env(ROOT, self.folder.path())
            .env(BRIDGE, &self.bridge)
            .env("GLASSDOCK_SHIM", shim())
            .stdout(Stdio::null())
            .spawn()
            .expect("a daemon");
        self.daemon = Some(child);
        let ready = || self.try_request("GET", "/_ping", "").is_some_and(|(status, _)| status == 200);
        assert!(eventually(ready), "the daemon does not answer");
    }

    /// Ends the daemon as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("SIGKILL");
            daemon.wait().expect("the daemon's end");
        }
    }

    /// Stops the daemon as a service manager would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let sent = Command::new("kill").arg(daemon.id().to_string()).status().expect("kill");
            assert!(sent.success());
            assert!(daemon.wait().expect("the daemon's end").success(), "a clean stop");
        }
    }

    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    pub(crate) fn bridge(&self) -> &str {
        &self.bridge
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// One request; the status and the body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_request(method, path, body).expect("an answer")
    }

    /// As [`Lab::request`], with a JSON answer.
    pub(crate) fn json(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (status, text) = self.request(method, path, body);
        (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    fn try_request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Whatever bytes a test wants to send; the status and the body of the answer.
    pub(crate) fn raw(&self, request: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Some((status, if chunked { without_chunks(body) } else { body.to_owned() }))
    }

    /// As [`Lab::raw`], of an answer that goes on: only its head, as it came.
    pub(crate) fn raw_head(&self, request: &str) -> (UnixStream, String) {
        let mut stream = UnixStream::connect(self.socket()).expect("a daemon");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            head.extend_from_slice(&byte);
        }
        (stream, String::from_utf8_lossy(&head).into_owned())
    }

    /// Creates a container of BusyBox; returns its id.
    pub(crate) fn create(&self, name: &str, command: &[&str]) -> String {
        let body = serde_json::json!({ "Image": "busybox", "Cmd": command }).to_string();
        let (status, answer) = self.json("POST", &format!("/containers/create?name={name}"), &body);
        assert_eq!(status, 201, "{answer}");
        answer["Id"].as_str().expect("an id").to_owned()
    }

    /// Creates and starts one.
    pub(crate) fn run(&self, name: &str, command: &[&str]) -> String {
        let id = self.create(name, command);
        let (status, answer) = self.request("POST", &format!("/containers/{id}/start"), "");
        assert_eq!(status, 204, "{answer}");
        id
    }

    pub(crate) fn inspect(&self, name: &str) -> serde_json::Value {
        let (status, answer) = self.json("GET", &format!("/containers/{name}/json"), "");
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Runs the `docker` client, if there is one.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Option<Output> {
        let host = format!("unix://{}", self.socket().display());
        let output =
            Command::new("docker").arg("--host").arg(host).args(arguments).stdin(Stdio::null()).output();
        output.ok()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A request whose client left may still make a container after the others were deleted; what
        // is there once the daemon has stopped, another one deletes.
        for _ in 0..3 {
            self.empty();
            let left = std::fs::read_dir(self.root().join("containers"));
            if left.map_or(0, Iterator::count) == 0 {
                return;
            }
        }
    }
}

impl Lab {
    /// Deletes all containers, and stops the daemon.
    fn empty(&mut self) {
        if self.daemon.is_none() {
            self.start();
        }
        if let (200, serde_json::Value::Array(containers)) = self.json("GET", "/containers/json?all=1", "") {
            for container in containers {
                let id = container["Id"].as_str().unwrap_or_default();
                self.request("DELETE", &format!("/containers/{id}?force=1&v=1"), "");
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let _ = daemon.wait();
        }
    }
}

/// Whether something comes to be within some seconds.
pub(crate) fn eventually(mut is: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if is() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn without_chunks(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || rest.len() < length {
            break;
        }
        whole.push_str(rest.get(..length).unwrap_or_default());
        body = rest.get(length..).unwrap_or_default().trim_start_matches("\r\n");
    }
    whole
}
