//! Streams both ways: exec and attach over an upgraded connection, and over a web socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::support::{Lab, lab};

/// Sends a request that asks for an upgrade; the head of the answer, and the stream behind it.
fn upgraded(lab: &Lab, request: &str, headers: &str, body: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(lab.socket()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{headers}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).expect("a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    (String::from_utf8(head).expect("a head"), stream)
}

fn exec(
    lab: &Lab,
    create: &serde_json::Value,
    start: &serde_json::Value,
) -> (String, Vec<u8>, serde_json::Value) {
    let (status, made) = lab.json("POST", "/containers/otter/exec", &create.to_string());
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id").to_owned();
    let request = format!("POST /exec/{id}/start");
    let (head, mut stream) = upgraded(lab, &request, "Upgrade: tcp\r\n", &start.to_string());
    let mut output = Vec::new();
    stream.read_to_end(&mut output).expect("the output");
    (head, output, lab.json("GET", &format!("/exec/{id}/json"), "").1)
}

#[test]
fn an_execs_stream_is_as_its_start_asks() {
    let Some(lab) = lab() else { return };
    lab.run("otter", &["sleep", "600"]);
    let create = |tty: bool, program: &str| json!({ "Cmd": ["sh", "-c", program], "Tty": tty, "AttachStdout": true, "AttachStderr": true });
    let (head, output, exec_) = exec(&lab, &create(false, "echo hi; exit 3"), &json!({}));
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("multiplexed-stream"), "{head}");
    assert_eq!(output, b"\x01\0\0\0\0\0\0\x03hi\n");
    assert_eq!((&exec_["ExitCode"], &exec_["Running"]), (&json!(3), &json!(false)));
    let (head, output, _) = exec(&lab, &create(true, "echo hi"), &json!({ "Tty": true }));
    assert!(head.contains("raw-stream"), "{head}");
    assert_eq!(output, b"hi\r\n");
    // A client that doesn't say again that it is a terminal gets frames, as from Docker.
    let (_, output, _) = exec(&lab, &create(true, "echo hi"), &json!({}));
    assert_eq!(output, b"\x01\0\0\0\0\0\0\x04hi\r\n");
    let (_, output, _) = exec(&lab, &create(false, "echo hi"), &json!({ "Tty": true }));
    assert_eq!(output, b"hi\n");
    let nothing = json!({ "Cmd": ["nothing-of-that-name"], "AttachStdout": true });
    let (head, output, exec_) = exec(&lab, &nothing, &json!({}));
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(String::from_utf8_lossy(&output).contains("executable file not found in $PATH"));
    assert_eq!(exec_["ExitCode"], 127);

    let (_, made) = lab.json("POST", "/containers/otter/exec", r#"{"cmd":["true"]}"#);
    let path = format!("/exec/{}/start", made["Id"].as_str().expect("an id"));
    assert_eq!(lab.request("POST", &path, r#"{"Detach":true}"#).0, 200);
    assert_eq!(lab.request("POST", &path, r#"{"Detach":true}"#).0, 409, "an exec has one start");
}

#[test]
fn a_page_attaches_over_a_web_socket() {
    let Some(lab) = lab() else { return };
    let body =
        r#"{"Image":"busybox","Cmd":["sh","-c","read line; echo got $line; echo err >&2"],"OpenStdin":true}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=otter", body).0, 201);
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    let path = "/containers/otter/attach/ws?stream=1&stdin=1&stdout=1&stderr=1";
    assert_eq!(lab.request("GET", path, "").0, 400, "no web socket");
    // The key and its answer are those of RFC 6455, 1.3.
    let headers =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (head, mut socket) = upgraded(&lab, &format!("GET {path}"), headers, "");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // A client's text message, masked with zeros.
    socket.write_all(b"\x81\x83\0\0\0\0hi\n").expect("a message");
    let mut said = Vec::new();
    while let Some((code, bytes)) = message(&mut socket) {
        if code == 8 {
            break;
        }
        assert_eq!(code, 2, "a binary message");
        said.extend(bytes);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("got hi\n") && said.contains("err\n"), "{said:?}");
}

/// A short message of a server: its code and what is in it.
fn message(socket: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    socket.read_exact(&mut head).ok()?;
    let mut bytes = vec![0; usize::from(head[1])];
    socket.read_exact(&mut bytes).ok()?;
    Some((head[0] & 15, bytes))
}
