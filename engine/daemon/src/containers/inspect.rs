//! `ContainerInspect`: everything about one container.

use std::path::Path;

use serde_json::{Value, json};

use super::container::Container;
use super::networks::{port_map, shown};
use super::record::{Record, Status};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply};

/// `ContainerInspect`.
pub(crate) async fn inspect(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let size = if call.flag("size") {
        let container = container.clone();
        Some(call.engine.blocking(move |_| Ok::<_, Error>(sizes(&container))).await?)
    } else {
        None
    };
    reply::json(&shown_whole(&call.engine, &container, size))
}

/// What the container's own layer holds, and what all of its layers hold, in bytes.
#[must_use]
pub fn sizes(container: &Container) -> (u64, u64) {
    let upper = container.bundle.path("upper");
    // What every container is furnished with is nobody's.
    let furnished = |path: &Path| glassdock_image::layer::is_furnished(&upper, path);
    let own = crate::system::disk::size_without(&upper, furnished);
    let layers = container.look(|record| record.layers.clone());
    let all = layers.iter().map(|layer| crate::system::disk::size_of(layer)).fold(own, u64::saturating_add);
    (own, all)
}

fn shown_whole(engine: &Engine, container: &Container, size: Option<(u64, u64)>) -> Value {
    let mut record = container.record();
    record.host_config.links = super::links::shown(engine, &record);
    let (path, args) = match record.argv().split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let names = super::sharing::names_of(engine, container);
    let file = |name: &str| json!(names.path(name));
    let mut whole = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": path,
        "Args": args,
        "State": state(&record),
        "Image": record.image,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": if record.host_config.log_config.kind == "none" { json!("") } else { json!(container.log_path()) },
        "Name": format!("/{}", record.name),
        "RestartCount": record.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": engine.execs.running_in(&record.id),
        "HostConfig": record.host_config,
        "GraphDriver": graph_driver(container, &record),
        "Mounts": record.mounts,
        "Config": record.config,
        "NetworkSettings": network_settings(engine, &record),
    });
    if let (Some((rw, root)), Some(map)) = (size, whole.as_object_mut()) {
        map.insert("SizeRw".to_owned(), json!(rw));
        map.insert("SizeRootFs".to_owned(), json!(root));
    }
    whole
}

fn state(record: &Record) -> Value {
    let state = &record.state;
    let mut shown = json!({
        "Status": state.status.word(),
        // A paused container runs, in Docker's words, and so does one between two runs.
        "Running": state.status.has_process() || state.status == Status::Restarting,
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "FinishedAt": state.finished_at,
    });
    if let (Some(health), Some(map)) = (&state.health, shown.as_object_mut()) {
        map.insert("Health".to_owned(), json!(health));
    }
    shown
}

/// The layers below the container, as Docker's `overlay2` driver shows them. The
/// stack is attached in the container's own mount namespace only, so there is no
/// `merged` folder on the host.
fn graph_driver(container: &Container, record: &Record) -> Value {
    let lower: Vec<_> = record.layers.iter().map(|layer| layer.to_string_lossy()).collect();
    json!({
        "Name": "overlay2",
        "Data": {
            "ID": record.id,
            "LowerDir": lower.join(":"),
            "MergedDir": "",
            "UpperDir": container.bundle.path("upper"),
            "WorkDir": container.bundle.path("work"),
        },
    })
}

fn network_settings(engine: &Engine, record: &Record) -> Value {
    let endpoints = engine.networks.endpoints_of(&record.id);
    let mut networks = serde_json::Map::new();
    for (name, settings) in &record.networks {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.network_name == *name);
        networks.insert(name.clone(), json!(shown(record, name, settings, endpoint)));
    }
    let bridge = record.networks.get("bridge").map(|settings| {
        shown(record, "bridge", settings, endpoints.iter().find(|endpoint| endpoint.network_name == "bridge"))
    });
    let bridge = bridge.unwrap_or_default();
    let key = if record.state.pid > 0 { format!("/proc/{}/ns/net", record.state.pid) } else { String::new() };
    json!({
        "Bridge": "",
        "SandboxID": if record.state.pid > 0 { record.id.as_str() } else { "" },
        "SandboxKey": key,
        "Ports": if record.state.pid > 0 { port_map(record, &endpoints) } else { json!({}) },
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": bridge.endpoint_id,
        "Gateway": bridge.gateway,
        "GlobalIPv6Address": bridge.global_ipv6_address,
        "GlobalIPv6PrefixLen": bridge.global_ipv6_prefix_len,
        "IPAddress": bridge.ip_address,
        "IPPrefixLen": bridge.ip_prefix_len,
        "IPv6Gateway": bridge.ipv6_gateway,
        "MacAddress": bridge.mac_address,
        "Networks": networks,
    })
}
