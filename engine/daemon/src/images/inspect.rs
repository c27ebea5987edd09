//! `ImageInspect` and `ImageHistory`.

use std::collections::BTreeMap;

use glassdock_image::config::{Config, Process};
use glassdock_image::images::Image;
use glassdock_image::{DiffId, Images};
use serde::Serialize;
use serde_json::Value;

use super::origin::Origin;
use crate::call::{ApiVersion, Call};
use crate::containers::model::ContainerConfig;
use crate::containers::record::NEVER;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// `ImageInspect`, in the order of Docker's fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect<'a> {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: String,
    comment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    /// Before 1.45: the container that the image was made of, and its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_config: Option<ContainerConfig>,
    docker_version: &'a str,
    author: &'a str,
    config: Value,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<&'a str>,
    size: u64,
    /// Before 1.44: the same once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs<'a>,
    metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: BTreeMap<&'static str, String>,
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    layers: &'a [DiffId],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

pub(crate) async fn inspect(call: Call) -> Reply {
    let image = call.engine.images.resolve(call.param("name"))?;
    let config: &Config = &image.config;
    // Compose 1 asks in the newest version, and yet can't recreate a container without what an old one has.
    let compose = call.header("user-agent").is_some_and(|agent| agent.starts_with("docker-compose/1."));
    let old = compose || call.version < ApiVersion(45);
    let origin = Origin::of(&call.engine.images, &image.id);
    reply::json(&Inspect {
        id: image.id.to_string(),
        repo_tags: image.tags(),
        repo_digests: image.digests(),
        parent: origin.parent,
        comment: comment(config),
        created: config.created.as_deref().or((call.version < ApiVersion(44)).then_some(NEVER)),
        container: old.then_some(origin.container),
        container_config: old.then_some(origin.config),
        docker_version: config.docker_version.as_deref().unwrap_or_default(),
        author: config.author.as_deref().unwrap_or_default(),
        config: shown(&config.config, call.version)?,
        architecture: &config.architecture,
        variant: config.variant.as_deref(),
        os: &config.os,
        os_version: config.os_version.as_deref(),
        size: image.size,
        virtual_size: (call.version < ApiVersion(44)).then_some(image.size),
        graph_driver: graph_driver(&call.engine.images, &image),
        root_fs: RootFs { kind: "layers", layers: &config.rootfs.diff_ids },
        metadata: Metadata { last_tag_time: moment(image.tagged_ns) },
    })
}

/// How containers of the image run. Until 1.49 that was written as a container's configuration
/// is, with fields that mean nothing for an image; since then, only some are there when empty.
fn shown(config: &Process, version: ApiVersion) -> Result<Value, Error> {
    let failed = |error: serde_json::Error| Error::of(Kind::Internal, &error);
    let own = serde_json::to_value(config).map_err(failed)?;
    if version < ApiVersion(50) {
        let whole: ContainerConfig = serde_json::from_value(own).map_err(failed)?;
        let mut whole = serde_json::to_value(whole).map_err(failed)?;
        for (name, empty) in [("Env", config.env.is_empty()), ("Labels", config.labels.is_empty())] {
            if empty {
                whole[name] = Value::Null;
            }
        }
        return Ok(whole);
    }
    let Value::Object(mut fields) = own else { return Ok(own) };
    for name in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"] {
        fields.entry(name).or_insert(Value::Null);
    }
    for name in ["User", "WorkingDir"] {
        fields.entry(name).or_insert_with(|| Value::String(String::new()));
    }
    Ok(Value::Object(fields))
}

/// The image's comment is that of its last step, where it has none of its own.
fn comment(config: &Config) -> &str {
    let last = || config.history.last().and_then(|step| step.comment.as_deref());
    config.comment.as_deref().or_else(last).unwrap_or_default()
}

/// Where the layers lie, in the words of Docker's driver of the same file system.
fn graph_driver(images: &Images, image: &Image) -> GraphDriver {
    let stack: Vec<String> = images.stack(image).iter().map(|path| path.display().to_string()).collect();
    let mut data = BTreeMap::new();
    if let Some((upper, lower)) = stack.split_first() {
        data.insert("UpperDir", upper.clone());
        if !lower.is_empty() {
            data.insert("LowerDir", lower.join(":"));
        }
    }
    GraphDriver { data, name: "overlay2" }
}

fn moment(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos))
        .map_or_else(|_| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// `HistoryResponseItem`, in the order of Docker's fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Step {
    comment: String,
    created: i64,
    created_by: String,
    id: String,
    size: u64,
    tags: Option<Vec<String>>,
}

pub(crate) async fn history(call: Call) -> Reply {
    let image = call.engine.images.resolve(call.param("name"))?;
    let steps = call.engine.blocking(move |engine| Ok::<_, Error>(steps(&engine.images, &image))).await?;
    reply::json(&steps)
}

/// The history, the newest step first. A step that made a layer has its size.
fn steps(images: &Images, image: &Image) -> Vec<Step> {
    let mut layers = image.layers.iter();
    let mut steps: Vec<Step> = Vec::new();
    for step in &image.config.history {
        let layer = if step.empty_layer { None } else { layers.next() };
        let created = step.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        steps.push(Step {
            comment: step.comment.clone().unwrap_or_default(),
            created: created.map_or(0, |created| created.as_second()),
            created_by: step.created_by.clone().unwrap_or_default(),
            id: "<missing>".to_owned(),
            size: layer.and_then(|layer| images.layers().size(&layer.chain)).map_or(0, |size| size.bytes),
            tags: None,
        });
    }
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest.id = image.id.to_string();
        newest.tags = Some(image.tags()).filter(|tags| !tags.is_empty());
    }
    steps
}
