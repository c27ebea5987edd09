//! Connecting a container that is there already to a network, and taking it off.

use std::sync::Arc;

use glassdock_kernel::link::Netns;
use glassdock_network::{Driver, EndpointConfig, Network};
use glassdock_trace::Trace;

use crate::containers::Container;
use crate::containers::model::EndpointSettings;
use crate::containers::networks::{check_endpoint, endpoint_configs, failed};
use crate::containers::record::{Record, Status};
use crate::containers::{files, links};
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::networks::names;

/// Connects a container: at once if it runs, with its next start otherwise.
///
/// # Errors
///
/// In Docker's words: connected already, of a kind that is in no other network, an
/// address that is taken or makes no sense, and what the kernel refuses.
pub async fn connect(
    engine: &Arc<Engine>,
    trace: &Trace,
    container: &Arc<Container>,
    network: &Network,
    settings: EndpointSettings,
) -> Result<(), Error> {
    let _life = container.life.lock().await;
    let record = container.record();
    allow(&record, network, &settings)?;
    let mut wanted = record.clone();
    wanted.networks.insert(network.name.clone(), settings.clone());
    let (trace, held, name) = (trace.clone(), Arc::clone(container), network.name.clone());
    if record.state.status.has_process() {
        engine
            .blocking(move |engine| -> Result<(), Error> {
                let netns = Netns::of(record.state.pid).map_err(|error| Error::of(Kind::Internal, &error))?;
                let mut configs = endpoint_configs(&wanted)?;
                engine.networks.choose_routes(&mut configs);
                let Some(config) = configs.iter().find(|config| config.network == name) else {
                    return Ok(());
                };
                // What it publishes, and its way out, may be another network's yet.
                let plain = EndpointConfig {
                    ports: Vec::new(),
                    default_route: false,
                    default_route6: false,
                    ..config.clone()
                };
                engine.networks.attach(&trace, &netns, &plain).map_err(failed)?;
                if let Err(error) = engine.networks.settle_routes(&trace, &netns, &record.id, &configs) {
                    engine.networks.detach(&trace, &record.id, &name).map_err(failed)?;
                    return Err(failed(error));
                }
                if !names::wanted(&record) && names::wanted(&wanted) {
                    // Both files are bound, so they are written in place.
                    names::serve(engine, &trace, &wanted, &netns)?;
                    files::write_resolv_conf(&held, &wanted)?;
                }
                write_hosts(engine, &held, wanted)
            })
            .await?;
    }
    container.change(|record| record.networks.insert(network.name.clone(), settings));
    engine.containers.save(container)
}

/// Disconnects a container: at once if it runs, from its next start on otherwise.
///
/// # Errors
///
/// In Docker's words: not connected, of the host's network, and what the kernel refuses.
pub async fn disconnect(
    engine: &Arc<Engine>,
    trace: &Trace,
    container: &Arc<Container>,
    network: &Network,
) -> Result<(), Error> {
    let _life = container.life.lock().await;
    let record = container.record();
    if network.driver == Driver::Host && record.host_config.network_mode == "host" {
        return Err(Error::new(
            Kind::Denied,
            "container cannot be disconnected from host network or connected to host network",
        ));
    }
    let id = record.id.clone();
    let apart =
        || Error::internal(format!("container {id} is not connected to the network {}", network.name));
    if !record.networks.contains_key(&network.name) {
        return Err(apart());
    }
    if record.state.status.has_process() {
        let (trace, held, name) = (trace.clone(), Arc::clone(container), network.id.clone());
        let named = network.name.clone();
        engine
            .blocking(move |engine| -> Result<(), Error> {
                engine.networks.detach(&trace, &record.id, &name).map_err(failed)?;
                let mut left = record.clone();
                left.networks.remove(&named);
                let mut configs = endpoint_configs(&left)?;
                engine.networks.choose_routes(&mut configs);
                let netns = Netns::of(record.state.pid).map_err(|error| Error::of(Kind::Internal, &error))?;
                // It is disconnected all the same.
                if let Err(error) = engine.networks.settle_routes(&trace, &netns, &record.id, &configs) {
                    tracing::warn!(id = record.id, %error, "the container's way out and its ports did not move");
                }
                write_hosts(engine, &held, record)
            })
            .await?;
    }
    container.change(|record| record.networks.remove(&network.name));
    engine.containers.save(container)
}

/// Writes a running container's `/etc/hosts` anew.
fn write_hosts(engine: &Engine, container: &Container, mut record: Record) -> Result<(), Error> {
    // What it is linked with may have ended meanwhile; its lines are left out then.
    let _ = links::complete(engine, &mut record);
    files::write_hosts(container, &record, &engine.networks.endpoints_of(&record.id))
}

/// Whether a container may be connected to a network in that way.
fn allow(record: &Record, network: &Network, settings: &EndpointSettings) -> Result<(), Error> {
    let denied = |message: &str| Err(Error::new(Kind::Denied, message));
    if matches!(record.state.status, Status::Removing | Status::Dead) {
        let message =
            format!("container {} is marked for removal and cannot be connected or disconnected", record.id);
        return Err(Error::conflict(message));
    }
    let mode = record.host_config.network_mode.as_str();
    if mode.starts_with("container:") {
        return denied(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        );
    }
    if mode == "host" || network.driver == Driver::Host {
        return denied("container cannot be disconnected from host network or connected to host network");
    }
    // A configuration has that driver too; what it may, the network itself says at the start.
    let is_none = network.driver == Driver::None && network.builtin;
    if mode == "none" && !record.networks.is_empty() && !is_none || is_none && !record.networks.is_empty() {
        return denied(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        );
    }
    if record.networks.contains_key(&network.name) {
        let name = &record.name;
        return denied(&format!("endpoint with name {name} already exists in network {}", network.name));
    }
    check_endpoint(&network.name, Some(network), settings)
}
