//! `ImageCommit`: `POST /commit?container=…`, a container's changes become an image.

use std::sync::Arc;

use glassdock_image::config::{Config, History, Process};
use glassdock_image::images::{Changed, Image, Made};
use glassdock_image::{Digest, Reference};
use glassdock_trace::Trace;
use http::StatusCode;
use serde_json::json;

use super::origin::Origin;
use super::{instructions, tell};
use crate::call::Call;
use crate::containers::model::ContainerConfig;
use crate::containers::record::{Record, Status};
use crate::containers::{Container, merge, signal, view};
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// What the new image is told beside the container's changes.
struct Wish {
    process: Process,
    reference: Option<Reference>,
    author: String,
    comment: String,
}

pub(crate) async fn commit(mut call: Call) -> Reply {
    let body: Option<Option<ContainerConfig>> = call.json_or_empty().await?;
    let reference = named(call.query("repo"), call.query("tag"))?;
    let name = call.query("container").unwrap_or_default();
    if name.is_empty() {
        return Err(Error::invalid("invalid container name or ID: value is empty"));
    }
    let container = call.engine.containers.find(name)?;
    let record = container.record();
    let mut process = process_of(body.flatten().as_ref().unwrap_or(&record.config))?;
    instructions::apply(call.query_all("changes"), &mut process)?;
    let wish = Wish {
        process: completed(&process, &record)?,
        reference,
        author: call.query("author").unwrap_or_default().to_owned(),
        comment: call.query("comment").unwrap_or_default().to_owned(),
    };
    let (engine, trace) = (Arc::clone(&call.engine), call.trace.clone());
    let image = quietly(&engine, &container, &trace, call.flag_or("pause", true), wish).await?;
    reply::json_with(StatusCode::CREATED, &json!({ "Id": image.id }))
}

/// Commits while nothing in the container writes, if that is wanted.
async fn quietly(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    pause: bool,
    wish: Wish,
) -> Result<Arc<Image>, Error> {
    let life = match view::hold(container).await? {
        Some(life) => Some(life),
        None if pause => Some(container.life.lock().await),
        None => None,
    };
    let frozen = pause && container.status() == Status::Running && {
        match signal::freeze(engine, trace, container, Status::Paused).await {
            // What has ended meanwhile writes nothing any more.
            Err(_) if signal::is_over(container) => false,
            frozen => frozen.map(|_| true)?,
        }
    };
    let (work, inside) = (Arc::clone(container), trace.clone());
    let made = engine.blocking(move |engine| make(engine, &work, &inside, &wish)).await;
    if frozen && container.status() == Status::Paused {
        match signal::freeze(engine, trace, container, Status::Running).await {
            Err(error) if !signal::is_over(container) => return Err(error),
            _ => {}
        }
    }
    drop(life);
    made
}

fn make(engine: &Engine, container: &Container, trace: &Trace, wish: &Wish) -> Result<Arc<Image>, Error> {
    let images = &engine.images;
    let record = container.record();
    let base = Digest::parse(&record.image).ok().and_then(|id| images.by_id(&id));
    let base = base.ok_or_else(|| Error::internal(format!("the image {} is gone", record.image)))?;
    let lease = images.lease();
    for layer in &base.layers {
        lease.hold(&layer.blob.digest);
        lease.hold(&layer.chain.0);
    }
    let upper = container.bundle.path("upper");
    let below = &base.config.rootfs.diff_ids;
    let changed =
        Changed { upper: &upper, lower: &record.layers, below, latest: None, mounts: &[], take: false };
    let made = images.commit_changes(trace, &lease, changed)?;
    let config = config(&base.config, &record, wish, made.as_ref());
    let bytes = serde_json::to_vec(&config).map_err(|error| Error::of(Kind::Internal, &error))?;
    let mut layers: Vec<_> = base.layers.iter().map(|layer| layer.blob.clone()).collect();
    layers.extend(made.map(|made| made.blob));
    let image = images.assemble(trace, &lease, &bytes, layers, wish.reference.as_slice())?;
    let origin = Origin { parent: base.id.to_string(), container: record.id.clone(), config: record.config };
    origin.remember(images, &image.id)?;
    let name = wish.reference.as_ref().map(Reference::familiar).unwrap_or_default();
    if wish.reference.is_some() {
        tell(engine, "tag", &image.id, &name, &image.config.config.labels);
    }
    container.emit(
        engine,
        "commit",
        &[("comment", wish.comment.clone()), ("imageID", image.id.to_string()), ("imageRef", name)],
    );
    Ok(image)
}

/// The new image's config: the old one's, with one more step of history.
fn config(base: &Config, record: &Record, wish: &Wish, made: Option<&Made>) -> Config {
    let now = crate::containers::create::now();
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut config = Config {
        created: Some(now.clone()),
        author: some(&wish.author),
        comment: some(&wish.comment),
        docker_version: None,
        config: wish.process.clone(),
        ..base.clone()
    };
    config.rootfs.kind = "layers".to_owned();
    config.rootfs.diff_ids.extend(made.map(|made| made.diff_id.clone()));
    config.history.push(History {
        created: Some(now),
        created_by: some(&record.config.cmd.as_deref().unwrap_or_default().join(" ")),
        author: some(&wish.author),
        comment: some(&wish.comment),
        empty_layer: made.is_none(),
    });
    config
}

/// The name of a new image: `repo` and `tag`, or none.
pub(super) fn named(repo: Option<&str>, tag: Option<&str>) -> Result<Option<Reference>, Error> {
    let Some(repo) = repo.filter(|repo| !repo.is_empty()) else { return Ok(None) };
    let reference = Reference::parse(repo)?;
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot import digest reference"));
    }
    let reference = match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => reference.with_tag(tag)?,
        None => reference,
    };
    Ok(Some(reference.with_default_tag()))
}

/// A container's config as an image has it.
fn process_of(config: &ContainerConfig) -> Result<Process, Error> {
    let failed = |error: serde_json::Error| Error::of(Kind::Internal, &error);
    let mut value = serde_json::to_value(config).map_err(failed)?;
    crate::route::without_nulls(&mut value);
    serde_json::from_value(value).map_err(failed)
}

/// What the request leaves open is as in the container.
fn completed(process: &Process, record: &Record) -> Result<Process, Error> {
    let failed = |error: serde_json::Error| Error::of(Kind::Internal, &error);
    let mut config: ContainerConfig =
        serde_json::to_value(process).and_then(serde_json::from_value).map_err(failed)?;
    merge::complete(&mut config, &record.config);
    process_of(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_has_a_name_or_none() {
        assert_eq!(named(None, Some("x")).expect("fine"), None);
        assert_eq!(named(Some("a/b"), Some("2")).expect("fine").expect("a name").familiar(), "a/b:2");
        assert_eq!(named(Some("a"), None).expect("fine").expect("a name").familiar(), "a:latest");
        assert!(named(Some("A"), None).is_err());
    }

    #[test]
    fn the_history_grows_by_a_step() {
        let base = Config {
            history: vec![History { created_by: Some("x".into()), ..History::default() }],
            ..Config::default()
        };
        let mut record = Record::default();
        record.config.cmd = Some(vec!["sh".into(), "-c".into(), "true".into()]);
        let process = Process { user: "me".into(), ..Process::default() };
        let wish = Wish { process, reference: None, author: "A".into(), comment: String::new() };
        let config = config(&base, &record, &wish, None);
        assert_eq!(config.history.len(), 2);
        let step = config.history.last().expect("a step");
        assert_eq!((step.created_by.as_deref(), step.empty_layer), (Some("sh -c true"), true));
        assert_eq!((config.config.user.as_str(), config.author.as_deref()), ("me", Some("A")));
    }
}
