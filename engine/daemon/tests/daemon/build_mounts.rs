//! `RUN --mount`: what a command sees beside its layers, and that nothing of it stays.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::build::{build, context, said};
use crate::support::{Lab, eventually, lab};

/// Sends a build with a context of these files; all that it says.
pub(crate) fn post(lab: &Lab, query: &str, headers: &str, files: &[(&str, &[u8])]) -> String {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, *content).expect("written");
    }
    let body = tar.into_inner().expect("an archive");
    let mut stream = UnixStream::connect(lab.socket()).expect("the daemon");
    let head = format!(
        "POST /build?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Every file below a folder that has this text.
fn files_with(folder: &Path, needle: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                if String::from_utf8_lossy(&bytes).contains(needle) {
                    found.push(entry.path());
                }
            }
        }
    }
    found
}

#[test]
fn a_mount_without_a_target_is_at_the_working_directory() {
    let Some(lab) = lab() else { return };
    let dockerfile = "\
FROM busybox\n\
WORKDIR /here\n\
RUN --mount=ro cat a && ! touch b 2> /dev/null\n\
RUN --mount=type=tmpfs grep -c ' /here tmpfs ' /proc/mounts && ! ls a 2> /dev/null\n\
RUN --mount=type=cache echo kept > file && test ! -e a\n";
    let folder = context(&[("Dockerfile", dockerfile), ("a", "of the context\n")]);
    let Some(output) = build(&lab, folder.path(), &[]) else { return };
    let words = said(&output);
    assert!(output.status.success() && words.contains("of the context\n"), "{words}");
    // It can't be put over everything.
    let dockerfile = "FROM busybox\nRUN --mount=type=bind ls\n";
    let folder = context(&[("Dockerfile", dockerfile)]);
    let Some(output) = build(&lab, folder.path(), &[]) else { return };
    let words = said(&output);
    assert!(!output.status.success() && words.contains("invalid mount target \"/\""), "{words}");
}

#[test]
fn files_of_contexts_stages_and_caches_are_mounted() {
    let Some(lab) = lab() else { return };
    let dockerfile = "\
FROM busybox AS made\n\
RUN mkdir -p /out/deep && echo made > /out/deep/file && ln -s ../../../../etc /out/leak\n\
FROM busybox\n\
RUN --mount=target=/ctx cat /ctx/a /ctx/dir/b && ! touch /ctx/new 2> /dev/null\n\
RUN --mount=target=/ctx,rw echo lost > /ctx/new && cat /ctx/new\n\
RUN --mount=target=/ctx ls /ctx && test ! -e /ctx/new\n\
RUN --mount=target=/one,source=dir/b cat /one\n\
RUN --mount=from=made,source=/out/deep,target=/x/y/z --mount=from=made,target=/whole cat /x/y/z/file /whole/out/deep/file\n\
RUN --mount=from=made,source=out/deep,target=/x,rw echo more >> /x/file && cat /x/file\n\
RUN --mount=from=made,source=/out/leak,target=/etc2 grep -c busybox-of-the-test /etc2/hostname || echo inside\n\
RUN --mount=from=busybox,source=/bin,target=/tools /tools/echo an image\n\
RUN --mount=type=tmpfs,target=/mem,size=1m grep ' /mem ' /proc/mounts\n\
RUN --mount=type=cache,target=/cache,mode=0711,uid=5 ls -ldn /cache | cut -c1-20; echo $RANDOM > /cache/kept\n\
RUN --mount=type=cache,target=/cache cat /cache/kept > /dev/null && ! ls /x /whole /tools /mem 2> /dev/null\n\
RUN --mount=type=cache,target=/filled,from=made,source=/out/deep cat /filled/file\n\
RUN <<EOF\n#!/bin/cat\nread by cat\nEOF\n";
    let folder = context(&[("Dockerfile", dockerfile), ("a", "a\n"), ("dir/b", "b\n")]);
    let Some(output) = build(&lab, folder.path(), &["-t", "mounted"]) else { return };
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    for wanted in [
        "a\nb\n",
        "lost\n",
        "made\nmade\n",
        "made\nmore\n",
        "an image\n",
        "size=1024k",
        "drwx--x--x    2 5   ",
        "#!/bin/cat\nread by cat\n",
    ] {
        assert!(words.contains(wanted), "{wanted}: {words}");
    }
    // Neither what was written there nor the places of the mounts are in the image.
    let (_, history) = lab.json("GET", "/images/mounted/history", "");
    let sizes: Vec<_> =
        history.as_array().expect("a list").iter().map(|step| step["Size"].as_u64()).collect();
    assert!(sizes.iter().take(14).all(|size| *size == Some(0)), "{sizes:?}");
    // A file that a mount shows is an input of its step.
    std::fs::write(folder.path().join("dir/b"), "c\n").expect("written");
    let again = said(&build(&lab, folder.path(), &[]).expect("docker"));
    assert!(again.contains("Using cache") && again.contains("a\nc\n"), "{again}");
    // Caches go when they are told to.
    let kept = || std::fs::read_dir(lab.root().join("build-cache")).map_or(0, Iterator::count);
    assert_eq!(kept(), 2);
    let none = |query: &str| {
        let (status, pruned) = lab.json("POST", &format!("/build/prune?{query}"), "");
        assert_eq!((status, pruned["CachesDeleted"].is_null()), (200, true), "{query}: {pruned}");
    };
    none("filters={%22id%22:[%22no-such-step%22]}");
    none("filters={%22until%22:[%221h%22]}");
    none("filters={%22inuse%22:[%22true%22]}");
    none("filters={%22type%22:[%22source.local%22]}");
    none("keep-storage=1000000000");
    assert_eq!(lab.request("POST", "/build/prune?filters={%22colour%22:[%22red%22]}", "").0, 400);
    assert_eq!(kept(), 2);
    let (status, pruned) = lab.json("POST", "/build/prune", "");
    assert_eq!(status, 200);
    assert!(
        pruned["SpaceReclaimed"].as_u64() > Some(0)
            && !pruned["CachesDeleted"].as_array().expect("a list").is_empty()
    );
    assert_eq!(kept(), 0);
    let third = said(&build(&lab, folder.path(), &[]).expect("docker"));
    assert!(!third.contains("Using cache"), "{third}");
    assert_eq!(std::fs::read_dir(lab.root().join("builds")).map_or(0, Iterator::count), 0);
}

#[test]
fn secrets_are_seen_and_stay_nowhere() {
    let Some(lab) = lab() else { return };
    // Base64 of `hush-hush-7`, which is written nowhere else.
    let body = json!({ "secrets": { "token": "aHVzaC1odXNoLTc=" }, "agents": [] }).to_string();
    let (status, session) = lab.json("POST", "/glassdock/builds", &body);
    assert_eq!(status, 201, "{session}");
    let header = format!("X-Glassdock-Build: {}\r\n", session["Id"].as_str().expect("an id"));
    let dockerfile = "FROM busybox\n\
RUN --mount=type=secret,id=token,mode=0440,gid=7 ls -ln /run/secrets/token | cut -c1-50; md5sum < /run/secrets/token\n\
RUN --mount=type=secret,id=token,env=TOKEN,required echo -n $TOKEN | md5sum; ! env | grep -q HUSH; test ! -e /run\n\
RUN --mount=type=secret,id=token,target=/etc/token,env=TOKEN test \"$TOKEN\" = \"$(cat /etc/token)\"\n\
RUN --mount=type=secret,id=other test ! -e /run/secrets/other\n";
    let words = post(&lab, "t=secretive", &header, &[("Dockerfile", dockerfile.as_bytes())]);
    assert!(words.contains("Successfully built"), "{words}");
    // The digest of the secret, from the file and from the variable.
    assert!(words.contains("-r--r-----    1 0        7               11"), "{words}");
    let sums: Vec<&str> =
        words.split("  -").filter_map(|part| part.get(part.len().checked_sub(32)?..)).collect();
    assert!(sums.len() >= 2 && sums[0] == sums[1], "{words}");
    // It is in no layer, no history, no record, no trace and no file.
    assert!(!lab.request("GET", "/images/secretive/history", "").1.contains("hush-hush-7"));
    assert_eq!(files_with(&lab.root(), "hush-hush-7"), Vec::<std::path::PathBuf>::new());
    let run = lab.root().with_file_name("run").join("builds");
    assert_eq!(std::fs::read_dir(&run).map_or(0, Iterator::count), 0);
    // The session ended with the build.
    let gone = post(&lab, "", &header, &[("Dockerfile", b"FROM busybox\n")]);
    assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
    // What is required and isn't given is told.
    let missing = post(
        &lab,
        "",
        "",
        &[("Dockerfile", b"FROM busybox\nRUN --mount=type=secret,id=token,required true\n")],
    );
    assert!(missing.contains("secret token: not found"), "{missing}");
    for (body, wanted) in [
        (json!({ "secrets": { "a": "no base64!" } }), "the secret a is no base64"),
        (json!({ "secrets": { "a": "A".repeat(900_000) } }), "invalid secret size"),
        (json!({ "agents": vec!["x"; 65] }), "at most 64"),
        (json!({ "what": 1 }), "unknown field"),
    ] {
        let (status, answer) = lab.request("POST", "/glassdock/builds", &body.to_string());
        assert!(status == 400 && answer.contains(wanted), "{status} {answer}");
    }
}

#[test]
fn a_client_s_agent_answers_in_the_container() {
    let Some(lab) = lab() else { return };
    let Some(files) = program("ssh-add") else { return };
    let body = json!({ "agents": ["default"] }).to_string();
    let (_, session) = lab.json("POST", "/glassdock/builds", &body);
    let id = session["Id"].as_str().expect("an id").to_owned();
    let socket = lab.socket();
    let agent = std::thread::spawn({
        let id = id.clone();
        move || {
            // Two lines, one after the other: an agent that has no keys.
            for _ in 0..2 {
                let mut line = UnixStream::connect(&socket).expect("the daemon");
                let ask = format!(
                    "POST /glassdock/builds/{id}/agents/default HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                );
                line.write_all(ask.as_bytes()).expect("sent");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    line.read_exact(&mut byte).expect("an answer");
                    head.push(byte[0]);
                }
                assert!(head.starts_with(b"HTTP/1.1 101"));
                // Requests and answers of the protocol: a length, a kind, and what belongs to it.
                let mut request = [0; 4];
                while line.read_exact(&mut request).is_ok() {
                    let mut rest = vec![0; u32::from_be_bytes(request) as usize];
                    line.read_exact(&mut rest).expect("a request");
                    let answer: &[u8] =
                        if rest[0] == 11 { &[0, 0, 0, 5, 12, 0, 0, 0, 0] } else { &[0, 0, 0, 1, 5] };
                    line.write_all(answer).expect("answered");
                }
            }
        }
    });
    let dockerfile = b"FROM busybox\nCOPY fs /\nRUN --mount=type=ssh,required /ssh-add -l; echo $?; test -S $SSH_AUTH_SOCK\n\
RUN --mount=type=ssh,target=/own/agent /ssh-add -l; echo $SSH_AUTH_SOCK\n";
    let mut sent: Vec<(&str, &[u8])> = vec![("Dockerfile", dockerfile)];
    sent.extend(files.iter().map(|(path, content)| (path.as_str(), content.as_slice())));
    let words = post(&lab, "", &format!("X-Glassdock-Build: {id}\r\n"), &sent);
    assert!(words.contains("Successfully built") && words.contains("/own/agent"), "{words}");
    assert_eq!(words.matches("The agent has no identities.").count(), 2, "{words}");
    agent.join().expect("the agent's end");
    let missing =
        post(&lab, "", "", &[("Dockerfile", b"FROM busybox\nRUN --mount=type=ssh,required true\n")]);
    assert!(missing.contains("no SSH key \\\"default\\\" forwarded from the client"), "{missing}");
}

/// A program of the machine with its libraries, as files of a context; `None` if it isn't here.
fn program(name: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let path = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())?;
    let listed = Command::new("ldd").arg(&path).output().ok()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut files = vec![(format!("fs/{name}"), std::fs::read(&path).ok()?)];
    for word in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        files.push((format!("fs{word}"), std::fs::read(word).ok()?));
    }
    Some(files)
}

#[test]
fn stages_are_built_side_by_side_and_told_in_order() {
    let Some(lab) = lab() else { return };
    // Each of the two waits for the other, through a cache that both see.
    let wait = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id=meeting,target=/m touch /m/{own}; i=0; while test ! -e /m/{other}; do sleep 0.1; i=$((i+1)); test $i -lt 200 || exit 9; done; echo {own} met {other}\n"
        )
    };
    let dockerfile = format!(
        "FROM busybox AS one\n{}FROM busybox AS two\n{}FROM busybox\nCOPY --from=one /bin/true /1\nCOPY --from=two /bin/true /2\n",
        wait("one", "two"),
        wait("two", "one")
    );
    let folder = context(&[("Dockerfile", dockerfile.as_str())]);
    let Some(output) = build(&lab, folder.path(), &[]) else { return };
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    let places: Vec<_> = ["Step 1/7", "one met two", "Step 3/7", "two met one", "Step 5/7", "Step 7/7"]
        .iter()
        .map(|text| words.find(text))
        .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {words}");
    // One that fails ends the other.
    let dockerfile = "FROM busybox AS one\nRUN sleep 600\nFROM busybox AS two\nRUN echo before; exit 3\nFROM busybox\nCOPY --from=one /x /\nCOPY --from=two /x /\n";
    let folder = context(&[("Dockerfile", dockerfile)]);
    let output = build(&lab, folder.path(), &["--force-rm"]).expect("docker");
    let words = said(&output);
    assert!(output.status.code() == Some(3) && words.contains("before\n"), "{words}");
    assert!(eventually(|| lab.json("GET", "/containers/json?all=1", "").1 == json!([])));
}
