use std::sync::Arc;

use glassdock_network::{Config, Error, Memory};
use glassdock_trace::Trace;

use crate::support::{World, address, endpoint};

#[test]
fn two_engines_side_by_side_never_meet() {
    let Some(world) = World::new() else { return };
    let root = tempfile::tempdir().expect("another root");
    let one = world.engine();
    let same = Config { root: root.path().to_owned(), ..world.config() };
    let refused = world.engine_with(same.clone(), Arc::new(Memory::default()));
    let text = refused.err().expect("the bridge is the first engine's").to_string();
    assert!(text.contains("glassdock0") && text.contains("--bridge"), "{text}");

    let other = Config { bridge: "glassdock1".to_owned(), ..same };
    let two = world.engine_with(other, Arc::new(Memory::default())).expect("a second engine");
    let (_a, first) = world.attach(&one, &endpoint("a", "bridge"));
    let (_b, second) = world.attach(&two, &endpoint("a", "bridge"));
    assert!(!first.address.expect("one").overlaps(second.address.expect("one")));
    assert_eq!(address(&second).octets()[1], 18, "the next free network");

    world.host.within(|| two.release(&Trace::off(), "a")).expect("a release");
    world.host.within(|| two.close(&Trace::off())).expect("a clean end");
    let left = world.inventory();
    assert!(left.contains(&"glassdock0".to_owned()) && left.contains(&"table glassdock0".to_owned()));
    assert!(!left.iter().any(|name| name.contains("glassdock1")), "{left:?}");
}

#[test]
fn a_bridge_of_the_host_is_left_alone() {
    let Some(world) = World::new() else { return };
    let config = Config { bridge: "up0".to_owned(), ..world.config() };
    let refused = world.engine_with(config, Arc::new(Memory::default()));
    assert!(matches!(refused, Err(Error::ForeignBridge { .. })));
    assert!(world.inventory().contains(&"up0".to_owned()));
}

#[test]
fn what_an_engine_without_root_folder_left_is_swept_by_the_next() {
    let Some(world) = World::new() else { return };
    let gone = tempfile::tempdir().expect("a root");
    let config = Config { root: gone.path().to_owned(), bridge: "gone0".to_owned(), bip: None };
    std::mem::forget(world.engine_with(config, Arc::new(Memory::default())).expect("an engine"));
    gone.close().expect("the root goes");
    let engine = world.engine();
    let left = world.inventory();
    assert!(!left.iter().any(|name| name.contains("gone0")), "{left:?}");
    drop(engine);
}

#[test]
fn the_named_address_is_the_bridges() {
    let Some(world) = World::new() else { return };
    let config = Config { bip: Some("10.200.1.1/24".parse().expect("a CIDR")), ..world.config() };
    let engine = world.engine_with(config, Arc::new(Memory::default())).expect("an engine");
    let (_space, first) = world.attach(&engine, &endpoint("a", "bridge"));
    assert_eq!(first.address.map(|it| it.to_string()).as_deref(), Some("10.200.1.2/24"));
}
