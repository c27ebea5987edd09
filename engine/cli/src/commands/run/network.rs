//! `--network` and what belongs to it.

use serde_json::{Map, Value, json};

use super::env;
use crate::words::Args;

/// The network mode: that of the first `--network`, or Docker's default.
pub(crate) fn mode(args: &Args) -> String {
    networks(args).into_iter().next().map_or_else(|| "default".to_owned(), |network| network.name)
}

#[derive(Debug, Default)]
struct Network {
    name: String,
    aliases: Vec<String>,
    options: Vec<String>,
    ip: String,
    ip6: String,
    mac: String,
    link_local: Vec<String>,
    priority: Option<i64>,
}

/// `--network mynet`, or `--network name=mynet,alias=db,ip=10.0.0.2`.
fn networks(args: &Args) -> Vec<Network> {
    args.all("network").chain(args.all("net")).map(parse).collect()
}

fn parse(text: &str) -> Network {
    let mut network = Network::default();
    if !text.contains('=') {
        text.clone_into(&mut network.name);
        return network;
    }
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else { continue };
        let value = value.to_owned();
        match key.trim().to_lowercase().as_str() {
            "name" => network.name = value,
            "alias" => network.aliases.push(value),
            "driver-opt" => network.options.push(value),
            "ip" => network.ip = value,
            "ip6" => network.ip6 = value,
            "mac-address" => network.mac = value,
            "link-local-ip" => network.link_local.push(value),
            "gw-priority" => network.priority = value.parse().ok(),
            _ => {}
        }
    }
    network
}

/// Whether a text is a hardware address as Go reads it: 6, 8 or 20 bytes, in pairs of digits between
/// colons or hyphens, or in fours between dots.
fn is_mac(text: &str) -> bool {
    [(':', 2), ('-', 2), ('.', 4)].into_iter().any(|(between, digits)| {
        let parts: Vec<&str> = text.split(between).collect();
        let hex = |part: &&str| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        matches!(parts.len() * digits / 2, 6 | 8 | 20) && parts.iter().all(hex)
    })
}

/// The API's `NetworkingConfig`.
pub(crate) fn read(args: &Args) -> Result<Value, String> {
    let mut given = networks(args);
    if given.is_empty() {
        given.push(Network { name: "default".to_owned(), ..Network::default() });
    }
    let user_defined = |name: &str| {
        !matches!(name, "" | "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
    };
    let mut endpoints = Map::new();
    let own = given.iter().filter(|network| user_defined(&network.name)).count();
    let mixed = own != 0 && own != given.len();
    for (place, mut network) in given.into_iter().enumerate() {
        if place == 0 {
            network.aliases.extend(args.all("network-alias").chain(args.all("net-alias")).map(str::to_owned));
            for (flag, value) in
                [("ip", &mut network.ip), ("ip6", &mut network.ip6), ("mac-address", &mut network.mac)]
            {
                if let Some(given) = args.last(flag) {
                    if !value.is_empty() {
                        return Err(format!(
                            "conflicting options: cannot specify both --{flag} and per-network {flag}"
                        ));
                    }
                    given.clone_into(value);
                }
            }
            network.link_local.extend(args.list("link-local-ip"));
        }
        if !network.mac.is_empty() && !is_mac(network.mac.trim()) {
            return Err(format!("{} is not a valid mac address", network.mac));
        }
        if !network.aliases.is_empty() && !user_defined(&network.name) {
            return Err("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
        if network.name.starts_with("container:") {
            continue;
        }
        if endpoints.contains_key(&network.name) {
            return Err(format!(
                "network {} is specified multiple times",
                crate::words::check::quote(&network.name)
            ));
        }
        let mut endpoint = Map::new();
        if user_defined(&network.name) {
            let links: Vec<&str> = args.all("link").collect();
            if !links.is_empty() {
                endpoint.insert("Links".to_owned(), json!(links));
            }
        }
        if !network.aliases.is_empty() {
            endpoint.insert("Aliases".to_owned(), json!(network.aliases));
        }
        if !network.options.is_empty() {
            endpoint.insert("DriverOpts".to_owned(), env::pairs(network.options.iter().map(String::as_str)));
        }
        if !network.ip.is_empty() || !network.ip6.is_empty() || !network.link_local.is_empty() {
            endpoint.insert(
                "IPAMConfig".to_owned(),
                json!({"IPv4Address": network.ip, "IPv6Address": network.ip6, "LinkLocalIPs": network.link_local}),
            );
        }
        if !network.mac.is_empty() {
            endpoint.insert("MacAddress".to_owned(), network.mac.into());
        }
        if let Some(priority) = network.priority {
            endpoint.insert("GwPriority".to_owned(), priority.into());
        }
        endpoints.insert(network.name, Value::Object(endpoint));
    }
    if mixed {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                .to_owned(),
        );
    }
    Ok(json!({"EndpointsConfig": endpoints}))
}
