use std::time::Instant;

use glassdock_network::{Error, NewNetwork};
use glassdock_trace::Trace;

use crate::support::{OUTSIDE, PATIENCE, SILENCE, World, address, call_tcp, endpoint, serve_tcp};

fn named(name: &str) -> NewNetwork {
    NewNetwork { name: name.to_owned(), ..NewNetwork::default() }
}

#[test]
fn networks_are_apart_and_an_internal_one_has_no_way_out() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let create = |new| world.host.within(|| networks.create(&Trace::off(), new)).expect("a network");
    create(named("red"));
    create(named("blue"));
    create(NewNetwork { internal: true, ..named("vault") });
    let (red, at_red) = world.attach(&networks, &endpoint("r", "red"));
    let (blue, _) = world.attach(&networks, &endpoint("b", "blue"));
    let (vault, at_vault) = world.attach(&networks, &endpoint("v", "vault"));
    let (safe, _) = world.attach(&networks, &endpoint("s", "vault"));
    serve_tcp(&red, 7);
    serve_tcp(&vault, 7);
    serve_tcp(&world.outside, 7);

    assert_eq!(call_tcp(&blue, (address(&at_red), 7), SILENCE), None, "from another network");
    assert_eq!(call_tcp(&blue, (address(&at_vault), 7), SILENCE), None, "into an internal network");
    assert!(call_tcp(&blue, (OUTSIDE, 7), PATIENCE).is_some());
    assert_eq!(call_tcp(&safe, (OUTSIDE, 7), SILENCE), None, "out of an internal network");
    assert!(call_tcp(&safe, (address(&at_vault), 7), PATIENCE).is_some(), "inside of it");

    // Connected to both, blue's container reaches red by its second link.
    let second = world
        .host
        .within(|| {
            networks.attach(
                &Trace::off(),
                &blue.netns,
                &glassdock_network::EndpointConfig {
                    default_route: false,
                    default_route6: false,
                    ..endpoint("b", "red")
                },
            )
        })
        .expect("a second link");
    assert_eq!(second.interface, "eth1");
    assert!(call_tcp(&blue, (address(&at_red), 7), PATIENCE).is_some());
    world.host.within(|| networks.detach(&Trace::off(), "b", "red")).expect("a detach");
    assert_eq!(call_tcp(&blue, (address(&at_red), 7), SILENCE), None, "disconnected again");
}

#[test]
fn networks_are_made_found_and_removed_as_docker_does() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let before = world.inventory();
    let off = Trace::off();
    let create = |new| world.host.within(|| networks.create(&Trace::off(), new));
    let subnet = |text: &str| Some(text.parse().expect("the test's own subnet"));
    let net = create(NewNetwork { subnet: subnet("10.77.0.0/24"), ..named("net") }).expect("a network");
    assert_eq!(net.ipam.as_ref().map(|ipam| ipam.gateway.to_string()).as_deref(), Some("10.77.0.1"));

    assert!(matches!(create(named("net")), Err(Error::NameTaken(_))));
    assert!(matches!(create(named("host")), Err(Error::BuiltinName(_))));
    for bad in ["", " ", "a\nb", "\u{1b}[2J"] {
        assert!(matches!(create(named(bad)), Err(Error::BadName(_))), "{bad:?} was taken");
    }
    for odd in ["_under", "-a", "a/b", "ü", &"x".repeat(129)] {
        let odd = create(named(odd)).expect("Docker's clients make such names");
        assert_eq!(networks.find(&odd.name).expect("by its name").id, odd.id);
        world.host.within(|| networks.remove(&off, &odd.name)).expect("nobody is in it");
    }
    let option = ("com.docker.network.bridge.name".to_owned(), String::new());
    let unnamed =
        create(NewNetwork { options: [option].into(), ..named("unnamed") }).expect("a name of ours");
    assert_eq!(unnamed.bridge, Some(format!("gd-{}", &unnamed.id[..12])));
    world.host.within(|| networks.remove(&off, "unnamed")).expect("nobody is in it");
    let overlap = create(NewNetwork { subnet: subnet("10.77.0.0/16"), ..named("wide") });
    assert!(matches!(overlap, Err(Error::PoolOverlaps(_))));
    assert_eq!(networks.find(&net.id[..10]).expect("by its prefix"), net);
    assert!(matches!(networks.find("nope"), Err(Error::NotFound(_))));

    let (space, _) = world.attach(&networks, &endpoint("one", "net"));
    let remove = |name: &str| world.host.within(|| networks.remove(&off, name));
    assert!(matches!(remove("net"), Err(Error::InUse { .. })));
    assert!(matches!(remove("bridge"), Err(Error::Builtin(_))));
    world.host.within(|| networks.release(&off, "one")).expect("a release");
    remove("net").expect("nobody is in it");
    drop(space);
    // The namespace's links go when the kernel gets round to it.
    let patience = Instant::now() + PATIENCE;
    while world.inventory() != before && Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(world.inventory(), before);
}

#[test]
fn two_of_one_name_in_a_race_make_one_network() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let made: usize = world.host.within(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| networks.create(&Trace::off(), named("same")).is_ok()))
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().expect("no panic"))).sum()
        })
    });
    assert_eq!(made, 1);
    assert_eq!(networks.list().iter().filter(|network| network.name == "same").count(), 1);
}
