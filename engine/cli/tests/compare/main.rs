//! The real docker client is the judge: both clients run the same command lines
//! against the same daemon, and must print the same on both streams and end with the same
//! status.
//!
//! The lines are in `lines.txt`, each for a shell. `@` in a line becomes a name of
//! this client's own, as long as the other's. The daemon is the one that
//! `GLASSDOCK_COMPARE_HOST` names, or a `dockerd` started here (as root), without
//! network; where neither is possible, or there is no docker client, the test says
//! so and passes.

mod daemon;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use daemon::Daemon;

const LINES: &str = include_str!("lines.txt");

#[derive(Debug, PartialEq)]
struct Result {
    stdout: String,
    stderr: String,
    status: Option<i32>,
}

#[test]
fn same_words_same_output_same_status() {
    let Some(real) = find("docker").filter(|path| is_docker_28(path)) else {
        return skip("no docker client 28 in PATH");
    };
    let daemon = match Daemon::start() {
        Ok(daemon) => daemon,
        Err(reason) => return skip(&reason),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, target) in [("real", real.as_str()), ("ours", env!("CARGO_BIN_EXE_glassdock"))] {
        fs::create_dir(folder.path().join(name)).expect("a new folder");
        symlink(target, folder.path().join(name).join("docker")).expect("a link");
    }
    let only = std::env::var("GLASSDOCK_COMPARE_ONLY").unwrap_or_default();
    let mut different = Vec::new();
    let mut count = 0;
    for line in LINES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if !line.contains(&only) {
            continue;
        }
        count += 1;
        let both = || {
            let theirs = run(&folder.path().join("real"), &daemon, line, "cmpreal");
            (theirs, run(&folder.path().join("ours"), &daemon, line, "cmpours"))
        };
        let (mut theirs, mut ours) = both();
        if theirs != ours && theirs.stdout.contains(" seconds ago") {
            // A second may have ended between the two.
            (theirs, ours) = both();
        }
        if theirs != ours {
            different.push(format!("$ {line}\n--- docker: {theirs:#?}\n--- ours: {ours:#?}\n"));
        }
    }
    assert!(different.is_empty(), "{} of {count} lines differ:\n{}", different.len(), different.join("\n"));
}

fn skip(reason: &str) {
    let words = format!("skipped: {reason}\n");
    // The harness swallows what a test prints; a reason is worth a line all the same.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes());
}

fn find(program: &str) -> Option<String> {
    std::env::var("PATH")
        .ok()?
        .split(':')
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| Path::new(path).exists())
}

fn is_docker_28(path: &str) -> bool {
    let output = Command::new(path).arg("--version").output();
    output.is_ok_and(|output| output.stdout.starts_with(b"Docker version 28."))
}

fn run(folder: &Path, daemon: &Daemon, line: &str, name: &str) -> Result {
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let home = folder.join("home");
    let output = Command::new("sh")
        .args(["-c", &line.replace('@', name)])
        .env_clear()
        .env("PATH", path)
        .env("HOME", &home)
        .env("DOCKER_HOST", &daemon.host)
        .env("LANG", "C.UTF-8")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let text = |bytes: &[u8]| normalise(&String::from_utf8_lossy(bytes), name, &folder.display().to_string());
    Result { stdout: text(&output.stdout), stderr: text(&output.stderr), status: output.status.code() }
}

/// Ids, moments and the client's own names go; everything else stays.
fn normalise(text: &str, name: &str, folder: &str) -> String {
    let text = text.replace(name, "@").replace(folder, "FOLDER");
    let mut plain = String::with_capacity(text.len());
    let mut word = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        let is_hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match word.len() {
            12 | 64 if is_hex => plain.push_str(&"x".repeat(word.len())),
            _ => plain.push_str(&word),
        }
        word.clear();
        if letter != '\0' {
            plain.push(letter);
        }
    }
    plain.split_inclusive('\n').map(sorted_runtimes).collect()
}

/// Docker's client prints the runtimes in the order of a Go map, another at each call.
fn sorted_runtimes(line: &str) -> String {
    let Some(names) = line.strip_prefix(" Runtimes: ") else { return line.to_string() };
    let mut names: Vec<&str> = names.split_whitespace().collect();
    names.sort_unstable();
    format!(" Runtimes: {}\n", names.join(" "))
}
