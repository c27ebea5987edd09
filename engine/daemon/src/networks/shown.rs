//! A network in the API's shape. The fields stand in Docker's order, because
//! `docker network inspect` prints them as they come.

use std::collections::BTreeMap;

use glassdock_network::{Driver, Network, NewNetwork};
use serde::Serialize;

use crate::engine::Engine;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Shown {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: ShownIpam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, ShownContainer>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownIpam {
    driver: &'static str,
    /// None for the networks that are there from the start, and where a client named none, as in Docker.
    options: Option<BTreeMap<String, String>>,
    config: Option<Vec<ShownPool>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownPool {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    ip_range: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    reserved: BTreeMap<String, String>,
}

/// Of which other network the configuration is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownContainer {
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

/// How a network stands in a list: without its containers.
pub(super) fn listed(network: &Network) -> Shown {
    Shown {
        name: network.name.clone(),
        id: network.id.clone(),
        created: created(network),
        scope: "local",
        driver: network.driver.name(),
        enable_ipv4: match &network.kept {
            Some(kept) => !kept.without_ipv4,
            None => network.driver != Driver::Bridge || network.ipam.is_some(),
        },
        enable_ipv6: network.ipam6.is_some() || network.kept.as_ref().is_some_and(|kept| kept.ipv6.is_some()),
        ipam: ipam(network),
        internal: network.internal,
        attachable: network.attachable,
        ingress: false,
        config_from: ConfigFrom { network: network.config_from.clone() },
        config_only: network.kept.is_some(),
        containers: BTreeMap::new(),
        options: options(network),
        labels: network.labels.clone(),
    }
}

/// A network with the containers that are connected to it.
pub(super) fn whole(engine: &Engine, network: &Network) -> Shown {
    let mut shown = listed(network);
    for endpoint in engine.networks.endpoints_in(&network.id) {
        let name = engine.containers.find(&endpoint.container).map_or_else(
            // Between its end and its release: the names that it had.
            |_| endpoint.names.first().cloned().unwrap_or_default(),
            |container| container.name(),
        );
        shown.containers.insert(
            endpoint.container,
            ShownContainer {
                name,
                endpoint_id: endpoint.id,
                mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
                ipv4_address: endpoint.address.map(|address| address.to_string()).unwrap_or_default(),
                ipv6_address: endpoint.address6.map(|address| address.to_string()).unwrap_or_default(),
            },
        );
    }
    shown
}

fn created(network: &Network) -> String {
    let nanoseconds = i128::from(network.created_ns);
    jiff::Timestamp::from_nanosecond(nanoseconds).map(|time| time.to_string()).unwrap_or_default()
}

fn ipam(network: &Network) -> ShownIpam {
    if let Some(kept) = &network.kept {
        let config = Some(asked(kept));
        return ShownIpam { driver: "default", options: network.ipam_options.clone(), config };
    }
    let four = network.ipam.as_ref().map(|ipam| ShownPool {
        subnet: ipam.subnet.to_string(),
        ip_range: ipam.range.map(|range| range.to_string()),
        gateway: ipam.gateway.to_string(),
        reserved: texts(&ipam.reserved),
    });
    let six = network.ipam6.as_ref().or(network.idle_ipam6.as_ref()).map(|ipam| ShownPool {
        subnet: ipam.subnet.to_string(),
        ip_range: ipam.range.map(|range| range.to_string()),
        gateway: ipam.gateway.to_string(),
        reserved: texts(&ipam.reserved),
    });
    ShownIpam {
        driver: "default",
        options: network.ipam_options.clone(),
        config: (network.driver == Driver::Bridge).then(|| four.into_iter().chain(six).collect()),
    }
}

/// The pools that a configuration names, with what is said of each; the rest is decided for those made of it.
fn asked(kept: &NewNetwork) -> Vec<ShownPool> {
    let four = kept.subnet.map(|subnet| ShownPool {
        subnet: subnet.to_string(),
        ip_range: kept.range.map(|range| range.to_string()),
        gateway: kept.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        reserved: texts(&kept.reserved),
    });
    let six = kept.ipv6.as_ref().or(kept.idle_ipv6.as_ref());
    let six = six.and_then(|pool| {
        Some(ShownPool {
            subnet: pool.subnet?.to_string(),
            ip_range: pool.range.map(|range| range.to_string()),
            gateway: pool.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
            reserved: texts(&pool.reserved),
        })
    });
    four.into_iter().chain(six).collect()
}

fn texts(addresses: &BTreeMap<String, impl ToString>) -> BTreeMap<String, String> {
    addresses.iter().map(|(name, address)| (name.clone(), address.to_string())).collect()
}

/// The options as the user gave them; for the default bridge, what holds for it.
fn options(network: &Network) -> BTreeMap<String, String> {
    let (Driver::Bridge, true, Some(bridge)) = (network.driver, network.builtin, &network.bridge) else {
        return network.options.clone();
    };
    let mtu = network.mtu.unwrap_or(1500).to_string();
    let options = [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", bridge),
        ("com.docker.network.driver.mtu", &mtu),
    ];
    options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
