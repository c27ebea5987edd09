//! `glassdock registry` as a program: what it is told, how it stops, and what a kill leaves.

#[path = "../../benches/registry/http.rs"]
mod http;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Connection;
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A registry that runs; killed with the value.
struct Registry {
    child: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn glassdock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glassdock"));
    command.arg("registry");
    command
}

impl Registry {
    fn start(root: &Path, more: &[&str]) -> Result<Self> {
        let mut command = glassdock();
        command.args(["serve", "--listen", "127.0.0.1:0", "--root"]).arg(root).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.trim().rsplit("http://").next().unwrap_or_default().to_owned();
        Ok(Self { child, address })
    }

    fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address)
    }

    fn signal(&self, name: &str) -> Result<()> {
        Command::new("kill").args([name, &self.child.id().to_string()]).status()?;
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[test]
fn a_kill_in_an_upload_loses_nothing_and_shows_no_half() -> Result<()> {
    let root = tempfile::tempdir()?;
    let registry = Registry::start(root.path(), &[])?;
    let (bytes, small) = (vec![7_u8; 3_000_000], b"{}");
    let post = format!("/v2/a/blobs/uploads/?digest={}", digest(small));
    assert_eq!(registry.connect()?.ask("POST", &post, "", small)?.status, 201);
    let begun = registry.connect()?.ask("POST", "/v2/a/blobs/uploads/", "", b"")?;
    let upload = begun.location.ok_or("no location")?;
    // Half of what was announced, and then the machine fails.
    let mut stream = TcpStream::connect(&registry.address)?;
    let head = format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&bytes[..1_500_000])?;
    std::thread::sleep(Duration::from_millis(200));
    registry.signal("-KILL")?;
    drop(registry);

    let registry = Registry::start(root.path(), &[])?;
    let blob = |bytes: &[u8]| format!("/v2/a/blobs/{}", digest(bytes));
    assert_eq!(registry.connect()?.ask("GET", &blob(small), "", b"")?.length, 2, "it was answered for");
    assert_eq!(registry.connect()?.ask("GET", &blob(&bytes), "", b"")?.status, 404);
    let state = registry.connect()?.ask("GET", &upload, "", b"")?;
    let range = state.range.ok_or("no range")?;
    let here = if range == "0-0" { 0 } else { range.trim_start_matches("0-").parse::<usize>()? + 1 };
    assert!(here <= 1_500_000, "{range}");
    let put = format!("{upload}?digest={}", digest(&bytes));
    let range = format!("Content-Range: {here}-{}\r\n", bytes.len() - 1);
    assert_eq!(registry.connect()?.ask("PUT", &put, &range, &bytes[here..])?.status, 201);
    assert_eq!(registry.connect()?.ask("GET", &blob(&bytes), "", b"")?.length, 3_000_000);
    Ok(())
}

#[test]
fn a_kill_right_after_a_push_loses_nothing() -> Result<()> {
    let root = tempfile::tempdir()?;
    let blobs: Vec<Vec<u8>> = (0..4_u8).map(|number| vec![number; 20_000_000]).collect();
    let registry = Registry::start(root.path(), &[])?;
    for bytes in &blobs {
        let post = format!("/v2/a/blobs/uploads/?digest={}", digest(bytes));
        assert_eq!(registry.connect()?.ask("POST", &post, "", bytes)?.status, 201);
    }
    registry.signal("-KILL")?;
    drop(registry);

    // Two servers of the folder: what one takes in, settled or not, the other gives out.
    let (one, other) = (Registry::start(root.path(), &[])?, Registry::start(root.path(), &[])?);
    let fresh = vec![9_u8; 20_000_000];
    let post = format!("/v2/a/blobs/uploads/?digest={}", digest(&fresh));
    assert_eq!(one.connect()?.ask("POST", &post, "", &fresh)?.status, 201);
    for bytes in blobs.iter().chain([&fresh]) {
        let target = format!("/v2/a/blobs/{}", digest(bytes));
        assert_eq!(other.connect()?.ask("GET", &target, "", b"")?.length, 20_000_000);
    }
    let part =
        |bytes: &[u8]| format!(r#"{{"mediaType":"x","digest":"{}","size":{}}}"#, digest(bytes), bytes.len());
    let layers: Vec<String> = blobs[1..].iter().chain([&fresh]).map(|bytes| part(bytes)).collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{},"layers":[{}]}}"#,
        part(&blobs[0]),
        layers.join(",")
    );
    let headers = format!("Content-Type: {kind}\r\n");
    let put = other.connect()?.ask("PUT", "/v2/a/manifests/1", &headers, manifest.as_bytes())?;
    assert_eq!(put.status, 201);
    for boot in std::fs::read_dir(root.path().join("settling"))? {
        assert_eq!(std::fs::read_dir(boot?.path())?.count(), 0, "what a manifest names is on the disk");
    }
    Ok(())
}

#[test]
fn a_request_that_runs_comes_to_its_end_when_the_registry_is_stopped() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut registry = Registry::start(root.path(), &["--workers", "1"])?;
    let bytes = vec![1_u8; 100_000];
    let mut stream = TcpStream::connect(&registry.address)?;
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        digest(&bytes),
        bytes.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&bytes[..1000])?;
    std::thread::sleep(Duration::from_millis(100));
    registry.signal("-TERM")?;
    std::thread::sleep(Duration::from_millis(100));
    assert!(TcpStream::connect(&registry.address).is_err(), "nobody new comes in");
    stream.write_all(&bytes[1000..])?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(registry.child.wait()?.success());
    assert_eq!(std::fs::read_dir(root.path().join("journal"))?.count(), 0, "all is written out");
    Ok(())
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.yml");
    std::fs::write(&file, "workers: 1\nstorage: {root: /data/registry}\nlimits: {idle: 5s}\n")?;
    let mut command = glassdock();
    command.arg("config").arg("--config").arg(&file).args(["--workers", "3", "--seed"]);
    command.env("GLASSDOCK_REGISTRY_WORKERS", "2").env("GLASSDOCK_REGISTRY_LIMITS_IDLE", "1m");
    let printed = String::from_utf8(command.output()?.stdout)?;
    for line in ["workers: 3", "seed: true", "  root: /data/registry", "  idle: 1m", "listen: 127.0.0.1:5000"]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    let mut bucket = glassdock();
    bucket.args(["config", "--s3-bucket", "images", "--s3-endpoint", "https://s3.test"]);
    bucket.env("AWS_ACCESS_KEY_ID", "somebody").env("AWS_SECRET_ACCESS_KEY", "a secret");
    let printed = String::from_utf8(bucket.output()?.stdout)?;
    for line in ["    bucket: images", "    endpoint: https://s3.test"] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    assert!(!printed.contains("somebody") && !printed.contains("a secret"), "{printed}");
    std::fs::write(&file, "limits:\n  idel: 1s\n")?;
    let wrong = glassdock().args(["serve", "--config"]).arg(&file).output()?;
    let words = String::from_utf8(wrong.stderr)?;
    assert!(!wrong.status.success() && words.contains("idel") && words.contains("line 2"), "{words}");
    Ok(())
}

#[test]
fn gc_says_what_it_does() -> Result<()> {
    let root = tempfile::tempdir()?;
    let registry = Registry::start(root.path(), &[])?;
    let post = format!("/v2/a/blobs/uploads/?digest={}", digest(b"nobody's"));
    assert_eq!(registry.connect()?.ask("POST", &post, "", b"nobody's")?.status, 201);
    let mut gc = glassdock();
    gc.args(["gc", "--collect-grace", "0s", "--root"]).arg(root.path());
    std::thread::sleep(Duration::from_millis(20));
    let printed = String::from_utf8(gc.output()?.stdout)?;
    assert!(printed.contains("removed 1 blobs that no repository has, 8 bytes\n"), "{printed}");
    let target = format!("/v2/a/blobs/{}", digest(b"nobody's"));
    assert_eq!(registry.connect()?.ask("GET", &target, "", b"")?.status, 404);
    Ok(())
}

/// A folder of the test's own for a client's settings, and the client.
fn client(settings: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glassdock"));
    command.env("DOCKER_CONFIG", settings).env("DOCKER_HOST", "unix:///nonexistent");
    command
}

#[test]
fn manifests_are_shown_as_dockers_client_shows_them() -> Result<()> {
    let (root, settings) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let registry = Registry::start(root.path(), &[])?;
    let seeded = glassdock().args(["seed", "--root"]).arg(root.path()).arg("hello-world").output()?;
    assert!(seeded.status.success());
    let name = format!("{}/library/hello-world", registry.address);
    let list = client(settings.path()).args(["manifest", "inspect", "--insecure", &name]).output()?.stdout;
    let digest = String::from_utf8(list)?;
    let digest = digest.split('"').find(|word| word.starts_with("sha256:")).ok_or("no digest")?;
    let docker = |words: &[&str]| {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", settings.path()).args(words).output()
    };
    if !docker(&["--version"]).is_ok_and(|output| output.stdout.starts_with(b"Docker version 28.")) {
        std::io::stderr().write_all(b"skipped: no docker client 28 in PATH\n")?;
        return Ok(());
    }
    for words in [
        vec![name.clone()],
        vec!["--verbose".to_owned(), name.clone()],
        vec![format!("{name}@{digest}")],
        vec!["-v".to_owned(), format!("{name}@{digest}")],
        vec![format!("{name}:absent")],
        vec![format!("{}/absent", registry.address)],
    ] {
        let mut all = vec!["manifest", "inspect", "--insecure"];
        all.extend(words.iter().map(String::as_str));
        let ours = client(settings.path()).args(&all).output()?;
        let theirs = docker(&all)?;
        let told = |output: &std::process::Output| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&output.stdout), text(&output.stderr), output.status.code())
        };
        assert_eq!(told(&ours), told(&theirs), "{all:?}");
    }
    Ok(())
}

#[test]
fn a_client_without_the_engine_beside_it_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let alone = folder.path().join("glassdock");
    std::fs::copy(env!("CARGO_BIN_EXE_glassdock"), &alone)?;
    assert!(Command::new(&alone).args(["run", "--help"]).output()?.status.success());
    for words in [
        vec!["daemon"],
        vec!["registry", "serve"],
        vec!["manifest", "inspect", "busybox"],
        vec!["--host", "tcp://localhost:1", "ps"],
    ] {
        let ended = Command::new(&alone).args(words).env("DOCKER_CONFIG", folder.path()).output()?;
        assert_eq!(ended.status.code(), Some(127));
        let said = String::from_utf8(ended.stderr)?;
        assert!(said.starts_with("glassdock-engine is not there: it belongs beside "), "{said}");
    }
    Ok(())
}

#[test]
fn a_daemon_is_reached_by_its_name_on_the_network() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let asked = std::thread::spawn(move || -> std::io::Result<String> {
        let mut line = String::new();
        BufReader::new(listener.accept()?.0).read_line(&mut line)?;
        Ok(line)
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_glassdock"));
    let mut ended =
        command.args(["--host", &format!("tcp://localhost:{port}"), "ps"]).stderr(Stdio::null()).spawn()?;
    ended.wait()?;
    // If the client did not come, nobody waits for it any longer.
    drop(TcpStream::connect(("127.0.0.1", port)));
    let asked = asked.join().map_err(|_| "the listener panicked")??;
    assert!(asked.ends_with(" HTTP/1.1\r\n"), "{asked}");
    Ok(())
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() -> Result<()> {
    // A disk of its own in a mount namespace of its own: both are gone with the registry.
    let root = tempfile::tempdir()?;
    let script = "mount -t tmpfs -o size=4m none \"$1\" && exec \"$2\" registry serve --listen 127.0.0.1:0 --root \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(root.path());
    command.arg(env!("CARGO_BIN_EXE_glassdock")).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        std::io::stderr().write_all(b"skipped: no unshare in PATH\n")?;
        return Ok(());
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let address = line.trim().rsplit("http://").next().unwrap_or_default().to_owned();
    let registry = Registry { child, address };
    if registry.address.is_empty() {
        std::io::stderr().write_all(b"skipped: this user may not mount a tmpfs\n")?;
        return Ok(());
    }
    let push = |bytes: &[u8]| -> Result<u16> {
        let post = format!("/v2/full/blobs/uploads/?digest={}", digest(bytes));
        Ok(registry.connect()?.ask("POST", &post, "", bytes)?.status)
    };
    let blob = |bytes: &[u8]| -> Result<u16> {
        Ok(registry.connect()?.ask("GET", &format!("/v2/full/blobs/{}", digest(bytes)), "", b"")?.status)
    };
    let (small, large) = (vec![1_u8; 1_000_000], vec![2_u8; 6_000_000]);
    assert_eq!(push(&small)?, 201);
    assert_eq!(push(&large)?, 507, "insufficient storage");
    assert_eq!((blob(&small)?, blob(&large)?), (200, 404), "what was there is there, and no half");
    // What the failed upload took is free again.
    assert_eq!(push(&vec![3_u8; 1_000_000])?, 201);
    let begun = registry.connect()?.ask("POST", "/v2/full/blobs/uploads/", "", b"")?;
    let upload = begun.location.ok_or("no location")?;
    assert_eq!(registry.connect()?.ask("PATCH", &upload, "", &large)?.status, 507);
    assert_eq!(registry.connect()?.ask("DELETE", &upload, "", b"")?.status, 204, "it can be given up");
    assert_eq!(push(b"a little more")?, 201);
    Ok(())
}
