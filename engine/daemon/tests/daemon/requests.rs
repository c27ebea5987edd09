//! Requests as Docker's own tests make them: what comes first, and what is refused in which words.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{eventually, lab};

#[test]
fn a_body_is_read_before_anything_is_looked_for() {
    let Some(lab) = lab() else { return };
    let post = |path: &str, kind: &str, body: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        lab.raw(&request).expect("an answer")
    };
    for path in [
        "/containers/nobody/exec",
        "/containers/nobody/update",
        "/exec/nobody/start",
        "/networks/create",
        "/networks/nobody/connect",
        "/networks/nobody/disconnect",
        "/volumes/create",
        "/containers/create",
        "/commit?container=nobody",
    ] {
        for (kind, body, words) in [
            ("text/plain", "{}", "unsupported Content-Type header (text/plain): must be 'application/json'"),
            (
                "application/json",
                "{invalid json",
                "invalid JSON: invalid character 'i' looking for beginning of object key string",
            ),
            ("application/json", "{} trailing content", "invalid JSON: unexpected content after JSON"),
        ] {
            let (status, said) = post(path, kind, body);
            assert!(status == 400 && said.contains(words), "{path}: {status} {said}");
        }
        assert!(post(path, "application/json", "").0 < 500, "{path}");
    }
}

#[test]
fn the_words_and_statuses_are_dockers() {
    let Some(lab) = lab() else { return };
    let create = |fields: Value| {
        let mut body = json!({ "Image": "busybox" });
        for (name, value) in fields.as_object().expect("fields") {
            body[name] = value.clone();
        }
        lab.json("POST", "/containers/create", &body.to_string())
    };
    let refused = |host: Value, words: &str| {
        let (status, said) = create(json!({ "HostConfig": host }));
        assert!(status == 400 && said["message"].as_str().is_some_and(|said| said.contains(words)), "{said}");
    };
    refused(json!({ "Annotations": { "": "a" } }), "the empty string is not permitted as an annotation key");
    refused(json!({ "CpusetCpus": "0-4242,," }), "Invalid value 0-4242,, for cpuset cpus");
    assert_eq!(create(json!({ "HostConfig": { "CapAdd": "NET_ADMIN", "CapDrop": "CHOWN" } })).0, 201);
    let id = lab.run("sizes", &["sleep", "600"]);
    for (query, words) in [
        ("h=&w=", "invalid resize height"),
        ("h=foo&w=1", "invalid syntax"),
        ("h=-1&w=1", "value out of range"),
        ("h=1&w=4294967296", "invalid resize width"),
    ] {
        let (status, said) = lab.request("POST", &format!("/containers/{id}/resize?{query}"), "");
        assert!(status == 400 && said.contains(words), "{said}");
    }
    assert_eq!(lab.request("POST", &format!("/containers/{id}/resize?h=40&w=40"), "").0, 200);
    let (status, said) = lab.request("POST", &format!("/containers/{id}/start"), r#"{"Binds":["/a:/b"]}"#);
    assert!(status == 400 && said.contains("non-empty request body"), "{said}");
    assert_eq!(lab.request("POST", &format!("/containers/{id}/start"), "{}").0, 304);
    assert!(lab.json("GET", "/networks/", "").1.is_array(), "with a slash behind it");
    for (arguments, there) in
        [("o%20pid,cmd", true), ("-opid,cmd", true), ("axf", true), ("-o%20uid=PID,cmd", false)]
    {
        let (status, said) = lab.json("GET", &format!("/containers/{id}/top?ps_args={arguments}"), "");
        assert_eq!(status == 200, there, "{arguments}: {said}");
        assert!(!there || said["Processes"].as_array().is_some_and(|all| all.len() == 1), "{said}");
    }
    let (_, answer) = lab.raw_head(&format!(
        "POST /containers/{id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    ));
    assert!(answer.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{answer}");
}

#[test]
fn a_limit_of_processes_can_be_lifted() {
    let Some(lab) = lab() else { return };
    let body =
        json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": { "PidsLimit": 32 } }).to_string();
    assert_eq!(lab.request("POST", "/containers/create?name=many", &body).0, 201);
    assert_eq!(lab.request("POST", "/containers/many/start", "").0, 204);
    let update = |version: &str, limit: i64| {
        let path = format!("/{version}/containers/many/update");
        assert_eq!(lab.request("POST", &path, &json!({ "PidsLimit": limit }).to_string()).0, 200);
        lab.inspect("many")["HostConfig"]["PidsLimit"].clone()
    };
    assert_eq!(update("v1.39", 16), 32, "it meant nothing then");
    assert_eq!(update("v1.50", 16), 16);
    assert_eq!(update("v1.50", -1), 0);
    assert_eq!(update("v1.50", 8), 8);
    assert_eq!(update("v1.50", 0), 0);
    let stats = lab.json("GET", "/containers/many/stats?stream=0", "").1;
    let limit = &stats["pids_stats"]["limit"];
    assert!(limit.is_null() || limit.as_u64().is_some_and(|limit| limit > 1 << 32), "{stats}");
}

#[test]
fn a_renamed_container_is_found_by_its_new_name_at_once() {
    let Some(lab) = lab() else { return };
    assert_eq!(lab.request("POST", "/networks/create", r#"{"Name":"pond"}"#).0, 201);
    for name in ["frog", "newt"] {
        let body =
            json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": { "NetworkMode": "pond" } });
        assert_eq!(lab.request("POST", &format!("/containers/create?name={name}"), &body.to_string()).0, 201);
        assert_eq!(lab.request("POST", &format!("/containers/{name}/start"), "").0, 204);
    }
    let (status, said) = lab.request("POST", "/containers/frog/rename?name=toad", "");
    assert_eq!(status, 204, "{said}");
    let finds = |name: &str| {
        let body = json!({ "Cmd": ["ping", "-c", "1", "-W", "2", name] }).to_string();
        let id = lab.json("POST", "/containers/newt/exec", &body).1["Id"].as_str().expect("an id").to_owned();
        assert_eq!(lab.request("POST", &format!("/exec/{id}/start"), r#"{"Detach":true}"#).0, 200);
        let seen = || lab.json("GET", &format!("/exec/{id}/json"), "").1;
        assert!(eventually(|| seen()["Running"] == false));
        seen()["ExitCode"] == 0
    };
    assert!(finds("toad"));
    assert!(!finds("frog"));
    for name in ["toad", "newt"] {
        lab.request("DELETE", &format!("/containers/{name}?force=1"), "");
    }
    assert_eq!(lab.request("DELETE", "/networks/pond", "").0, 204);
}

#[test]
fn following_a_log_ends_at_the_time_that_was_asked_for() {
    let Some(lab) = lab() else { return };
    for (name, command) in [("quiet", "sleep 600"), ("loud", "while sleep 0.1; do date; done")] {
        lab.run(name, &["sh", "-c", command]);
        let started = Instant::now();
        let until = std::time::UNIX_EPOCH.elapsed().expect("a clock") + Duration::from_secs(1);
        let path = format!(
            "/containers/{name}/logs?stdout=1&follow=1&until={}.{:09}",
            until.as_secs(),
            until.subsec_nanos()
        );
        assert_eq!(lab.request("GET", &path, "").0, 200);
        let took = started.elapsed();
        assert!(took > Duration::from_millis(800) && took < Duration::from_secs(10), "{name}: {took:?}");
    }
}

#[test]
fn an_exec_that_was_only_created_ends_with_its_containers_run() {
    let Some(lab) = lab() else { return };
    let id = lab.run("short", &["sleep", "600"]);
    let exec = lab.json("POST", &format!("/containers/{id}/exec"), r#"{"Cmd":["true"]}"#).1;
    let exec = exec["Id"].as_str().expect("an id");
    assert_eq!(lab.request("POST", &format!("/containers/{id}/stop?t=0"), "").0, 204);
    for _ in 0..2 {
        let (status, said) = lab.request("POST", &format!("/exec/{exec}/start"), r#"{"Detach":true}"#);
        assert!(status == 404 && said.contains("No such exec instance"), "{said}");
        lab.request("POST", &format!("/containers/{id}/start"), "");
    }
}

#[test]
fn annotations_are_listed() {
    let Some(lab) = lab() else { return };
    let body = json!({ "Image": "busybox", "HostConfig": { "Annotations": { "a": "b" } } }).to_string();
    assert_eq!(lab.request("POST", "/containers/create?name=noted", &body).0, 201);
    lab.create("plain", &["true"]);
    let list = lab.json("GET", "/containers/json?all=1", "").1;
    let host = |index: usize| list[index]["HostConfig"].clone();
    assert_eq!(host(1)["Annotations"], json!({ "a": "b" }), "{list}");
    assert!(host(0).get("Annotations").is_none(), "{list}");
}
