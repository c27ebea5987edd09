//! Volumes that have a file system of their own: mounted while somebody uses them, and no longer.

use std::path::Path;

use crate::support::{Lab, eventually, lab};

fn volume(lab: &Lab, name: &str, options: &str) -> (u16, serde_json::Value) {
    lab.json("POST", "/volumes/create", &format!(r#"{{"Name":"{name}","DriverOpts":{options}}}"#))
}

fn with_volume(lab: &Lab, name: &str, bind: &str, command: &str) -> (u16, String) {
    let body =
        format!(r#"{{"Image":"busybox","Cmd":["sh","-c","{command}"],"HostConfig":{{"Binds":["{bind}"]}}}}"#);
    let (status, made) = lab.json("POST", &format!("/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{made}");
    lab.request("POST", &format!("/containers/{name}/start"), "")
}

/// What is mounted at the volumes of a lab.
fn mounted(lab: &Lab) -> Vec<String> {
    let folder = format!("{}/volumes/", lab.root().display());
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
    table.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
}

fn ends(lab: &Lab, name: &str) -> serde_json::Value {
    assert!(eventually(|| lab.inspect(name)["State"]["Status"] == "exited"), "{name} does not end");
    lab.inspect(name)["State"]["ExitCode"].clone()
}

#[test]
fn a_file_system_is_mounted_while_a_container_uses_it() {
    let Some(lab) = lab() else { return };
    let (status, said) = volume(&lab, "memory", r#"{"type":"tmpfs","device":"tmpfs","o":"size=1m,uid=7"}"#);
    assert_eq!((status, &said["Options"]["o"]), (201, &"size=1m,uid=7".into()), "{said}");
    assert!(mounted(&lab).is_empty(), "nobody uses it");
    assert_eq!(with_volume(&lab, "first", "memory:/data", "echo hi > /data/file; sleep 600").0, 204);
    let now = mounted(&lab);
    assert!(now.len() == 1 && now[0].contains("size=1024k") && now[0].contains("uid=7"), "{now:?}");
    // A second one sees the same files, and its end leaves them to the first.
    assert!(eventually(|| {
        let file = lab.root().join("volumes/memory/_data/file");
        std::fs::read_to_string(file).is_ok_and(|text| text == "hi\n")
    }));
    assert_eq!(with_volume(&lab, "second", "memory:/x:ro", "cat /x/file && ! touch /x/no").0, 204);
    assert_eq!(ends(&lab, "second"), 0);
    assert_eq!(mounted(&lab).len(), 1);
    assert_eq!(lab.request("DELETE", "/volumes/memory", "").0, 409);
    assert_eq!(lab.request("POST", "/containers/first/kill", "").0, 204);
    assert!(eventually(|| mounted(&lab).is_empty()), "{:?}", mounted(&lab));
    // What was in memory is gone; a look into the stopped container mounts and leaves nothing.
    assert_eq!(lab.request("HEAD", "/containers/first/archive?path=/data/file", "").0, 404);
    assert_eq!(lab.request("HEAD", "/containers/first/archive?path=/data", "").0, 200);
    assert!(mounted(&lab).is_empty(), "{:?}", mounted(&lab));
}

#[test]
fn a_bound_folder_survives_its_volume() {
    let Some(lab) = lab() else { return };
    let folder = lab.root().join("precious");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("file"), "kept").expect("a file");
    let options = format!(r#"{{"type":"none","device":"{}","o":"bind"}}"#, folder.display());
    assert_eq!(volume(&lab, "bound", &options).0, 201);
    assert_eq!(with_volume(&lab, "writer", "bound:/data", "cp /data/file /data/copy").0, 204);
    assert_eq!(ends(&lab, "writer"), 0);
    assert_eq!(lab.request("DELETE", "/containers/writer?v=1", "").0, 204);
    // Prune leaves it, as in Docker; removing it takes the volume, never what it showed.
    let pruned = lab.json("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D", "").1;
    assert_eq!(pruned["VolumesDeleted"], serde_json::json!([]), "{pruned}");
    assert_eq!(lab.request("DELETE", "/volumes/bound", "").0, 204);
    assert_eq!(std::fs::read_to_string(folder.join("copy")).expect("the copy"), "kept");
    assert!(!Path::new(&lab.root().join("volumes/bound")).exists());
}

#[test]
fn what_can_t_be_mounted_is_told_and_leaves_nothing() {
    let Some(lab) = lab() else { return };
    for (options, words) in [
        (r#"{"foo":"bar"}"#, "create bad: invalid option: \\\"foo\\\""),
        (r#"{"type":"tmpfs"}"#, "create bad: missing required option: \\\"device\\\""),
        (r#"{"type":"t","device":"d","size":"1m"}"#, "quota size requested but no quota support"),
    ] {
        let (status, said) =
            lab.request("POST", "/volumes/create", &format!(r#"{{"Name":"bad","DriverOpts":{options}}}"#));
        assert!(status == 400 && said.contains(words), "{options}: {status} {said}");
    }
    let image = lab.root().join("image");
    std::fs::write(&image, [0; 4096]).expect("a file");
    let of_file = format!(r#"{{"type":"ext4","device":"{}"}}"#, image.display());
    for (name, options, words) in [
        ("nowhere", r#"{"type":"none","device":"/no/where","o":"bind"}"#, "no such file or directory"),
        ("large", r#"{"type":"tmpfs","device":"tmpfs","o":"size=much"}"#, "invalid argument"),
        ("nofs", r#"{"type":"otterfs","device":"none"}"#, "no such device"),
        ("file", of_file.as_str(), "block device required"),
    ] {
        assert_eq!(volume(&lab, name, options).0, 201);
        let (status, said) = with_volume(&lab, name, &format!("{name}:/data"), "true");
        let begin = format!("error while mounting volume '{}", lab.root().display());
        assert!(status == 500 && said.contains(&begin) && said.contains(words), "{name}: {status} {said}");
        assert_eq!(lab.inspect(name)["State"]["ExitCode"], 128);
    }
    assert!(mounted(&lab).is_empty());
}

#[test]
fn a_crash_leaves_no_mount_that_nobody_uses() {
    let Some(mut lab) = lab() else { return };
    let tmpfs = r#"{"type":"tmpfs","device":"tmpfs"}"#;
    for name in ["stays", "ends"] {
        assert_eq!(volume(&lab, name, tmpfs).0, 201);
        assert_eq!(with_volume(&lab, name, &format!("{name}:/data"), "sleep 600").0, 204);
    }
    assert_eq!(mounted(&lab).len(), 2);
    let pid = lab.inspect("ends")["State"]["Pid"].to_string();
    lab.kill();
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
    lab.start();
    assert!(eventually(|| mounted(&lab).len() == 1), "{:?}", mounted(&lab));
    assert!(mounted(&lab)[0].contains("volumes/stays/"), "{:?}", mounted(&lab));
    assert_eq!(lab.request("POST", "/containers/stays/kill", "").0, 204);
    assert!(eventually(|| mounted(&lab).is_empty()));
}
