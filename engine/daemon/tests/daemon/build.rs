//! Builds, by the docker client with its classic builder, and by raw requests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Lab, eventually, lab};

/// Writes a context: pairs of path and content.
pub(crate) fn context(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    folder
}

pub(crate) fn build(lab: &Lab, folder: &Path, more: &[&str]) -> Option<Output> {
    let mut words = vec!["build"];
    words.extend(more);
    let output = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .arg("--host")
        .arg(format!("unix://{}", lab.socket().display()))
        .args(words)
        .arg(folder)
        .stdin(Stdio::null())
        .output();
    output.ok()
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_dockerfile_becomes_an_image_and_then_comes_from_the_cache() {
    let Some(lab) = lab() else { return };
    let folder = context(&[
        (
            "Dockerfile",
            "ARG BASE=busybox\nFROM $BASE AS make\nENV GREETING=\"hello you\" OTHER=x\nWORKDIR /a\nWORKDIR b\n\
             RUN echo $GREETING > made && ln -s made link && rm /bin/vi; pwd\nFROM busybox AS never\nRUN false\n\
             FROM busybox\nCOPY --from=make /a/b/ /out/\nCOPY --chown=7:8 --chmod=640 one* dir /in/\n\
             USER 5\nEXPOSE 80\nLABEL a=b\nENTRYPOINT [\"cat\"]\nCMD [\"/out/link\"]\n",
        ),
        (".dockerignore", "*.secret\n"),
        ("one.txt", "1"),
        ("one.secret", "no"),
        ("dir/two", "2"),
    ]);
    let Some(first) = build(&lab, folder.path(), &["-t", "made:1"]) else { return };
    let words = said(&first);
    assert!(first.status.success(), "{words}");
    for wanted in [
        "Step 1/14 : ARG BASE=busybox",
        " ---> Running in ",
        "/a/b\n",
        "Successfully built ",
        "Successfully tagged made:1",
    ] {
        assert!(words.contains(wanted), "{wanted}: {words}");
    }
    assert!(!words.contains("RUN false") && !words.contains("Using cache"), "{words}");
    let output = lab.docker(&["run", "--rm", "made:1"]).expect("docker");
    assert_eq!(said(&output), "hello you\n");
    let listed = lab.docker(&["run", "--rm", "--entrypoint", "ls", "made:1", "-ln", "/in"]).expect("docker");
    let listed = said(&listed);
    assert!(
        listed.contains("-rw-r-----    1 7        8                1") && listed.contains("two"),
        "{listed}"
    );
    assert!(!listed.contains("secret"), "{listed}");
    let (_, image) = lab.json("GET", "/images/made:1/json", "");
    assert_eq!(image["Config"]["User"], "5");
    assert_eq!(image["Config"]["Labels"]["a"], "b");
    // Nothing changed: the same image, and no container.
    let again = said(&build(&lab, folder.path(), &["-t", "made:2"]).expect("docker"));
    assert!(!again.contains("Running in"), "{again}");
    assert_eq!(lab.json("GET", "/images/made:2/json", "").1["Id"], image["Id"]);
    // A file changed: what stands on it is done again, and the trace says why.
    std::fs::write(folder.path().join("dir/two"), "3").expect("written");
    let changed = said(&build(&lab, folder.path(), &["-t", "made:3"]).expect("docker"));
    assert!(changed.contains("Using cache"), "{changed}");
    assert_ne!(lab.json("GET", "/images/made:3/json", "").1["Id"], image["Id"]);
    let traces = std::fs::read_dir(lab.root().join("traces")).expect("traces");
    let told: String =
        traces.map(|entry| std::fs::read_to_string(entry.expect("a file").path()).expect("text")).collect();
    assert!(told.contains("the file dir/two changed"));
    assert_eq!(lab.json("GET", "/containers/json?all=1", "").1, serde_json::json!([]));
    assert_eq!(std::fs::read_dir(lab.root().join("builds")).map_or(0, Iterator::count), 0);
}

#[test]
fn triggers_heredocs_and_archives() {
    let Some(lab) = lab() else { return };
    let base = context(&[(
        "Dockerfile",
        "FROM busybox\nONBUILD COPY . /app/src\nONBUILD RUN ls /app/src > /app/list\n",
    )]);
    let Some(output) = build(&lab, base.path(), &["-t", "image-a"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let triggers = lab.json("GET", "/images/image-a/json", "").1["Config"]["OnBuild"].clone();
    assert_eq!(triggers, serde_json::json!(["COPY . /app/src", "RUN ls /app/src > /app/list"]));
    let child = context(&[
        (
            "Dockerfile",
            "FROM image-a AS first\nCOPY <<hello.txt /etc/\nhi $NAME\nhello.txt\nRUN <<EOF\ncat /etc/hello.txt\nEOF\nADD x.tar /unpacked\nFROM scratch\nCOPY --from=0 / /\n",
        ),
        ("file", "x"),
    ]);
    let packed = Command::new("tar").args(["cf", "x.tar", "file"]).current_dir(child.path()).status();
    assert!(packed.expect("tar").success());
    let output = build(&lab, child.path(), &["-t", "image-b", "--label", "from=request"]).expect("docker");
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("# Executing 2 build triggers") && words.contains("hi \n"), "{words}");
    let shown =
        lab.docker(&["run", "--rm", "image-b", "cat", "/app/list", "/unpacked/file"]).expect("docker");
    assert_eq!(said(&shown), "Dockerfile\nfile\nx.tar\nx");
    assert_eq!(lab.json("GET", "/images/image-b/json", "").1["Config"]["Labels"]["from"], "request");
}

#[test]
fn from_alone_is_the_image_itself() {
    let Some(lab) = lab() else { return };
    let folder = context(&[("Dockerfile", "FROM busybox\n")]);
    let Some(output) = build(&lab, folder.path(), &["-t", "same:1", "-t", "same:2"]) else { return };
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    let id = lab.json("GET", "/images/busybox/json", "").1["Id"].as_str().expect("an id").to_owned();
    let short = &id["sha256:".len()..][..12];
    assert!(words.contains(&format!(" ---> {short}\nSuccessfully built {short}\n")), "{words}");
    for name in ["same:1", "same:2"] {
        assert_eq!(lab.json("GET", &format!("/images/{name}/json"), "").1["Id"], id.as_str());
    }
    // One instruction more, and it is another one.
    let folder = context(&[("Dockerfile", "FROM busybox\nENV A=1\n")]);
    build(&lab, folder.path(), &["-t", "other"]).expect("docker");
    assert_ne!(lab.json("GET", "/images/other/json", "").1["Id"], id.as_str());
}

#[test]
fn what_fails_says_where_and_leaves_nothing() {
    let Some(lab) = lab() else { return };
    let cases = [
        (
            "FROM busybox\nRUN exit 7\n",
            7,
            "The command '/bin/sh -c exit 7' returned a non-zero code: 7 (step 2/2, dockerfile line 2)",
        ),
        (
            "FROM busybox\nRUUN x\n",
            1,
            "dockerfile parse error on line 2: unknown instruction: RUUN (did you mean RUN?)",
        ),
        (
            "FROM busybox\nCOPY nothing /\n",
            1,
            "COPY failed: file not found in build context or excluded by .dockerignore: stat nothing: file does not exist (step 2/2, dockerfile line 2)",
        ),
        (
            "FROM busybox\nCOPY ../../etc/shadow /\n",
            1,
            "COPY failed: forbidden path outside the build context: ../../etc/shadow () (step 2/2, dockerfile line 2)",
        ),
        ("FROM nothing-like-it\n", 1, " (step 1/1, dockerfile line 1)"),
        ("# a\nFROM busybox\nENV A=${B:?wanted}\n", 1, "B: wanted (step 2/2, dockerfile line 3)"),
        ("ARG A\nFROM ${A:?wanted}\n", 1, "dockerfile line 2: A: wanted"),
        ("FROM busybox\nADD http://127.0.0.1:1/x /\n", 1, " (step 2/2, dockerfile line 2)"),
        ("FROM busybox\nADD --checksum=sha256:00 a /\n", 1, " (step 2/2, dockerfile line 2)"),
        ("FROM busybox\nCOPY --from=nothing-like-it a /\n", 1, " (step 2/2, dockerfile line 2)"),
        (
            "FROM busybox\nENV A=1\nRUN --mount=from=nothing-like-it,target=/x true\n",
            1,
            " (step 3/3, dockerfile line 3)",
        ),
        ("FROM busybox\nUSER nobody-there\nRUN true\n", 1, " (step 3/3, dockerfile line 3)"),
        (
            "FROM busybox\nWORKDIR /etc/passwd\n",
            1,
            "cannot make the folder /etc/passwd: /etc/passwd is not a directory (ENOTDIR)",
        ),
        ("FROM busybox\nWORKDIR /etc/passwd/x\n", 1, "/etc/passwd/x: /etc/passwd is not a directory"),
        ("FROM busybox\nCOPY a /etc/passwd/x/\n", 1, "/etc/passwd/x: /etc/passwd is not a directory"),
        ("FROM busybox\nCOPY a /etc/passwd/\n", 1, " (step 2/2, dockerfile line 2)"),
        ("FROM busybox\nCOPY --chown=nobody-there a /\n", 1, " (step 2/2, dockerfile line 2)"),
    ];
    for (dockerfile, status, wanted) in cases {
        let folder = context(&[("Dockerfile", dockerfile), ("a", "a")]);
        let Some(output) = build(&lab, folder.path(), &["-t", "never"]) else { return };
        let words = said(&output);
        assert_eq!(output.status.code(), Some(status), "{words}");
        assert!(words.contains(wanted), "{words}");
    }
    let is_empty = || lab.json("GET", "/containers/json?all=1", "").1 == serde_json::json!([]);
    assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    assert!(is_empty(), "nothing is left of a failed step");
    let folder = context(&[("Dockerfile", "FROM busybox\nRUN false\n")]);
    build(&lab, folder.path(), &["--rm=false"]).expect("docker");
    let (_, left) = lab.json("GET", "/containers/json?all=1", "");
    let [container] = &left.as_array().expect("a list")[..] else {
        panic!("who asks for it keeps it: {left}")
    };
    let id = container["Id"].as_str().expect("an id");
    assert_eq!(lab.request("DELETE", &format!("/containers/{id}"), "").0, 204);
    build(&lab, folder.path(), &["--rm=false", "--force-rm"]).expect("docker");
    assert!(is_empty());
    // What was done before a failure is known afterwards, steps without a layer too.
    let folder = context(&[("Dockerfile", "FROM busybox\nENV KNOWN=1\nENV ALSO=2\nRUN false\n")]);
    build(&lab, folder.path(), &["--force-rm"]).expect("docker");
    let again = build(&lab, folder.path(), &["--force-rm"]).expect("docker");
    assert_eq!(said(&again).matches("Using cache").count(), 2, "{}", said(&again));
}

#[test]
fn a_client_that_leaves_ends_its_build() {
    let Some(lab) = lab() else { return };
    // A quiet one hears nothing before the end.
    for quiet in [false, true] {
        leaves(&lab, quiet);
    }
}

fn leaves(lab: &Lab, quiet: bool) {
    let folder = context(&[("Dockerfile", "FROM busybox\nRUN sleep 600\n")]);
    let child = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .arg("--host")
        .arg(format!("unix://{}", lab.socket().display()))
        .args(["build", if quiet { "--quiet" } else { "--rm" }])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return };
    let count = || lab.json("GET", "/containers/json", "").1.as_array().map_or(0, Vec::len);
    assert!(eventually(|| count() == 1), "no container runs");
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    let left = Instant::now();
    let all = || lab.json("GET", "/containers/json?all=1", "").1.as_array().map_or(0, Vec::len);
    assert!(eventually(|| all() == 0), "the container stays");
    assert!(left.elapsed() < Duration::from_secs(3), "{:?}", left.elapsed());
    assert!(eventually(|| std::fs::read_dir(lab.root().join("builds")).map_or(0, Iterator::count) == 0));
}

#[test]
fn hostile_contexts_stay_inside() {
    let Some(lab) = lab() else { return };
    let send = |path: &str, link: &str, dockerfile: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut put = |name: &str, kind, link: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            // As hostile as it comes: the library would refuse these names.
            header.as_gnu_mut().expect("a header").name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_gnu_mut().expect("a header").linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            tar.append(&header, content).expect("written");
        };
        put("Dockerfile", tar::EntryType::Regular, "", dockerfile.as_bytes());
        let kind = if link.is_empty() { tar::EntryType::Regular } else { tar::EntryType::Symlink };
        put(path, kind, link, if link.is_empty() { b"x" } else { b"" });
        let body = tar.into_inner().expect("an archive");
        let mut stream = std::os::unix::net::UnixStream::connect(lab.socket()).expect("the daemon");
        let head = format!(
            "POST /build HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("sent");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
        answer
    };
    let outside = send("../../escaped", "", "FROM busybox\n");
    assert!(outside.starts_with("HTTP/1.1 4") || outside.starts_with("HTTP/1.1 5"), "{outside}");
    assert!(!lab.root().join("escaped").exists() && !lab.root().join("builds/escaped").exists());
    // A link that says it leads outside is only followed inside, where there is nothing.
    let link = send("leak", "/etc/passwd", "FROM busybox\nCOPY leak /leaked\n");
    assert!(link.contains("COPY failed") && !link.contains("root:"), "{link}");
    let none = send("x", "", "");
    assert!(none.contains("file with no instructions"), "{none}");
}

#[test]
fn the_same_input_makes_the_same_image_in_another_root() {
    let (Some(one), Some(other)) = (lab(), lab()) else { return };
    let folder = context(&[
        (
            "Dockerfile",
            "FROM busybox\nCOPY dir /a/b/\nWORKDIR /w/x\nRUN echo made > file && mkdir d && ln -s file link\n",
        ),
        ("dir/b", "b"),
        ("dir/a", "a"),
    ]);
    let ids: Vec<String> = [&one, &other]
        .iter()
        .filter_map(|lab| {
            let output = build(lab, folder.path(), &["-q", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"])?;
            assert!(output.status.success(), "{}", said(&output));
            std::thread::sleep(Duration::from_millis(1100));
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        })
        .collect();
    if let [one, other] = ids.as_slice() {
        assert_eq!(one, other);
    }
}

#[test]
fn a_dockerfile_may_come_by_standard_input_beside_a_folder() {
    let Some(lab) = lab() else { return };
    let folder = context(&[("Dockerfile", "FROM busybox\nRUN false\n"), ("a.txt", "beside")]);
    let started = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["--host", &format!("unix://{}", lab.socket().display()), "build", "-f", "-"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut client) = started else { return };
    let mut input = client.stdin.take().expect("piped");
    input.write_all(b"FROM busybox\nCOPY a.txt /\nRUN cat /a.txt\n").expect("written");
    drop(input);
    let output = client.wait_with_output().expect("an end");
    let words = said(&output);
    assert!(output.status.success() && words.contains("beside"), "{words}");
}
