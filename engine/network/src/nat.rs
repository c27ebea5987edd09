//! What a network's nftables table holds.
//!
//! ```text
//!   chain early        nobody but this machine itself reaches 127.0.0.0/8 through the bridge
//!   chain prerouting   what is for an address of this machine → published
//!   chain output       the same for what this machine itself sends
//!   chain published    a rule per published port: dnat to the container
//!   chain forward      answers and published ports in; containers among each other;
//!                      nothing else in; nothing out of an internal network
//!   chain postrouting  masquerade what leaves; and what would otherwise be answered past us
//! ```
//!
//! "Nothing else in" is also what keeps networks apart: what comes from one bridge
//! for another is "else".
//!
//! See nft(8), "ADDRESS FAMILIES" and "NAT STATEMENTS"; `nft list table ip glassdock0`.

use std::net::{IpAddr, Ipv4Addr};

use glassdock_kernel::nft::{Chain, Hook, Match, Rule, Table, Transport, Verdict};

use crate::model::{Endpoint, Ipam, Network, Protocol, Published};

/// The chain of published ports.
pub(crate) const PUBLISHED: &str = "published";

/// The table of a network, with the ports that its containers publish.
pub(crate) fn table<'a>(
    network: &Network,
    ipam: &Ipam,
    bridge: &str,
    owner: &str,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> Table {
    let into = || Match::Out(bridge.to_owned());
    let from = || Match::In(bridge.to_owned());
    let subnet = ipam.subnet.network();
    let of_subnet = || Match::From(subnet.address().into(), subnet.prefix());
    let loopback = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0));

    let mut forward = vec![
        Rule::new([into(), Match::Answered], Verdict::Accept),
        Rule::new([into(), Match::Redirected], Verdict::Accept),
        Rule::new([from(), into()], Verdict::Accept),
        Rule::new([into()], Verdict::Drop),
    ];
    let mut postrouting = vec![
        // A process here that asked 127.0.0.1 must be answered by way of the gateway.
        Rule::new([into(), Match::From(loopback, 8)], Verdict::Masquerade),
        // A container that reaches its neighbour by a published port must not be answered by it directly.
        Rule::new([into(), of_subnet(), Match::Redirected], Verdict::Masquerade),
    ];
    if network.internal {
        forward.push(Rule::new([from()], Verdict::Drop));
    } else {
        postrouting.push(Rule::new([of_subnet(), Match::NotOut(bridge.to_owned())], Verdict::Masquerade));
    }
    let to_published = || vec![Rule::new([Match::ToThisMachine], Verdict::Jump(PUBLISHED))];
    let published = endpoints.flat_map(rules).collect();
    let chains = vec![
        Chain { name: PUBLISHED, hook: None, rules: published },
        Chain {
            name: "early",
            hook: Some(Hook::Early),
            rules: vec![Rule::new([from(), Match::To(loopback, 8)], Verdict::Drop)],
        },
        Chain { name: "prerouting", hook: Some(Hook::Prerouting), rules: to_published() },
        Chain { name: "output", hook: Some(Hook::Output), rules: to_published() },
        Chain { name: "forward", hook: Some(Hook::Forward), rules: forward },
        Chain { name: "postrouting", hook: Some(Hook::Postrouting), rules: postrouting },
    ];
    Table { name: bridge.to_owned(), comment: owner.to_owned(), chains }
}

/// The rules of a container's published ports; those of IPv6 are in `nat6`, or the proxy's.
pub(crate) fn rules(endpoint: &Endpoint) -> Vec<Rule> {
    let Some(address) = endpoint.address else { return Vec::new() };
    let of_host = endpoint.ports.iter().filter(|port| port.host_address.is_ipv4());
    of_host.map(|port| rule(port, address.address().into(), &endpoint.id)).collect()
}

/// The rule of one port, to a container's address of the same version as the host's.
pub(crate) fn rule(port: &Published, container: IpAddr, endpoint: &str) -> Rule {
    let host = port.host_address;
    let transport = match port.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    };
    let mut matches = vec![Match::Port(transport, port.host_port)];
    if !host.is_unspecified() {
        matches.insert(0, Match::To(host, if host.is_ipv4() { 32 } else { 128 }));
    }
    let short = endpoint.get(..12).unwrap_or(endpoint);
    let comment = format!("{short} {host}:{}/{}", port.host_port, port.protocol);
    Rule::new(matches, Verdict::RedirectTo(container, port.container_port)).comment(comment)
}

/// What opens other programs' closed forward chains (a firewall's, Docker's) for a
/// bridge. What may pass is still decided by our own table.
pub(crate) fn through_others(bridge: &str) -> [Rule; 2] {
    let comment = |direction| format!("glassdock {direction} {bridge}");
    [
        Rule::new([Match::In(bridge.to_owned())], Verdict::Accept).comment(comment("from")),
        Rule::new([Match::Out(bridge.to_owned())], Verdict::Accept).comment(comment("to")),
    ]
}
