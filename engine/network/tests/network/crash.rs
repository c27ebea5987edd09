//! A daemon that is killed at any moment, and the next one.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use glassdock_network::{Config, EndpointConfig, Networks, NewNetwork, PortRequest, Protocol};
use glassdock_trace::Trace;

use crate::support::{Files, HOST, PATIENCE, Space, World, call_tcp, endpoint, serve_tcp};

const ROOT: &str = "GLASSDOCK_TEST_CRASH_ROOT";

/// Not a test of its own: what the process does that is killed.
#[test]
#[ignore = "run by the test below"]
fn victim() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let root = std::path::PathBuf::from(root);
    let config = Config { root: root.clone(), bridge: "glassdock0".to_owned(), bip: None };
    let trace = Trace::off();
    let networks = Networks::open(&trace, config, Arc::new(Files(root))).expect("networks");
    networks.reconcile(&trace, &HashSet::new()).expect("order");
    let space = Space::new();
    for round in 0.. {
        let (container, network) = (format!("c{round}"), format!("n{round}"));
        let port =
            PortRequest { protocol: Protocol::Tcp, container_port: 80, host_address: None, host_ports: None };
        networks.create(&trace, NewNetwork { name: network.clone(), ..NewNetwork::default() }).expect("made");
        let config = EndpointConfig { ports: vec![port], ..endpoint(&container, &network) };
        networks.attach(&trace, &space.netns, &config).expect("attached");
        networks.detach(&trace, &container, &network).expect("detached");
        networks.remove(&trace, &network).expect("removed");
    }
}

#[test]
fn a_daemon_killed_at_any_moment_leaves_nothing_that_the_next_does_not_clean() {
    let Some(world) = World::new() else { return };
    let pristine = world.inventory();
    for moment in [15, 40, 65, 90, 115, 140, 165] {
        let mut victim = world.host.within(|| {
            Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "crash::victim", "--ignored", "--nocapture"])
                .env(ROOT, world.root())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("this test again")
        });
        std::thread::sleep(Duration::from_millis(moment));
        assert!(victim.try_wait().expect("a child").is_none(), "the victim ended by itself");
        victim.kill().expect("a child");
        victim.wait().expect("a child");

        let storage = Arc::new(Files(world.root().to_owned()));
        let networks = world.engine_with(world.config(), storage).expect("the next daemon opens");
        world.host.within(|| networks.reconcile(&Trace::off(), &HashSet::new())).expect("order");
        for network in networks.list().into_iter().filter(|network| !network.builtin) {
            world.host.within(|| networks.remove(&Trace::off(), &network.name)).expect("it can be removed");
        }
        world.host.within(|| networks.close(&Trace::off())).expect("a clean end");
        assert_eq!(world.inventory(), pristine, "after {moment} ms");
    }
}

#[test]
fn a_running_container_keeps_its_network_over_the_daemons_death() {
    let Some(world) = World::new() else { return };
    let storage = Arc::new(Files(world.root().to_owned()));
    let networks = world.engine_with(world.config(), Arc::clone(&storage) as _).expect("networks");
    let port = PortRequest {
        protocol: Protocol::Tcp,
        container_port: 80,
        host_address: None,
        host_ports: Some(8080..=8080),
    };
    let config = EndpointConfig { ports: vec![port], ..endpoint("web", "bridge") };
    let (web, before) = world.attach(&networks, &config);
    let (dead, _) = world.attach(&networks, &endpoint("dead", "bridge"));
    serve_tcp(&web, 80);
    drop(dead);
    drop(networks);
    assert!(call_tcp(&world.outside, (HOST, 8080), PATIENCE).is_some(), "also while no daemon runs");

    let networks = world.engine_with(world.config(), storage).expect("the next daemon");
    let running = HashSet::from(["web".to_owned()]);
    world.host.within(|| networks.reconcile(&Trace::off(), &running)).expect("order");
    assert_eq!(networks.endpoints_of("web"), [before]);
    assert!(networks.endpoints_of("dead").is_empty());
    assert!(call_tcp(&world.outside, (HOST, 8080), PATIENCE).is_some());
    let error = world.host.within(|| {
        let late = Space::new();
        networks.attach(
            &Trace::off(),
            &late.netns,
            &EndpointConfig { container: "late".to_owned(), ..config },
        )
    });
    assert!(error.expect_err("the port is held again").to_string().ends_with("port is already allocated"));
}
