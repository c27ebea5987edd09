//! What depends on the version of the API that a client speaks, and on the platform that it names.

use crate::support::lab;

#[test]
fn older_clients_find_the_fields_that_they_know() {
    let Some(lab) = lab() else { return };
    let image = |version: &str| lab.json("GET", &format!("/{version}/images/busybox/json"), "").1;
    let (old, new) = (image("v1.41"), image("v1.50"));
    assert_eq!(old["VirtualSize"], old["Size"], "{old}");
    assert!(old["ContainerConfig"]["Cmd"].is_null() && old["ContainerConfig"].is_object(), "{old}");
    assert_eq!((&old["Config"]["Hostname"], &old["Config"]["Tty"]), (&"".into(), &false.into()), "{old}");
    for gone in ["VirtualSize", "ContainerConfig", "Container"] {
        assert!(new.get(gone).is_none(), "{gone} in {new}");
    }
    assert!(new["Config"].get("Hostname").is_none(), "{new}");
    let compose = "GET /v1.50/images/busybox/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   User-Agent: docker-compose/1.29.2 docker-py/5.0.3\r\n\r\n";
    let (_, seen) = lab.raw(compose).expect("an answer");
    assert!(seen.contains("\"ContainerConfig\":{"), "{seen}");
    // What is empty is there all the same.
    for empty in ["Labels", "Volumes", "OnBuild", "Entrypoint"] {
        assert!(new["Config"].get(empty).is_some_and(serde_json::Value::is_null), "{empty} in {new}");
    }
    let listed = |version: &str| lab.json("GET", &format!("/{version}/images/json"), "").1[0].clone();
    assert!(listed("v1.43")["VirtualSize"].is_u64() && listed("v1.44").get("VirtualSize").is_none());
    let info = |version: &str| lab.json("GET", &format!("/{version}/info"), "").1;
    assert!(info("v1.48")["BridgeNfIptables"].is_boolean());
    assert!(info("v1.48")["RuncCommit"]["Expected"].is_string());
    assert!(info("v1.50").get("BridgeNfIptables").is_none());
    assert_eq!(lab.json("GET", "/v1.41/system/df", "").1["BuilderSize"], 0);
}

#[test]
fn an_image_of_another_platform_is_neither_saved_nor_loaded() {
    let Some(lab) = lab() else { return };
    let arm = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22riscv64%22%7D";
    let (status, said) = lab.request("GET", &format!("/images/busybox/get?platform={arm}"), "");
    assert!(
        status == 404 && said.contains("does not provide the specified platform (linux/riscv64)"),
        "{said}"
    );
    for nonsense in ["linux", "%7B%7D", "%5B%5D"] {
        assert_eq!(lab.request("GET", &format!("/images/busybox/get?platform={nonsense}"), "").0, 400);
        assert_eq!(lab.request("POST", &format!("/images/load?platform={nonsense}"), "").0, 400);
    }
    let Some(saved) = lab.docker(&["save", "busybox"]).filter(|saved| saved.status.success()) else { return };
    let archive = lab.root().join("busybox.tar");
    std::fs::write(&archive, saved.stdout).expect("an archive");
    assert_eq!(lab.request("DELETE", "/images/busybox", "").0, 200);
    let archive = archive.to_string_lossy().into_owned();
    let load = |platform| lab.docker(&["load", "--platform", platform, "-i", &archive]).expect("a client");
    let refused = load("linux/riscv64");
    if String::from_utf8_lossy(&refused.stderr).contains("unknown flag") {
        // A client from before 28 has no such words.
        return;
    }
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(lab.request("GET", "/images/busybox/json", "").0, 404);
    let own = lab.json("GET", "/version", "").1["Arch"].as_str().expect("an architecture").to_owned();
    let loaded = load(&format!("linux/{own}"));
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(lab.request("GET", "/images/busybox/json", "").0, 200);
}

#[test]
fn older_clients_get_the_defaults_that_they_expect() {
    let Some(lab) = lab() else { return };
    let made = |version: &str, body: &str| {
        let (status, made) = lab.json("POST", &format!("/{version}/containers/create"), body);
        assert_eq!(status, 201, "{made}");
        let seen = lab.inspect(made["Id"].as_str().expect("an id"));
        (seen, made["Warnings"].clone())
    };
    let ipc = |version| made(version, r#"{"Image":"busybox"}"#).0["HostConfig"]["IpcMode"].clone();
    assert_eq!((ipc("v1.39"), ipc("v1.40")), ("shareable".into(), "private".into()));
    let body = r#"{"Image":"busybox","MacAddress":"02:42:0a:00:00:09"}"#;
    let (old, new) = (made("v1.43", body), made("v1.44", body));
    assert!(old.1.as_array().is_some_and(Vec::is_empty), "{}", old.1);
    assert!(new.1.to_string().contains("MacAddress field is now deprecated"), "{}", new.1);
    let two = r#"{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}"#;
    let (status, said) = lab.request("POST", "/v1.43/containers/create", two);
    assert!(
        status == 400 && said.contains("cannot be created with multiple network endpoints: a, b"),
        "{said}"
    );
}
