//! Traces over the API: recording, following, and stepping without holding others up.

use std::thread;

use serde_json::{Value, json};

use crate::support::{Lab, eventually, lab};

fn in_operation(lab: &Lab, op: &str, method: &str, path: &str, body: &str) -> u16 {
    with_headers(lab, &format!("X-Glassdock-Operation: {op}\r\n"), method, path, body)
}

fn with_headers(lab: &Lab, headers: &str, method: &str, path: &str, body: &str) -> u16 {
    lab.raw(&format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .expect("an answer")
    .0
}

fn events(lab: &Lab, op: &str) -> Vec<Value> {
    let (status, text) = lab.request("GET", &format!("/glassdock/traces/{op}"), "");
    assert_eq!(status, 200, "{text}");
    text.lines().skip(1).map(|line| serde_json::from_str(line).expect("an event")).collect()
}

#[test]
fn requests_of_one_command_are_one_trace() {
    let Some(lab) = lab() else { return };
    let command = json!({ "command": ["docker", "run", "busybox", "true"] }).to_string();
    assert_eq!(lab.request("POST", "/glassdock/operations/run1", &command).0, 201);
    assert_eq!(lab.request("POST", "/glassdock/operations/run1", &command).0, 409);
    let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
    assert_eq!(in_operation(&lab, "run1", "POST", "/containers/create?name=otter", body), 201);
    assert_eq!(in_operation(&lab, "run1", "POST", "/containers/otter/start", ""), 204);
    assert_eq!(in_operation(&lab, "run1", "POST", "/containers/otter/wait", ""), 200);
    assert!(eventually(|| events(&lab, "run1").iter().any(|event| event["kind"] == "process.reap")));
    assert_eq!(lab.request("POST", "/glassdock/operations/run1/end", r#"{"status":0}"#).0, 204);
    let events = events(&lab, "run1");
    let place = |kind: &str| {
        events.iter().position(|event| event["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    };
    let order = [
        "operation",
        "image.resolve",
        "process.spawn",
        "cgroup.create",
        "layer.mount",
        "rootfs.pivot",
        "process.exec",
        "process.exit",
    ];
    let places: Vec<usize> = order.iter().map(|kind| place(kind)).collect();
    assert!(places.is_sorted(), "{order:?} at {places:?}");
    assert_eq!(events[0]["fields"]["command"], json!(["docker", "run", "busybox", "true"]));
    assert_eq!(events.last().expect("an end")["fields"]["status"], 0);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number + 1);
    }
    let (_, list) = lab.json("GET", "/glassdock/traces", "");
    let listed =
        list.as_array().expect("a list").iter().find(|one| one["op"] == "run1").expect("it is listed");
    assert_eq!((&listed["status"], &listed["events"]), (&json!(0), &json!(events.len())));
}

#[test]
fn what_is_not_to_be_recorded_leaves_no_trace() {
    let Some(lab) = lab() else { return };
    let ask = |headers: &str, method, path, body| with_headers(&lab, headers, method, path, body);
    let silent = "X-Glassdock-Operation: quiet1\r\nX-Glassdock-Trace: off\r\n";
    let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
    assert_eq!(ask(silent, "POST", "/containers/create?name=otter", body), 201);
    assert_eq!(ask(silent, "POST", "/containers/otter/start", ""), 204);
    assert_eq!(ask(silent, "POST", "/containers/otter/wait", ""), 200);
    assert_eq!(ask(silent, "POST", "/glassdock/operations/quiet1/end", r#"{"status":0}"#), 204);
    assert_eq!(ask("X-Glassdock-Trace: off\r\n", "DELETE", "/containers/otter", ""), 204);
    assert_eq!(lab.request("GET", "/glassdock/traces/quiet1", "").0, 404);
    assert_eq!(ask("X-Glassdock-Trace: maybe\r\n", "GET", "/info", ""), 400);
    assert_eq!(ask("X-Glassdock-Trace: on\r\n", "GET", "/info", ""), 200);
    let (_, list) = lab.json("GET", "/glassdock/traces", "");
    let told = list.to_string();
    assert!(told.contains("/info") && !told.contains("otter"), "{told}");
}

#[test]
fn a_stepped_command_holds_nobody_else_up() {
    let Some(lab) = lab() else { return };
    let open = json!({ "command": ["docker", "run"], "stepping": "steps" }).to_string();
    assert_eq!(lab.request("POST", "/glassdock/operations/step1", &open).0, 201);
    thread::scope(|scope| {
        let stepped = scope.spawn(|| {
            let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
            let made = in_operation(&lab, "step1", "POST", "/containers/create?name=otter", body);
            (made, in_operation(&lab, "step1", "POST", "/containers/otter/start", ""))
        });
        let mut after = String::new();
        let mut kinds = Vec::new();
        for _ in 0..4 {
            let (_, answer) = lab.json("GET", &format!("/glassdock/operations/step1/held{after}"), "");
            let held = &answer["held"];
            kinds.push(held["kind"].as_str().expect("a held step").to_owned());
            // While it is held, others live and die.
            let name = format!("other{}", kinds.len());
            lab.run(&name, &["true"]);
            assert_eq!(lab.json("POST", &format!("/containers/{name}/wait"), "").0, 200);
            let span = &held["span"];
            let next = json!({ "span": span, "answer": "next" }).to_string();
            assert_eq!(lab.request("POST", "/glassdock/operations/step1/answer", &next).0, 204);
            assert_eq!(
                lab.request("POST", "/glassdock/operations/step1/answer", &next).0,
                409,
                "it is held no more"
            );
            after = format!("?after={span}");
        }
        assert_eq!(kinds[..3], ["image.resolve", "process.spawn", "cgroup.create"]);
        let (_, answer) = lab.json("GET", &format!("/glassdock/operations/step1/held{after}"), "");
        let go = json!({ "span": answer["held"]["span"], "answer": "continue" }).to_string();
        assert_eq!(lab.request("POST", "/glassdock/operations/step1/answer", &go).0, 204);
        assert_eq!(stepped.join().expect("the command"), (201, 204));
    });
}

#[test]
fn an_aborted_command_leaves_nothing() {
    let Some(lab) = lab() else { return };
    let open = json!({ "command": [], "stepping": { "break": ["rootfs.pivot"] } }).to_string();
    assert_eq!(lab.request("POST", "/glassdock/operations/abort1", &open).0, 201);
    thread::scope(|scope| {
        let aborted = scope.spawn(|| {
            lab.create("otter", &["true"]);
            in_operation(&lab, "abort1", "POST", "/containers/otter/start", "")
        });
        let (_, answer) = lab.json("GET", "/glassdock/operations/abort1/held", "");
        assert_eq!(answer["held"]["kind"], "rootfs.pivot", "{answer}");
        let abort = json!({ "span": answer["held"]["span"], "answer": "abort" }).to_string();
        assert_eq!(lab.request("POST", "/glassdock/operations/abort1/answer", &abort).0, 204);
        assert_eq!(aborted.join().expect("the command"), 500);
    });
    let whole = lab.inspect("otter");
    assert_eq!(whole["State"]["Status"], "created");
    assert_eq!(lab.request("DELETE", "/containers/otter", "").0, 204);
}
