//! # Networks: the API's endpoints for them
//!
//! The networks themselves are the network room's ([`glassdock_network::Networks`]);
//! here they get the API's shape, and containers are connected and disconnected:
//! a running one at once, one that doesn't run with its next start.
//!
//! See the Engine API, `Network`.

pub mod endpoints;

mod connect;

pub mod names;

mod shown;

pub use connect::{connect, disconnect};

use std::collections::BTreeMap;

use glassdock_network::Network;

use crate::engine::Engine;

/// Tells `docker events` what happened to a network.
pub(crate) fn emit(engine: &Engine, action: &str, network: &Network, container: Option<&str>) {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), network.name.clone()),
        ("type".to_owned(), network.driver.name().to_owned()),
    ]);
    attributes.extend(container.map(|id| ("container".to_owned(), id.to_owned())));
    engine.events.emit("network", action, &network.id, attributes);
}
