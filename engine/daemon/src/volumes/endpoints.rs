//! The API's endpoints of volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use glassdock_trace::Trace;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Volume;
use crate::call::Call;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateRequest {
    name: String,
    driver: String,
    driver_opts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    /// What makes it a volume of a swarm.
    cluster_volume_spec: Option<Value>,
}

/// `VolumeCreate`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let request: CreateRequest = call.json_or_empty().await?.unwrap_or_default();
    // Older clients have no such volumes.
    if request.cluster_volume_spec.is_some() && call.version >= crate::call::ApiVersion(42) {
        return Err(crate::absent::not_a_manager());
    }
    if !matches!(request.driver.as_str(), "" | "local") {
        return Err(Error::not_found(format!(
            "create {}: error looking up volume plugin {}: plugin \"{}\" not found",
            request.name, request.driver, request.driver
        )));
    }
    let volume = Volume {
        name: request.name,
        labels: request.labels,
        options: request.driver_opts,
        ..Volume::default()
    };
    let trace = call.trace.clone();
    let (volume, new) = call.engine.blocking(move |engine| engine.volumes.create(&trace, volume)).await?;
    if new {
        emit(&call.engine, "create", &volume.name);
    }
    reply::json_with(StatusCode::CREATED, &shown(&call.engine, &volume))
}

/// `VolumeInspect`.
pub(crate) async fn inspect(call: Call) -> Reply {
    let volume = call.engine.volumes.get(call.param("name"))?;
    reply::json(&shown(&call.engine, &volume))
}

/// `VolumeList`.
pub(crate) async fn list(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["dangling", "driver", "label", "label!", "name"])?;
    let dangling = filters.truth("dangling")?;
    let users = users(&call.engine);
    let fits = |volume: &Volume| {
        dangling.is_none_or(|dangling| dangling != users.contains_key(&volume.name))
            && filters.any("driver", |driver| driver == "local")
            && filters.any("name", |name| volume.name.contains(name))
            && filters.labels_fit(&volume.labels)
    };
    let volumes: Vec<_> = call
        .engine
        .volumes
        .all()
        .iter()
        .filter(|volume| fits(volume))
        .map(|volume| shown(&call.engine, volume))
        .collect();
    reply::json(&json!({ "Volumes": volumes, "Warnings": null }))
}

/// `VolumeDelete`.
pub(crate) async fn delete(call: Call) -> Reply {
    let name = call.param("name").to_owned();
    let volume = match call.engine.volumes.get(&name) {
        Err(_) if call.flag("force") => return reply::done(),
        volume => volume?,
    };
    if let Some(users) = users(&call.engine).get(&volume.name) {
        return Err(Error::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
    }
    remove(&call.engine, &call.trace, name).await?;
    reply::done()
}

/// `VolumePrune`: those that nobody uses; by default only those that nobody named. As in Docker,
/// those with options stay: what they show is somebody's disk or server.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["all", "label", "label!"])?;
    // Before 1.42 names made no difference.
    let all = filters.truth("all")?.unwrap_or(call.version < crate::call::ApiVersion(42));
    let users = users(&call.engine);
    let mut deleted = Vec::new();
    let mut space = 0;
    for volume in call.engine.volumes.all() {
        if users.contains_key(&volume.name)
            || !volume.options.is_empty()
            || !(all || volume.anonymous)
            || !filters.labels_fit(&volume.labels)
        {
            continue;
        }
        let path = call.engine.volumes.path(&volume.name);
        space += call.engine.blocking(move |_| Ok::<_, Error>(crate::system::disk::size_of(&path))).await?;
        remove(&call.engine, &call.trace, volume.name.clone()).await?;
        deleted.push(volume.name);
    }
    call.engine.events.emit(
        "volume",
        "prune",
        "",
        BTreeMap::from([("reclaimed".to_owned(), space.to_string())]),
    );
    reply::json(&json!({ "VolumesDeleted": deleted, "SpaceReclaimed": space }))
}

pub(crate) async fn remove(engine: &Arc<Engine>, trace: &Trace, name: String) -> Result<(), Error> {
    let (trace, removed) = (trace.clone(), name.clone());
    engine.blocking(move |engine| engine.volumes.remove(&trace, &removed)).await?;
    emit(engine, "destroy", &name);
    Ok(())
}

pub(crate) fn emit(engine: &Engine, action: &str, name: &str) {
    engine.events.emit("volume", action, name, BTreeMap::from([("driver".to_owned(), "local".to_owned())]));
}

/// Which containers have a volume among their mount points.
pub(crate) fn users(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in engine.containers.all() {
        container.look(|record| {
            for point in record.mounts.iter().filter(|point| point.kind == "volume") {
                users.entry(point.name.clone()).or_default().push(record.id.clone());
            }
        });
    }
    users
}

/// A volume in the API's shape.
pub(crate) fn shown(engine: &Engine, volume: &Volume) -> Value {
    let mut labels = volume.labels.clone();
    if volume.anonymous {
        labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    }
    let none = |map: &BTreeMap<String, String>| if map.is_empty() { Value::Null } else { json!(map) };
    json!({
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": none(&labels),
        "Mountpoint": engine.volumes.path(&volume.name),
        "Name": volume.name,
        "Options": none(&volume.options),
        "Scope": "local",
    })
}
