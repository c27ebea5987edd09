//! Builds whose daemon is killed: the next one ends what they left.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::json;

use crate::build_mounts::post;
use crate::support::{Lab, eventually, lab};

fn nothing_is_left(lab: &Lab) {
    let empty = |folder: &str| std::fs::read_dir(lab.root().join(folder)).map_or(0, Iterator::count) == 0;
    assert!(eventually(|| ["builds", "ingest", "containers"].into_iter().all(empty)));
    assert_eq!(lab.json("GET", "/containers/json?all=1", "").1, json!([]));
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    assert!(!mounts.contains(&lab.root().display().to_string()), "{mounts}");
}

/// Begins a build, and waits until its `sleep` runs; the command's process, and the client, whose build would
/// end if it left.
fn begun(lab: &Lab, query: &str, dockerfile: &str) -> (u64, UnixStream) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).expect("written");
    let body = tar.into_inner().expect("an archive");
    let mut stream = UnixStream::connect(lab.socket()).expect("the daemon");
    let head = format!("POST /build?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("sent");
    let running = || {
        let (_, list) = lab.json("GET", "/containers/json", "");
        let sleeps =
            |one: &&serde_json::Value| one["Command"].as_str().is_some_and(|it| it.contains("sleep"));
        let id = list.as_array()?.iter().find(sleeps)?["Id"].as_str()?;
        lab.json("GET", &format!("/containers/{id}/json"), "").1["State"]["Pid"].as_u64()
    };
    assert!(eventually(|| running().is_some_and(|pid| pid > 0)), "the step runs");
    (running().expect("a process"), stream)
}

#[test]
fn the_step_of_a_build_goes_with_its_daemon() {
    let Some(mut lab) = lab() else { return };
    for query in ["t=never", "t=never&rm=0"] {
        let (pid, _client) = begun(&lab, query, "FROM busybox\nRUN --mount=type=tmpfs,target=/t sleep 600\n");
        lab.kill();
        lab.start();
        nothing_is_left(&lab);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the command goes on");
        assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    }
}

#[test]
fn what_a_killed_build_had_not_written_down_is_done_again() {
    let Some(mut lab) = lab() else { return };
    // Steps without a layer are remembered with the next one that has some; the kill comes before and after that.
    for (number, before) in [(0, ""), (1, "RUN echo kept >/kept\n")] {
        let steps = format!("ENV A={number}\n{before}ENV B=$A\nLABEL c=$B\nEXPOSE 80\n");
        let first = format!("FROM busybox\n{steps}RUN sleep 600\n");
        let (_, client) = begun(&lab, "", &first);
        lab.kill();
        drop(client);
        lab.start();
        nothing_is_left(&lab);
        let again = format!("FROM busybox\n{steps}RUN test $B = {number}\n");
        let words = post(&lab, "t=again", "", &[("Dockerfile", again.as_bytes())]);
        assert!(words.contains("Successfully built"), "{words}");
        // What was written down is known, and the rest is what it was to be.
        assert_eq!(words.contains("Using cache"), number == 1, "{words}");
        let config = lab.json("GET", "/images/again/json", "").1["Config"].clone();
        assert_eq!(config["Labels"], json!({ "c": number.to_string() }));
        assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {} }));
        let third = post(&lab, "", "", &[("Dockerfile", again.as_bytes())]);
        assert_eq!(third.matches("Using cache").count(), again.lines().count() - 1, "{third}");
    }
}

#[test]
fn a_container_that_was_to_stay_stays() {
    let Some(mut lab) = lab() else { return };
    let words = post(&lab, "rm=0", "", &[("Dockerfile", b"FROM busybox\nRUN echo kept >/kept\n")]);
    assert!(words.contains("Successfully built"), "{words}");
    lab.kill();
    lab.start();
    let (_, list) = lab.json("GET", "/containers/json?all=1", "");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn half_a_context_goes() {
    let Some(mut lab) = lab() else { return };
    let mut stream = UnixStream::connect(lab.socket()).expect("the daemon");
    stream
        .write_all(b"POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("begun");
    let mut header = tar::Header::new_gnu();
    header.set_path("large").expect("a name");
    header.set_size(1 << 30);
    header.set_mode(0o644);
    header.set_cksum();
    for piece in [header.as_bytes().as_slice(), &vec![b'x'; 3 << 20]] {
        let head = format!("{:x}\r\n", piece.len());
        stream.write_all(&[head.as_bytes(), piece, b"\r\n"].concat()).expect("sent");
    }
    let came = || std::fs::read_dir(lab.root().join("builds")).map_or(0, Iterator::count) > 0;
    assert!(eventually(came), "the context is being received");
    lab.kill();
    lab.start();
    nothing_is_left(&lab);
    let words = post(&lab, "", "", &[("Dockerfile", b"FROM busybox\nCMD true\n")]);
    assert!(words.contains("Successfully built"), "{words}");
}
