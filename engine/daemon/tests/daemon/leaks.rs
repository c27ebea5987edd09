//! What is left after many runs: nothing.

use std::path::Path;
use std::thread;

use crate::support::{Lab, eventually, lab};

/// Runs at a time, and how often.
const SIDE_BY_SIDE: usize = 4;
const ROUNDS: usize = 6;

#[test]
fn many_runs_leave_nothing() {
    let Some(lab) = lab() else { return };
    lab.run("stays", &["sleep", "600"]);
    let before = descriptors(&lab);
    thread::scope(|scope| {
        for side in 0..SIDE_BY_SIDE {
            let lab = &lab;
            scope.spawn(move || (0..ROUNDS).for_each(|round| run(lab, side * ROUNDS + round)));
        }
    });
    let gone =
        || lab.json("GET", "/containers/json?all=1", "").1.as_array().is_some_and(|all| all.len() == 1);
    assert!(eventually(gone), "what removes itself is gone");
    assert_eq!(lab.request("DELETE", "/containers/stays?force=1", "").0, 204);
    assert!(eventually(|| left(&lab).is_empty()), "{:#?}", left(&lab));
    assert!(
        eventually(|| descriptors(&lab) <= before + 2),
        "{} descriptors, {before} before",
        descriptors(&lab)
    );
}

/// A container with a volume and a port, that fails to start, ends or is killed, and goes.
fn run(lab: &Lab, number: usize) {
    let command = match number % 3 {
        0 => r#"["true"]"#,
        1 => r#"["nothing-of-that-name"]"#,
        _ => r#"["sleep","600"]"#,
    };
    let body = format!(
        r#"{{"Image":"busybox","Cmd":{command},"Volumes":{{"/data":{{}}}},"ExposedPorts":{{"80/tcp":{{}}}},
            "HostConfig":{{"AutoRemove":true,"PublishAllPorts":true}}}}"#
    );
    let (status, made) = lab.json("POST", "/containers/create", &body);
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id");
    let (status, said) = lab.request("POST", &format!("/containers/{id}/start"), "");
    assert_eq!(status, if number % 3 == 1 { 400 } else { 204 }, "{said}");
    if number % 3 == 2 {
        let (status, made) =
            lab.json("POST", &format!("/containers/{id}/exec"), r#"{"Cmd":["sleep","600"]}"#);
        assert_eq!(status, 201, "{made}");
        let start = format!("/exec/{}/start", made["Id"].as_str().expect("an id"));
        assert_eq!(lab.request("POST", &start, r#"{"Detach":true}"#).0, 200);
        assert_eq!(lab.request("POST", &format!("/containers/{id}/kill"), "").0, 204);
    }
}

fn descriptors(lab: &Lab) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", lab.daemon_pid())).expect("descriptors").count()
}

/// Everything of the lab's containers that the host has.
fn left(lab: &Lab) -> Vec<String> {
    let mut left = Vec::new();
    let mine = |text: &str| text.contains(&*lab.root().to_string_lossy());
    let entries = |path: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(path)
            .map(|all| all.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    };
    for folder in ["containers", "volumes"] {
        left.extend(entries(&lab.root().join(folder)).iter().map(|path| path.display().to_string()));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    left.extend(mounts.lines().filter(|line| mine(line)).map(str::to_owned));
    let ports = format!("/sys/class/net/{}/brif", lab.bridge());
    left.extend(entries(Path::new(&ports)).iter().map(|path| path.display().to_string()));
    for process in entries(Path::new("/proc")) {
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        let stat = read("stat");
        // After the name in brackets: the state and the parent.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        let child = after.split(' ').nth(1) == Some(&lab.daemon_pid().to_string());
        let shim = read("comm").starts_with("glassdock-shim")
            && std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| mine(&cwd.to_string_lossy()));
        if child || shim || mine(&read("cmdline").replace('\0', " ")) && read("cmdline").contains("shim") {
            left.push(format!("{} {stat}", process.display()));
        }
    }
    left
}
