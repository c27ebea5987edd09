//! Builds that are large, or take all there is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{build, context, said};
use crate::build_mounts::post;
use crate::support::{Lab, eventually, lab};

fn nothing_is_left(lab: &Lab) {
    let count = |folder: &str| std::fs::read_dir(lab.root().join(folder)).map_or(0, Iterator::count);
    assert!(eventually(|| count("builds") == 0));
    assert!(eventually(|| lab.json("GET", "/containers/json?all=1", "").1 == serde_json::json!([])));
}

/// The most memory that the daemon ever had, in KiB.
fn peak(lab: &Lab) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.daemon_pid())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_hundred_thousand_files_take_little() {
    let Some(lab) = lab() else { return };
    let dockerfile = "FROM busybox\nCOPY d7 /d7\nRUN test $(ls /d7 | wc -l) = 1000\nCOPY */x99 /all/\n";
    let names: Vec<String> = (0..100_000).map(|at| format!("d{}/x{}", at / 1000, at % 1000)).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("Dockerfile", dockerfile.as_bytes())];
    files.extend(names.iter().map(|name| (name.as_str(), name.as_bytes())));
    let before = peak(&lab);
    let words = post(&lab, "t=large", "", &files);
    let end = &words[words.len().saturating_sub(500)..];
    assert!(words.contains("Successfully built"), "{end}");
    let again = post(&lab, "t=large", "", &files);
    assert_eq!(again.matches("Using cache").count(), 3, "{again}");
    let grown = peak(&lab) - before;
    assert!(grown < 128 * 1024, "the daemon took {grown} KiB more");
    // One of them changed: the step that copies it is done again, no other.
    let place = files.iter().position(|(name, _)| *name == "d5/x99").expect("there");
    files[place].1 = b"another";
    let changed = post(&lab, "t=large", "", &files);
    assert_eq!(changed.matches("Using cache").count(), 2, "{changed}");
    nothing_is_left(&lab);
}

#[test]
fn stages_that_say_much_do_not_hold_up_the_one_that_is_heard() {
    let Some(lab) = lab() else { return };
    // More of them than steps are done at once.
    let noisy = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let mut dockerfile = "FROM busybox AS first\nRUN sleep 1\nRUN echo one\nRUN echo two\n".to_owned();
    let mut copies = "FROM busybox\nCOPY --from=first /bin/true /first\n".to_owned();
    for number in 0..noisy {
        let run = "RUN yes 'a line that somebody should read' | head -c 6000000";
        dockerfile.push_str(&format!("FROM busybox AS n{number}\n{run}\n"));
        copies.push_str(&format!("COPY --from=n{number} /bin/true /n{number}\n"));
    }
    dockerfile.push_str(&copies);
    let (send, answer) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| send.send(post(&lab, "", "", &[("Dockerfile", dockerfile.as_bytes())])));
        let words = answer.recv_timeout(std::time::Duration::from_secs(120));
        if words.is_err() {
            // The client's thread ends with the daemon.
            let _ = Command::new("kill").args(["-9", &lab.daemon_pid().to_string()]).status();
        }
        let words = words.expect("the build ends");
        assert!(words.contains("Successfully built") && words.len() > noisy * 6_000_000, "{}", words.len());
    });
}

#[test]
fn a_client_that_reads_nothing_takes_no_memory() {
    let Some(lab) = lab() else { return };
    let dockerfile = "FROM busybox\nRUN yes 'a line that nobody reads' | head -c 300000000; touch /over\n";
    let (before, _client) = (peak(&lab), silent(&lab, dockerfile));
    let listed = || lab.json("GET", "/containers/json", "").1.as_array().map_or(0, Vec::len);
    assert!(eventually(|| listed() == 1));
    std::thread::sleep(std::time::Duration::from_secs(3));
    // The command waits, and all is still to be said.
    assert_eq!(listed(), 1);
    let grown = peak(&lab).saturating_sub(before);
    assert!(grown < 48 * 1024, "the daemon took {grown} KiB more");
    drop(_client);
    nothing_is_left(&lab);
}

/// A client that asks for a build, and reads nothing of what it says.
fn silent(lab: &Lab, dockerfile: &str) -> std::os::unix::net::UnixStream {
    use std::io::Write;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).expect("written");
    let body = tar.into_inner().expect("an archive");
    let mut stream = std::os::unix::net::UnixStream::connect(lab.socket()).expect("the daemon");
    let head = format!("POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("sent");
    stream
}

#[test]
fn attributes_of_files_come_along() {
    let Some(lab) = lab() else { return };
    let mut tar = tar::Builder::new(Vec::new());
    let dockerfile = "FROM busybox AS one\nCOPY dir /dir\nFROM busybox\nCOPY --from=one /dir /again\n";
    for (path, content) in [("Dockerfile", dockerfile), ("dir/plain", "p"), ("dir/a", "a"), ("dir/b", "b")] {
        if path != "Dockerfile" && !path.ends_with("plain") {
            let value: &[u8] = content.as_bytes();
            tar.append_pax_extensions([("SCHILY.xattr.user.note", value)]).expect("written");
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).expect("written");
    }
    let archive = lab.root().join("context.tar");
    std::fs::write(&archive, tar.into_inner().expect("an archive")).expect("written");
    let socket = lab.socket();
    let sent = Command::new("curl")
        .args(["-s", "-X", "POST", "-H", "content-type: application/x-tar", "--unix-socket"])
        .arg(&socket)
        .arg("-T")
        .arg(&archive)
        .arg("http://x/build?t=noted")
        .output();
    let Ok(sent) = sent else { return };
    assert!(said(&sent).contains("Successfully built"), "{}", said(&sent));
    let layers = std::fs::read_dir(lab.root().join("layers")).expect("layers");
    let again: Vec<PathBuf> = layers.flatten().map(|entry| entry.path().join("fs/again")).collect();
    let folder = again.iter().find(|path| path.is_dir()).expect("the layer of the last COPY");
    for (name, wanted) in [("plain", None), ("a", Some("a")), ("b", Some("b"))] {
        let found = glassdock_image::layer::attributes_of(&folder.join(name)).expect("attributes");
        let wanted = wanted.map(|value: &str| (b"user.note".to_vec(), value.as_bytes().to_vec()));
        assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

/// A control group that few processes fit into; it goes with this.
struct Narrow(PathBuf);

impl Narrow {
    fn new(name: &str) -> Option<Self> {
        // With the second version of control groups, and with the first.
        ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].iter().find_map(|root| {
            let path = Path::new(root).join(name);
            std::fs::create_dir(&path).ok()?;
            let group = Self(path);
            let limit = group.0.join("pids.max");
            (limit.exists() && std::fs::write(limit, "60").is_ok()).then_some(group)
        })
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_command_that_forks_without_end_comes_to_one() {
    let Some(lab) = lab() else { return };
    let name = format!("{}-pids", lab.bridge());
    let Some(group) = Narrow::new(&name) else { return };
    let dockerfile = "FROM busybox\nRUN while true; do sleep 600 & done\n";
    let words = post(
        &lab,
        &format!("t=never&forcerm=1&cgroupparent=/{name}"),
        "",
        &[("Dockerfile", dockerfile.as_bytes())],
    );
    assert!(words.contains("returned a non-zero code") && words.contains("fork"), "{words}");
    assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    nothing_is_left(&lab);
    // The engine takes a group away that has become empty.
    let left = || std::fs::read_to_string(group.0.join("pids.current")).unwrap_or_default();
    assert!(eventually(|| matches!(left().trim(), "" | "0")), "processes are left: {}", left());
}

#[test]
fn a_command_has_a_limit_of_processes_without_being_asked() {
    let Some(lab) = lab() else { return };
    if !["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].iter().any(|root| has_pids(Path::new(root))) {
        return;
    }
    let fork = |count: u32| {
        format!(
            "FROM busybox\nRUN i=0; while [ $i -lt {count} ]; do sleep 600 & i=$((i+1)); done; kill -9 -1\n"
        )
    };
    let build = |query: &str, count| {
        post(&lab, &format!("t=never&forcerm=1{query}"), "", &[("Dockerfile", fork(count).as_bytes())])
    };
    let words = build("", 5000);
    assert!(words.contains("returned a non-zero code") && words.contains("fork"), "{words}");
    // `--ulimit nproc` is the way to another one.
    let ulimits = "%5B%7B%22Name%22%3A%22nproc%22%2C%22Soft%22%3A60%2C%22Hard%22%3A60%7D%5D";
    let words = build(&format!("&ulimits={ulimits}"), 100);
    assert!(words.contains("returned a non-zero code") && words.contains("fork"), "{words}");
    assert!(!build("", 100).contains("fork"));
    nothing_is_left(&lab);
}

fn has_pids(root: &Path) -> bool {
    let controllers = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|name| name == "pids") || root.ends_with("pids") && root.is_dir()
}

/// A small file system; it goes with this.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_command_that_fills_the_disk_leaves_nothing() {
    let Some(lab) = lab() else { return };
    let place = lab.root().join("containers");
    std::fs::create_dir_all(&place).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "none"]).arg(&place).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let _small = Small(place.clone());
    let folder = context(&[("Dockerfile", "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=100\n")]);
    let Some(output) = build(&lab, folder.path(), &["-t", "never", "--force-rm"]) else { return };
    let words = said(&output);
    assert!(!output.status.success() && words.contains("No space left"), "{words}");
    assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    nothing_is_left(&lab);
    assert_eq!(std::fs::read_dir(&place).map_or(0, Iterator::count), 0, "the container's folder is gone");
    // There is room again.
    let folder = context(&[("Dockerfile", "FROM busybox\nRUN dd if=/dev/zero of=/some bs=1M count=2\n")]);
    let output = build(&lab, folder.path(), &["-t", "fits"]).expect("docker");
    assert!(output.status.success(), "{}", said(&output));
}
