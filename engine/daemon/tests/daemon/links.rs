//! Containers that find each other: links, and names in users' networks.

use serde_json::json;

use crate::support::{Lab, eventually, lab};

fn output(lab: &Lab, name: &str) -> String {
    assert_eq!(lab.request("POST", &format!("/containers/{name}/start"), "").0, 204);
    lab.request("POST", &format!("/containers/{name}/wait"), "");
    lab.request("GET", &format!("/containers/{name}/logs?stdout=1&stderr=1"), "").1
}

#[test]
fn a_link_tells_where_the_other_is() {
    let Some(lab) = lab() else { return };
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "Env": ["COLOUR=red"], "ExposedPorts": {"5432/tcp": {}} });
    assert_eq!(lab.request("POST", "/containers/create?name=db", &body.to_string()).0, 201);
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "env; cat /etc/hosts"], "HostConfig": {"Links": ["db:my-store"]},
    });
    assert_eq!(lab.request("POST", "/containers/create?name=web", &body.to_string()).0, 201);
    let (status, refused) = lab.request("POST", "/containers/web/start", "");
    assert_eq!(status, 500);
    assert!(refused.contains("Cannot link to a non running container: /db AS /web/my-store"), "{refused}");

    assert_eq!(lab.request("POST", "/containers/db/start", "").0, 204);
    let address = lab.inspect("db")["NetworkSettings"]["IPAddress"].as_str().expect("an address").to_owned();
    let said = output(&lab, "web");
    for wanted in [
        "MY_STORE_NAME=/web/my-store".to_owned(),
        "MY_STORE_ENV_COLOUR=red".to_owned(),
        format!("MY_STORE_PORT_5432_TCP=tcp://{address}:5432"),
        format!("{address}\tmy-store "),
    ] {
        assert!(said.contains(&wanted), "{wanted}: {said}");
    }
    assert_eq!(lab.inspect("web")["HostConfig"]["Links"], json!(["/db:/web/my-store"]));
    let (_, list) = lab.json("GET", "/containers/json", "");
    assert_eq!(list[0]["Names"], json!(["/db", "/web/my-store"]));
    assert_eq!(lab.request("DELETE", "/containers/web/my-store?link=1", "").0, 204);
    assert_eq!(lab.inspect("web")["HostConfig"]["Links"], json!(null));
    assert_eq!(lab.request("DELETE", "/containers/web/my-store?link=1", "").0, 404);
    let body = r#"{"Image":"busybox","Cmd":["true"],"HostConfig":{"Links":["nobody:x"]}}"#;
    assert_eq!(lab.request("POST", "/containers/create", body).0, 400);
}

#[test]
fn in_a_users_network_a_link_is_a_name_of_ones_own() {
    let Some(lab) = lab() else { return };
    let (status, network) = lab.json("POST", "/networks/create", r#"{"Name":"the pond"}"#);
    assert_eq!(status, 201, "{network}");
    let create = |name: &str, links: serde_json::Value| {
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", "nslookup store 127.0.0.11"],
            "HostConfig": {"NetworkMode": "the pond"},
            "NetworkingConfig": {"EndpointsConfig": {"the pond": {"Links": links}}},
        });
        lab.request("POST", &format!("/containers/create?name={name}"), &body.to_string()).0
    };
    assert_eq!((create("web", json!(["db:store"])), create("other", json!(null))), (201, 201));
    let body = r#"{"Image":"busybox","Cmd":["sleep","600"],"HostConfig":{"NetworkMode":"the pond"}}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=db", body).0, 201);
    assert_eq!(lab.request("POST", "/containers/db/start", "").0, 204);
    let networks = lab.inspect("db")["NetworkSettings"]["Networks"].clone();
    let address = networks["the pond"]["IPAddress"].as_str().expect("an address").to_owned();
    assert!(output(&lab, "web").contains(&address));
    assert!(output(&lab, "other").contains("NXDOMAIN"));

    // A container that leaves its last network and joins another finds names there again.
    let change = |verb: &str, network: &str| {
        lab.request("POST", &format!("/networks/{network}/{verb}"), r#"{"Container":"db"}"#)
    };
    assert_eq!(change("disconnect", "the%20pond").0, 200);
    assert_eq!(change("connect", "the%20pond"), (200, String::new()));
    assert_eq!(lab.request("DELETE", "/containers/db?force=1", "").0, 204);
    for name in ["web", "other"] {
        assert_eq!(lab.request("DELETE", &format!("/containers/{name}"), "").0, 204);
    }
    assert!(eventually(|| lab.request("DELETE", "/networks/the%20pond", "").0 == 204));
}

#[test]
fn a_container_has_the_addresses_of_its_link_alone() {
    let Some(lab) = lab() else { return };
    assert_eq!(lab.request("POST", "/networks/create", r#"{"Name":"near"}"#).0, 201);
    let asked = |list: serde_json::Value| {
        serde_json::json!({
            "Image": "busybox", "Cmd": ["ip", "-o", "addr", "show", "eth0"], "HostConfig": {"NetworkMode": "near"},
            "NetworkingConfig": {"EndpointsConfig": {"near": {"IPAMConfig": {"LinkLocalIPs": list}}}},
        })
        .to_string()
    };
    for wrong in ["otter", "0.0.0.0"] {
        let (status, said) =
            lab.request("POST", "/containers/create", &asked(serde_json::json!(["169.254.7.7", wrong])));
        assert!(status == 400 && said.contains(&format!("invalid link-local IP address: {wrong}")), "{said}");
    }
    let list = serde_json::json!(["169.254.7.7", "169.254.7.8"]);
    let (status, said) = lab.request("POST", "/containers/create?name=otter", &asked(list.clone()));
    assert_eq!(status, 201, "{said}");
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    let shown = lab.inspect("otter")["NetworkSettings"]["Networks"]["near"]["IPAMConfig"].clone();
    assert_eq!(shown["LinkLocalIPs"], list);
    assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
    let (_, log) = lab.request("GET", "/containers/otter/logs?stdout=1", "");
    for words in ["inet 169.254.7.7/16", "inet 169.254.7.8/16"] {
        assert!(log.contains(words), "{words} is not in {log}");
    }
}
