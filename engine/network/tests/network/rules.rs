//! What the trace says of rules is what nft(8) reads back from the kernel.

use std::process::Command;
use std::sync::Arc;

use glassdock_network::{EndpointConfig, Memory, Networks, NewNetwork, PortRequest, Protocol};
use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Body, OpId, Sink, Trace};

use crate::support::{Kept, Space, World, endpoint};

/// nft's lines of a table, each rule without what only indents it.
fn listed(world: &World, table: &str) -> Option<Vec<String>> {
    let list = || Command::new("nft").args(["list", "table", "ip", table]).output();
    let output = world.host.within(list).ok()?;
    let text = String::from_utf8(output.stdout).expect("nft writes text");
    Some(text.lines().map(|line| line.trim().to_owned()).collect())
}

#[test]
fn rules_are_told_as_nft_lists_them() {
    let Some(world) = World::new() else { return };
    let sink = Arc::new(Kept::default());
    let kept = Arc::clone(&sink) as Arc<dyn Sink>;
    let trace = Trace::root(OpId::new(), Actor::Daemon, Origin::now(), kept, Hold::Never);
    let open = || Networks::open(&trace, world.config(), Arc::new(Memory::default()));
    let networks = world.host.within(open).expect("networks");
    let vault = NewNetwork { name: "vault".to_owned(), internal: true, ..NewNetwork::default() };
    let vault = world.host.within(|| networks.create(&trace, vault)).expect("a network");
    let request = |protocol, address: Option<&str>| PortRequest {
        protocol,
        container_port: 80,
        host_address: address.map(|text| text.parse().expect("an address")),
        host_ports: Some(8080..=8080),
    };
    let ports = vec![request(Protocol::Tcp, Some("127.0.0.1")), request(Protocol::Udp, None)];
    let space = Space::new();
    let config = EndpointConfig { ports, ..endpoint("web", "bridge") };
    world.host.within(|| networks.attach(&trace, &space.netns, &config)).expect("an endpoint");

    let Some(mut there) = listed(&world, "glassdock0") else { return };
    there.extend(listed(&world, &vault.bridge.expect("it has one")).expect("nft is there"));
    let mut told = Vec::new();
    for event in sink.events() {
        if let Body::NetNat { rule, .. } = &event.body {
            told.push(rule.clone());
        }
        let evidence = event.evidence.iter().flat_map(|evidence| &evidence.lines);
        told.extend(evidence.filter(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()));
    }
    told.retain(|rule| !rule.is_empty());
    assert!(told.len() > 15, "{told:?}");
    for rule in &told {
        assert!(there.contains(rule), "{rule}\nis not in\n{}", there.join("\n"));
    }
    let verdicts = ["accept", "drop", "jump", "masquerade", "dnat"];
    for line in there.iter().filter(|line| !line.starts_with("type ")) {
        let is_rule = line.split(' ').any(|word| verdicts.contains(&word));
        assert!(!is_rule || told.contains(line), "the trace does not tell of {line}");
    }
}
