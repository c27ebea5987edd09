//! What a network is, and what a container has in one. These are the documents
//! that the storage keeps, so their fields only ever grow.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::cidr6::Cidr6;

/// What makes a network: which is also how its containers are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of its own, with a veth pair per container.
    Bridge,
    /// The host's own network namespace: nothing is made.
    Host,
    /// An empty namespace with a loopback, and nothing else.
    #[serde(rename = "null")]
    None,
}

impl Driver {
    /// Docker's name of the driver: `bridge`, `host` or `null`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        }
    }
}

/// A network that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name that people use; unique in an engine.
    pub name: String,
    /// What connects its containers.
    pub driver: Driver,
    /// When it was made, in nanoseconds since 1970.
    pub created_ns: u64,
    /// Its IPv4 addresses; only where there is a bridge, and not there if a user wants none.
    #[serde(default)]
    pub ipam: Option<Ipam>,
    /// Its IPv6 addresses, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam6: Option<Ipam6>,
    /// IPv6 addresses that a user named for a network without IPv6. Shown, and not handed out: who
    /// asks for one of them gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ipam6: Option<Ipam6>,
    /// The name of its bridge and of its nftables table.
    #[serde(default)]
    pub bridge: Option<String>,
    /// The largest packet on its links, in bytes; `None` is the kernel's 1500.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Nothing goes in or out but between its own containers.
    #[serde(default)]
    pub internal: bool,
    /// Options for whoever hands out addresses, as a client gave them; kept for clients.
    #[serde(default)]
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Kept for clients; without Swarm it changes nothing.
    #[serde(default)]
    pub attachable: bool,
    /// Whether the engine made it by itself: `bridge`, `host`, `none`.
    #[serde(default)]
    pub builtin: bool,
    /// What a network that is only a configuration has for those that are made of it (`--config-only`). It has
    /// nothing on the host, and nobody can be connected to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<NewNetwork>>,
    /// The name of the configuration that it was made of (`--config-from`); empty if of none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config_from: String,
    /// The user's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The driver's options as the user gave them.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// The addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    /// The whole network.
    pub subnet: Cidr,
    /// The part that addresses are handed out from, if not all.
    #[serde(default)]
    pub range: Option<Cidr>,
    /// The bridge's own address, where containers send what is not for their network.
    pub gateway: Ipv4Addr,
    /// Addresses that are never handed out, by the name of what has them.
    #[serde(default)]
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// Whether a user chose the subnet. Of networks that were made before this was noted, it may be so.
    #[serde(default = "maybe")]
    pub of_user: bool,
}

fn maybe() -> bool {
    true
}

/// The IPv6 addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam6 {
    /// The whole network.
    pub subnet: Cidr6,
    /// The part that addresses are handed out from, if not all.
    #[serde(default)]
    pub range: Option<Cidr6>,
    /// The bridge's own address.
    pub gateway: Ipv6Addr,
    /// Addresses that are never handed out, by the name of what has them.
    #[serde(default)]
    pub reserved: BTreeMap<String, Ipv6Addr>,
    /// Whether a user chose the subnet. Of networks that were made before this was noted, it may be so.
    #[serde(default = "maybe")]
    pub of_user: bool,
}

/// The IPv6 addresses that a user asks for; what is left out the engine picks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewIpam6 {
    /// The wanted addresses.
    pub subnet: Option<Cidr6>,
    /// The part to hand out from.
    pub range: Option<Cidr6>,
    /// The wanted gateway.
    pub gateway: Option<Ipv6Addr>,
    /// Addresses never to hand out.
    pub reserved: BTreeMap<String, Ipv6Addr>,
}

/// What a user asks for with `network create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// The wanted addresses; what is left out the engine picks.
    pub subnet: Option<Cidr>,
    /// The part to hand out from.
    pub range: Option<Cidr>,
    /// The wanted gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses never to hand out.
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// Whether it has no IPv4 addresses; then it has IPv6.
    pub without_ipv4: bool,
    /// Whether it has IPv6 too, and which addresses then.
    pub ipv6: Option<NewIpam6>,
    /// See [`Network::idle_ipam6`].
    pub idle_ipv6: Option<NewIpam6>,
    /// Whether it is only kept, for others that are made of it; see [`Network::kept`].
    pub config_only: bool,
    /// See [`Network::config_from`].
    pub config_from: String,
    /// See [`Network::internal`].
    pub internal: bool,
    /// See [`Network::ipam_options`].
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// See [`Network::attachable`].
    pub attachable: bool,
    /// See [`Network::labels`].
    pub labels: BTreeMap<String, String>,
    /// See [`Network::options`]. `com.docker.network.bridge.name` and
    /// `com.docker.network.driver.mtu` are followed.
    pub options: BTreeMap<String, String>,
}

/// The address of a network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address that goes with an IPv4 address: locally administered, so that it
    /// meets no real card, and always the same for the same address, so that a
    /// neighbour's memory of it stays true when another container gets the address.
    #[must_use]
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// As [`Mac::of`] where there is no IPv4 address: of the first digits of what has it, a network's or endpoint's id.
    pub(crate) fn named(id: &str) -> Self {
        let number = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        Self::of(Ipv4Addr::from_bits(number.unwrap_or_default()))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0_u8; 6];
        let parts: Vec<&str> = text.split([':', '-']).collect();
        if parts.len() != 6 {
            return Err(format!("invalid MAC address: {text}"));
        }
        for (byte, part) in bytes.iter_mut().zip(parts) {
            let digits = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = digits
                .then(|| u8::from_str_radix(part, 16).ok())
                .flatten()
                .ok_or_else(|| format!("invalid MAC address: {text}"))?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// A transport protocol that ports belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a container that a user wants to reach at the host: `-p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The container's port.
    pub container_port: u16,
    /// The host's address; `None` is each address, of both families.
    pub host_address: Option<IpAddr>,
    /// The host's port, or several to take a free one from; `None` lets the kernel choose.
    pub host_ports: Option<RangeInclusive<u16>>,
}

/// A port of the host that leads to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The container's port.
    pub container_port: u16,
    /// The host's address, `0.0.0.0` or `::` for each.
    pub host_address: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// How a container wants to be connected.
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// The container's id.
    pub container: String,
    /// The network's name or id.
    pub network: String,
    /// A fixed address (`--ip`).
    pub address: Option<Ipv4Addr>,
    /// A fixed IPv6 address (`--ip6`).
    pub address6: Option<Ipv6Addr>,
    /// Further addresses, of the link alone (`--link-local-ip`).
    pub link_local: Vec<IpAddr>,
    /// A fixed MAC address (`--mac-address`).
    pub mac: Option<Mac>,
    /// The names that the network's other containers may call it by: its name, its
    /// short id, its hostname if given, its aliases.
    pub names: Vec<String>,
    /// Names that only this container has for others of the network (`--link`), and theirs.
    pub links: BTreeMap<String, String>,
    /// Ports to publish. A container publishes through one network.
    pub ports: Vec<PortRequest>,
    /// How much the default route should lead through this network rather than another one (`gw-priority`).
    pub priority: i64,
    /// Whether IPv4's default route leads through this network. A container has one.
    pub default_route: bool,
    /// Whether IPv6's does.
    pub default_route6: bool,
}

/// What a container has in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The container's id.
    pub container: String,
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub network_name: String,
    /// The link's name in the container, `eth0`; empty where there is none (`host`, `none`).
    pub interface: String,
    /// The link's name on the host.
    pub host_interface: String,
    /// The address with its network's prefix.
    pub address: Option<Cidr>,
    /// The network's gateway, unless it is internal.
    pub gateway: Option<Ipv4Addr>,
    /// Whether the container's default route leads there.
    #[serde(default)]
    pub default_route: bool,
    /// The IPv6 address with its network's prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<Cidr6>,
    /// The network's gateway of IPv6, unless it is internal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// Whether IPv6's default route leads there.
    #[serde(default)]
    pub default_route6: bool,
    /// Further addresses, of the link alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// The link's MAC address.
    pub mac: Option<Mac>,
    /// The names that it is found by.
    #[serde(default)]
    pub names: Vec<String>,
    /// Names that only this container has for others, and theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Its published ports.
    #[serde(default)]
    pub ports: Vec<Published>,
}
