//! An engine that may not change networks.

use std::process::{Command, Stdio};
use std::sync::Arc;

use glassdock_network::{Config, Error, Memory, Networks};
use glassdock_trace::Trace;

use crate::support::{Space, World, endpoint};

const ROOT: &str = "GLASSDOCK_TEST_POOR_ROOT";

/// Not a test of its own: what runs without CAP_NET_ADMIN.
#[test]
#[ignore = "run by the test below"]
fn without_privilege() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let config = Config { root: root.into(), bridge: "glassdock0".to_owned(), bip: None };
    let trace = Trace::off();
    let networks =
        Networks::open(&trace, config, Arc::new(Memory::default())).expect("it opens all the same");
    let warnings = networks.warnings().join("\n");
    assert!(warnings.contains("network bridge is not available"), "{warnings}");
    assert!(warnings.contains("--network none or host") && warnings.contains("CAP_NET_ADMIN"), "{warnings}");
    let space = Space::new();
    let refused = networks.attach(&trace, &space.netns, &endpoint("a", "bridge")).expect_err("no bridge");
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    networks.attach(&trace, &space.netns, &endpoint("a", "host")).expect("the host's network is there");
}

#[test]
fn an_engine_that_may_not_make_bridges_says_so_and_goes_on() {
    let Some(world) = World::new() else { return };
    let run = || {
        Command::new("setpriv")
            .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "poor::without_privilege", "--ignored"])
            .env(ROOT, world.root())
            .stdin(Stdio::null())
            .output()
    };
    // Without setpriv (util-linux) there is no way to try.
    let Ok(output) = world.host.within(run) else { return };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
