//! What the IPv6 table of a network holds: the same as [`crate::nat`]'s, but for the loopback. Its
//! one address never leaves this machine, so a process here that asks `[::1]` for a published
//! port is served by the proxy.
//!
//! See nft(8); `nft list table ip6 gd-…`.

use std::net::Ipv6Addr;

use glassdock_kernel::nft::{Chain, Hook, Match, Rule, Table, Verdict};

use crate::model::{Endpoint, Ipam6, Network};
use crate::nat::{self, PUBLISHED};

/// The table of a network, with the ports that its containers publish.
pub(crate) fn table<'a>(
    network: &Network,
    ipam: &Ipam6,
    bridge: &str,
    owner: &str,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> Table {
    let into = || Match::Out(bridge.to_owned());
    let from = || Match::In(bridge.to_owned());
    let subnet = ipam.subnet.network();
    let of_subnet = || Match::From(subnet.address().into(), subnet.prefix());

    let mut forward = vec![
        Rule::new([into(), Match::Answered], Verdict::Accept),
        Rule::new([into(), Match::Redirected], Verdict::Accept),
        Rule::new([from(), into()], Verdict::Accept),
        Rule::new([into()], Verdict::Drop),
    ];
    let mut postrouting = vec![Rule::new([into(), of_subnet(), Match::Redirected], Verdict::Masquerade)];
    if network.internal {
        forward.push(Rule::new([from()], Verdict::Drop));
    } else {
        postrouting.push(Rule::new([of_subnet(), Match::NotOut(bridge.to_owned())], Verdict::Masquerade));
    }
    let to_published = || Rule::new([Match::ToThisMachine], Verdict::Jump(PUBLISHED));
    let loopback = Rule::new([Match::To(Ipv6Addr::LOCALHOST.into(), 128)], Verdict::Accept);
    let chains = vec![
        Chain { name: PUBLISHED, hook: None, rules: endpoints.flat_map(rules).collect() },
        Chain { name: "prerouting", hook: Some(Hook::Prerouting), rules: vec![to_published()] },
        Chain { name: "output", hook: Some(Hook::Output), rules: vec![loopback, to_published()] },
        Chain { name: "forward", hook: Some(Hook::Forward), rules: forward },
        Chain { name: "postrouting", hook: Some(Hook::Postrouting), rules: postrouting },
    ];
    Table { name: bridge.to_owned(), comment: owner.to_owned(), chains }
}

/// The rules of a container's ports that are published at an IPv6 address; none if the container
/// has no such address.
pub(crate) fn rules(endpoint: &Endpoint) -> Vec<Rule> {
    let Some(address) = endpoint.address6 else { return Vec::new() };
    let of_host = endpoint.ports.iter().filter(|port| port.host_address.is_ipv6());
    of_host.map(|port| nat::rule(port, address.address().into(), &endpoint.id)).collect()
}
