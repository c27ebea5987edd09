//! A container in several networks: through which of them it leads out and publishes its ports.

use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Lab, eventually, lab};

/// The links of the default routes in the container, IPv4's and IPv6's, by the network's name.
fn ways_out(lab: &Lab, name: &str) -> [Option<String>; 2] {
    let inspected = lab.inspect(name);
    let pid = inspected["State"]["Pid"].as_u64().expect("a process");
    let shown = inspected["NetworkSettings"]["Networks"].clone();
    ["-4", "-6"].map(|family| {
        let mut nsenter = std::process::Command::new("nsenter");
        nsenter.args(["-t", &pid.to_string(), "-n", "ip", family, "route", "show", "default"]);
        let said = nsenter.output().expect("nsenter").stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.lines().count() < 2, "{said}");
        let gateway = said.split_whitespace().nth(2)?.to_owned();
        let field = if family == "-4" { "Gateway" } else { "IPv6Gateway" };
        let networks = shown.as_object().expect("networks");
        networks.iter().find(|(_, network)| network[field] == gateway).map(|(name, _)| name.clone())
    })
}

fn published(lab: &Lab) -> Option<u16> {
    let ports = lab.inspect("otter")["NetworkSettings"]["Ports"].clone();
    ports["80/tcp"][0]["HostPort"].as_str().and_then(|port| port.parse().ok())
}

#[test]
fn a_container_in_several_networks_leads_out_through_the_best() {
    let Some(lab) = lab() else { return };
    let six = std::path::Path::new("/proc/sys/net/ipv6").exists();
    for (name, internal, ipv6) in
        [("burrow", true, true), ("den", false, false), ("lodge", false, six), ("pond", false, false)]
    {
        let body = json!({ "Name": name, "Internal": internal, "EnableIPv6": ipv6 && six }).to_string();
        let (status, said) = lab.json("POST", "/networks/create", &body);
        assert_eq!(status, 201, "{said}");
    }
    let body = json!({
        "Image": "busybox", "Cmd": ["httpd", "-f", "-h", "/etc"], "ExposedPorts": { "80/tcp": {} },
        "HostConfig": { "NetworkMode": "burrow", "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1" }] } },
        "NetworkingConfig": { "EndpointsConfig": { "burrow": {}, "den": {}, "lodge": {} } },
    });
    let (status, said) = lab.json("POST", "/containers/create?name=otter", &body.to_string());
    assert_eq!(status, 201, "{said}");
    let (status, said) = lab.request("POST", "/containers/otter/start", "");
    assert_eq!(status, 204, "{said}");
    let expect = |way: &str, way6: Option<&str>, when: &str| {
        let found = ways_out(&lab, "otter");
        let expected = [Some(way.to_owned()), way6.filter(|_| six).map(str::to_owned)];
        assert_eq!(found, expected, "{when}");
        let port = published(&lab).expect("published");
        assert!(eventually(|| TcpStream::connect(("127.0.0.1", port)).is_ok()), "{when}: port {port}");
    };
    // The mode's network is internal; of the others, the first by name, which has no IPv6.
    expect("den", Some("lodge"), "at the start");
    let shown = lab.inspect("otter")["NetworkSettings"]["Networks"].clone();
    assert_eq!(shown["burrow"]["Gateway"], "", "an internal network leads nowhere");
    assert_ne!(shown["lodge"]["Gateway"], "", "its gateway is shown, although another one is used");

    let connect = |network: &str, priority: i64| {
        let config = json!({ "Container": "otter", "EndpointConfig": { "GwPriority": priority } });
        let path = format!("/networks/{network}/connect");
        let (status, said) = lab.request("POST", &path, &config.to_string());
        assert_eq!(status, 200, "{said}");
    };
    let disconnect = |network: &str| {
        let path = format!("/networks/{network}/disconnect");
        let (status, said) = lab.request("POST", &path, r#"{"Container":"otter"}"#);
        assert_eq!(status, 200, "{said}");
    };
    connect("pond", 5);
    expect("pond", Some("lodge"), "with a network of a higher priority");
    disconnect("pond");
    expect("den", Some("lodge"), "without it");
    disconnect("den");
    expect("lodge", Some("lodge"), "without the next one");
    disconnect("lodge");
    assert_eq!(ways_out(&lab, "otter"), [None, None]);
    assert_eq!(published(&lab), None);
    connect("den", 0);
    expect("den", None, "connected again");
    // Nothing of it is forgotten by a restart, and all of it goes with the container.
    connect("lodge", 1);
    assert_eq!(lab.request("POST", "/containers/otter/restart?t=0", "").0, 204);
    expect("lodge", Some("lodge"), "after a restart");
    assert_eq!(lab.request("DELETE", "/containers/otter?force=1", "").0, 204);
    let (_, left): (u16, Value) = lab.json("GET", "/networks/lodge", "");
    assert_eq!(left["Containers"], json!({}));
    for network in ["burrow", "den", "lodge", "pond"] {
        let (status, said) = lab.request("DELETE", &format!("/networks/{network}"), "");
        assert_eq!(status, 204, "{said}");
    }
}

#[test]
fn who_is_unknown_and_left_nothing_can_t_be_disconnected() {
    let Some(lab) = lab() else { return };
    let body = r#"{"Container":"nobody","Force":true}"#;
    let (status, said) = lab.json("POST", "/networks/bridge/disconnect", body);
    assert_eq!((status, &said["message"]), (404, &json!("endpoint nobody not found")));
}
