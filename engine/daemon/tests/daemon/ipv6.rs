//! Networks with IPv6, from outside: what the API shows is what the container has.

use crate::support::{eventually, lab};

/// Whether this machine has IPv6 at all; a test that needs it says so.
fn has_ipv6() -> bool {
    let has = std::path::Path::new("/proc/sys/net/ipv6").exists();
    if !has {
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("skipped: the test needs IPv6");
        }
    }
    has
}

#[test]
fn a_container_has_the_address_that_is_shown() {
    if !has_ipv6() {
        return;
    }
    let Some(lab) = lab() else { return };
    // A part of the private space that no other run of this test takes: its process's number.
    let part = std::process::id();
    let prefix = format!("fd00:{:x}:{:x}", part >> 16, part & 0xffff);
    let body = format!(
        r#"{{"Name":"six","EnableIPv6":true,"IPAM":{{"Config":[{{"Subnet":"{prefix}::/64","Gateway":"{prefix}::1"}}]}}}}"#
    );
    let (status, said) = lab.json("POST", "/networks/create", &body);
    assert_eq!((status, &said["Warning"]), (201, &"".into()), "{said}");
    let network = lab.json("GET", "/networks/six", "").1;
    assert_eq!(network["EnableIPv6"], true);
    let pools = network["IPAM"]["Config"].as_array().expect("two pools");
    assert_eq!(pools.len(), 2, "{network}");
    assert_eq!(pools[1]["Subnet"], format!("{prefix}::/64"));
    // It stays: the network is shown of a container that runs.
    let command = "ip -6 -o addr show eth0 scope global; ip -6 route show default; cat /etc/hosts; nslookup otter; echo told; sleep 600";
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": {"NetworkMode": "six"},
        "NetworkingConfig": {"EndpointsConfig": {"six": {"IPAMConfig": {"IPv6Address": format!("{prefix}::42")}}}},
    });
    let (status, said) = lab.json("POST", "/containers/create?name=otter", &body.to_string());
    assert_eq!(status, 201, "{said}");
    assert_eq!(lab.request("POST", "/containers/otter/start", "").0, 204);
    let shown = lab.inspect("otter")["NetworkSettings"]["Networks"]["six"].clone();
    let expected = serde_json::json!([format!("{prefix}::42"), 64, format!("{prefix}::1")]);
    let found = [&shown["GlobalIPv6Address"], &shown["GlobalIPv6PrefixLen"], &shown["IPv6Gateway"]];
    assert_eq!(serde_json::json!(found), expected, "{shown}");
    let log = || lab.request("GET", "/containers/otter/logs?stdout=1", "").1;
    assert!(eventually(|| log().contains("told\n")), "{}", log());
    let log = log();
    for words in [
        format!("inet6 {prefix}::42/64"),
        format!("default via {prefix}::1"),
        format!("{prefix}::42\t"),
        format!("Address: {prefix}::42"),
    ] {
        assert!(log.contains(&words), "{words} is not in {log}");
    }
    assert_eq!(lab.request("DELETE", "/containers/otter?force=1", "").0, 204);
    assert_eq!(lab.request("DELETE", "/networks/six", "").0, 204);
}

/// Every link has the same link-local addresses: a route through one has to name the link.
#[test]
fn a_gateway_may_be_link_local() {
    if !has_ipv6() {
        return;
    }
    let Some(lab) = lab() else { return };
    let body = r#"{"Name":"local","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"fe80::/64","Gateway":"fe80::1001:1"}]}}"#;
    let (status, said) = lab.json("POST", "/networks/create", body);
    assert_eq!(status, 201, "{said}");
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["ip", "-6", "route", "show", "default"],
        "HostConfig": { "NetworkMode": "local" },
    });
    assert_eq!(lab.json("POST", "/containers/create?name=otter", &body.to_string()).0, 201);
    let (status, said) = lab.request("POST", "/containers/otter/start", "");
    assert_eq!(status, 204, "{said}");
    assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
    let (_, log) = lab.request("GET", "/containers/otter/logs?stdout=1", "");
    assert!(log.contains("default via fe80::1001:1 dev eth0"), "{log}");
}

#[test]
fn pools_that_make_no_sense_are_refused() {
    let Some(lab) = lab() else { return };
    for config in [
        r#"{"Subnet":"fd00:9::/64","Gateway":"fd00:8::1"}"#,
        r#"{"Subnet":"fd00:9::1/64"}"#,
        r#"{"Subnet":"fd00:9::/129"}"#,
        r#"{"Subnet":"fd00:9::/64"},{"Subnet":"fd00:a::/64"}"#,
        r#"{"Subnet":"fd00:9::/64","IPRange":"fd00:a::/80"}"#,
    ] {
        let body = format!(r#"{{"Name":"bad","EnableIPv6":true,"IPAM":{{"Config":[{config}]}}}}"#);
        let (status, said) = lab.request("POST", "/networks/create", &body);
        assert_eq!(status, 400, "{config}: {said}");
    }
}

#[test]
fn a_network_without_ipv4_is_shown_and_named_so() {
    if !has_ipv6() {
        return;
    }
    let Some(lab) = lab() else { return };
    let (status, said) = lab.request("POST", "/networks/create", r#"{"Name":"none4","EnableIPv4":false}"#);
    assert!(status == 400 && said.contains("IPv4 or IPv6 must be enabled"), "{said}");
    let body = r#"{"Name":"alone","EnableIPv4":false,"EnableIPv6":true}"#;
    assert_eq!(lab.request("POST", "/networks/create", body).0, 201);
    let network = lab.json("GET", "/networks/alone", "").1;
    assert_eq!((&network["EnableIPv4"], &network["EnableIPv6"]), (&false.into(), &true.into()));
    let pools = network["IPAM"]["Config"].as_array().expect("a pool");
    assert!(
        pools.len() == 1 && pools[0]["Subnet"].as_str().is_some_and(|text| text.contains(':')),
        "{network}"
    );
    let command =
        "ip -4 -o addr show eth0; ip -6 -o addr show eth0 scope global; cat /etc/hosts; nslookup otter";
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": {"NetworkMode": "alone"},
    });
    assert_eq!(lab.request("POST", "/containers/create?name=otter", &body.to_string()).0, 201);
    let (status, said) = lab.request("POST", "/containers/otter/start", "");
    assert_eq!(status, 204, "{said}");
    let shown = lab.inspect("otter")["NetworkSettings"]["Networks"]["alone"].clone();
    assert_eq!((&shown["IPAddress"], &shown["Gateway"]), (&"".into(), &"".into()));
    let own = shown["GlobalIPv6Address"].as_str().expect("an address").to_owned();
    assert_eq!(lab.request("POST", "/containers/otter/wait", "").0, 200);
    let (_, log) = lab.request("GET", "/containers/otter/logs?stdout=1", "");
    assert!(!log.contains("inet "), "{log}");
    for words in [format!("inet6 {own}/64"), format!("{own}\t"), format!("Address: {own}")] {
        assert!(log.contains(&words), "{words} is not in {log}");
    }
    // Clients of before 1.48 don't know the word.
    assert_eq!(lab.request("POST", "/v1.47/networks/create", r#"{"Name":"old","EnableIPv4":false}"#).0, 201);
    assert_eq!(lab.json("GET", "/networks/old", "").1["EnableIPv4"], true);
}
