//! Health checks: what a container says of itself, and who hears of it.

use serde_json::json;

use crate::support::{Lab, eventually, lab};

fn health(lab: &Lab, name: &str) -> serde_json::Value {
    lab.inspect(name)["State"]["Health"].clone()
}

fn create(lab: &Lab, name: &str, check: &serde_json::Value) -> u16 {
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "Healthcheck": check }).to_string();
    lab.request("POST", &format!("/containers/create?name={name}"), &body).0
}

#[test]
fn a_container_is_as_well_as_its_checks_say() {
    let Some(lab) = lab() else { return };
    let check =
        json!({ "Test": ["CMD-SHELL", "echo checked; test -e /well"], "Interval": 50_000_000, "Retries": 2 });
    assert_eq!(create(&lab, "otter", &check), 201);
    assert_eq!(lab.inspect("otter")["State"].get("Health"), None, "nothing is known before the start");
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    assert!(eventually(|| health(&lab, "otter")["Status"] == "unhealthy"), "{}", health(&lab, "otter"));
    let known = health(&lab, "otter");
    assert_eq!(known["Log"][0]["Output"], "checked\n");
    assert_eq!(known["Log"][0]["ExitCode"], 1);
    assert!(known["FailingStreak"].as_i64() >= Some(2), "{known}");

    let (_, exec) = lab.json("POST", "/containers/otter/exec", r#"{"Cmd":["touch","/well"]}"#);
    let start = format!("/exec/{}/start", exec["Id"].as_str().expect("an id"));
    assert_eq!(lab.request("POST", &start, r#"{"Detach":true}"#).0, 200);
    assert!(eventually(|| health(&lab, "otter")["Status"] == "healthy"), "{}", health(&lab, "otter"));
    let healthy = "/containers/json?filters=%7B%22health%22%3A%5B%22healthy%22%5D%7D";
    let (_, list) = lab.json("GET", healthy, "");
    assert!(list[0]["Status"].as_str().expect("a row").ends_with(" (healthy)"), "{list}");
    assert!(health(&lab, "otter")["Log"].as_array().expect("results").len() <= 5);

    assert_eq!(lab.request("POST", "/containers/otter/kill", "").0, 204);
    assert_eq!(health(&lab, "otter")["Status"], "unhealthy", "nobody checks it any more");
    let path =
        format!("/events?since=1&until={}&filters=%7B%22event%22%3A%5B%22health_status%22%5D%7D", soon());
    let (_, told) = lab.request("GET", &path, "");
    for action in ["health_status: unhealthy", "health_status: healthy"] {
        assert!(told.contains(&format!(r#""Action":"{action}""#)), "{action}: {told}");
    }
}

/// The second that comes next, since 1970: all that happened so far was before it.
pub(crate) fn soon() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("a clock").as_secs() + 1
}

#[test]
fn a_check_that_takes_too_long_is_ended() {
    let Some(lab) = lab() else { return };
    let check = json!({
        "Test": ["CMD", "sh", "-c", "echo begun; exec sleep 987654"],
        "Interval": 20_000_000, "Timeout": 300_000_000, "Retries": 1,
    });
    assert_eq!(create(&lab, "heron", &check), 201);
    assert_eq!(lab.request("POST", "/containers/heron/start", "").0, 204);
    assert!(eventually(|| health(&lab, "heron")["Status"] == "unhealthy"));
    let first = health(&lab, "heron")["Log"][0].clone();
    assert_eq!(first["ExitCode"], -1);
    assert_eq!(first["Output"], "Health check exceeded timeout (300ms): begun\n");
    let checking = || {
        let (_, top) = lab.json("GET", "/containers/heron/top", "");
        top.to_string().matches("987654").count()
    };
    // One may be under way, but they don't gather.
    assert!((0..5).all(|_| checking() <= 1));
    assert_eq!(lab.request("POST", "/containers/heron/pause", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/heron/unpause", "").0, 204);
    assert_eq!(lab.request("DELETE", "/containers/heron?force=1", "").0, 204);
}

#[test]
fn checks_that_make_no_sense_are_refused() {
    let Some(lab) = lab() else { return };
    assert_eq!(create(&lab, "aa", &json!({ "Test": ["CMD", "true"], "Interval": 1 })), 400);
    assert_eq!(create(&lab, "bb", &json!({ "Test": ["CMD", "true"], "Retries": -1 })), 400);
    assert_eq!(create(&lab, "cc", &json!({ "Test": ["NONE"] })), 201);
    assert_eq!(lab.request("POST", "/containers/cc/start", "").0, 204);
    assert_eq!(lab.inspect("cc")["State"].get("Health"), None);
}
