//! What this engine has not: the answers are those of a Docker engine in no swarm and without plugins.

use crate::support::lab;

const NO_MANAGER: &str = "This node is not a swarm manager.";

#[test]
fn swarms_and_plugins_are_absent_in_dockers_words() {
    let Some(lab) = lab() else { return };
    let join = r#"{"ListenAddr":"0.0.0.0:2377","RemoteAddrs":["127.0.0.1:2377"]}"#;
    for (method, path, body, status, words) in [
        ("GET", "/swarm", "", 503, NO_MANAGER),
        ("GET", "/swarm/unlockkey", "", 503, NO_MANAGER),
        ("POST", "/swarm/unlock", "{}", 503, NO_MANAGER),
        ("POST", "/swarm/leave?force=1", "", 503, "This node is not part of a swarm"),
        ("POST", "/swarm/init", "{}", 400, "invalid ListenAddr"),
        ("POST", "/swarm/init", r#"{"ListenAddr":7}"#, 400, "invalid JSON"),
        ("POST", "/swarm/init", join, 501, "no swarm mode"),
        ("POST", "/swarm/join", r#"{"ListenAddr":"x"}"#, 400, "at least 1 RemoteAddr"),
        ("POST", "/swarm/join", join, 501, "no swarm mode"),
        ("POST", "/swarm/update?version=7", "{}", 503, NO_MANAGER),
        ("POST", "/swarm/update", "{}", 400, "invalid swarm version ''"),
        ("GET", "/nodes", "", 503, NO_MANAGER),
        ("GET", "/nodes?filters=%7B", "", 400, "invalid filter"),
        ("GET", "/nodes/self", "", 503, NO_MANAGER),
        ("DELETE", "/nodes/self", "", 503, NO_MANAGER),
        ("POST", "/nodes/self/update?version=-1", "{}", 400, "invalid node version '-1'"),
        ("POST", "/services/create", "{", 400, "invalid JSON"),
        ("POST", "/services/create", "{}", 503, NO_MANAGER),
        ("POST", "/services/x/update?version=18446744073709551616", "{}", 400, "value out of range"),
        ("GET", "/services/x/logs", "", 400, "at least one stream"),
        ("GET", "/services/x/logs?stdout=1", "", 503, NO_MANAGER),
        ("GET", "/tasks/x", "", 503, NO_MANAGER),
        ("POST", "/secrets/x/update", "{}", 400, "invalid secret version"),
        ("DELETE", "/configs/x", "", 503, NO_MANAGER),
        ("GET", "/v1.41/configs", "", 503, NO_MANAGER),
        ("GET", "/plugins", "", 200, "[]"),
        ("GET", "/plugins/a/b:1/json", "", 404, "plugin \"a/b:1\" not found"),
        ("DELETE", "/plugins/a/enable", "", 404, "plugin \"a/enable\" not found"),
        ("POST", "/plugins/a/b/enable?timeout=0", "", 404, "plugin \"a/b\" not found"),
        ("POST", "/plugins/a/set", "{}", 400, "invalid JSON"),
        ("POST", "/plugins/a/set", "[]", 404, "plugin \"a\" not found"),
        ("POST", "/plugins/pull?remote=a", "[]", 404, "plugin \"a\" not found"),
        ("GET", "/plugins/privileges?remote=A", "", 400, "reference"),
        ("POST", "/plugins/create?name=a", "", 501, "no plugins"),
        ("PUT", "/volumes/x?version=1", "{}", 503, "only valid for cluster volumes"),
        ("POST", "/volumes/create", r#"{"Name":"x","ClusterVolumeSpec":{}}"#, 503, NO_MANAGER),
        (
            "POST",
            "/networks/create",
            r#"{"Name":"x","ConfigFrom":{"Network":"y"}}"#,
            404,
            "configuration network \"y\" does not exist",
        ),
        ("POST", "/session", "", 400, "no upgrade proto"),
        // What Docker doesn't have either.
        ("POST", "/nodes/self", "{}", 404, "page not found"),
        ("GET", "/swarm/init", "", 404, "page not found"),
        ("POST", "/plugins/a", "", 404, "page not found"),
    ] {
        let (got, answer) = lab.json(method, path, body);
        let said = answer["message"].as_str().map_or_else(|| answer.to_string(), str::to_owned);
        assert!(got == status && said.contains(words), "{method} {path} {body}: {got} {said}");
    }
    assert_eq!(lab.json("POST", "/v1.41/volumes/create", r#"{"ClusterVolumeSpec":{}}"#).0, 201);
}
