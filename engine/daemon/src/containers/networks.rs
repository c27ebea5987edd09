//! A container's networks: from Docker's words to the network room's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use glassdock_network::{Endpoint, EndpointConfig, Network, Published};
use serde_json::{Value, json};

use super::model::{EndpointIpam, EndpointSettings};
use super::names::short;
use super::record::Record;
use super::{links, ports};
use crate::error::{Error, Kind};

/// How the container wants to be in each of its networks, its network mode's first. Through which it leads out and
/// publishes its ports, [`glassdock_network::Networks::choose_routes`] decides.
///
/// # Errors
///
/// Invalid, for addresses that are none.
pub fn endpoint_configs(record: &Record) -> Result<Vec<EndpointConfig>, Error> {
    let mut networks: Vec<_> = record.networks.iter().collect();
    let mode = &record.host_config.network_mode;
    networks.sort_by_key(|(name, _)| *name != mode);
    let mut configs = Vec::new();
    for (place, (name, settings)) in networks.into_iter().enumerate() {
        let first = place == 0;
        let ipam = settings.ipam_config.as_ref();
        let address = ipam.map_or("", |ipam| ipam.ipv4_address.as_str());
        let address6 = ipam.map_or("", |ipam| ipam.ipv6_address.as_str());
        let mac = if settings.mac_address.is_empty() && first {
            &record.config.mac_address
        } else {
            &settings.mac_address
        };
        let names = endpoint_names(record, name, settings);
        configs.push(EndpointConfig {
            container: record.id.clone(),
            network: name.clone(),
            address: parsed(address, "invalid IPv4 address")?,
            address6: parsed(address6, "invalid IPv6 address")?,
            link_local: ipam.into_iter().flat_map(link_local).collect::<Result<_, _>>()?,
            mac: parsed(mac, "invalid MAC address")?,
            names,
            ports: if first { ports::requests(&record.config, &record.host_config)? } else { Vec::new() },
            links: links_of(settings)?,
            priority: settings.gw_priority,
            ..EndpointConfig::default()
        });
    }
    Ok(configs)
}

/// Whether the addresses that are asked for in a network are addresses, and may be given out by hand there. Of a network
/// that isn't there (`None`) only its name is known.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn check_endpoint(
    name: &str,
    network: Option<&Network>,
    settings: &EndpointSettings,
) -> Result<(), Error> {
    let invalid = |words: &str| Err(Error::invalid(format!("invalid endpoint settings:\n{words}")));
    let Some(ipam) = &settings.ipam_config else { return Ok(()) };
    if let Some(error) = link_local(ipam).find_map(Result::err) {
        return invalid(error.message());
    }
    let named = [(&ipam.ipv4_address, "IPv4"), (&ipam.ipv6_address, "IPv6")];
    let named = named.into_iter().filter(|(address, _)| !address.is_empty());
    for (text, family) in named {
        if matches!(name, "bridge" | "host" | "none") {
            return invalid("user specified IP address is supported on user defined networks only");
        }
        let address = match text.parse() {
            Ok(address @ IpAddr::V4(_)) if family == "IPv4" => address,
            Ok(address @ IpAddr::V6(_)) if family == "IPv6" => address,
            _ => return invalid(&format!("invalid {family} address: {text}")),
        };
        if let Some(Err(error)) = network.map(|network| network.allows(address)) {
            return invalid(&error.to_string());
        }
    }
    Ok(())
}

/// The addresses of the link alone that are asked for.
fn link_local(ipam: &EndpointIpam) -> impl Iterator<Item = Result<IpAddr, Error>> {
    ipam.link_local_ips.iter().flatten().filter(|text| !text.is_empty()).map(|text| {
        let address = text.parse().ok().filter(|address: &IpAddr| !address.is_unspecified());
        address.ok_or_else(|| Error::invalid(format!("invalid link-local IP address: {text}")))
    })
}

/// The names that only the container itself has for others, and theirs.
fn links_of(settings: &EndpointSettings) -> Result<BTreeMap<String, String>, Error> {
    let links = settings.links.iter().flatten().map(|link| links::parse(link));
    links.map(|link| link.map(|(name, alias)| (alias.to_owned(), name.to_owned()))).collect()
}

fn parsed<T: std::str::FromStr>(text: &str, what: &str) -> Result<Option<T>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Error::invalid(format!("{what}: {text}")))
}

/// The names that other containers of a network find it by.
#[must_use]
pub fn names_of(record: &Record, network: &str, settings: &EndpointSettings) -> Vec<String> {
    if matches!(network, "bridge" | "host" | "none") {
        return Vec::new();
    }
    let mut names = vec![record.name.clone()];
    names.extend(settings.aliases.iter().flatten().cloned());
    names.push(short(&record.id).to_owned());
    names.push(record.config.hostname.clone());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

/// As [`names_of`]; where nobody asks for names, messages call the endpoint by its container's.
#[must_use]
pub fn endpoint_names(record: &Record, network: &str, settings: &EndpointSettings) -> Vec<String> {
    let mut names = names_of(record, network, settings);
    if names.is_empty() {
        names.push(record.name.clone());
    }
    names
}

/// An error of the network room, in the API's kinds.
#[must_use]
pub fn failed(error: glassdock_network::Error) -> Error {
    use glassdock_network::ErrorKind as Theirs;
    let kind = match error.kind() {
        Theirs::NotFound => Kind::NotFound,
        Theirs::Conflict => Kind::Conflict,
        Theirs::Invalid => Kind::Invalid,
        Theirs::Denied => Kind::Denied,
        Theirs::Internal => Kind::Internal,
    };
    Error::of(kind, &error)
}

/// What a container asked for in a network and what it has there, in the API's shape.
#[must_use]
pub fn shown(
    record: &Record,
    name: &str,
    settings: &EndpointSettings,
    endpoint: Option<&Endpoint>,
) -> EndpointSettings {
    let mut shown = settings.clone();
    let names = names_of(record, name, settings);
    shown.dns_names = (!names.is_empty()).then_some(names);
    let Some(endpoint) = endpoint else { return shown };
    shown.network_id.clone_from(&endpoint.network);
    shown.endpoint_id.clone_from(&endpoint.id);
    if let Some(address) = endpoint.address {
        shown.ip_address = address.address().to_string();
        shown.ip_prefix_len = address.prefix();
    }
    if let Some(address) = endpoint.address6 {
        shown.global_ipv6_address = address.address().to_string();
        shown.global_ipv6_prefix_len = address.prefix();
    }
    shown.ipv6_gateway = endpoint.gateway6.map_or_else(String::new, |gateway| gateway.to_string());
    shown.gateway = endpoint.gateway.map_or_else(String::new, |gateway| gateway.to_string());
    shown.mac_address = endpoint.mac.map_or_else(String::new, |mac| mac.to_string());
    shown
}

/// The ports that a container has, published or only exposed, as `inspect` shows them.
#[must_use]
pub fn port_map(record: &Record, endpoints: &[Endpoint]) -> Value {
    let mut map = serde_json::Map::new();
    let bound = record.host_config.port_bindings.iter().flat_map(BTreeMap::keys);
    for port in record.config.exposed_ports.keys().chain(bound) {
        if let Ok((number, protocol)) = ports::parse(port) {
            map.insert(format!("{number}/{protocol}"), Value::Null);
        }
    }
    for port in published(endpoints) {
        let place = map.entry(format!("{}/{}", port.container_port, port.protocol)).or_insert(Value::Null);
        if !place.is_array() {
            *place = json!([]);
        }
        if let Some(list) = place.as_array_mut() {
            list.push(
                json!({ "HostIp": port.host_address.to_string(), "HostPort": port.host_port.to_string() }),
            );
        }
    }
    Value::Object(map)
}

/// The same, as `ps` shows them.
#[must_use]
pub fn port_list(record: &Record, endpoints: &[Endpoint]) -> Vec<Value> {
    let mut list: Vec<Value> = published(endpoints)
        .map(|port| {
            json!({
                "IP": port.host_address.to_string(),
                "PrivatePort": port.container_port,
                "PublicPort": port.host_port,
                "Type": port.protocol.to_string(),
            })
        })
        .collect();
    for port in record.config.exposed_ports.keys() {
        let Ok((number, protocol)) = ports::parse(port) else { continue };
        let is = |port: &Published| port.container_port == number && port.protocol == protocol;
        if !published(endpoints).any(is) {
            list.push(json!({ "PrivatePort": number, "Type": protocol.to_string() }));
        }
    }
    list
}

fn published(endpoints: &[Endpoint]) -> impl Iterator<Item = &Published> {
    endpoints.iter().flat_map(|endpoint| &endpoint.ports)
}
