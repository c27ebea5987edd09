use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use glassdock_network::{EndpointConfig, PortRequest, Protocol};
use glassdock_trace::Trace;

use crate::support::{
    HOST, OUTSIDE, PATIENCE, SILENCE, Space, World, call_tcp, call_udp, endpoint, serve_tcp, serve_udp,
};

fn port(protocol: Protocol, host: u16, container: u16) -> PortRequest {
    PortRequest {
        protocol,
        container_port: container,
        host_address: None,
        host_ports: (host != 0).then_some(host..=host),
    }
}

fn publishing(container: &str, ports: Vec<PortRequest>) -> EndpointConfig {
    EndpointConfig { ports, ..endpoint(container, "bridge") }
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_gone_afterwards() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let ports = vec![port(Protocol::Tcp, 8080, 80), port(Protocol::Udp, 8080, 80)];
    let (web, endpoint_of_web) = world.attach(&networks, &publishing("web", ports));
    let (other, _) = world.attach(&networks, &endpoint("other", "bridge"));
    assert_eq!(endpoint_of_web.ports.len(), 4, "each at both families: {:?}", endpoint_of_web.ports);
    serve_tcp(&web, 80);
    serve_udp(&web, 80);

    let outside = OUTSIDE.to_string();
    let loopback = Ipv4Addr::LOCALHOST;
    assert_eq!(call_tcp(&world.outside, (HOST, 8080), PATIENCE), Some(outside.clone()));
    assert_eq!(call_udp(&world.outside, (HOST, 8080), PATIENCE), Some(outside));
    assert!(call_tcp(&world.host, (loopback, 8080), PATIENCE).is_some(), "from the host's loopback");
    assert!(call_udp(&world.host, (loopback, 8080), PATIENCE).is_some(), "from the host's loopback");
    assert!(call_tcp(&world.host, (HOST, 8080), PATIENCE).is_some(), "from the host by its address");
    assert!(call_tcp(&world.host, (Ipv6Addr::LOCALHOST, 8080), PATIENCE).is_some(), "over IPv6");
    assert!(call_tcp(&other, (HOST, 8080), PATIENCE).is_some(), "from a neighbour, past the host");
    assert!(call_tcp(&web, (HOST, 8080), PATIENCE).is_some(), "from itself, past the host");

    world.host.within(|| networks.detach(&Trace::off(), "web", "bridge")).expect("a detach");
    assert_eq!(call_tcp(&world.outside, (HOST, 8080), SILENCE), None);
    assert_eq!(call_tcp(&world.host, (loopback, 8080), SILENCE), None);
    let (_again, _) = world.attach(&networks, &publishing("again", vec![port(Protocol::Tcp, 8080, 80)]));
}

#[test]
fn what_is_not_published_is_not_reached_and_loopback_stays_private() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let (web, at) = world.attach(&networks, &publishing("web", vec![port(Protocol::Tcp, 8080, 80)]));
    serve_tcp(&web, 80);
    serve_tcp(&web, 81);
    let container = crate::support::address(&at);
    // The outside knows a way to the container's network, as a neighbour on the same switch could.
    world.outside.within(|| {
        let mut links = glassdock_kernel::link::Links::here().expect("netlink");
        links.add_default_route(&Trace::off(), IpAddr::V4(HOST), "eth0").expect("a route");
    });
    assert_eq!(call_tcp(&world.outside, (container, 81), SILENCE), None);
    assert_eq!(call_tcp(&world.outside, (container, 80), SILENCE), None, "only by the published port");
    let bridge = networks.find("bridge").expect("it is there").bridge.expect("it has one");
    let localnet = world.host.within(|| {
        std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet")).expect("a switch")
    });
    assert_eq!(localnet.trim(), "1", "or the rule against it guards nothing");
}

#[test]
fn a_port_goes_to_one_container_and_the_loser_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let (_web, _) = world.attach(&networks, &publishing("web", vec![port(Protocol::Tcp, 8080, 80)]));
    let before = world.inventory();
    let late = Space::new();
    let config = publishing("late", vec![port(Protocol::Tcp, 0, 1), port(Protocol::Tcp, 8080, 80)]);
    let error =
        world.host.within(|| networks.attach(&Trace::off(), &late.netns, &config)).expect_err("taken");
    let text = error.to_string();
    assert!(text.starts_with("driver failed programming external connectivity on endpoint late ("), "{text}");
    assert!(text.ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{text}");
    assert_eq!(world.inventory(), before);
    assert!(networks.endpoints_of("late").is_empty());

    let theirs = world.host.within(|| std::net::TcpListener::bind("0.0.0.0:9090").expect("a free port"));
    let config = publishing("late", vec![port(Protocol::Tcp, 9090, 80)]);
    let error =
        world.host.within(|| networks.attach(&Trace::off(), &late.netns, &config)).expect_err("taken");
    assert!(error.to_string().contains("failed to bind host port for 0.0.0.0:9090/tcp"), "{error}");
    drop(theirs);
    world.host.within(|| networks.attach(&Trace::off(), &late.netns, &config)).expect("it is free now");
}
