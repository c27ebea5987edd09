//! What others' clients and their suites rely on, beside what the specification says.

use serde_json::{Value, json};

use crate::build_mounts::post;
use crate::support::{eventually, lab};

#[test]
fn a_list_that_was_not_sent_is_null() {
    let Some(lab) = lab() else { return };
    let lists = [
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
        "BlkioWeightDevice",
        "Devices",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Ulimits",
    ];
    let mut sent = json!({ "PortBindings": {} });
    for name in lists {
        sent[name] = json!([]);
    }
    for (name, host, list, map) in
        [("absent", Value::Null, Value::Null, Value::Null), ("empty", sent, json!([]), json!({}))]
    {
        let body = json!({ "Image": "busybox", "HostConfig": host }).to_string();
        let (status, said) = lab.json("POST", &format!("/containers/create?name={name}"), &body);
        assert_eq!(status, 201, "{said}");
        let shown = lab.inspect(name)["HostConfig"].clone();
        for field in lists {
            assert_eq!(shown[field], list, "{name}: {field}");
        }
        assert_eq!(shown["PortBindings"], map, "{name}");
    }
    let (_, pruned) = lab.json("POST", "/build/prune", "");
    assert_eq!(pruned, json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }));
}

#[test]
fn a_query_may_have_quotes() {
    let Some(lab) = lab() else { return };
    lab.create("otter", &["true"]);
    lab.create("beaver", &["true"]);
    let path = r#"/containers/json?all=1&filters={"name":["^otter$"]}"#;
    let (status, found) = lab.json("GET", path, "");
    assert_eq!((status, &found[0]["Names"]), (200, &json!(["/otter"])), "{found}");
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let (status, said) = lab.json("GET", r#"/containers/<"x">/json"#, "");
    assert_eq!((status, &said["message"]), (404, &json!(r#"No such container: <"x">"#)));
}

#[test]
fn a_container_that_ends_meanwhile_can_be_committed() {
    let Some(lab) = lab() else { return };
    for round in 0..20 {
        let id = lab.run(&format!("otter{round}"), &["touch", "/new"]);
        // Somewhere on the container's way to its end.
        std::thread::sleep(std::time::Duration::from_micros(500 * round));
        let (status, said) = lab.json("POST", &format!("/commit?container={id}&repo=made&tag=r{round}"), "");
        assert_eq!(status, 201, "round {round}: {said}");
    }
}

#[test]
fn a_commit_knows_what_it_was_made_of() {
    let Some(lab) = lab() else { return };
    let id = lab.run("otter", &["touch", "/new"]);
    assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
    assert_eq!(lab.json("POST", "/commit?container=otter&repo=made", "").0, 201);
    let image = |path: &str| lab.json("GET", path, "").1;
    let base = image("/images/busybox/json");
    assert_eq!(base["Parent"], "");
    let made = image("/images/made/json");
    assert_eq!((&made["Parent"], made.get("Container")), (&base["Id"], None), "{made}");
    let older = image("/v1.44/images/made/json");
    assert_eq!((&older["Container"], &older["ContainerConfig"]["Image"]), (&json!(id), &json!("busybox")));
    // A name that is gone has no children to show; what was made of it stays.
    assert_eq!(lab.request("DELETE", "/containers/otter", "").0, 204);
    assert_eq!(lab.request("DELETE", "/images/busybox", "").0, 200);
    assert_eq!(image("/images/made/json")["Parent"], "");
}

/// Compose 1 keeps a container's anonymous volumes by what it finds there, and its suite asks for the arguments.
#[test]
fn a_build_knows_its_last_step() {
    let Some(lab) = lab() else { return };
    let build = |name: &str, dockerfile: &str, said: &str| {
        let query = format!("t={name}&rm=1&buildargs=%7B%22v%22:%221%202%22%7D");
        let words = post(&lab, &query, "", &[("Dockerfile", dockerfile.as_bytes())]);
        assert!(words.contains(said), "{words}");
        lab.json("GET", &format!("/v1.38/images/{name}/json"), "").1["ContainerConfig"].clone()
    };
    let dockerfile = "FROM busybox\nVOLUME /data\nARG v\nRUN echo $v > /v\n";
    for said in ["Running in", "Using cache"] {
        let last = build("made", dockerfile, said);
        assert_eq!(last["Volumes"], json!({ "/data": {} }), "{last}");
        assert_eq!(last["Cmd"], json!(["|1", "v=1 2", "/bin/sh", "-c", "echo $v > /v"]), "{last}");
    }
    let last = build("labelled", "FROM busybox\nLABEL a=b\n", "Successfully built");
    assert_eq!(last["Cmd"], json!(["/bin/sh", "-c", "#(nop) ", "LABEL a=b"]), "{last}");
    assert_eq!(lab.json("GET", "/images/made/json", "").1.get("ContainerConfig"), None);
}

#[test]
fn an_address_of_an_idle_pool_is_not_handed_out() {
    let Some(lab) = lab() else { return };
    let body = json!({ "Name": "four", "IPAM": { "Config": [
        { "Subnet": "fd00:77::/64", "IPRange": "fd00:77::/96", "Gateway": "fd00:77::ffff" },
    ] } });
    assert_eq!(lab.request("POST", "/networks/create", &body.to_string()).0, 201);
    let network = lab.json("GET", "/networks/four", "").1;
    assert_eq!(
        (&network["EnableIPv6"], &network["IPAM"]["Config"][1]["Gateway"]),
        (&json!(false), &json!("fd00:77::ffff"))
    );
    let create = |name: &str, address: &str| {
        let body = json!({
            "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "four" },
            "NetworkingConfig": { "EndpointsConfig": { "four": { "IPAMConfig": { "IPv6Address": address } } } },
        });
        lab.request("POST", &format!("/containers/create?name={name}"), &body.to_string())
    };
    let (status, said) = create("inside", "fd00:77::f00d");
    assert_eq!(status, 201, "{said}");
    assert_eq!(lab.request("POST", "/containers/inside/start", "").0, 204);
    let shown = lab.inspect("inside")["NetworkSettings"]["Networks"]["four"].clone();
    assert_eq!(
        (&shown["IPAMConfig"]["IPv6Address"], &shown["GlobalIPv6Address"]),
        (&json!("fd00:77::f00d"), &json!(""))
    );
    assert_eq!(create("outside", "fd00:78::1").0, 400);
    assert_eq!(lab.request("DELETE", "/containers/inside?force=1", "").0, 204);
    assert_eq!(lab.request("DELETE", "/networks/four", "").0, 204);
}

#[test]
fn the_files_of_a_removed_container_go() {
    let Some(lab) = lab() else { return };
    let id = lab.run("otter", &["sh", "-c", "mkdir /d; for i in $(seq 300); do : > /d/$i; done"]);
    assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
    let folder = lab.root().join("containers").join(&id);
    assert!(folder.join("upper/d/300").exists());
    assert_eq!(lab.request("DELETE", "/containers/otter", "").0, 204);
    assert!(!folder.exists(), "it is gone before the answer");
    let trash = lab.root().join("trash");
    assert!(eventually(|| std::fs::read_dir(&trash).is_ok_and(|mut left| left.next().is_none())));
}
