//! A shim that is killed: its container ends too, and leaves nothing, whether a daemon is
//! there to see it or not.

use std::path::Path;
use std::process::Command;

use crate::support::{Lab, eventually, lab};

fn parent(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a number")
}

fn kill(pid: u64) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill").success());
}

/// Whether the number is free, or what has it is only waiting to be collected.
fn is_gone(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('Z'))
}

/// The control groups of a container, in whatever trees there are.
fn groups(id: &str) -> Vec<String> {
    let trees = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let folders = trees.map(|tree| tree.path().join("glassdock").join(id));
    let unified = Path::new("/sys/fs/cgroup/glassdock").join(id);
    folders.chain([unified]).filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}

/// Starts a container with a process beside its first one, and returns their numbers and its id.
fn container(lab: &Lab, name: &str, more: &str) -> (u64, u64, String) {
    let body =
        format!(r#"{{"Image":"busybox","Cmd":["sleep","600"],"HostConfig":{{"PidMode":"host"{more}}}}}"#);
    let (status, made) = lab.json("POST", &format!("/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{made}");
    assert_eq!(lab.request("POST", &format!("/containers/{name}/start"), "").0, 204);
    let exec = format!("/containers/{name}/exec");
    let (_, made) = lab.json("POST", &exec, r#"{"Cmd":["sleep","600"]}"#);
    let id = made["Id"].as_str().expect("an id");
    assert_eq!(lab.request("POST", &format!("/exec/{id}/start"), r#"{"Detach":true}"#).0, 200);
    let beside = lab.json("GET", &format!("/exec/{id}/json"), "").1["Pid"].as_u64().expect("a pid");
    let inspected = lab.inspect(name);
    let id = inspected["Id"].as_str().expect("an id").to_owned();
    (inspected["State"]["Pid"].as_u64().expect("a pid"), beside, id)
}

#[test]
fn a_container_ends_with_its_shim() {
    let Some(lab) = lab() else { return };
    // Without a pid namespace of its own, the first one's end would not end the other.
    let (first, beside, id) = container(&lab, "otter", "");
    kill(parent(first));
    assert!(eventually(|| lab.inspect("otter")["State"]["Status"] == "exited"));
    assert_eq!(lab.inspect("otter")["State"]["ExitCode"], 137);
    assert!(eventually(|| is_gone(first) && is_gone(beside)), "its processes go on");
    assert!(groups(&id).is_empty(), "{:?}", groups(&id));
    // It starts again as any other does, and its end is that of this run.
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/otter/kill?signal=TERM", "").0, 204);
    assert!(eventually(|| lab.inspect("otter")["State"]["ExitCode"] == 143));
}

#[test]
fn a_restart_policy_acts_after_a_killed_shim() {
    let Some(lab) = lab() else { return };
    let (first, _, _) = container(&lab, "heron", r#","RestartPolicy":{"Name":"on-failure"}"#);
    kill(parent(first));
    let again = || {
        let state = lab.inspect("heron")["State"].clone();
        state["Status"] == "running" && state["Pid"].as_u64().is_some_and(|pid| pid != 0 && pid != first)
    };
    assert!(eventually(again), "{}", lab.inspect("heron")["State"]);
    assert!(is_gone(first));
}

#[test]
fn the_next_daemon_ends_what_a_killed_shim_left() {
    let Some(mut lab) = lab() else { return };
    let (first, beside, id) = container(&lab, "crane", "");
    let shim = parent(first);
    lab.kill();
    kill(shim);
    assert!(eventually(|| is_gone(shim)));
    assert!(!is_gone(first), "nobody is there to end it");
    lab.start();
    assert!(eventually(|| is_gone(first) && is_gone(beside)), "its processes go on");
    assert!(eventually(|| lab.inspect("crane")["State"]["Status"] == "exited"));
    assert_eq!(lab.inspect("crane")["State"]["ExitCode"], 137);
    assert!(groups(&id).is_empty(), "{:?}", groups(&id));
}
