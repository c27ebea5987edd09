//! `--mount type=image`: the files of an image in the container of another one.

use serde_json::{Value, json};

use crate::support::{Lab, eventually, lab};

/// An image with a file, a link inside of it and one that leads out, called `files`.
fn files(lab: &Lab) {
    let fill = "mkdir /data; echo otter > /data/file; ln -s file /data/near; ln -s / /data/far";
    lab.run("maker", &["sh", "-c", fill]);
    assert!(eventually(|| lab.inspect("maker")["State"]["Status"] == "exited"));
    let (status, said) = lab.request("POST", "/commit?container=maker&repo=files", "");
    assert_eq!(status, 201, "{said}");
    assert_eq!(lab.request("DELETE", "/containers/maker", "").0, 204);
}

fn mount(subpath: &str) -> Value {
    json!({ "Type": "image", "Source": "files", "Target": "/foo", "ImageOptions": { "Subpath": subpath } })
}

/// Makes a container with host settings; the answer's status and words.
fn create(lab: &Lab, name: &str, host: &Value, command: &str) -> (u16, String) {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": host }).to_string();
    lab.request("POST", &format!("/containers/create?name={name}"), &body)
}

/// Runs such a container to its end, and removes it; its exit status.
fn run(lab: &Lab, host: &Value, command: &str) -> Value {
    let (status, said) = create(lab, "once", host, command);
    assert_eq!(status, 201, "{said}");
    let (status, said) = lab.request("POST", "/containers/once/start", "");
    assert_eq!(status, 204, "{said}");
    assert!(eventually(|| lab.inspect("once")["State"]["Status"] == "exited"), "{command} does not end");
    let code = lab.inspect("once")["State"]["ExitCode"].clone();
    assert_eq!(lab.request("DELETE", "/containers/once", "").0, 204);
    code
}

#[test]
fn an_image_is_mounted_read_only_whole_or_in_part() {
    let Some(lab) = lab() else { return };
    files(&lab);
    let with = |mount: Value| json!({ "Mounts": [mount] });
    assert_eq!(run(&lab, &with(mount("")), "grep otter /foo/data/file && ! touch /foo/x"), 0);
    assert_eq!(run(&lab, &with(mount("data")), "grep otter /foo/file && ! rm /foo/file"), 0);
    assert_eq!(run(&lab, &with(mount("data/near")), "grep otter /foo"), 0);
    // The image itself as it was, and nothing of it among the container's changes.
    let twice =
        json!({ "Mounts": [mount("data"), { "Type": "image", "Source": "busybox", "Target": "/bar" }] });
    assert_eq!(run(&lab, &twice, "test -f /foo/file && test -d /bar/bin"), 0);
    for path in ["/data", "..", "data/../.."] {
        let (status, said) = create(&lab, "bad", &with(mount(path)), "true");
        assert!(
            status == 400 && said.contains("subpath must be a relative path within the volume"),
            "{said}"
        );
    }
    for (path, words) in [("data/far", "escapes"), ("gone", "cannot access path gone")] {
        assert_eq!(create(&lab, "bad", &with(mount(path)), "true").0, 201);
        let (status, said) = lab.request("POST", "/containers/bad/start", "");
        assert!(status >= 400 && said.contains(words), "{said}");
        assert_eq!(lab.request("DELETE", "/containers/bad", "").0, 204);
    }
    let mut other = mount("");
    other["VolumeOptions"] = json!({});
    let (status, said) = create(&lab, "bad", &with(other), "true");
    assert!(status == 400 && said.contains("field VolumeOptions must not be specified"), "{said}");
    let (status, said) = create(&lab, "bad", &with(json!({ "Type": "image", "Target": "/foo" })), "true");
    assert!(status == 400 && said.contains("field Source must not be empty"), "{said}");
    let unknown = json!({ "Type": "image", "Source": "nobody", "Target": "/foo" });
    let (status, said) = create(&lab, "bad", &with(unknown), "true");
    assert!(status == 404 && said.contains("No such image: nobody"), "{said}");
}

#[test]
fn an_image_is_shown_and_stays_as_long_as_a_container_has_it() {
    let Some(mut lab) = lab() else { return };
    files(&lab);
    assert_eq!(create(&lab, "user", &json!({ "Mounts": [mount("data")] }), "cat /foo/file").0, 201);
    let point = lab.inspect("user")["Mounts"][0].clone();
    let shown = [&point["Type"], &point["Name"], &point["Destination"], &point["RW"]];
    assert_eq!(json!(shown), json!(["image", "files", "/foo", false]));
    let (status, said) = lab.request("DELETE", "/images/files", "");
    assert!(status == 409 && said.contains("is using its referenced image"), "{said}");
    // A look into the stopped container sees it too, and may not write.
    assert_eq!(lab.request("GET", "/containers/user/archive?path=/foo/file", "").0, 200);
    let (status, said) = lab.request("PUT", "/containers/user/archive?path=/foo", "");
    assert!(status == 403 && said.contains("marked read-only"), "{status} {said}");
    // Others may take it over.
    assert_eq!(run(&lab, &json!({ "VolumesFrom": ["user"] }), "grep otter /foo/file"), 0);
    // Without its name, and after the daemon came again, the files are there still.
    let (status, said) = lab.request("DELETE", "/images/files?force=1", "");
    assert_eq!(status, 200, "{said}");
    lab.kill();
    lab.start();
    assert_eq!(lab.request("POST", "/containers/user/start", "").0, 204);
    assert!(eventually(|| lab.inspect("user")["State"]["Status"] == "exited"));
    assert_eq!(lab.inspect("user")["State"]["ExitCode"], 0);
    assert_eq!(lab.request("DELETE", "/containers/user", "").0, 204);
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
    assert!(!table.contains(&*lab.root().to_string_lossy()), "nothing was mounted on the host");
}
