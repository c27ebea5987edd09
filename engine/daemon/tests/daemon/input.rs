//! Bad input, and clients that behave badly: a clear answer, and nothing leaks.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::{eventually, lab};

#[test]
fn nonsense_gets_a_clear_answer() {
    let Some(lab) = lab() else { return };
    let create = |body: &str| lab.json("POST", "/containers/create", body);
    for (body, status, words) in [
        ("", 400, "EOF"),
        ("{", 400, "invalid JSON"),
        ("[]", 400, "invalid JSON"),
        (r#"{"Image":7}"#, 400, "invalid JSON"),
        (r#"{"Image":"busybox","Cmd":{"a":1}}"#, 400, "invalid JSON"),
        (r#"{"Image":"busybox","HostConfig":{"Memory":-99999999999999999999}}"#, 400, "invalid JSON"),
        (r#"{"Image":"busybox","HostConfig":{"Memory":1}}"#, 400, "6MB"),
        (r#"{"Image":"busybox","HostConfig":{"MemoryReservation":1}}"#, 400, "Minimum memory reservation"),
        (r#"{"Image":"busybox","HostConfig":{"CpuShares":-1}}"#, 400, "invalid CPU shares (-1)"),
        (r#"{"Image":"busybox","HostConfig":{"Binds":["a:/b"]}}"#, 400, "volume name is too short"),
        (r#"{"Image":"busybox","HostConfig":{"Binds":["a:b:c:d"]}}"#, 400, "invalid volume specification"),
        (r#"{"Image":"busybox","HostConfig":{"CapAdd":["NONSENSE"]}}"#, 400, "CAP_NONSENSE"),
        (r#"{"Image":"busybox","HostConfig":{"PortBindings":{"99999/tcp":[{}]}}}"#, 400, "port"),
        (r#"{"Image":"not-there"}"#, 404, "No such image: not-there:latest"),
        (r#"{"Image":"NOT A NAME"}"#, 400, "reference"),
        (r#"{"Image":"busybox","Cmd":["true"],"Unknown":{"a":[1]}}"#, 201, ""),
        (r#"{"image":"busybox","cmd":["true"],"hostConfig":{"memory":1}}"#, 400, "6MB"),
        ("{}", 400, "config cannot be empty"),
        ("null", 400, "config cannot be empty"),
        (r#"{"Image":"busybox","HostConfig":{"VolumesFrom":["nobody"]}}"#, 400, "No such container: nobody"),
        (
            r#"{"Image":"busybox","HostConfig":{"PidMode":"container:nobody"}}"#,
            400,
            "No such container: nobody",
        ),
        (r#"{"Image":"busybox","HostConfig":{"Runtime":"kata"}}"#, 400, "runtime name: kata"),
        (r#"{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"splunk"}}}"#, 400, "logging plugin splunk"),
        (r#"{"Image":"busybox","HostConfig":{"ExtraHosts":["a:b"]}}"#, 400, "add-host"),
        (
            r#"{"Image":"busybox","HostConfig":{"CpusetCpus":"9999999"}}"#,
            400,
            "Requested CPUs are not available",
        ),
        (r#"{"Image":"busybox","HostConfig":{"CpusetMems":"x"}}"#, 400, "Invalid value x for cpuset mems"),
        (
            r#"{"Image":"busybox","HostConfig":{"BlkioDeviceReadBps":[{"Path":"/","Rate":1}]}}"#,
            400,
            "not a block device",
        ),
        (r#"{"Image":"busybox","HostConfig":{"CgroupParent":"../.."}}"#, 400, "invalid cgroup parent"),
        (r#"{"Image":"busybox","HostConfig":{"Devices":[[]]}}"#, 400, "array into field Devices"),
        (r#"{"Image":"busybox","HostConfig":[]}"#, 400, "array into field HostConfig"),
        (
            r#"{"Image":"busybox","HostConfig":{"OomScoreAdj":1001}}"#,
            400,
            "Invalid value 1001, range for oom",
        ),
        (r#"{"Image":"busybox","Cmd":null,"Env":null,"HostConfig":null}"#, 201, ""),
    ] {
        let (got, answer) = create(body);
        let text = answer["message"].as_str().unwrap_or_default();
        assert!(got == status && text.contains(words), "{body}: {got} {answer}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(create(&format!(r#"{{"Image":{deep}"#)).0, 400);
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/v1.99/version", 400),
        ("GET", "/v2.0/version", 400),
        ("GET", "/containers/nobody/checkpoints", 501),
        ("GET", "/containers/json?filters=%7B%22health%22%3A%5B%22x%22%5D%7D", 400),
        ("GET", "/v1.10/version", 400),
        ("PUT", "/containers/json", 404),
        ("GET", "/containers/..%2f..%2fetc/json", 404),
        ("GET", "/containers/json?filters=%7B", 400),
        ("GET", "/containers/json?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", 400),
        ("GET", "/containers/json?limit=x", 400),
        ("POST", "/containers/create?name=../x", 400),
        ("POST", "/containers/nobody/start", 404),
        ("POST", "/containers/nobody/wait?condition=x", 400),
        ("GET", "/exec/nobody/json", 404),
        ("GET", "/glassdock/traces/..%2fx", 400),
        ("GET", "/glassdock/traces/none", 404),
        ("POST", "/images/create?fromSrc=http://a:b:c", 400),
        ("GET", "/images/search?term=..%2Fx", 400),
    ] {
        let (got, answer) = lab.request(method, path, "{}");
        assert_eq!(got, status, "{method} {path}: {answer}");
    }
    let page = lab.json("GET", "/nothing", "").1;
    assert_eq!(page, serde_json::json!({ "message": "page not found" }));
}

#[test]
fn what_a_start_can_not_do_is_told_as_the_clients_error() {
    let Some(lab) = lab() else { return };
    for (asked, words) in [
        (r#""Cmd":[""]"#, r#"exec: \"\": executable file not found in $PATH"#),
        (r#""HostConfig":{"Sysctls":{"net.foo.bar":"1"}}"#, "/proc/sys/net/foo/bar"),
        (r#""HostConfig":{"Binds":["/etc/passwd:/etc"]}"#, "/etc"),
    ] {
        let body = format!(r#"{{"Image":"busybox",{asked}}}"#);
        let (status, made) = lab.json("POST", "/containers/create?name=sparrow", &body);
        assert_eq!(status, 201, "{body}: {made}");
        let (status, said) = lab.request("POST", "/containers/sparrow/start", "");
        assert!(status == 400 && said.contains(words), "{body}: {status} {said}");
        assert_eq!(lab.request("DELETE", "/containers/sparrow", "").0, 204);
    }
}

#[test]
fn an_update_changes_limits_and_nothing_else() {
    let Some(lab) = lab() else { return };
    lab.run("wren", &["sleep", "600"]);
    let update = |body: &str| lab.json("POST", "/containers/wren/update", body);
    for wrong in [r#"{"Memory":[]}"#, r#"{"BlkioWeight":"x"}"#, r#"{"Devices":7}"#, r#"{"CpuShares":1.5}"#] {
        let (status, said) = update(wrong);
        assert!(
            status == 400 && said["message"].as_str().unwrap_or_default().contains("JSON"),
            "{wrong}: {said}"
        );
    }
    let (status, said) = update(r#"{"CgroupParent":"/elsewhere","CpuShares":512,"Unknown":{}}"#);
    assert_eq!(status, 200, "{said}");
    let host = lab.inspect("wren")["HostConfig"].clone();
    assert_eq!((&host["CgroupParent"], &host["CpuShares"]), (&"".into(), &512.into()));
    // The control group is still the one that it runs in.
    assert_eq!(update(r#"{"CpuShares":256}"#).0, 200);
    // Limits that don't go with those in force are the client's to set together.
    let conflict = |body: &str, words: &str| {
        let (status, said) = update(body);
        let said = said["message"].as_str().unwrap_or_default();
        assert!(
            status == 409 && said.starts_with("Cannot update container ") && said.contains(words),
            "{body}: {said}"
        );
    };
    let together = "Memory limit should be smaller than already set memoryswap limit";
    conflict(r#"{"Memory":67108864}"#, together);
    let (status, said) = update(r#"{"Memory":67108864,"MemorySwap":134217728}"#);
    assert_eq!(status, 200, "{said}");
    conflict(r#"{"Memory":268435456}"#, together);
    assert_eq!(update(r#"{"Memory":100663296}"#).0, 200);
    let host = lab.inspect("wren")["HostConfig"].clone();
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&100_663_296.into(), &134_217_728.into()));
    assert_eq!(update(r#"{"NanoCpus":500000000}"#).0, 200);
    conflict(r#"{"CpuQuota":50000}"#, "CPU Quota cannot be updated as NanoCPUs has already been set");
    let (status, said) = update(r#"{"PidsLimit":2147483648}"#);
    assert!(status == 400 && said["message"].as_str().unwrap_or_default().contains("pids limit"), "{said}");
}

#[test]
fn a_body_has_bounds() {
    let Some(lab) = lab() else { return };
    let large = format!(r#"{{"Image":"busybox","Env":["{}"]}}"#, "x".repeat(9 * 1024 * 1024));
    // The daemon may answer before all is sent: then the rest can't be.
    if let Some((status, _)) = lab.raw(&format!(
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{large}",
        large.len()
    )) {
        assert_eq!(status, 400);
    }
    assert_eq!(lab.request("GET", "/_ping", "").0, 200);
}

#[test]
fn a_client_that_still_sends_gets_its_answer() {
    let Some(lab) = lab() else { return };
    for path in ["/nothing", "/v1.99/containers/create", "/containers/nobody/exec", "/secrets/create"] {
        let mut client = UnixStream::connect(lab.socket()).expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: 100000\r\n\r\n"
        );
        client.write_all(head.as_bytes()).expect("a head");
        // The answer is on its way long before the body is.
        std::thread::sleep(std::time::Duration::from_millis(100));
        for _ in 0..100 {
            client.write_all(&[b' '; 1000]).expect("the body is still taken");
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
    }
}

#[test]
fn clients_that_vanish_leave_nothing() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sleep", "600"]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", lab.daemon_pid())).expect("descriptors").count();
    let before = open();
    let requests = [
        "GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /containers/otter/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /containers/otter/stats HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /containers/otter/wait HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /containers/otter/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        "GET /half",
    ];
    let mut clients = Vec::new();
    for request in requests.iter().cycle().take(140) {
        let mut client = UnixStream::connect(lab.socket()).expect("a connection");
        client.write_all(request.as_bytes()).expect("a request");
        clients.push(client);
    }
    let idle: Vec<_> = (0..500).map(|_| UnixStream::connect(lab.socket()).expect("a connection")).collect();
    assert_eq!(lab.request("GET", "/_ping", "").0, 200);
    drop((clients, idle));
    assert!(eventually(|| open() <= before + 2), "{} descriptors, {before} before", open());
    assert_eq!(lab.request("GET", "/containers/json", "").0, 200);
}
