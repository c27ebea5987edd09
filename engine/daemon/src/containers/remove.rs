//! `ContainerDelete`, `ContainerPrune`: containers go, with what belongs to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use glassdock_kernel::process::Signal;
use glassdock_trace::Trace;
use serde_json::json;

use super::container::Container;
use super::record::Status;
use super::signal;
use crate::call::Call;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply};

/// `ContainerDelete`.
pub(crate) async fn delete(call: Call) -> Reply {
    let name = call.param("id").to_owned();
    if call.flag("link") {
        super::links::remove(&call.engine, &name)?;
        return reply::done();
    }
    let container = call.engine.containers.find(&name)?;
    let force = call.flag("force");
    if force {
        kill(&call.engine, &container, &call.trace).await?;
    }
    let _life = container.life.lock().await;
    let itself = container.look(|record| record.host_config.auto_remove);
    if force && itself && is_gone(&container) {
        // What removes itself at its end was first.
        return reply::done();
    }
    remove(&call.engine, &container, &call.trace, call.flag("v") || (force && itself)).await?;
    reply::done()
}

/// Ends a container for good, also one that its restart policy would start again.
async fn kill(engine: &Arc<Engine>, container: &Arc<Container>, trace: &Trace) -> Result<(), Error> {
    container.change(|record| record.stopped_by_hand = true);
    if container.status().has_process() {
        signal::send(engine, container, Signal::KILL, trace).await?;
        signal::ends(container, Some(std::time::Duration::from_secs(10))).await;
    }
    Ok(())
}

/// Removes a container that has no process, by someone who holds its life. Its
/// anonymous volumes go with it if `volumes` says so.
///
/// # Errors
///
/// Conflict, if its state forbids it; and what the disk says.
pub(crate) async fn remove(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    volumes: bool,
) -> Result<(), Error> {
    let from = container.change(|record| {
        let from = record.state.status;
        let stop = |word: &str, hint: &str| {
            Err(Error::conflict(format!(
                "cannot remove container \"/{}\": container is {word}: {hint}",
                record.name
            )))
        };
        match from {
            Status::Running => return stop("running", "stop the container before removing or force remove"),
            Status::Paused => {
                return stop("paused", "unpause and then stop the container before removing or force remove");
            }
            Status::Restarting if !record.stopped_by_hand => {
                return stop("restarting", "stop the container before removing or force remove");
            }
            Status::Removing => {
                return Err(Error::conflict(format!(
                    "removal of container {} is already in progress",
                    record.id
                )));
            }
            _ => {}
        }
        record.state.status = Status::Removing;
        Ok(from)
    })?;
    if !container.look(|record| record.host_config.auto_remove) {
        // After a crash in the middle the removal goes on; one with --rm does so anyway. On a full disk
        // this can't be written, but a removal is what helps there.
        if let Err(error) = engine.containers.save(container) {
            tracing::warn!(id = container.id, %error, "a removal can't be noted before it is done");
        }
    }
    let work = Arc::clone(container);
    let removed = engine
        .blocking(move |engine| match crate::trash::discard(&engine.config.root, work.bundle.folder()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::internal(format!("cannot remove {}: {error}", work.bundle.folder().display())))
            }
            _ => engine.containers.forget(&work),
        })
        .await;
    if let Err(error) = removed {
        container.change(|record| record.state.status = Status::Dead);
        let _ = engine.containers.save(container);
        return Err(error);
    }
    container.tell_state(trace, Some(from), "removed");
    engine.execs.container_removed(&container.id);
    container.waiting_clients().clear();
    container.emit(engine, "destroy", &[]);
    container.advance(|progress| progress.removed = true);
    if volumes {
        remove_volumes(engine, container, trace).await;
    }
    Ok(())
}

async fn remove_volumes(engine: &Arc<Engine>, container: &Container, trace: &Trace) {
    let users = crate::volumes::endpoints::users(engine);
    for volume in container.look(|record| record.anonymous_volumes.clone()) {
        if users.contains_key(&volume) {
            continue;
        }
        if let Err(error) = crate::volumes::endpoints::remove(engine, trace, volume.clone()).await {
            tracing::warn!(volume, %error, "the volume of a removed container stays");
        }
    }
}

/// Whether somebody has removed a container; its life must be held.
fn is_gone(container: &Container) -> bool {
    container.progress().borrow().removed
}

/// Removes what removes itself at its end (`--rm`).
pub(crate) async fn remove_quietly(engine: &Arc<Engine>, container: &Arc<Container>, trace: &Trace) {
    if is_gone(container) {
        return;
    }
    if let Err(error) = remove(engine, container, trace, true).await {
        tracing::warn!(id = container.id, %error, "a container that should go at its end stays");
    }
}

/// Ends and removes the container of a build's step that nobody waits for any more.
pub(crate) async fn end_quietly(engine: &Arc<Engine>, container: &Arc<Container>, trace: &Trace) {
    container.change(|record| record.stopped_by_hand = true);
    // It may be about to start: its life says when that is over.
    let _life = container.life.lock().await;
    // One that ended just now can't be killed, and needs not be.
    let _ = kill(engine, container, trace).await;
    remove_quietly(engine, container, trace).await;
}

/// `ContainerPrune`.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["label", "label!", "until"])?;
    let until = filters.get("until").first().map(|text| crate::system::until(text)).transpose()?;
    let mut deleted = Vec::new();
    let mut space = 0;
    for container in call.engine.containers.all() {
        let fits = container.look(|record| {
            !record.state.status.has_process()
                && record.state.status != Status::Restarting
                && filters.labels_fit(&record.config.labels)
                && until.is_none_or(|until| {
                    record.created.parse::<jiff::Timestamp>().is_ok_and(|created| created < until)
                })
        });
        if !fits {
            continue;
        }
        let sized = container.clone();
        let size = call.engine.blocking(move |_| Ok::<_, Error>(super::inspect::sizes(&sized).0)).await?;
        let Ok(_life) = container.life.try_lock() else { continue };
        // One that was started meanwhile stays.
        if remove(&call.engine, &container, &call.trace, false).await.is_ok() {
            deleted.push(container.id.clone());
            space += size;
        }
    }
    call.engine.events.emit(
        "container",
        "prune",
        "",
        BTreeMap::from([("reclaimed".to_owned(), space.to_string())]),
    );
    let deleted = (!deleted.is_empty()).then_some(deleted);
    reply::json(&json!({ "ContainersDeleted": deleted, "SpaceReclaimed": space }))
}
