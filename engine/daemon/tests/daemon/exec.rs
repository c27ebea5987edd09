//! `docker exec` of what can't be executed: Docker's words and statuses.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::{Lab, lab};

/// Creates and starts an exec with its streams; what it said, and its exit status.
fn exec(lab: &Lab, body: &str) -> (String, serde_json::Value) {
    let (status, made) = lab.json("POST", "/containers/otter/exec", body);
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id");
    let (_, said) = lab.request("POST", &format!("/exec/{id}/start"), r#"{"Detach":false}"#);
    (said, lab.json("GET", &format!("/exec/{id}/json"), "").1["ExitCode"].clone())
}

#[test]
fn what_is_not_there_is_127_and_what_can_t_be_executed_126() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sleep", "600"]);
    for (body, words, status) in [
        (r#"{"Cmd":["nope"]}"#, r#"exec: \"nope\": executable file not found in $PATH: unknown"#, 127),
        (
            r#"{"Cmd":["/no/pe"]}"#,
            r#"exec: \"/no/pe\": stat /no/pe: no such file or directory: unknown"#,
            127,
        ),
        (r#"{"Cmd":["/etc/passwd"]}"#, r#"exec: \"/etc/passwd\": permission denied: unknown"#, 126),
        (
            r#"{"Cmd":["true"],"WorkingDir":"/no/pe"}"#,
            r#"chdir to cwd (\"/no/pe\") set in config.json failed: no such file or directory: unknown"#,
            127,
        ),
        (
            r#"{"Cmd":["true"],"User":"nobody2"}"#,
            r#""unable to find user nobody2: no matching entries in passwd file"#,
            126,
        ),
        (
            r#"{"Cmd":["ls"],"Env":["PATH="]}"#,
            r#"exec: \"ls\": executable file not found in $PATH: unknown"#,
            127,
        ),
        (r#"{"Cmd":["passwd"],"Env":["PATH=/etc"]}"#, r#"exec: \"passwd\": executable file not found"#, 127),
        (r#"{"Cmd":["."]}"#, r#"exec: \".\": executable file not found in $PATH: unknown"#, 127),
    ] {
        let (said, code) = exec(&lab, body);
        assert!(said.contains(words), "{body}: {said}");
        assert_eq!(code, status, "{body}: {said}");
    }
}

#[test]
fn a_variable_takes_the_place_of_the_container_s() {
    let Some(lab) = lab() else { return };
    let body =
        json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "Env": ["A=1", "B=2", "C=3"] }).to_string();
    assert_eq!(lab.request("POST", "/containers/create?name=otter", &body).0, 201);
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    let (said, _) = exec(&lab, r#"{"Cmd":["env"],"AttachStdout":true,"Env":["A=9","B"]}"#);
    let is = |line: &str| said.matches(line).count();
    assert_eq!([is("A=1"), is("A=9"), is("B="), is("C=3")], [0, 1, 0, 1], "{said}");
}

#[test]
fn no_descriptor_leads_out_of_the_container() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sleep", "600"]);
    // What the engine has open at that moment must not become a way to the host (CVE-2024-21626).
    // Its own root may be among it: there the first process is the container's.
    let command = "[ $(cat ../../../../../proc/1/comm) = sleep ] || echo outside";
    for number in 0..64 {
        let body = format!(r#"{{"Cmd":["sh","-c","{command}"],"WorkingDir":"/proc/self/fd/{number}"}}"#);
        let (said, _) = exec(&lab, &body);
        assert!(!said.contains("outside"), "{number}: {said}");
    }
}

/// Clients ask as soon as they are attached, which may be before the process has made its terminal.
#[test]
fn a_terminal_has_the_size_that_was_asked_for_before_it_came() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sleep", "600"]);
    for round in 0..12 {
        let body = r#"{"Cmd":["sh","-c","sleep 0.3; stty size"],"Tty":true,"AttachStdout":true}"#;
        let id = lab.json("POST", "/containers/otter/exec", body).1["Id"].as_str().expect("an id").to_owned();
        let mut stream = UnixStream::connect(lab.socket()).expect("the daemon");
        let body = r#"{"Tty":true}"#;
        let head = format!(
            "POST /exec/{id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 101");
        let (status, said) = lab.request("POST", &format!("/exec/{id}/resize?h=21&w=43"), "");
        assert_eq!(status, 200, "round {round}: {said}");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("the output");
        assert!(rest.contains("21 43"), "round {round}: {rest}");
    }
}
