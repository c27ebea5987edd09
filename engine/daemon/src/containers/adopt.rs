//! After a start of the daemon: what its predecessor left is taken up again.
//!
//! ```text
//!   record says it ran ──► the shim answers ──► watched again
//!                     └──► it does not      ──► what it left is ended; exit.json, networks released,
//!                                               restart policy, auto-remove
//!   record says otherwise ──► `always` and `unless-stopped` start it
//!   it was a build's step ──► it is ended, and removed: the build is over
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use glassdock_kernel::link::Netns;
use glassdock_registry::task;
use glassdock_runtime::Shim;

use super::container::{Container, Live};
use super::record::{Record, Status};
use super::{health, remove, supervise};
use crate::engine::Engine;
use crate::error::{Error, Kind};

/// Takes up all containers. Networks of those that ended are released.
///
/// # Errors
///
/// If the networks can't be brought in order.
pub async fn all(engine: &Arc<Engine>) -> Result<(), Error> {
    let mut gone = Vec::new();
    let mut running = HashSet::new();
    for container in engine.containers.all() {
        if container.status() == Status::Removing {
            // The removal was cut off: it goes on.
            container.change(|record| record.state.status = Status::Dead);
            gone.push(container);
            continue;
        }
        // A container whose start was cut off has a shim and no record of it.
        let work = Arc::clone(&container);
        let connected = task::spawn_blocking(move || reconnect(&work)).await?;
        if let Some((shim, watch, state)) = connected {
            running.insert(container.id.clone());
            container.set_live(Some(Live { shim, receiver: None }));
            container.advance(|progress| progress.running = true);
            container.change(|record| {
                record.state.status = match state.status {
                    glassdock_runtime::Status::Paused => Status::Paused,
                    _ => Status::Running,
                };
                record.state.pid = state.init_pid;
                if let Some(started) = state.started_at {
                    record.state.started_at = started;
                }
            });
            engine.containers.save(&container)?;
            if container.status() == Status::Running {
                health::watch(engine, &container);
            }
            supervise::spawn(engine, &container, watch, None)?;
        } else {
            // Whatever it left has no shim any more: nobody would ever end it.
            let work = Arc::clone(&container);
            let end = move || super::orphans::end(&glassdock_trace::Trace::off(), &work);
            task::spawn_blocking(end).await?;
            if is_over(&container) {
                gone.push(container);
            }
        }
    }
    let trace = glassdock_trace::Trace::off();
    engine
        .blocking(move |engine| {
            engine.volumes.take_up(&held(engine, &running));
            engine.networks.reconcile(&trace, &running).map_err(super::networks::failed)?;
            for container in running.iter().filter_map(|id| engine.containers.find(id).ok()) {
                if let Err(error) = serve_names(engine, &trace, &container.record()) {
                    tracing::warn!(id = container.id, %error, "a container finds no names any more");
                }
            }
            Ok::<_, Error>(())
        })
        .await?;
    for container in gone {
        take_leave(engine, &container).await;
    }
    end_builds(engine).await;
    restart_what_should_run(engine);
    Ok(())
}

/// Which of the running containers have which volumes.
fn held(engine: &Engine, running: &HashSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in running.iter().filter_map(|id| engine.containers.find(id).ok()) {
        container.look(|record| {
            for point in super::volumes::of(record) {
                held.entry(point.name.clone()).or_default().insert(record.id.clone());
            }
        });
    }
    held
}

fn serve_names(engine: &Engine, trace: &glassdock_trace::Trace, record: &Record) -> Result<(), Error> {
    let netns = Netns::of(record.state.pid).map_err(|error| Error::of(Kind::Internal, &error))?;
    crate::networks::names::serve(engine, trace, record, &netns)
}

/// Whether a container without a shim has an end that nobody settled.
fn is_over(container: &Container) -> bool {
    container.look(|record| match record.state.status {
        Status::Running | Status::Paused | Status::Restarting => true,
        Status::Exited => record.host_config.auto_remove,
        _ => false,
    }) || ended_unseen(container)
}

/// Whether a container ran to an end that its record knows nothing of: the daemon
/// died after the start, before it could note that.
fn ended_unseen(container: &Container) -> bool {
    let exit = container.bundle.exit().ok().flatten();
    exit.is_some_and(|exit| {
        container.look(|record| {
            matches!(record.state.status, Status::Created | Status::Exited)
                && record.state.error.is_empty()
                && record.state.finished_at != exit.finished_at
        })
    })
}

type Connected = (Shim, std::os::unix::net::UnixStream, glassdock_runtime::State);

/// The shim of a container that still has its process.
fn reconnect(container: &Container) -> Option<Connected> {
    let shim = Shim::connect(&container.bundle).ok()?;
    let state = shim.state().ok()?;
    match state.status {
        glassdock_runtime::Status::Running | glassdock_runtime::Status::Paused => {
            let watch = shim.watch().ok()?;
            Some((shim, watch, state))
        }
        // It waits for a start that will not come.
        glassdock_runtime::Status::Creating | glassdock_runtime::Status::Created => {
            let _ = shim.kill(9, true, &glassdock_trace::Trace::off());
            // It stays until somebody has asked why.
            let _ = shim.start();
            None
        }
        glassdock_runtime::Status::Stopped => None,
    }
}

/// Settles a container that ended while no daemon was there.
async fn take_leave(engine: &Arc<Engine>, container: &Arc<Container>) {
    let part = engine.operations.own(vec!["container".to_owned(), container.name()]);
    match container.status() {
        // Whether its volumes should go too isn't known any more: they stay, unless they always do.
        Status::Dead => {
            let volumes = container.look(|record| record.host_config.auto_remove || record.beside.passing);
            if let Err(error) = remove::remove(engine, container, part.trace(), volumes).await {
                tracing::warn!(id = container.id, %error, "a container whose removal was cut off stays");
            }
        }
        Status::Exited if !ended_unseen(container) => {
            remove::remove_quietly(engine, container, part.trace()).await;
        }
        _ => {
            let exit = container.bundle.exit().ok().flatten();
            supervise::ended(engine, container, exit, Duration::ZERO).await;
        }
    }
}

/// Ends the steps of builds that ended with the daemon.
async fn end_builds(engine: &Arc<Engine>) {
    for container in engine.containers.all() {
        if container.look(|record| record.beside.passing) {
            let part = engine.operations.own(vec!["container".to_owned(), container.name()]);
            remove::end_quietly(engine, &container, part.trace()).await;
        }
    }
}

/// `always` starts a container with the daemon whatever happened before it;
/// `unless-stopped` leaves one that somebody stopped.
fn restart_what_should_run(engine: &Arc<Engine>) {
    for container in engine.containers.all() {
        let should = container.change(|record| {
            let policy = record.host_config.restart_policy.name.as_str();
            let was_started = record.state.status == Status::Exited;
            let should = was_started
                && (policy == "always" || (policy == "unless-stopped" && !record.stopped_by_hand));
            if should {
                record.state.status = Status::Restarting;
                record.stopped_by_hand = false;
            }
            should
        });
        if should {
            supervise::spawn_restart(engine, &container, Duration::ZERO);
        }
    }
}
