//! What a container shares with another one: its network, with the names in `/etc` that go with it, its IPC objects,
//! its processes (`container:NAME`).
//!
//! The other one is found by its name once, at the create; from then on its id counts, as names change hands.

use glassdock_runtime::Bundle;

use super::container::Container;
use super::model::HostConfig;
use super::record::{Record, Status};
use super::spec::Shared;
use crate::engine::Engine;
use crate::error::{Error, Kind};

/// Puts the ids of other containers in the place of their names.
///
/// # Errors
///
/// Invalid, if one isn't there; of the network's, only the start tells.
pub(super) fn settle(engine: &Engine, host: &mut HostConfig) -> Result<(), Error> {
    for mode in [&mut host.pid_mode, &mut host.ipc_mode] {
        if let Some(name) = mode.strip_prefix("container:") {
            let other = engine.containers.find(name).map_err(not_the_image)?;
            *mode = of(&other);
        }
    }
    if let Some(name) = host.network_mode.strip_prefix("container:")
        && let Ok(other) = engine.containers.find(name)
    {
        host.network_mode = of(&other);
    }
    Ok(())
}

fn of(other: &Container) -> String {
    format!("container:{}", other.id)
}

/// A client that hears "not found" takes it for the image, and pulls that.
pub(super) fn not_the_image(error: Error) -> Error {
    Error::invalid(error.message())
}

/// What is shared at a start: the others run now. The record gets the names that its network has.
///
/// # Errors
///
/// In Docker's words, if one is not there, does not run, or keeps to itself what is to be shared.
pub(super) fn at_start(engine: &Engine, record: &mut Record) -> Result<Shared, Error> {
    let host = &record.host_config;
    let other = |mode: &str| mode.strip_prefix("container:").map(|name| engine.containers.find(name));
    let mut shared = Shared::default();
    if let Some(other) = other(&host.pid_mode) {
        let pid = other.and_then(|other| running(&other));
        let failed =
            |error: Error| Error::internal(format!("failed to join PID namespace: {}", error.message()));
        shared.pid = Some(pid.map_err(failed)?);
    }
    if let Some(other) = other(&host.ipc_mode) {
        let pid = other.and_then(|other| with_ipc(&other));
        let failed =
            |error: Error| Error::invalid(format!("failed to join IPC namespace: {}", error.message()));
        shared.ipc = Some(pid.map_err(failed)?);
    }
    if let Some(other) = other(&host.network_mode) {
        let other = other?;
        shared.network = Some(with_network(record, &other)?);
        shared.names = Some(names_of(engine, &other));
        (record.config.hostname, record.config.domainname) =
            other.look(|other| (other.config.hostname.clone(), other.config.domainname.clone()));
    }
    Ok(shared)
}

/// The folder with the names of a container's network: its own, unless it shares another's itself.
pub(super) fn names_of(engine: &Engine, container: &Container) -> Bundle {
    let next = |container: &Container| {
        let mode = container.look(|record| record.host_config.network_mode.clone());
        mode.strip_prefix("container:").and_then(|name| engine.containers.find(name).ok())
    };
    let (mut bundle, mut other) = (container.bundle.clone(), next(container));
    // A name that was nobody's at the create may have become the container's own, so there may be a circle.
    for _ in 0..LONGEST_ROW {
        let Some(container) = other else { break };
        bundle.clone_from(&container.bundle);
        other = next(&container);
    }
    bundle
}

/// So many containers may stand in a row, each with the network of the next.
const LONGEST_ROW: usize = 64;

/// The first process of a container that runs.
fn running(other: &Container) -> Result<u32, Error> {
    let (pid, status) = other.look(|record| (record.state.pid, record.state.status));
    let id = &other.id;
    match (status, pid) {
        (Status::Restarting, _) => {
            Err(Error::conflict(format!("Container {id} is restarting, wait until the container is running")))
        }
        (_, 0) => Err(Error::conflict(format!("container {id} is not running"))),
        (_, pid) => Ok(pid),
    }
}

fn with_ipc(other: &Container) -> Result<u32, Error> {
    let pid = running(other)?;
    if other.look(|record| matches!(record.host_config.ipc_mode.as_str(), "private" | "none")) {
        return Err(Error::invalid(format!(
            "container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            other.id
        )));
    }
    Ok(pid)
}

fn with_network(record: &Record, other: &Container) -> Result<u32, Error> {
    if other.id == record.id {
        return Err(Error::internal("cannot join own network"));
    }
    match running(other) {
        Err(error) if error.message().ends_with("is not running") => Err(Error::new(
            Kind::Conflict,
            format!("cannot join network of a non running container: {}", other.id),
        )),
        found => found,
    }
}
