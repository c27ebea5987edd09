use glassdock_network::{EndpointConfig, PortRequest, Protocol};
use glassdock_trace::Trace;

use crate::support::{Space, World, endpoint};

fn publishing(container: &str) -> EndpointConfig {
    let port =
        PortRequest { protocol: Protocol::Tcp, container_port: 80, host_address: None, host_ports: None };
    EndpointConfig { ports: vec![port], ..endpoint(container, "bridge") }
}

#[test]
fn after_two_hundred_containers_nothing_is_left() {
    let Some(world) = World::new() else { return };
    let pristine = world.inventory();
    let forwarding = || world.host.within(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward"));
    let before = forwarding().expect("a switch");
    let networks = world.engine();
    let idle = world.inventory();
    let off = Trace::off();
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count();
    let space = Space::new();
    let mut open = 0;
    for round in 0..200 {
        let container = format!("c{round}");
        world.host.within(|| {
            let endpoint = networks.attach(&off, &space.netns, &publishing(&container)).expect("an endpoint");
            assert_eq!(endpoint.address.map(|it| it.to_string()).as_deref(), Some("172.17.0.2/16"));
            networks.detach(&off, &container, "bridge").expect("a detach");
        });
        if round == 20 {
            open = descriptors();
        }
    }
    assert_eq!(world.inventory(), idle);
    // Other tests of this process open and close files at the same time; a leak would be hundreds.
    assert!(descriptors() < open + 100, "descriptors: {open}, then {}", descriptors());
    let rules = world.host.within(|| {
        std::process::Command::new("nft").args(["list", "chain", "ip", "glassdock0", "published"]).output()
    });
    if let Ok(output) = rules {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("chain published") && !text.contains("dnat"), "{text}");
    }
    world.host.within(|| networks.close(&off)).expect("a clean end");
    assert_eq!(world.inventory(), pristine);
    // The world's own bridge `up0` stands for somebody who passes packets on too.
    let after = forwarding().expect("a switch");
    assert!(before.trim() == "1" || after.trim() == "1");
}

#[test]
fn a_firewall_that_drops_is_opened_for_the_bridge_and_closed_again() {
    let Some(world) = World::new() else { return };
    let nft =
        |arguments: &[&str]| world.host.within(|| std::process::Command::new("nft").args(arguments).output());
    let Ok(_) = nft(&["add", "table", "ip", "wall"]) else { return };
    let chain = "{ type filter hook forward priority 0; policy drop; }";
    nft(&["add", "chain", "ip", "wall", "forward", chain]).expect("a firewall");
    let wall =
        || String::from_utf8(nft(&["list", "table", "ip", "wall"]).expect("nft").stdout).expect("text");
    let before = wall();
    assert!(before.contains("policy drop"), "{before}");

    let networks = world.engine();
    assert!(wall().contains("iifname \"glassdock0\" accept"), "{}", wall());
    let (one, _) = world.attach(&networks, &endpoint("one", "bridge"));
    crate::support::serve_tcp(&world.outside, 7);
    let answer = crate::support::call_tcp(&one, (crate::support::OUTSIDE, 7), crate::support::PATIENCE);
    assert!(answer.is_some(), "past the firewall");
    world.host.within(|| networks.release(&Trace::off(), "one")).expect("a release");
    world.host.within(|| networks.close(&Trace::off())).expect("a clean end");
    assert_eq!(wall(), before);
}
