//! `SystemDataUsage`: `GET /system/df`, what takes how much of the disk.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::call::{ApiVersion, Call};
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};
use crate::{containers, images, volumes};

pub(crate) async fn usage(call: Call) -> Reply {
    let wanted: Vec<String> = call.query_all("type").map(str::to_owned).collect();
    for kind in &wanted {
        if !matches!(kind.as_str(), "container" | "image" | "volume" | "build-cache") {
            return Err(Error::invalid(format!("unknown object type: {kind}")));
        }
    }
    let version = call.version;
    let measured = call.engine.blocking(move |engine| measured(engine, &wanted, version)).await?;
    reply::json(&measured)
}

/// What is wanted, or all; the rest is `null`, as in Docker.
fn measured(engine: &Arc<Engine>, wanted: &[String], version: ApiVersion) -> Result<Value, Error> {
    let is = |kind: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == kind);
    let failed = |error: serde_json::Error| Error::of(Kind::Internal, &error);
    let mut usage = Map::new();
    let (mut layers, mut of_images, mut of_containers) = (0, Value::Null, Value::Null);
    let (mut of_volumes, mut of_cache) = (Value::Null, Value::Null);
    if is("image") {
        layers = engine.images.usage()?.layers;
        of_images = serde_json::to_value(images::list::measured(engine, version)?).map_err(failed)?;
    }
    if is("container") {
        let all = containers::list::rows(engine, &engine.containers.all(), true)?;
        of_containers = serde_json::from_slice(&all).map_err(failed)?;
    }
    if is("volume") {
        let users = volumes::endpoints::users(engine);
        let one = |volume: &volumes::Volume| {
            let mut shown = volumes::endpoints::shown(engine, volume);
            let size = super::disk::size_of(&engine.volumes.path(&volume.name));
            let count = users.get(&volume.name).map_or(0, Vec::len);
            shown["UsageData"] = json!({ "RefCount": count, "Size": size });
            shown
        };
        // One with options may be anything, and of any size: Docker leaves it out too.
        let plain = |volume: &&volumes::Volume| volume.options.is_empty();
        of_volumes = engine.volumes.all().iter().filter(plain).map(one).collect();
    }
    if is("build-cache") {
        of_cache = json!([]);
    }
    usage.insert("LayersSize".to_owned(), json!(layers));
    usage.insert("Images".to_owned(), of_images);
    usage.insert("Containers".to_owned(), of_containers);
    usage.insert("Volumes".to_owned(), of_volumes);
    usage.insert("BuildCache".to_owned(), of_cache);
    if version < ApiVersion(42) {
        // The sum of what stands under `BuildCache`.
        usage.insert("BuilderSize".to_owned(), json!(0));
    }
    Ok(Value::Object(usage))
}
