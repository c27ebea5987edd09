//! ADD and contexts from elsewhere, archives however they are compressed, and COPY's flags.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::build::{build, context, said};
use crate::build_mounts::post;
use crate::support::{Lab, lab};

/// A web server for the files of a folder; its address, and how often it was asked.
fn serve(folder: &Path) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (folder, count) = (folder.to_owned(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), folder, count) = (stream, folder.clone(), Arc::clone(&counted)) else {
                continue;
            };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
                while let Some(Ok(first)) = lines.next() {
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    count.fetch_add(1, Ordering::Relaxed);
                    let path = first.split(' ').nth(1).unwrap_or_default();
                    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
                    let (head, body) = match path {
                        "moved" => ("302 Found\r\nLocation: /plain.txt".to_owned(), Vec::new()),
                        path => match std::fs::read(folder.join(path)) {
                            Ok(body) => {
                                ("200 OK\r\nLast-Modified: Thu, 02 Jan 2020 03:04:05 GMT".to_owned(), body)
                            }
                            Err(_) => ("404 Not Found".to_owned(), Vec::new()),
                        },
                    };
                    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, count)
}

fn run(folder: &Path, program: &str, words: &[&str]) -> Option<()> {
    let output = Command::new(program).args(words).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "{program} {words:?}: {}", said(&output));
    Some(())
}

/// Runs `sh -c` in an image; what it says.
fn shell(lab: &Lab, image: &str, command: &str) -> String {
    said(&lab.docker(&["run", "--rm", image, "sh", "-c", command]).expect("docker"))
}

#[test]
fn files_come_from_the_web() {
    let Some(lab) = lab() else { return };
    let web = context(&[("plain.txt", "plain\n"), ("tree/file", "packed")]);
    run(web.path(), "tar", &["czf", "tree.tar.gz", "tree"]).expect("tar");
    let (address, count) = serve(web.path());
    let sum = "sha256:b4eaaca6ee7cae5ddaa6d5d13d8ba2f4b1a9bfb5f7d6bc09a3a2a2b7ab2a1d2e";
    let dockerfile = format!(
        "FROM busybox\nADD {address}/plain.txt?x=1 /a/\nADD --chmod=u=rw,go=r --chown=3:4 {address}/moved /b\n\
         ADD {address}/tree.tar.gz /c/\nADD --unpack {address}/tree.tar.gz /d/\n"
    );
    let folder = context(&[("Dockerfile", dockerfile.as_str())]);
    let Some(output) = build(&lab, folder.path(), &["-t", "web"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let listed = shell(&lab, "web", "ls -ln --full-time /a/plain.txt /b /c; cat /d/tree/file");
    assert!(listed.contains("-rw-------    1 0        0                6 2020-01-02 03:04:05"), "{listed}");
    assert!(listed.contains("-rw-r--r--    1 3        4                6 2020-01-02 03:04:05"), "{listed}");
    assert!(listed.contains("tree.tar.gz") && listed.ends_with("packed"), "{listed}");
    // The content decides, not the address: asked again, and found in the cache.
    let before = count.load(Ordering::Relaxed);
    let again = said(&build(&lab, folder.path(), &[]).expect("docker"));
    assert!(count.load(Ordering::Relaxed) > before && again.matches("Using cache").count() == 4, "{again}");
    std::fs::write(web.path().join("plain.txt"), "other\n").expect("written");
    let changed = said(&build(&lab, folder.path(), &[]).expect("docker"));
    assert!(!changed.contains("Using cache"), "{changed}");
    for (line, wanted) in [
        (format!("ADD --checksum={sum} {address}/plain.txt /"), "digest mismatch"),
        (format!("ADD --checksum=md5:1 {address}/plain.txt /"), "invalid checksum"),
        (format!("ADD --checksum={sum} Dockerfile /"), "checksum can't be specified for local sources"),
        (format!("ADD {address}/none /"), "404 Not Found"),
        (format!("ADD {address} /"), "cannot determine filename"),
        ("ADD http://127.0.0.1:1/x /".to_owned(), "connection refused"),
        (format!("COPY {address}/plain.txt /"), "COPY failed"),
    ] {
        let folder = context(&[("Dockerfile", format!("FROM busybox\n{line}\n").as_str())]);
        let words = said(&build(&lab, folder.path(), &[]).expect("docker"));
        assert!(words.contains(wanted), "{line}: {words}");
    }
    // The network is in the trace.
    let traces = std::fs::read_dir(lab.root().join("traces")).expect("traces");
    let told: String =
        traces.map(|entry| std::fs::read_to_string(entry.expect("a file").path()).expect("text")).collect();
    assert!(told.contains(&format!("{address}/moved")) && told.contains("registry.request"));
}

/// A repository of two commits, served by files alone.
fn repository(folder: &Path) -> Option<PathBuf> {
    let tree = folder.join("work");
    std::fs::create_dir_all(tree.join("doc")).expect("folders");
    std::fs::write(tree.join("doc/Dockerfile"), "FROM busybox\nCOPY . /doc\n").expect("written");
    std::fs::write(tree.join("file"), "one\n").expect("written");
    run(&tree, "git", &["init", "-q", "-b", "trunk"])?;
    let commit = ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-a", "-m", "m"];
    run(&tree, "git", &["add", "."])?;
    run(&tree, "git", &commit)?;
    run(&tree, "git", &["tag", "v1"])?;
    std::fs::write(tree.join("file"), "two\n").expect("written");
    std::os::unix::fs::symlink("/etc/shadow", tree.join("leak")).expect("a link");
    run(&tree, "git", &["add", "."])?;
    run(&tree, "git", &commit)?;
    run(folder, "git", &["clone", "-q", "--bare", "work", "repo.git"])?;
    run(&folder.join("repo.git"), "git", &["update-server-info"])?;
    Some(folder.join("repo.git"))
}

#[test]
fn files_come_from_repositories() {
    let Some(lab) = lab() else { return };
    let web = tempfile::tempdir().expect("a folder");
    if repository(web.path()).is_none() {
        return;
    }
    let (address, _) = serve(web.path());
    let dockerfile = format!(
        "FROM busybox\nADD {address}/repo.git /new/\nADD {address}/repo.git#v1 /old/\n\
         ADD --keep-git-dir {address}/repo.git#trunk:doc /doc/\nADD --keep-git-dir {address}/repo.git /whole/\n"
    );
    let folder = context(&[("Dockerfile", dockerfile.as_str())]);
    let Some(output) = build(&lab, folder.path(), &["-t", "repo"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let listed = shell(
        &lab,
        "repo",
        "cat /new/file /old/file; ls -A /new /doc; ls -d /whole/.git; readlink /new/leak",
    );
    assert_eq!(listed, "two\none\n/doc:\nDockerfile\n\n/new:\ndoc\nfile\nleak\n/whole/.git\n/etc/shadow\n");
    // As a context too: a folder of it, by the API's own parameter.
    let query = format!("t=context&remote={address}/repo.git%23v1:doc");
    let words = post(&lab, &query, "", &[]);
    assert!(words.contains("Successfully built"), "{words}");
    assert_eq!(shell(&lab, "context", "ls -A /doc"), "Dockerfile\n");
    for (source, wanted) in [
        ("repo.git#nowhere", "failed to fetch"),
        ("repo.git#trunk:none", "has no none"),
        ("repo.git#--upload-pack=x", "invalid repository"),
        ("no.git", "failed to fetch"),
    ] {
        let dockerfile = format!("FROM busybox\nADD {address}/{source} /x/\n");
        let words = post(&lab, "", "", &[("Dockerfile", dockerfile.as_bytes())]);
        assert!(words.contains(wanted), "{source}: {words}");
    }
}

#[test]
fn contexts_come_from_the_web() {
    let Some(lab) = lab() else { return };
    let web = context(&[
        ("Dockerfile", "FROM busybox\nCOPY file /file\n"),
        ("file", "sent\n"),
        ("alone", "FROM busybox\nENV A=alone\n"),
        ("none", "x"),
    ]);
    run(web.path(), "tar", &["czf", "context.tgz", "Dockerfile", "file"]).expect("tar");
    let (address, _) = serve(web.path());
    let packed = post(&lab, &format!("t=packed&remote={address}/context.tgz"), "", &[]);
    assert!(packed.contains("Successfully built"), "{packed}");
    let alone = post(&lab, &format!("t=alone&remote={address}/alone&dockerfile=ignored"), "", &[]);
    assert!(alone.contains("ENV A=alone"), "{alone}");
    for (remote, wanted) in
        [("ftp://x/y", "400"), ("nonsense", "400"), (&format!("{address}/gone"), "404 Not Found")]
    {
        let words = post(&lab, &format!("remote={remote}"), "", &[]);
        assert!(words.contains(wanted), "{remote}: {words}");
    }
}

#[test]
fn archives_are_unpacked_however_they_are_compressed() {
    let Some(lab) = lab() else { return };
    let folder = context(&[("tree/file", "x")]);
    let mut dockerfile = "FROM busybox\n".to_owned();
    for (name, flag) in [("tar", "-c"), ("gz", "-cz"), ("bz2", "-cj"), ("xz", "-cJ"), ("zst", "-c --zstd")] {
        let command = format!("tar {flag} -f packed.{name} tree");
        let status =
            Command::new("sh").args(["-c", &command]).current_dir(folder.path()).status().expect("sh");
        // A machine may lack one of the programs; the others are tried all the same.
        if status.success() {
            dockerfile
                .push_str(&format!("ADD packed.{name} /{name}/\nRUN test $(cat /{name}/tree/file) = x\n"));
        }
    }
    assert!(dockerfile.contains("packed.gz"), "{dockerfile}");
    dockerfile.push_str("ADD --unpack=false packed.gz /kept\nCOPY packed.gz /copied\nRUN cmp /kept /copied && test -f /kept\nADD tree/file /plain\n");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("written");
    let Some(output) = build(&lab, folder.path(), &[]) else { return };
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn files_that_are_linked_are_as_good_as_copies() {
    let Some(lab) = lab() else { return };
    let folder = context(&[
        (
            "Dockerfile",
            "FROM busybox AS base\nRUN mkdir -p /d/sub /usr/lib && echo old > /d/sub/b && echo old > /d/other && ln -s usr/lib /lib && mkdir -p /k/a\n\
             FROM base AS made\nCOPY d /d\nCOPY d /again\nRUN echo more >> /d/sub/b && cat /again/sub/b /d/sub/b\n\
             FROM base AS kinds\nCOPY d/sub /k\n",
        ),
        ("d/sub/a", "a\n"),
        ("d/sub/b", "b\n"),
        ("d/sub/c", "c\n"),
        ("d/x", "x\n"),
        ("d/y", "y\n"),
        ("d/other", "new\n"),
    ]);
    // A name for one that has another one already.
    std::fs::hard_link(folder.path().join("d/x"), folder.path().join("d/z")).expect("a link");
    let sum = |image: &str| {
        let list = "cd /d && find . -type f | sort | xargs cat && find . | sort | xargs stat -c '%n %a %u:%g %h' && ls /again /again/sub";
        shell(&lab, image, list)
    };
    let Some(linked) = build(&lab, folder.path(), &["-t", "linked", "--target", "made"]) else { return };
    let words = said(&linked);
    assert!(linked.status.success() && words.contains("b\nb\nmore\n"), "{words}");
    // With a fixed time all is copied: the image is the same but for its times.
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=4000000000", "-t", "copied", "--target", "made"];
    let copied = build(&lab, folder.path(), &epoch).expect("docker");
    assert!(copied.status.success(), "{}", said(&copied));
    let found = sum("linked");
    assert!(found.starts_with("new\na\nb\nmore\nc\nx\ny\nx\n"), "{found}");
    assert_eq!(found, sum("copied"));
    let layers = |image: &str| {
        let (_, image) = lab.json("GET", &format!("/images/{image}/json"), "");
        image["RootFS"]["Layers"].as_array().cloned().unwrap_or_default()
    };
    assert_eq!(layers("linked").get(2), layers("copied").get(2), "the layer of COPY");
    // A file does not take a folder's place.
    let kinds = said(&build(&lab, folder.path(), &["--target", "kinds"]).expect("docker"));
    assert!(kinds.contains("overwrite"), "{kinds}");
}

#[test]
fn copy_has_flags() {
    let Some(lab) = lab() else { return };
    let files = [
        ("src/a/one.txt", "1"),
        ("src/a/two.md", "2"),
        ("src/b/c/three.txt", "3"),
        ("top.txt", "t"),
        ("top.md", "m"),
        (
            "Dockerfile",
            "FROM busybox AS base\nRUN echo 'me:x:77:88::/:' >> /etc/passwd && mkdir /made && ln -s made /way\n\
             FROM base AS flags\n\
             COPY --parents src/a/one.txt src/b /p/\n\
             COPY --parents src/./b/c/three.txt /q/\n\
             COPY --parents src/**/*.txt /r/\n\
             COPY --exclude=**/*.md --exclude=b src /e/\n\
             COPY --exclude=*.md top.* /w/\n\
             COPY --chown=me --chmod=u=rwX,go= src /o/\n\
             COPY top.txt /way/\n\
             FROM base AS linked\nCOPY --link top.txt /linked/x/\n\
             FROM busybox AS other\nCOPY --link top.txt /linked/x/\n",
        ),
    ];
    let folder = context(&files);
    let Some(output) = build(&lab, folder.path(), &["-t", "flags", "--target", "flags"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let found = shell(
        &lab,
        "flags",
        "find /p /q /r /e /w -type f | sort | tr '\\n' ' '; cat /made/top.txt; stat -c '%u:%g %a' /o/a /o/a/one.txt",
    );
    assert_eq!(
        found,
        "/e/a/one.txt /p/src/a/one.txt /p/src/b/c/three.txt /q/b/c/three.txt /r/src/a/one.txt \
         /r/src/b/c/three.txt /w/top.txt t77:88 700\n77:88 600\n"
    );
    // A linked layer fits on any other ones: it is the same, and comes from the cache.
    let linked = build(&lab, folder.path(), &["-t", "linked", "--target", "linked"]).expect("docker");
    assert!(linked.status.success(), "{}", said(&linked));
    let other = said(&build(&lab, folder.path(), &["-t", "other", "--target", "other"]).expect("docker"));
    assert!(other.contains("Using cache"), "{other}");
    let top = |image: &str| {
        let (_, image) = lab.json("GET", &format!("/images/{image}/json"), "");
        image["RootFS"]["Layers"].as_array().and_then(|layers| layers.last().cloned())
    };
    assert_eq!(top("linked"), top("other"));
    assert_eq!(shell(&lab, "other", "cat /linked/x/top.txt"), "t");
    for (line, wanted) in [
        ("COPY --chmod=rwx top.txt /", "invalid chmod parameter"),
        ("COPY --exclude=[ top.txt /", "syntax error in pattern"),
        ("COPY --chown=nobody-like-it top.txt /", "nobody-like-it"),
    ] {
        let folder = context(&[("Dockerfile", format!("FROM busybox\n{line}\n").as_str()), ("top.txt", "t")]);
        let words = said(&build(&lab, folder.path(), &[]).expect("docker"));
        assert!(words.contains(wanted), "{line}: {words}");
    }
}
