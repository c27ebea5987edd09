//! The daemon dies, and nothing else does.

use crate::support::{eventually, lab};

#[test]
fn a_killed_daemon_loses_no_container_and_no_status() {
    let Some(mut lab) = lab() else { return };
    let runs = lab.run("otter", &["sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done"]);
    lab.run("badger", &["sh", "-c", "sleep 1; exit 7"]);
    let pid = lab.inspect("otter")["State"]["Pid"].clone();
    let id = lab.json("GET", "/info", "").1["ID"].clone();
    lab.kill();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    lab.start();
    assert_eq!(id.as_str().map(str::len), Some(36), "a UUID: {id}");
    assert_eq!(lab.json("GET", "/info", "").1["ID"], id, "it is the same engine");
    let otter = lab.inspect(&runs);
    assert_eq!((&otter["State"]["Status"], &otter["State"]["Pid"]), (&"running".into(), &pid));
    let badger = lab.inspect("badger");
    assert_eq!((&badger["State"]["Status"], &badger["State"]["ExitCode"]), (&"exited".into(), &7.into()));
    let (_, log) = lab.request("GET", "/containers/otter/logs?stdout=1&tail=all", "");
    let numbers: Vec<u32> = log.split('\n').filter_map(|line| line.get(8..)?.parse().ok()).collect();
    assert!(numbers.len() > 10, "{log:?}");
    assert!(
        numbers.iter().copied().eq(0..u32::try_from(numbers.len()).expect("few")),
        "a log without holes: {numbers:?}"
    );
    assert_eq!(lab.request("POST", "/containers/otter/kill", "").0, 204);
    assert!(eventually(|| lab.inspect("otter")["State"]["ExitCode"] == 137));
}

#[test]
fn a_daemon_that_stops_leaves_containers_and_starts_what_should_run() {
    let Some(mut lab) = lab() else { return };
    lab.run("crane", &["sleep", "600"]);
    let body = r#"{"Image":"busybox","Cmd":["sleep","600"],"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}}}"#;
    for name in ["heron", "stork"] {
        assert_eq!(lab.request("POST", &format!("/containers/create?name={name}"), body).0, 201);
        assert_eq!(lab.request("POST", &format!("/containers/{name}/start"), "").0, 204);
    }
    assert_eq!(lab.request("POST", "/containers/stork/stop?t=0", "").0, 204);
    let first = lab.inspect("heron")["State"]["Pid"].as_u64().expect("a pid");
    lab.stop();
    // It ends while no daemon is there to see it.
    let killed = std::process::Command::new("kill").args(["-9", &first.to_string()]).status().expect("kill");
    assert!(killed.success());
    lab.start();
    assert_eq!(lab.inspect("crane")["State"]["Status"], "running");
    assert!(eventually(|| lab.inspect("heron")["State"]["Status"] == "running"));
    assert_ne!(lab.inspect("heron")["State"]["Pid"].as_u64(), Some(first));
    assert_eq!(lab.inspect("stork")["State"]["Status"], "exited", "somebody stopped it");
}
