//! `ContainerRename`, `ContainerUpdate`: what can be changed after the create.

use serde::Deserialize;
use std::sync::Arc;

use serde_json::{Value, json};

use super::model::{HostConfig, Resources, RestartPolicy};
use super::record::Status;
use super::{merge, names, networks, resources};
use crate::call::{ApiVersion, Call};
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// `ContainerRename`.
pub(crate) async fn rename(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let name = call.query("name").unwrap_or_default();
    if name.is_empty() {
        return Err(Error::invalid("Neither old nor new names may be empty"));
    }
    let new = |error: Error| {
        Error::new(error.kind(), format!("Error when allocating new name: {}", error.message()))
    };
    let name = names::parse(&format!("/{}", name.strip_prefix('/').unwrap_or(name))).map_err(new)?;
    if name == container.name() {
        return Err(Error::invalid("Renaming a container with the same name as its current name"));
    }
    let old = call.engine.containers.rename(&container, name).map_err(new)?;
    let record = container.record();
    let renamed = move |engine: &Arc<Engine>| -> Result<(), Error> {
        for (network, settings) in &record.networks {
            let names = networks::endpoint_names(&record, network, settings);
            engine.networks.set_names(&record.id, network, names).map_err(networks::failed)?;
        }
        Ok(())
    };
    call.engine.blocking(renamed).await?;
    container.emit(&call.engine, "rename", &[("oldName", format!("/{old}"))]);
    reply::done()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateRequest {
    #[serde(rename = "RestartPolicy")]
    restart_policy: Option<RestartPolicy>,
    #[serde(flatten)]
    resources: serde_json::Map<String, Value>,
}

/// `ContainerUpdate`: limits and the restart policy. What the request does not name stays.
pub(crate) async fn update(mut call: Call) -> Reply {
    let mut request: UpdateRequest = call.json().await?;
    let container = call.engine.containers.find(call.param("id"))?;
    if call.version < ApiVersion(40) {
        // It meant nothing then.
        request.resources.remove("PidsLimit");
    }
    let _life = container.life.lock().await;
    if matches!(container.status(), Status::Removing | Status::Dead) {
        return Err(Error::conflict(format!(
            "Container is marked for removal and cannot be \"update\".: {}",
            container.id
        )));
    }
    let (mut host, mut config) = container.look(|record| (record.host_config.clone(), record.config.clone()));
    // All of it must be of the right types, also what means nothing.
    let asked = serde_json::from_value::<Resources>(Value::Object(request.resources.clone()))
        .map_err(|error| Error::invalid(format!("invalid JSON: {error}")))?;
    agrees(&asked, request.restart_policy.as_ref(), &host)
        .map_err(|words| Error::conflict(format!("Cannot update container {}: {words}", container.id)))?;
    overlay(&mut host, request)?;
    config.hostname.clear();
    merge::settle(&mut host, &mut config, &container.id)?;
    // Whoever lifts the limit reads 0 afterwards; where there never was one, there is nothing.
    let unlimited = asked.pids_limit.is_some_and(|limit| limit <= 0);
    if unlimited {
        host.resources.pids_limit = Some(0);
    }
    if container.status().has_process() {
        let mut limits = resources::limits(&host.resources)?;
        if unlimited {
            limits.pids = Some(u64::MAX);
        }
        let (name, trace) = (super::cgroup_of(&container), call.trace.clone());
        call.engine
            .blocking(move |_| {
                let group = glassdock_kernel::cgroup::Cgroup::open(&name)?;
                group.update(&trace, &limits)
            })
            .await?;
    }
    container.change(|record| record.host_config = host);
    call.engine.containers.save(&container)?;
    container.emit(&call.engine, "update", &[]);
    reply::json(&json!({ "Warnings": null }))
}

/// What can be changed after the create, as Docker has it. Of all else that a request names nothing
/// is taken: a control group's parent or devices can't change any more.
const CHANGEABLE: [&str; 13] = [
    "BlkioWeight",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "NanoCpus",
    "PidsLimit",
];

/// Puts the request's fields over what is there; zero and nothing mean "as it was".
fn overlay(host: &mut HostConfig, mut request: UpdateRequest) -> Result<(), Error> {
    request.resources.retain(|name, _| CHANGEABLE.contains(&name.as_str()));
    let invalid = |error: serde_json::Error| Error::of(Kind::Invalid, &error);
    if let Some(policy) = request.restart_policy.clone().filter(|policy| !policy.name.is_empty()) {
        host.restart_policy = policy;
    }
    let mut fields = serde_json::to_value(&host.resources).map_err(invalid)?;
    if let Some(map) = fields.as_object_mut() {
        for (name, value) in &request.resources {
            let says = !matches!(value, Value::Null) && *value != json!(0) && *value != json!("");
            if says && map.contains_key(name) {
                map.insert(name.clone(), value.clone());
            }
        }
    }
    host.resources = serde_json::from_value(fields).map_err(invalid)?;
    Ok(())
}

/// Whether what is asked for goes with what is in force, which stays where nothing is asked.
fn agrees(asked: &Resources, policy: Option<&RestartPolicy>, host: &HostConfig) -> Result<(), &'static str> {
    let now = &host.resources;
    let conflicts = [
        (
            host.auto_remove && policy.is_some_and(|policy| !matches!(policy.name.as_str(), "" | "no")),
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
        (
            asked.nano_cpus > 0 && now.cpu_period > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            asked.nano_cpus > 0 && now.cpu_quota > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            asked.cpu_period > 0 && now.nano_cpus > 0,
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            asked.cpu_quota > 0 && now.nano_cpus > 0,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            asked.memory != 0 && asked.memory > now.memory_swap && asked.memory_swap == 0,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, words)) => Err(words),
        None => Ok(()),
    }
}
