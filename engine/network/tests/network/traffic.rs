use std::sync::Arc;

use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Kind, OpId, Phase, Sink, Trace};

use crate::support::{
    HOST, Kept, OUTSIDE, PATIENCE, Space, World, address, call_tcp, call_udp, endpoint, serve_tcp, serve_udp,
};

#[test]
fn containers_reach_each_other_the_host_and_the_world() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    assert_eq!(networks.warnings(), [""; 0]);
    let (one, first) = world.attach(&networks, &endpoint("one", "bridge"));
    let (two, second) = world.attach(&networks, &endpoint("two", "bridge"));
    assert_eq!(first.address.map(|it| it.to_string()).as_deref(), Some("172.17.0.2/16"));
    assert_eq!(first.mac.map(|it| it.to_string()).as_deref(), Some("02:42:ac:11:00:02"));
    assert_eq!((first.interface.as_str(), address(&second).octets()[3]), ("eth0", 3));

    serve_tcp(&one, 7);
    serve_udp(&one, 7);
    let to = (address(&first), 7);
    assert_eq!(call_tcp(&two, to, PATIENCE).as_deref(), Some("172.17.0.3"));
    assert_eq!(call_udp(&two, to, PATIENCE).as_deref(), Some("172.17.0.3"));
    assert_eq!(call_tcp(&world.host, to, PATIENCE).as_deref(), Some("172.17.0.1"));
    assert_eq!(call_tcp(&one, ([127, 0, 0, 1], 7), PATIENCE).as_deref(), Some("127.0.0.1"), "lo is up");

    serve_tcp(&world.outside, 7);
    serve_udp(&world.outside, 7);
    let seen_as = Some(HOST.to_string());
    assert_eq!(call_tcp(&one, (OUTSIDE, 7), PATIENCE), seen_as, "outside sees the host");
    assert_eq!(call_udp(&two, (OUTSIDE, 7), PATIENCE), seen_as, "outside sees the host");
}

#[test]
fn none_has_a_loopback_and_host_has_nothing_of_its_own() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let before = world.inventory();
    let (alone, none) = world.attach(&networks, &endpoint("alone", "none"));
    let (_, host) = world.attach(&networks, &endpoint("naked", "host"));
    assert_eq!((none.address, host.address), (None, None));
    assert_eq!(world.inventory(), before);
    serve_tcp(&alone, 7);
    assert!(call_tcp(&alone, ([127, 0, 0, 1], 7), PATIENCE).is_some());
}

#[test]
fn every_change_that_the_kernel_saw_is_in_the_trace() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let sink = Arc::new(Kept::default());
    let trace = Trace::root(
        OpId::new(),
        Actor::Daemon,
        Origin::now(),
        Arc::clone(&sink) as Arc<dyn Sink>,
        Hold::Never,
    );
    let space = Space::new();
    world
        .host
        .within(|| networks.attach(&trace, &space.netns, &endpoint("one", "bridge")))
        .expect("an endpoint");
    let events = sink.events();
    let ended: Vec<_> = events
        .iter()
        .filter(|event| event.phase == Phase::End)
        .map(|event| {
            assert!(event.result.as_ref().is_some_and(|result| result.ok), "{event:?}");
            event.body.kind()
        })
        .collect();
    // The pair; the thread that goes inside; lo and eth0 up; the address; the route. No rule: the network has them.
    let inside = [Kind::NamespaceJoin, Kind::NetLink, Kind::NetLink, Kind::NetAddr, Kind::NetRoute];
    assert_eq!(ended[0], Kind::NetLink);
    assert_eq!(ended[1..], inside);
}
