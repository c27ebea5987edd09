//! Binds: what is mounted below them, who sees what is mounted later, and parts of volumes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Lab, eventually, lab};

/// A mount on the host, for the length of a test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(words: &[&str], place: &Path) -> Self {
        let done = Command::new("mount").args(words).arg(place).status().expect("mount");
        assert!(done.success(), "mount {words:?} {}", place.display());
        Self(place.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// Runs a command with a host configuration, as a client of a version; its exit status.
fn run(lab: &Lab, version: &str, host: &Value, command: &str) -> Value {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": host }).to_string();
    let (status, made) = lab.json("POST", &format!("/{version}/containers/create"), &body);
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id").to_owned();
    let (status, said) = lab.request("POST", &format!("/containers/{id}/start"), "");
    assert_eq!(status, 204, "{said}");
    assert!(eventually(|| lab.inspect(&id)["State"]["Status"] == "exited"), "{command} does not end");
    lab.inspect(&id)["State"]["ExitCode"].clone()
}

fn bind(source: &Path, further: Value) -> Value {
    let mut mount = json!({ "Type": "bind", "Source": source, "Target": "/foo" });
    for (name, value) in further.as_object().expect("fields") {
        mount[name] = value.clone();
    }
    json!({ "Mounts": [mount] })
}

#[test]
fn read_only_and_recursive_mean_what_is_below_too_unless_it_is_said() {
    let Some(lab) = lab() else { return };
    let outer = lab.root().with_file_name("outer");
    std::fs::create_dir_all(outer.join("inner")).expect("folders");
    let _inner = Mounted::new(&["-t", "tmpfs", "none"], &outer.join("inner"));
    std::fs::write(outer.join("inner/file"), "").expect("a file");
    let touch =
        |version: &str, further: Value| run(&lab, version, &bind(&outer, further), "touch /foo/inner/x");
    assert_eq!(touch("v1.50", json!({ "ReadOnly": true })), 1, "read-only all the way down");
    assert_eq!(touch("v1.43", json!({ "ReadOnly": true })), 0, "as it was before 1.44");
    let shallow = json!({ "ReadOnly": true, "BindOptions": { "ReadOnlyNonRecursive": true } });
    assert_eq!(touch("v1.50", shallow), 0);
    let forced = json!({ "Propagation": "rprivate", "ReadOnlyForceRecursive": true });
    assert_eq!(touch("v1.50", json!({ "ReadOnly": true, "BindOptions": forced })), 1);
    let by_text = |version| {
        let host = json!({ "Binds": [format!("{}:/foo:ro", outer.display())] });
        run(&lab, version, &host, "touch /foo/inner/x")
    };
    assert_eq!((by_text("v1.50"), by_text("v1.43")), (1.into(), 0.into()));
    let see = |further| run(&lab, "v1.50", &bind(&outer, further), "test -f /foo/inner/file");
    assert_eq!(see(json!({})), 0);
    assert_eq!(see(json!({ "BindOptions": { "NonRecursive": true } })), 1, "one mount alone");
    // What can't be forced is refused.
    for options in [
        json!({ "ReadOnlyForceRecursive": true }),
        json!({ "Propagation": "rprivate", "ReadOnlyForceRecursive": true, "NonRecursive": true }),
        json!({ "Propagation": "rprivate", "ReadOnlyForceRecursive": true, "ReadOnlyNonRecursive": true }),
    ] {
        let host = bind(&outer, json!({ "ReadOnly": true, "BindOptions": options }));
        let body = json!({ "Image": "busybox", "HostConfig": host }).to_string();
        let (status, said) = lab.request("POST", "/containers/create", &body);
        assert!(status == 400 && said.contains("mount option conflict"), "{said}");
    }
}

#[test]
fn what_is_mounted_in_a_shared_bind_is_mounted_on_the_host() {
    let Some(lab) = lab() else { return };
    let folder = lab.root().with_file_name("shared");
    std::fs::create_dir_all(folder.join("inner")).expect("folders");
    let text = folder.to_string_lossy().into_owned();
    let _folder = Mounted::new(&["--bind", &text], &folder);
    assert!(Command::new("mount").args(["--make-shared", &text]).status().expect("mount").success());
    let mut host = bind(&folder, json!({ "BindOptions": { "Propagation": "shared" } }));
    host["Privileged"] = true.into();
    let inner = folder.join("inner");
    let place = format!(" {} ", inner.display());
    let mounted = || std::fs::read_to_string("/proc/self/mountinfo").expect("a table").contains(&place);
    let _inner = Mounted(inner.clone());
    assert_eq!(run(&lab, "v1.50", &host, "mount --bind /foo/inner /foo/inner"), 0);
    assert!(mounted(), "the host sees it");
    // Private binds tell nothing.
    assert!(Command::new("umount").arg(&inner).status().expect("umount").success());
    host["Mounts"][0]["BindOptions"]["Propagation"] = "private".into();
    assert_eq!(run(&lab, "v1.50", &host, "mount --bind /foo/inner /foo/inner"), 0);
    assert!(!mounted());
}

#[test]
fn what_nobody_shares_is_not_shared() {
    let Some(lab) = lab() else { return };
    let folder = lab.root().with_file_name("alone");
    std::fs::create_dir_all(folder.join("inner")).expect("folders");
    let text = folder.to_string_lossy().into_owned();
    let _folder = Mounted::new(&["--bind", &text], &folder);
    let make = |how: &str, place: &Path| {
        assert!(Command::new("mount").arg(how).arg(place).status().expect("mount").success());
    };
    let inner = folder.join("inner");
    let start = |source: &Path, word: &str| {
        let host = json!({ "Binds": [format!("{}:/foo:{word}", source.display())] });
        let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host }).to_string();
        let (status, made) = lab.json("POST", "/containers/create", &body);
        assert_eq!(status, 201, "{made}");
        let id = made["Id"].as_str().expect("an id").to_owned();
        let (status, said) = lab.json("POST", &format!("/containers/{id}/start"), "");
        (status, said["message"].as_str().unwrap_or_default().to_owned(), id)
    };
    make("--make-private", &folder);
    for (word, lacks) in [
        ("shared", "a shared mount"),
        ("rshared", "a shared mount"),
        ("slave", "a shared or slave mount"),
        ("rslave", "a shared or slave mount"),
    ] {
        let (status, said, id) = start(&inner, word);
        let words = format!("path {} is mounted on {text} but it is not {lacks}", inner.display());
        assert_eq!((status, said), (500, words), "{word}");
        assert_eq!(lab.inspect(&id)["State"]["ExitCode"], 128);
    }
    make("--make-shared", &folder);
    for word in ["shared", "rshared", "slave", "rslave"] {
        assert_eq!(start(&inner, word).0, 204, "{word}");
    }
    // One that only hears of another has nothing to share.
    let hears = lab.root().with_file_name("hears");
    std::fs::create_dir_all(&hears).expect("a folder");
    let _hears = Mounted::new(&["--bind", &text], &hears);
    make("--make-slave", &hears);
    let inner = hears.join("inner");
    let statuses = ["slave", "rslave", "shared", "rshared"].map(|word| start(&inner, word).0);
    assert_eq!(statuses, [204, 204, 500, 500]);
}

#[test]
fn a_bind_of_the_engines_own_folder_lets_go_of_what_is_unmounted_there() {
    let Some(lab) = lab() else { return };
    let root = lab.root().to_string_lossy().into_owned();
    let made = |source: &str, word: &str| {
        let text = if word.is_empty() { format!("{source}:/foo") } else { format!("{source}:/foo:{word}") };
        let body = json!({ "Image": "busybox", "HostConfig": { "Binds": [text] } }).to_string();
        lab.json("POST", "/containers/create", &body)
    };
    for source in [root.clone(), format!("{root}/volumes"), "/".to_owned()] {
        for (word, shown) in [("", "rslave"), ("rslave", "rslave"), ("rshared", "rshared")] {
            let (status, made) = made(&source, word);
            assert_eq!(status, 201, "{made}");
            let seen = lab.inspect(made["Id"].as_str().expect("an id"));
            assert_eq!(seen["Mounts"][0]["Propagation"], shown, "{source} {word}");
        }
        for word in ["private", "rprivate", "slave", "shared"] {
            let (status, said) = made(&source, word);
            assert!(status == 400 && said["message"].to_string().contains("daemon root"), "{word}: {said}");
        }
    }
    let (_, made) = made("/etc", "");
    assert_eq!(lab.inspect(made["Id"].as_str().expect("an id"))["Mounts"][0]["Propagation"], "rprivate");
}

#[test]
fn a_part_of_a_volume_is_looked_up_at_the_start_and_nothing_leads_out() {
    let Some(lab) = lab() else { return };
    let volume = json!({ "Mounts": [{ "Type": "volume", "Source": "whole", "Target": "/v" }] });
    let fill = "cd /v; mkdir -p sub bin link; echo hi > sub/file; ln -s / link/out; ln -s ../sub link/in; ln -s out link/far";
    assert_eq!(run(&lab, "v1.50", &volume, fill), 0);
    let part = |path: &str, target: &str| {
        let options = json!({ "Subpath": path });
        json!({ "Mounts": [{ "Type": "volume", "Source": "whole", "Target": target, "VolumeOptions": options }] })
    };
    assert_eq!(run(&lab, "v1.50", &part("sub", "/v"), "grep hi /v/file"), 0);
    assert_eq!(run(&lab, "v1.50", &part("link/in", "/v"), "grep hi /v/file"), 0);
    assert_eq!(run(&lab, "v1.50", &part("sub/file", "/v"), "grep hi /v"), 0);
    assert_eq!(run(&lab, "v1.50", &part("bin", "/bin"), "test -x /bin/busybox"), 0, "filled from the image");
    let create = |path: &str| {
        let body = json!({ "Image": "busybox", "Cmd": ["ls", "/v"], "HostConfig": part(path, "/v") });
        lab.json("POST", "/containers/create", &body.to_string())
    };
    for path in ["/sub", "..", "sub/../..", "../../etc"] {
        let (status, said) = create(path);
        let said = said["message"].as_str().unwrap_or_default();
        assert!(
            status == 400 && said.contains("subpath must be a relative path within the volume"),
            "{said}"
        );
    }
    for (path, words) in
        [("gone", "cannot access path gone"), ("link/out", "escapes"), ("link/far", "escapes")]
    {
        let (status, made) = create(path);
        assert_eq!(status, 201, "{made}");
        let id = made["Id"].as_str().expect("an id");
        let (status, said) = lab.request("POST", &format!("/containers/{id}/start"), "");
        assert!(status >= 400 && said.contains(words), "{said}");
    }
    // What was a folder at the create may be a link at the start, and a look into the container before it.
    let (status, made) = create("sub");
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id");
    assert_eq!(run(&lab, "v1.50", &volume, "cd /v; rm -r sub; ln -s / sub"), 0);
    let (status, said) = lab.request("POST", &format!("/containers/{id}/start"), "");
    assert!(status >= 400 && said.contains("escapes"), "{said}");
    assert_ne!(lab.request("HEAD", &format!("/containers/{id}/archive?path=/v/etc"), "").0, 200);
}
