//! Networks that are only a configuration, and networks that are made of one.

use serde_json::{Value, json};

use crate::support::{Lab, lab};

fn create(lab: &Lab, body: Value) -> (u16, String) {
    let (status, said) = lab.json("POST", "/networks/create", &body.to_string());
    (status, said["message"].as_str().unwrap_or_default().to_owned())
}

fn of(name: &str, configuration: &str) -> Value {
    json!({ "Name": name, "ConfigFrom": { "Network": configuration } })
}

#[test]
fn a_network_is_made_of_a_configuration() {
    let Some(mut lab) = lab() else { return };
    // A subnet that no other run of this test takes.
    let part = std::process::id();
    let prefix = format!("10.{}.{}", 200 + (part >> 8) % 50, part % 256);
    let pool = json!({ "Subnet": format!("{prefix}.0/24"), "Gateway": format!("{prefix}.7") });
    let configuration = json!({
        "Name": "plan", "ConfigOnly": true, "Labels": { "a": "b" }, "Options": { "com.docker.network.driver.mtu": "1400" },
        "IPAM": { "Config": [pool] },
    });
    assert_eq!(create(&lab, configuration).0, 201);
    let shown = lab.json("GET", "/networks/plan", "").1;
    let found = [&shown["ConfigOnly"], &shown["Driver"], &shown["IPAM"]["Config"]];
    assert_eq!(json!(found), json!([true, "null", [pool]]));
    // It takes no addresses: another one may name the same, and what it doesn't name isn't decided.
    let twin =
        json!({ "Name": "twin", "ConfigOnly": true, "IPAM": { "Config": [{ "Subnet": pool["Subnet"] }] } });
    assert_eq!(create(&lab, twin).0, 201);
    let shown = lab.json("GET", "/networks/twin", "").1;
    assert_eq!(shown["IPAM"]["Config"], json!([{ "Subnet": pool["Subnet"] }]));
    // Nobody is connected to it.
    let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "plan" } });
    assert_eq!(lab.request("POST", "/containers/create?name=lost", &body.to_string()).0, 201);
    let (status, said) = lab.request("POST", "/containers/lost/start", "");
    assert!(status == 403 && said.contains("cannot create endpoint on configuration-only network"), "{said}");
    // The one that is made of it has all it says, also after the daemon came again.
    assert_eq!(create(&lab, of("made", "plan")).0, 201);
    lab.kill();
    lab.start();
    let made = lab.json("GET", "/networks/made", "").1;
    assert_eq!(made["ConfigFrom"]["Network"], "plan");
    let found = [&made["Driver"], &made["Labels"], &made["IPAM"]["Config"][0], &made["ConfigOnly"]];
    assert_eq!(json!(found), json!(["bridge", { "a": "b" }, pool, false]));
    let command = ["sh", "-c", "ip -o addr show eth0; cat /sys/class/net/eth0/mtu"];
    let body = json!({ "Image": "busybox", "Cmd": command, "HostConfig": { "NetworkMode": "made" } });
    assert_eq!(lab.request("POST", "/containers/create?name=otter", &body.to_string()).0, 201);
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
    let (_, log) = lab.request("GET", "/containers/otter/logs?stdout=1", "");
    assert!(log.contains(&format!("inet {prefix}.1/24")) && log.contains("1400"), "{log}");
    // It stays as long as it is used, and no prune takes it.
    let (status, said) = lab.request("DELETE", "/networks/plan", "");
    assert!(status == 403 && said.contains(r#"configuration network \"plan\" is in use"#), "{said}");
    let pruned = lab.json("POST", "/networks/prune", "").1;
    assert_eq!(pruned["NetworksDeleted"], json!(["made"]));
    assert_eq!(lab.request("DELETE", "/networks/plan", "").0, 204);
}

#[test]
fn what_goes_with_no_configuration_is_refused() {
    let Some(lab) = lab() else { return };
    let with = |name: &str, configuration: &str, field: &str, value: Value| {
        let mut body = of(name, configuration);
        body[field] = value;
        create(&lab, body)
    };
    let refused = |(status, said): (u16, String), expected: u16, words: &str| {
        assert!(status == expected && said.contains(words), "{status} {said}");
    };
    assert_eq!(create(&lab, json!({ "Name": "plan", "ConfigOnly": true })).0, 201);
    assert_eq!(create(&lab, json!({ "Name": "plain" })).0, 201);
    for field in ["Internal", "Attachable", "Ingress"] {
        let mut body = json!({ "Name": "bad", "ConfigOnly": true });
        body[field] = true.into();
        refused(create(&lab, body), 403, "configuration network can only contain network specific fields");
    }
    let depends = "a configuration network cannot depend on another configuration network";
    refused(with("bad", "plan", "ConfigOnly", true.into()), 403, depends);
    for configuration in ["nobody", "plain"] {
        let words = format!("configuration network {configuration:?} does not exist");
        refused(create(&lab, of("bad", configuration)), 404, &words);
    }
    let own =
        "user specified configurations are not supported if the network depends on a configuration network";
    refused(with("bad", "plan", "EnableIPv6", true.into()), 403, own);
    refused(with("bad", "plan", "Labels", json!({ "a": "b" })), 403, own);
    let pool = json!({ "Config": [{ "Subnet": "10.251.7.0/24" }] });
    refused(with("bad", "plan", "IPAM", pool), 403, own);
    let options =
        "network driver options are not supported if the network depends on a configuration network";
    refused(with("bad", "plan", "Options", json!({ "a": "b" })), 403, options);
    refused(create(&lab, json!({ "Name": "plan", "ConfigOnly": true })), 409, "already exists");
    assert_eq!(with("fine", "plan", "Internal", true.into()).0, 201);
}
