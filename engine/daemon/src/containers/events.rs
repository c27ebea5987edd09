//! What `docker events` tells of a container's start and end beside the container's own
//! events: the networks that it joins and leaves, the volumes that it has and has no more.

use std::collections::BTreeMap;

use glassdock_network::Endpoint;

use super::container::Container;
use crate::engine::Engine;

/// A container is in its networks and has its volumes.
pub(crate) fn joined(engine: &Engine, container: &Container) {
    networks(engine, container, "connect", &engine.networks.endpoints_of(&container.id));
    volumes(engine, container, "mount");
}

/// A container is in no network and has no volume any more; `endpoints` are those that it had.
pub(crate) fn parted(engine: &Engine, container: &Container, endpoints: &[Endpoint]) {
    networks(engine, container, "disconnect", endpoints);
    volumes(engine, container, "unmount");
}

fn networks(engine: &Engine, container: &Container, action: &str, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        if let Ok(network) = engine.networks.find(&endpoint.network) {
            crate::networks::emit(engine, action, &network, Some(&container.id));
        }
    }
}

/// A container's volumes are mounted for it, or for someone who copies, or are no more.
pub(crate) fn volumes(engine: &Engine, container: &Container, action: &str) {
    let points = container.look(|record| record.mounts.clone());
    for point in points.into_iter().filter(|point| point.kind == "volume") {
        let mut attributes = BTreeMap::from([
            ("container".to_owned(), container.id.clone()),
            ("driver".to_owned(), point.driver),
        ]);
        if action == "mount" {
            attributes.extend([
                ("destination".to_owned(), point.destination),
                ("propagation".to_owned(), point.propagation),
                ("read/write".to_owned(), point.rw.to_string()),
            ]);
        }
        engine.events.emit("volume", action, &point.name, attributes);
    }
}
