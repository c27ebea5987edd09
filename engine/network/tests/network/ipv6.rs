//! Networks with IPv6 beside IPv4.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use glassdock_network::{EndpointConfig, NewIpam6, NewNetwork, PortRequest, Protocol};
use glassdock_trace::Trace;

use crate::support::{World, endpoint as in_network};

fn dual(name: &str, subnet: Option<&str>, internal: bool) -> NewNetwork {
    let subnet = subnet.map(|subnet| subnet.parse().expect("the test's own CIDR"));
    NewNetwork {
        name: name.to_owned(),
        internal,
        ipv6: Some(NewIpam6 { subnet, ..NewIpam6::default() }),
        ..NewNetwork::default()
    }
}

/// Whether a connection to there comes to be.
fn reaches(to: SocketAddr) -> bool {
    TcpStream::connect_timeout(&to, Duration::from_secs(5)).is_ok()
}

/// Answers every connection there, until the test's end, with one byte.
fn listen(at: SocketAddr) {
    let listener = TcpListener::bind(at).expect("a free port");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = std::io::Write::write_all(&mut stream, b"6");
        }
    });
}

#[test]
fn containers_have_both_addresses_and_reach_each_other_and_the_host() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let made = world.host.within(|| networks.create(&Trace::off(), dual("six", Some("fd00:61::/64"), false)));
    let network = made.expect("a network");
    let wish = EndpointConfig {
        address6: Some("fd00:61::42".parse().expect("an address")),
        ..in_network("a", "six")
    };
    let (a, first) = world.attach(&networks, &wish);
    let (b, second) = world.attach(&networks, &in_network("b", "six"));
    assert_eq!(first.address6.map(|own| own.to_string()).as_deref(), Some("fd00:61::42/64"));
    assert_eq!(second.address6.map(|own| own.to_string()).as_deref(), Some("fd00:61::2/64"));
    assert_eq!(second.gateway6.map(|own| own.to_string()).as_deref(), Some("fd00:61::1"));
    let own = SocketAddr::new("fd00:61::42".parse().expect("an address"), 80);
    a.within(|| listen(own));
    assert!(b.within(|| reaches(own)), "a neighbour");
    assert!(world.host.within(|| reaches(own)), "the host");
    // A taken address, and one of elsewhere.
    for wrong in ["fd00:61::42", "fd00:61::1", "fd00:62::2"] {
        let wish = EndpointConfig { address6: wrong.parse().ok(), ..in_network("c", "six") };
        let refused = world.host.within(|| networks.attach(&Trace::off(), &a.netns, &wish));
        assert!(refused.is_err(), "{wrong} was taken");
    }
    for container in ["a", "b"] {
        world.host.within(|| networks.release(&Trace::off(), container)).expect("released");
    }
    world.host.within(|| networks.remove(&Trace::off(), &network.id)).expect("removed");
}

#[test]
fn a_published_port_leads_in_by_ipv6_and_networks_are_apart() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    // Which addresses, the engine says: two networks never share any.
    for (name, internal) in [("left", false), ("right", true)] {
        let made = world.host.within(|| networks.create(&Trace::off(), dual(name, None, internal)));
        made.expect("a network");
    }
    let publish =
        |protocol| PortRequest { protocol, container_port: 80, host_address: None, host_ports: None };
    let ports = vec![publish(Protocol::Tcp), publish(Protocol::Udp)];
    let (server, endpoint) =
        world.attach(&networks, &EndpointConfig { ports, ..in_network("server", "left") });
    let (stranger, other) = world.attach(&networks, &in_network("stranger", "right"));
    let own = IpAddr::V6(endpoint.address6.expect("IPv6").address());
    server.within(|| listen(SocketAddr::new(own, 80)));
    let port = |protocol| {
        let is =
            |port: &&glassdock_network::Published| port.protocol == protocol && port.host_address.is_ipv6();
        endpoint.ports.iter().find(is).expect("published on [::]").host_port
    };
    let loopback = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port(Protocol::Tcp));
    assert!(world.host.within(|| reaches(loopback)), "by the loopback");
    let gateway = IpAddr::V6(endpoint.gateway6.expect("a way out"));
    assert!(world.host.within(|| reaches(SocketAddr::new(gateway, port(Protocol::Tcp)))), "by an address");
    assert!(!stranger.within(|| reaches(SocketAddr::new(own, 80))), "another network's container");
    assert_eq!(other.gateway6, None, "an internal network leads nowhere");
    // UDP goes by translation alone.
    let udp = server.within(|| UdpSocket::bind(SocketAddr::new(own, 80))).expect("a socket");
    udp.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let asker = world.host.within(|| UdpSocket::bind("[::]:0")).expect("a socket");
    asker.send_to(b"hi", SocketAddr::new(gateway, port(Protocol::Udp))).expect("sent");
    let mut buffer = [0; 8];
    assert_eq!(udp.recv(&mut buffer).expect("received"), 2);
}

#[test]
fn nothing_of_ipv6_is_left() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let before = world.inventory();
    let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").unwrap_or_default();
    let was = world.host.within(forwarding);
    let made = world.host.within(|| networks.create(&Trace::off(), dual("six", Some("fd00:61::/64"), false)));
    let network = made.expect("a network");
    assert_ne!(world.inventory(), before);
    assert_eq!(world.host.within(forwarding).trim(), "1");
    world.host.within(|| networks.remove(&Trace::off(), &network.id)).expect("removed");
    assert_eq!(world.inventory(), before);
    world.host.within(|| networks.close(&Trace::off())).expect("closed");
    let bridges = world.inventory();
    assert!(!bridges.iter().any(|line| line.contains("ip6")), "{bridges:?}");
    // The world's other bridge has no IPv6, so nobody needs the switch any more.
    assert_eq!(world.host.within(forwarding), was);
}

#[test]
fn a_network_may_have_ipv6_alone() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let alone = NewNetwork { without_ipv4: true, ..dual("alone", Some("fd00:64::/64"), false) };
    let made = world.host.within(|| networks.create(&Trace::off(), alone));
    let network = made.expect("a network");
    assert_eq!((network.ipam.is_some(), network.ipam6.is_some()), (false, true));
    let port = |host_address: Option<&str>, container_port| PortRequest {
        protocol: Protocol::Tcp,
        container_port,
        host_address: host_address.map(|text| text.parse().expect("an address")),
        host_ports: None,
    };
    // Nobody comes to it by IPv4.
    let ports = vec![port(None, 80), port(Some("127.0.0.1"), 81)];
    let (server, endpoint) =
        world.attach(&networks, &EndpointConfig { ports, ..in_network("server", "alone") });
    assert_eq!(endpoint.address, None);
    let published: Vec<_> = endpoint.ports.iter().map(|port| port.host_address.to_string()).collect();
    assert_eq!(published, ["::"]);
    let own = endpoint.address6.expect("an address").address();
    server.within(|| listen(SocketAddr::new(own.into(), 80)));
    let (client, other) = world.attach(&networks, &in_network("client", "alone"));
    assert_ne!(other.mac, endpoint.mac);
    assert!(client.within(|| reaches(SocketAddr::new(own.into(), 80))), "a neighbour");
    let host_port = endpoint.ports[0].host_port;
    let inside = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), host_port);
    assert!(world.host.within(|| reaches(inside)), "the host, at its published port");
    // It is there again after the engine came again, and IPv4 by hand is refused.
    let wish = EndpointConfig { address: "10.1.1.1".parse().ok(), ..in_network("third", "alone") };
    assert!(world.host.within(|| networks.attach(&Trace::off(), &client.netns, &wish)).is_err());
    let neither = NewNetwork { without_ipv4: true, name: "neither".to_owned(), ..NewNetwork::default() };
    assert!(world.host.within(|| networks.create(&Trace::off(), neither)).is_err());
    for container in ["server", "client"] {
        world.host.within(|| networks.release(&Trace::off(), container)).expect("released");
    }
    world.host.within(|| networks.remove(&Trace::off(), &network.id)).expect("removed");
}
