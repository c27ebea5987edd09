//! What a container shares with another one, or with the host.

use serde_json::{Value, json};

use crate::support::{Lab, lab};

fn create(lab: &Lab, name: &str, config: &Value, host: &Value) -> (u16, Value) {
    let mut body = json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": host });
    body.as_object_mut().expect("a map").extend(config.as_object().expect("a map").clone());
    lab.json("POST", &format!("/containers/create?name={name}"), &body.to_string())
}

fn start(lab: &Lab, name: &str) -> (u16, String) {
    lab.request("POST", &format!("/containers/{name}/start"), "")
}

/// What a command of a container that runs and ends writes.
fn said(lab: &Lab, host: &Value, command: &[&str]) -> String {
    assert_eq!(create(lab, "wren", &json!({ "Cmd": command }), host).0, 201);
    assert_eq!(start(lab, "wren").0, 204);
    assert_eq!(lab.request("POST", "/containers/wren/wait", "").0, 200);
    let (_, said) = lab.request("GET", "/containers/wren/logs?stdout=1&stderr=1", "");
    assert_eq!(lab.request("DELETE", "/containers/wren", "").0, 204);
    said.get(8..).unwrap_or_default().to_owned()
}

#[test]
fn a_shared_network_brings_its_names() {
    let Some(lab) = lab() else { return };
    assert_eq!(
        create(&lab, "otter", &json!({ "Hostname": "river", "Domainname": "bank" }), &json!({})).0,
        201
    );
    let otter = lab.inspect("otter")["Id"].as_str().expect("an id").to_owned();
    let (status, made) = create(&lab, "eel", &json!({}), &json!({ "NetworkMode": "container:otter" }));
    assert_eq!(status, 201, "{made}");
    // A name may change hands; the network is that of the container that had it at the create.
    assert_eq!(lab.inspect("eel")["HostConfig"]["NetworkMode"], format!("container:{otter}"));
    let (status, refused) = start(&lab, "eel");
    let words = format!("cannot join network of a non running container: {otter}");
    assert!(status == 409 && refused.contains(&words), "{status} {refused}");
    assert_eq!(start(&lab, "otter").0, 204);
    assert_eq!(lab.request("POST", "/containers/otter/rename?name=beaver", "").0, 204);
    assert_eq!(start(&lab, "eel").0, 204);
    let eel = lab.inspect("eel");
    assert_eq!((&eel["Config"]["Hostname"], &eel["Config"]["Domainname"]), (&json!("river"), &json!("bank")));
    assert_eq!(eel["HostsPath"], lab.inspect("beaver")["HostsPath"]);
    let address = lab.inspect("beaver")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
    // Of a container that shares another's network, a third one shares that.
    let shared = json!({ "NetworkMode": "container:eel" });
    let files = said(&lab, &shared, &["sh", "-c", "hostname; cat /etc/hostname /etc/hosts"]);
    assert!(
        files.contains(&format!("{}\triver.bank river", address.as_str().expect("an address"))),
        "{files}"
    );
    assert_eq!(files.matches("river\n").count(), 3, "{files}");
}

#[test]
fn what_is_not_there_to_share_is_told() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sleep", "600"]);
    let refused = |host: &Value| {
        assert_eq!(create(&lab, "eel", &json!({}), host).0, 201, "{host}");
        let (status, words) = start(&lab, "eel");
        assert_eq!(lab.request("DELETE", "/containers/eel?force=1", "").0, 204);
        (status, words)
    };
    let (status, words) = refused(&json!({ "IpcMode": "container:otter" }));
    assert!(
        status == 400 && words.contains("non-shareable IPC (hint: use IpcMode:shareable"),
        "{status} {words}"
    );
    assert_eq!(lab.request("DELETE", "/containers/otter?force=1", "").0, 204);
    let (status, made) = create(&lab, "otter", &json!({}), &json!({ "IpcMode": "shareable" }));
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id").to_owned();
    let (status, words) = refused(&json!({ "PidMode": "container:otter" }));
    let wanted = format!("failed to join PID namespace: container {id} is not running");
    assert!(status == 500 && words.contains(&wanted), "{status} {words}");
    assert_eq!(start(&lab, "otter").0, 204);
    assert_eq!(refused(&json!({ "PidMode": "container:otter", "IpcMode": "container:otter" })).0, 204);
}

#[test]
fn memory_and_queues_are_shared_with_the_ipc_namespace() {
    let Some(lab) = lab() else { return };
    let config = json!({ "Cmd": ["sh", "-c", "echo fish >/dev/shm/otter; exec sleep 600"] });
    assert_eq!(create(&lab, "otter", &config, &json!({ "IpcMode": "shareable" })).0, 201);
    assert_eq!(start(&lab, "otter").0, 204);
    let shared = json!({ "IpcMode": "container:otter" });
    let there = || said(&lab, &shared, &["cat", "/dev/shm/otter"]) == "fish\n";
    assert!(crate::support::eventually(there));
    let links = ["readlink", "/proc/self/ns/ipc"];
    let pid = lab.inspect("otter")["State"]["Pid"].to_string();
    let own = std::fs::read_link(format!("/proc/{pid}/ns/ipc")).expect("a namespace");
    assert_eq!(said(&lab, &shared, &links).trim(), own.display().to_string());
    // What one writes the next one sees; nothing else of the other's mounts is there.
    let write = "echo frog >/dev/shm/eel; stat -f -c %T /dev/mqueue; ls /dev/shm | tr '\\n' ' '";
    assert!(said(&lab, &shared, &["sh", "-c", write]).contains("eel otter"));
    assert_eq!(said(&lab, &shared, &["cat", "/dev/shm/eel"]), "frog\n");
    let mounts = said(&lab, &shared, &["grep", "-cE", " /dev/(shm|mqueue) ", "/proc/mounts"]);
    assert_eq!(mounts, "2\n");
}

#[test]
fn the_host_s_names_are_the_host_s() {
    let Some(lab) = lab() else { return };
    let host = json!({ "UTSMode": "host" });
    for (config, words) in [
        (json!({ "Hostname": "x" }), "conflicting options: hostname and the UTS mode"),
        (json!({ "Domainname": "x" }), "sysctl \"kernel.domainname\" is not in a separate kernel namespace"),
    ] {
        let (status, refused) = create(&lab, "otter", &config, &host);
        assert_eq!((status, refused["message"].as_str()), (400, Some(words)));
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    assert_eq!(said(&lab, &host, &["hostname"]), own);
}
