//! Files in and out: archives of containers and images, by raw requests and by the docker client.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::{Lab, lab};

/// An archive as text: names and contents in tests are plain.
fn archive(entries: &[(&str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (path, content) in entries {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(156, if path.ends_with('/') { "5" } else { "0" });
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    String::from_utf8(bytes).expect("plain text")
}

fn put(lab: &Lab, path: &str, body: &str) -> (u16, String) {
    lab.raw(&format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .expect("an answer")
}

/// A whole answer as it is, chunks and all: archives of programs are no text.
fn bytes(lab: &Lab, path: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(lab.socket()).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    answer
}

/// Runs the docker client; its output, or `None` where there is no client.
fn docker(lab: &Lab, arguments: &[&str]) -> Option<String> {
    let output = lab.docker(arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("a table")
}

#[test]
fn files_go_in_and_out_of_what_runs_and_what_does_not() {
    let Some(lab) = lab() else { return };
    let body = r#"{"Image":"busybox","Cmd":["sleep","600"],"HostConfig":{"Binds":["data:/data","fixed:/fixed:ro"]}}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=otter", body).0, 201);
    let before = mounts();
    // Before the start, running, and after the end: a folder of the container, and one of a volume.
    for (at, name) in ["created", "running", "exited"].into_iter().enumerate() {
        if at == 1 {
            assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
        }
        if at == 2 {
            assert_eq!(lab.request("POST", "/containers/otter/kill", "").0, 204);
            assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
        }
        let file = archive(&[(name, name)]);
        for folder in ["/root", "/data"] {
            let (status, answer) = put(&lab, &format!("/containers/otter/archive?path={folder}"), &file);
            assert_eq!((status, answer.as_str()), (200, ""), "{name} {folder}");
            let (status, got) =
                lab.request("GET", &format!("/containers/otter/archive?path={folder}/{name}"), "");
            assert!(
                status == 200 && got.starts_with(&format!("{name}\0")),
                "{name} {folder}: {status} {got}"
            );
        }
        let (status, answer) = put(&lab, "/containers/otter/archive?path=/fixed", &file);
        assert_eq!(status, 403, "{answer}");
        assert!(answer.contains("mounted volume is marked read-only"), "{answer}");
    }
    let table = mounts();
    let root = lab.root().display().to_string();
    assert!(!table.contains(&root) || before.contains(&root), "nothing of it is mounted on the host");
    assert_eq!(fs::read_to_string(lab.root().join("volumes/data/_data/exited")).expect("a file"), "exited");
    assert_eq!(lab.request("HEAD", "/containers/otter/archive?path=/root/created", "").0, 200);
    assert_eq!(lab.request("HEAD", "/containers/otter/archive?path=/nope", "").0, 404);
    let (status, answer) = lab.request("GET", "/containers/otter/archive?path=/nope", "");
    assert_eq!(status, 404);
    assert!(answer.contains("Could not find the file /nope in container otter"), "{answer}");
}

#[test]
fn hostile_archives_stay_inside() {
    let Some(lab) = lab() else { return };
    lab.create("otter", &["true"]);
    let secret = lab.root().join("secret");
    fs::write(&secret, "host").expect("a file");
    let climb = "../".repeat(20);
    let evil = format!("{climb}{}", secret.display());
    for (name, status) in [(evil.as_str(), 400), ("a/../../x", 400), ("/abs", 200)] {
        let (found, answer) = put(&lab, "/containers/otter/archive?path=/root", &archive(&[(name, "evil")]));
        assert_eq!(found, status, "{name}: {answer}");
    }
    // A link of the container that leads to the host's path leads to the container's.
    let upper = lab.root().join("containers").join(lab.inspect("otter")["Id"].as_str().expect("an id"));
    symlink("/../../../../..", upper.join("upper/out")).expect("a link");
    let (status, answer) =
        put(&lab, "/containers/otter/archive?path=/out", &archive(&[("secret", "inside")]));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(fs::read_to_string(&secret).expect("a file"), "host");
    assert_eq!(fs::read_to_string(upper.join("upper/secret")).expect("a file"), "inside");
    for (path, body, status) in [
        ("/containers/otter/archive?path=", "", 400),
        ("/containers/otter/archive?path=/bin/busybox", "", 400),
        ("/containers/otter/archive?path=/nope", "", 404),
        ("/containers/nope/archive?path=/", "", 404),
        ("/containers/otter/archive?path=/", "garbage", 400),
    ] {
        assert_eq!(put(&lab, path, body).0, status, "{path}");
    }
    // An answer that comes before the body is taken reaches who is still sending.
    let large = archive(&[("x", &"x".repeat(4 * 1024 * 1024))]);
    assert_eq!(put(&lab, "/containers/nope/archive?path=/", &large).0, 404);
}

#[test]
fn a_container_is_compared_exported_and_committed() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sh", "-c", "echo hi > /root/new; rm /bin/ls; mkdir -p /n; sleep 600"]);
    let wait = || lab.json("GET", "/containers/otter/changes", "").1.to_string().contains("\"/n\"");
    assert!(crate::support::eventually(wait));
    let (_, changes) = lab.json("GET", "/containers/otter/changes", "");
    assert_eq!(
        changes,
        serde_json::json!([
            {"Path": "/bin", "Kind": 0}, {"Path": "/bin/ls", "Kind": 2}, {"Path": "/n", "Kind": 1},
            {"Path": "/root", "Kind": 0}, {"Path": "/root/new", "Kind": 1},
        ])
    );
    let (status, answer) = lab.json(
        "POST",
        "/commit?container=otter&repo=mine&tag=1&author=me&comment=why&changes=ENV%20A=1&changes=CMD%20%5B%22cat%22,%22/root/new%22%5D",
        "null",
    );
    assert_eq!(status, 201, "{answer}");
    assert_eq!(lab.inspect("otter")["State"]["Status"], "running", "it goes on after the pause");
    let (_, image) = lab.json("GET", "/images/mine:1/json", "");
    assert_eq!(
        (&image["Id"], &image["Author"], &image["Comment"]),
        (&answer["Id"], &"me".into(), &"why".into())
    );
    assert_eq!(image["Config"]["Cmd"], serde_json::json!(["cat", "/root/new"]));
    assert!(image["Config"]["Env"].to_string().contains("\"A=1\""));
    let (_, history) = lab.json("GET", "/images/mine:1/history", "");
    assert!(history[0]["CreatedBy"].as_str().is_some_and(|by| by.contains("rm /bin/ls")), "{history}");
    let body = r#"{"Image":"mine:1"}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=heron", body).0, 201);
    assert_eq!(lab.request("POST", "/containers/heron/start", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/heron/wait", "").0, 200);
    let (_, log) = lab.request("GET", "/containers/heron/logs?stdout=1", "");
    assert!(log.ends_with("hi\n"), "{log:?}");
    assert_eq!(lab.json("GET", "/containers/heron/changes", ""), (200, serde_json::Value::Null));
    let (_, again) = lab.json("POST", "/commit?container=heron", "");
    let (_, again) = lab.json("GET", &format!("/images/{}/json", again["Id"].as_str().expect("an id")), "");
    assert_eq!(again["RootFS"], image["RootFS"], "nothing changed: no layer");
    let (status, answer) = lab.json("POST", "/commit?container=otter&changes=RUN%20x", "");
    assert_eq!((status, &answer["message"]), (400, &"run is not a valid change command".into()));
    let tree = bytes(&lab, "/containers/otter/export");
    let has = |name: &str| tree.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    assert!(has("root/new\0") && has("bin/cat\0") && !has("bin/ls\0") && !has("proc/version\0"));
}

#[test]
fn the_docker_client_copies_saves_and_loads() {
    let Some(lab) = lab() else { return };
    if docker(&lab, &["version"]).is_none() {
        return;
    }
    let run = |arguments: &[&str]| docker(&lab, arguments).unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir_all(folder.path().join("in/deep")).expect("folders");
    fs::write(folder.path().join("in/deep/file"), "text").expect("a file");
    symlink("deep/file", folder.path().join("in/link")).expect("a link");
    lab.create("otter", &["cat", "/in/link"]);
    run(&["cp", &at("in"), "otter:/"]);
    assert_eq!(run(&["start", "-a", "otter"]), "text");
    run(&["cp", "otter:/in", &at("out")]);
    assert_eq!(fs::read_to_string(folder.path().join("out/deep/file")).expect("a file"), "text");
    assert_eq!(fs::read_link(folder.path().join("out/link")).expect("a link"), Path::new("deep/file"));
    assert_eq!(run(&["diff", "otter"]), "A /in\nA /in/deep\nA /in/deep/file\nA /in/link\n");
    let id = run(&["commit", "-m", "why", "-c", "ENTRYPOINT [\"cat\"]", "otter", "mine:1"]);
    run(&["save", "-o", &at("mine.tar"), "mine:1"]);
    run(&["rmi", "mine:1"]);
    assert_eq!(run(&["load", "-i", &at("mine.tar")]), "Loaded image: mine:1\n");
    assert_eq!(run(&["inspect", "-f", "{{.Id}}", "mine:1"]), id);
    assert_eq!(run(&["run", "--rm", "mine:1", "/in/link"]), "text");
    run(&["export", "-o", &at("tree.tar"), "otter"]);
    let imported = run(&["import", "-m", "from a tree", "-c", "CMD cat /in/link", &at("tree.tar"), "tree:1"]);
    assert!(imported.starts_with("sha256:"), "{imported}");
    assert_eq!(run(&["run", "--rm", "tree:1"]), "text");
    let usage = run(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert_eq!(usage, "Images 4 1\nContainers 1 0\nLocal Volumes 0 0\nBuild Cache 0 0\n");
    assert!(run(&["system", "df", "-v"]).contains("otter"));
    // The client's `0s` is the last whole second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let events = run(&["events", "--since", "1h", "--until", "0s", "--format", "{{.Type}} {{.Action}}"]);
    for event in [
        "container extract-to-dir",
        "container archive-path",
        "container commit",
        "image tag",
        "image save",
        "image load",
        "container export",
        "image import",
    ] {
        assert!(events.lines().any(|line| line == event), "{event}: {events}");
    }
}

#[test]
fn archives_of_images_that_are_none_are_refused() {
    let Some(lab) = lab() else { return };
    let load = |body: &str| {
        lab.raw(&format!(
            "POST /images/load HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .expect("an answer")
    };
    for body in ["", "garbage", &archive(&[("manifest.json", "[{\"Config\":\"../../x\"}]")]), &archive(&[])] {
        let (status, answer) = load(body);
        assert!(status == 200 && answer.contains("errorDetail"), "{status} {answer}");
    }
    for (method, path, status) in [
        ("GET", "/images/nope/get", 404),
        ("GET", "/images/get?names=nope", 404),
        ("GET", "/images/get", 400),
        ("POST", "/images/create?fromSrc=-&repo=X", 400),
        ("POST", "/images/create?fromSrc=-&changes=RUN%20x", 400),
        ("POST", "/images/create", 400),
        ("POST", "/commit?container=nope", 404),
        ("GET", "/system/df?type=x", 400),
        ("POST", "/images/prune?filters=%7B%22until%22%3A%5B%2224h%22%5D%7D", 200),
        ("POST", "/networks/prune?filters=%7B%22until%22%3A%5B%22x%22%5D%7D", 400),
    ] {
        assert_eq!(lab.request(method, path, "").0, status, "{method} {path}");
    }
    assert_eq!(lab.json("GET", "/system/df?type=volume", "").1["Images"], serde_json::Value::Null);
}
