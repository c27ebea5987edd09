//! What the options of a container come to, as Docker's documentation and its daemon have it.

use serde_json::{Value, json};

use crate::support::{Lab, lab};

/// Runs a container; what it wrote and its exit status, or why it was refused and with which status.
fn run(lab: &Lab, body: &Value) -> (String, i64) {
    let (status, made) = lab.json("POST", "/containers/create", &body.to_string());
    if status != 201 {
        return (made["message"].to_string(), status.into());
    }
    let id = made["Id"].as_str().expect("an id");
    let (status, refused) = lab.request("POST", &format!("/containers/{id}/start"), "");
    if status != 204 {
        assert_eq!(lab.inspect(id)["State"]["Status"], "created");
        return (refused, status.into());
    }
    let (_, end) = lab.json("POST", &format!("/containers/{id}/wait"), "");
    let (_, said) = lab.request("GET", &format!("/containers/{id}/logs?stdout=1&stderr=1"), "");
    let said = said.get(8..).unwrap_or_default().to_owned();
    assert_eq!(lab.request("DELETE", &format!("/containers/{id}?v=1"), "").0, 204);
    (said, end["StatusCode"].as_i64().expect("a status"))
}

#[test]
fn what_log_options_say_is_read() {
    let Some(lab) = lab() else { return };
    let create = |name: &str, options: Value| {
        let log = json!({ "Type": "json-file", "Config": options });
        let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "LogConfig": log } });
        lab.request("POST", &format!("/containers/create?name={name}"), &body.to_string())
    };
    for options in [json!({ "mode": "otter" }), json!({ "max-buffer-size": "1m" })] {
        let (status, said) = create("refused", options);
        assert!(status == 400 && said.contains("logger: "), "{said}");
    }
    // Numbers are looked at when the log is begun.
    for (name, options, words) in [
        ("size", json!({ "max-size": "x" }), "failed to initialize logging driver: invalid size: 'x'"),
        (
            "files",
            json!({ "max-file": "0" }),
            "failed to initialize logging driver: max-file cannot be less than 1",
        ),
    ] {
        assert_eq!(create(name, options).0, 201);
        let (status, said) = lab.request("POST", &format!("/containers/{name}/start"), "");
        assert!(status == 500 && said.contains(words), "{said}");
    }
    assert_eq!(create("fine", json!({ "max-size": "1.5m", "max-file": "2", "compress": "true" })).0, 201);
    assert_eq!(lab.request("POST", "/containers/fine/start", "").0, 204);
}

#[test]
fn a_user_is_in_the_groups_of_the_image() {
    let Some(lab) = lab() else { return };
    let group = "printf 'root:x:0:\\nwheel:x:10:root,eve\\ncrew:x:20:eve\\n' >/etc/group; \
                 printf 'root:x:0:0::/root:/bin/sh\\neve:x:500:501::/home/eve:/bin/sh\\n' >/etc/passwd; sleep 600";
    lab.run("otter", &["sh", "-c", group]);
    let ready = || lab.request("HEAD", "/containers/otter/archive?path=/etc/passwd", "").0 == 200;
    assert!(crate::support::eventually(ready));
    let (status, answer) = lab.request("POST", "/commit?container=otter&repo=crew", "");
    assert_eq!(status, 201, "{answer}");
    for (user, groups) in [
        ("", "0 10"),
        ("root", "0 10"),
        ("0", "0 10"),
        ("0:0", "0"),
        ("root:crew", "20"),
        ("eve", "10 20 501"),
        ("500", "10 20 501"),
        ("eve:7", "7"),
        ("77", "0"),
        (":20", "20"),
    ] {
        let command = ["sed", "-n", "s/^Groups:.//p", "/proc/self/status"];
        let ran = run(&lab, &json!({ "Image": "crew", "User": user, "Cmd": command }));
        assert_eq!((ran.0.trim(), ran.1), (groups, 0), "{user:?}");
        let added = json!({ "GroupAdd": ["crew", "4242"] });
        let ran = run(&lab, &json!({ "Image": "crew", "User": user, "Cmd": command, "HostConfig": added }));
        let mut wanted: Vec<u32> = groups.split(' ').filter_map(|word| word.parse().ok()).collect();
        wanted.extend([20, 4242]);
        wanted.sort_unstable();
        wanted.dedup();
        let wanted: Vec<_> = wanted.iter().map(u32::to_string).collect();
        assert_eq!((ran.0.trim(), ran.1), (wanted.join(" ").as_str(), 0), "{user:?} with more groups");
    }
    for (body, words) in [
        (json!({ "User": "bob" }), "unable to find user bob: no matching entries in passwd file"),
        (json!({ "User": "0:bobs" }), "unable to find group bobs: no matching entries in group file"),
        (json!({ "User": "-1" }), "uids and gids must be in range 0-2147483647"),
        (
            json!({ "HostConfig": { "GroupAdd": ["bobs"] } }),
            "Unable to find group bobs: no matching entries in group file",
        ),
    ] {
        let mut whole = json!({ "Image": "crew", "Cmd": ["true"] });
        whole.as_object_mut().expect("a map").extend(body.as_object().expect("a map").clone());
        let (said, status) = run(&lab, &whole);
        assert!(
            status == 500 && said.contains(&format!("\"message\":\"{words}\"")),
            "{body}: {status} {said}"
        );
    }
}

#[test]
fn what_the_kernel_can_not_execute_is_the_container_s_own_affair() {
    let Some(lab) = lab() else { return };
    let files = "cd /usr; : >empty; printf '#!/no/pe\\n' >lost; printf 'echo\\n' >plain; \
                 printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\267\\0\\1\\0\\0\\0' >other; chmod 755 *; \
                 ln -s loop loop; touch ready; sleep 600";
    lab.run("otter", &["sh", "-c", files]);
    let ready = || lab.request("HEAD", "/containers/otter/archive?path=/usr/ready", "").0 == 200;
    assert!(crate::support::eventually(ready));
    assert_eq!(lab.request("POST", "/commit?container=otter&repo=odd", "").0, 201);
    for (name, reason) in [
        ("empty", "exec format error"),
        ("plain", "exec format error"),
        ("other", "exec format error"),
        ("lost", "no such file or directory"),
    ] {
        let (said, status) = run(&lab, &json!({ "Image": "odd", "Cmd": [format!("/usr/{name}")] }));
        assert_eq!((said.as_str(), status), (format!("exec /usr/{name}: {reason}\n").as_str(), 1));
        let body = json!({ "Cmd": [format!("/usr/{name}")], "AttachStderr": true }).to_string();
        let (_, made) = lab.json("POST", "/containers/otter/exec", &body);
        let id = made["Id"].as_str().expect("an id");
        let (_, said) = lab.request("POST", &format!("/exec/{id}/start"), r#"{"Detach":false}"#);
        assert!(said.contains(&format!("exec /usr/{name}: {reason}\n")), "{said}");
        assert_eq!(lab.json("GET", &format!("/exec/{id}/json"), "").1["ExitCode"], 1);
    }
    let (said, status) = run(&lab, &json!({ "Image": "odd", "Cmd": ["/usr/loop"] }));
    assert!(status == 400 && said.contains("stat /usr/loop: too many levels of symbolic links"), "{said}");
}

#[test]
fn a_container_has_a_mark_that_is_nobody_s_change() {
    let Some(lab) = lab() else { return };
    let marked = json!({ "Image": "busybox", "Cmd": ["stat", "-c", "%a %s %F", "/.dockerenv"] });
    assert_eq!(run(&lab, &marked), ("755 0 regular empty file\n".to_owned(), 0));
    let table = json!({ "Image": "busybox", "Cmd": ["sh", "-c", "echo $(readlink /etc/mtab) $(grep -c \" / \" /etc/mtab)"] });
    assert_eq!(run(&lab, &table), ("/proc/mounts 1\n".to_owned(), 0));
    lab.run("otter", &["sleep", "600"]);
    assert_eq!(lab.request("GET", "/containers/otter/changes", ""), (200, "null\n".to_owned()));
    assert_eq!(lab.json("GET", "/containers/otter/json?size=1", "").1["SizeRw"], 0);
    assert_eq!(lab.request("POST", "/commit?container=otter&repo=den", "").0, 201);
    let layers = |image: &str| lab.json("GET", &format!("/images/{image}/json"), "").1["RootFS"].clone();
    assert_eq!(layers("den"), layers("busybox"));
}

#[test]
fn what_takes_more_power_than_the_engine_has_is_left_out_with_a_warning() {
    let Some(lab) = lab() else { return };
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "echo $(cat /proc/self/oom_score_adj) $(ulimit -Hn)"],
        "HostConfig": { "OomScoreAdj": -1000, "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 1_048_570 }] },
    });
    let (status, made) = lab.json("POST", "/containers/create?name=otter", &body.to_string());
    assert_eq!(status, 201, "{made}");
    let warnings = made["Warnings"].to_string();
    let (said, status) = run(&lab, &body);
    assert_eq!(status, 0, "{said}");
    let given = said == "-1000 1048570\n";
    let told = warnings.contains("OOM score can't be adjusted to -1000")
        && warnings.contains("nofile can't be raised");
    assert!(given != told, "{said:?}, and {warnings}");
}

#[test]
fn memory_is_among_the_mounts() {
    let Some(lab) = lab() else { return };
    let body = json!({
        "Image": "busybox", "Cmd": ["grep", "-E", " /(t|dev/shm|dev/mqueue) ", "/proc/mounts"],
        "HostConfig": { "Mounts": [{ "Type": "tmpfs", "Target": "/t", "ReadOnly": true, "TmpfsOptions": { "SizeBytes": 1_048_576 } }] },
    });
    assert_eq!(lab.request("POST", "/containers/create?name=otter", &body.to_string()).0, 201);
    assert_eq!(
        lab.inspect("otter")["Mounts"],
        json!([{ "Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": false, "Propagation": "" }])
    );
    // Each has its own.
    let other = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "VolumesFrom": ["otter"] } });
    assert_eq!(lab.request("POST", "/containers/create?name=pup", &other.to_string()).0, 201);
    assert_eq!(lab.inspect("pup")["Mounts"], json!([]));
    let (said, status) = run(&lab, &body);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("tmpfs /t tmpfs ro,") && said.contains("size=1024k"), "{said}");
    assert!(said.contains("shm /dev/shm tmpfs rw,") && said.contains("size=65536k"), "{said}");
    let alone = json!({ "Image": "busybox", "Cmd": body["Cmd"], "HostConfig": { "IpcMode": "none" } });
    let (said, _) = run(&lab, &alone);
    assert!(said.contains("mqueue /dev/mqueue mqueue") && !said.contains("/dev/shm"), "{said}");
}

#[test]
fn a_device_is_looked_for_when_the_container_starts() {
    let Some(lab) = lab() else { return };
    for (path, reason) in [("/dev/no-pe", "no such file or directory"), ("/etc", "not a device node")] {
        let devices = json!([{ "PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm" }]);
        let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "Devices": devices } });
        let (said, status) = run(&lab, &body);
        let words =
            format!(r#"error gathering device information while adding custom device \"{path}\": {reason}"#);
        assert!(status == 500 && said.contains(&words), "{status} {said}");
    }
}

#[test]
fn addresses_and_links_need_a_network_that_has_them() {
    let Some(lab) = lab() else { return };
    for mode in ["none", "bridge", "host"] {
        let fixed = json!({ mode: { "IPAMConfig": { "IPv4Address": "10.9.8.7" } } });
        let body = json!({
            "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": mode },
            "NetworkingConfig": { "EndpointsConfig": fixed },
        });
        let (said, status) = run(&lab, &body);
        let words = "user specified IP address is supported on user defined networks only";
        assert!(status == 400 && said.contains(words), "{mode}: {status} {said}");
    }
    for (pool, words) in [
        (json!({}), "supported only when connecting to networks with user configured subnets"),
        (json!({ "Config": [{ "Subnet": "10.211.250.0/24" }] }), "contain the IP address 10.9.8.7"),
    ] {
        let network = json!({ "Name": "fixed", "IPAM": pool }).to_string();
        assert_eq!(lab.request("POST", "/networks/create", &network).0, 201);
        let fixed = json!({ "IPAMConfig": { "IPv4Address": "10.9.8.7" } });
        let body = json!({
            "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "fixed" },
            "NetworkingConfig": { "EndpointsConfig": { "fixed": fixed } },
        });
        let (said, status) = run(&lab, &body);
        assert!(status == 400 && said.contains(words), "{status} {said}");
        let id = lab.create("otter", &["true"]);
        let body = json!({ "Container": id, "EndpointConfig": fixed }).to_string();
        let (status, said) = lab.request("POST", "/networks/fixed/connect", &body);
        assert!(status == 400 && said.contains(words), "{status} {said}");
        assert_eq!(lab.request("DELETE", "/containers/otter", "").0, 204);
        assert_eq!(lab.request("DELETE", "/networks/fixed", "").0, 204);
    }
    let host = json!({ "NetworkMode": "none", "Links": ["nobody:x"] });
    let (said, status) = run(&lab, &json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host }));
    assert!(status == 400 && said.contains("could not get container for nobody"), "{status} {said}");
}

#[test]
fn the_host_s_parameters_are_not_a_container_s_to_set() {
    let Some(lab) = lab() else { return };
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").expect("a parameter");
    for host in [
        json!({ "NetworkMode": "host", "Sysctls": { "net.ipv4.ip_default_ttl": "77" } }),
        json!({ "IpcMode": "host", "Sysctls": { "kernel.shmmni": "77" } }),
        json!({ "Sysctls": { "kernel.panic": "77" } }),
        json!({ "Privileged": true, "Sysctls": { "vm.swappiness": "7" } }),
    ] {
        let (said, status) = run(&lab, &json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host }));
        assert!(status == 400 && said.contains("sysctl "), "{host}: {status} {said}");
    }
    let host = json!({ "NetworkMode": "host" });
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": host }).to_string();
    assert_eq!(lab.request("POST", "/containers/create?name=otter", &body).0, 201);
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    let host = json!({ "NetworkMode": "container:otter", "Sysctls": { "net.ipv4.ip_default_ttl": "77" } });
    let (said, status) = run(&lab, &json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host }));
    assert!(status == 400 && said.contains("not allowed in host network namespace"), "{status} {said}");
    assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").expect("it"), before);
    let host = json!({ "Sysctls": { "net.ipv4.ip_default_ttl": "77" } });
    let command = ["cat", "/proc/sys/net/ipv4/ip_default_ttl"];
    assert_eq!(
        run(&lab, &json!({ "Image": "busybox", "Cmd": command, "HostConfig": host })),
        ("77\n".to_owned(), 0)
    );
}

#[test]
fn what_can_not_be_mounted_is_told_in_dockers_words() {
    let Some(lab) = lab() else { return };
    let refused = |host: Value, wanted: u16, words: &str| {
        let (said, status) = run(&lab, &json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host }));
        assert!(status == i64::from(wanted) && said.contains(words), "{host}: {status} {said}");
    };
    let mismatch = "not a directory: are you trying to mount a directory onto a file (or vice-versa)?";
    refused(json!({ "Binds": ["/etc/passwd:/etc"] }), 400, mismatch);
    refused(json!({ "Binds": ["/etc:/etc/passwd"] }), 400, mismatch);
    refused(json!({ "Tmpfs": { "/": "" } }), 400, "destination can't be '/'");
    refused(json!({ "Tmpfs": { "/x/..": "" } }), 400, "destination can't be '/'");
    refused(json!({ "VolumesFrom": [""] }), 400, "volumes-from specification cannot be an empty string");
    let bind = |target: &str, propagation: &str| {
        json!({ "Mounts": [{
            "Type": "bind", "Source": "/etc", "Target": target, "BindOptions": { "Propagation": propagation },
        }] })
    };
    refused(bind("/b", "around"), 400, "invalid propagation mode: around");
    refused(bind("b", ""), 400, "invalid mount config for type \\\"bind\\\": invalid mount path: 'b'");
    // The engine's own files are in what lies at their folder.
    let body =
        json!({ "Image": "busybox", "Cmd": ["ls", "/etc"], "HostConfig": { "Tmpfs": { "/etc": "" } } });
    assert_eq!(run(&lab, &body).1, 0);
    let body = json!({ "Image": "busybox", "Cmd": ["cat", "/etc/hostname"], "Hostname": "otter", "HostConfig": { "Tmpfs": { "/etc": "" } } });
    assert_eq!(run(&lab, &body), ("otter\n".to_owned(), 0));
}

#[test]
fn a_log_that_is_asked_for_at_once_has_what_a_short_command_says() {
    let Some(lab) = lab() else { return };
    for number in 0..10 {
        let id = lab.run(&format!("otter{number}"), &["sh", "-c", "usleep 10000; echo hello"]);
        let (_, said) = lab.request("GET", &format!("/containers/{id}/logs?stdout=1"), "");
        assert!(said.ends_with("hello\n"), "{said:?}");
    }
    // Nobody waits for one that goes on.
    let id = lab.run("long", &["sh", "-c", "echo hello; sleep 600"]);
    let began = std::time::Instant::now();
    let (_, said) = lab.request("GET", &format!("/containers/{id}/logs?stdout=1"), "");
    assert!(said.ends_with("hello\n") && began.elapsed() < std::time::Duration::from_secs(5), "{said:?}");
}

#[test]
fn a_user_may_listen_at_any_port_of_the_container() {
    let Some(lab) = lab() else { return };
    let command = "httpd -p 80 && echo listens; cat /proc/sys/net/ipv4/ping_group_range";
    let (said, status) =
        run(&lab, &json!({ "Image": "busybox", "User": "1000", "Cmd": ["sh", "-c", command] }));
    assert!(
        said.starts_with("listens\n") && said.contains("0\t2147483647") && status == 0,
        "{status} {said}"
    );
}

#[test]
fn a_variable_keeps_its_place_and_no_volumes_are_null() {
    let Some(lab) = lab() else { return };
    let body =
        json!({ "Image": "busybox", "Cmd": ["/bin/env"], "Env": ["A=1", "PATH=/x:/bin"], "Volumes": {} });
    let (said, _) = run(&lab, &body);
    let at = |name: &str| said.find(name).unwrap_or_else(|| panic!("{name} in {said}"));
    assert!(at("PATH=/x:/bin\n") < at("HOSTNAME=") && at("HOSTNAME=") < at("A=1\n"), "{said}");
    let (_, made) = lab.json("POST", "/containers/create", &body.to_string());
    assert_eq!(lab.inspect(made["Id"].as_str().expect("an id"))["Config"]["Volumes"], Value::Null);
}

#[test]
fn a_client_that_stays_to_the_end_does_not_detach() {
    let Some(lab) = lab() else { return };
    let Some(output) = lab.docker(&["run", "busybox", "true"]) else { return };
    assert!(output.status.success());
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() + 1;
    let (_, told) = lab.request("GET", &format!("/events?since=1&until={now}"), "");
    assert!(told.contains("\"Action\":\"attach\"") && !told.contains("\"Action\":\"detach\""), "{told}");
}
