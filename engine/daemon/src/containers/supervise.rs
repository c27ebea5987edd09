//! Watches running containers: their exits, and what follows from them.
//!
//! ```text
//!   shim: exited ──► networks released ──► record: exited ──► those who wait
//!   shim: cleaned up ──► restart policy?  yes ──► restarting ──► start
//!                        auto-remove?     yes ──► removed
//! ```
//!
//! The shim's `exit.json` has the last word: it also tells of exits that no daemon
//! saw. A shim that ends without a word was killed: what it left is ended too, and the
//! container counts as killed.

use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use glassdock_kernel::process::Process;
use glassdock_registry::task;
use glassdock_runtime::{Exit, Notice, Status as RunStatus};
use glassdock_trace::Trace;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

use super::container::Container;
use super::record::Status;
use super::{events, health, remove, start};
use crate::engine::Engine;
use crate::error::Error;
use crate::operations::Use;

/// The first pause before a restart; it doubles with each, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that ran for so long starts over with the first pause.
const STEADY: Duration = Duration::from_secs(10);

/// Watches a container over its shim's stream of notices, in a task of its own.
///
/// `shim` is the shim's process, if it is a child of this daemon.
///
/// # Errors
///
/// If the stream can't be watched.
pub(crate) fn spawn(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    watch: StdStream,
    shim: Option<Process>,
) -> Result<(), Error> {
    watch.set_nonblocking(true)?;
    let stream = UnixStream::from_std(watch)?;
    let (engine, container) = (Arc::clone(engine), Arc::clone(container));
    task::spawn(async move {
        let began = tokio::time::Instant::now();
        let mut exit = listen(&engine, &container, stream).await;
        // A shim that could not tell fast enough closes the stream, and lives.
        while exit.is_none()
            && let Some(stream) = watch_again(&container).await
        {
            exit = listen(&engine, &container, stream).await;
        }
        ended(&engine, &container, exit, began.elapsed()).await;
        if let Some(shim) = shim {
            // A shim that this daemon started is its child; it ends with the stream.
            let _ = task::spawn_blocking(move || shim.wait(&Trace::off())).await;
        }
    });
    Ok(())
}

/// Another stream of notices of a shim that still has its container; `None` if it is gone.
async fn watch_again(container: &Arc<Container>) -> Option<UnixStream> {
    let shim = container.live()?.shim;
    let ask = move || {
        let alive = matches!(shim.state().ok()?.status, RunStatus::Running | RunStatus::Paused);
        let watch = if alive { shim.watch().ok()? } else { return None };
        watch.set_nonblocking(true).ok().map(|()| watch)
    };
    let watch = task::spawn_blocking(ask).await.ok().flatten()?;
    UnixStream::from_std(watch).ok()
}

/// Hears the shim out; returns how the container ended once all is cleaned up.
async fn listen(engine: &Arc<Engine>, container: &Arc<Container>, stream: UnixStream) -> Option<Exit> {
    let mut lines = BufReader::new(stream).lines();
    let mut exit = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Notice::Exited(told)) => exit = Some(told),
            Ok(Notice::Oom) => {
                container.change(|record| record.state.oom_killed = true);
                container.emit(engine, "oom", &[]);
            }
            Ok(Notice::ExecExited { id, status }) => engine.execs.ended(engine, &id, status),
            Ok(Notice::Started { .. }) => {}
            Err(error) => tracing::warn!(id = container.id, %error, "a shim's notice can't be read"),
        }
    }
    exit
}

/// Settles everything after a container's end.
pub(crate) async fn ended(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    told: Option<Exit>,
    ran: Duration,
) {
    let receiver = container.live().and_then(|live| live.receiver);
    if let Some(receiver) = &receiver {
        receiver.drain();
    }
    let place = match &receiver {
        Some(receiver) => receiver.place(),
        None => engine.operations.own(vec!["container".to_owned(), container.name()]),
    };
    let (work, trace) = (Arc::clone(container), place.trace().clone());
    let endpoints = engine.networks.endpoints_of(&container.id);
    let settled = engine
        .blocking(move |engine| {
            if told.is_none() {
                // The shim did not get to its end; it would have cleaned up.
                super::orphans::end(&trace, &work);
            }
            let exit = told.or_else(|| work.bundle.exit().ok().flatten());
            if let Err(error) = engine.networks.release(&trace, &work.id) {
                tracing::warn!(id = work.id, %error, "networks of an ended container stay");
            }
            super::volumes::let_go(engine, &trace, &work.record());
            Ok::<_, Error>(exit)
        })
        .await;
    let exit = settled.ok().flatten().unwrap_or_else(lost);
    container.set_live(None);
    health::unwatch(container);
    engine.execs.container_ended(&container.id);
    let restart = should_restart(container, &exit);
    // Decided before anyone hears of the end: a restart sets it aside meanwhile.
    let auto_remove = !restart && container.look(|record| record.host_config.auto_remove);
    let from = container.change(|record| {
        let from = record.state.status;
        record.state.status = if restart { Status::Restarting } else { Status::Exited };
        record.state.pid = 0;
        record.state.exit_code = exit.status;
        record.state.oom_killed |= exit.oom_killed;
        record.state.finished_at.clone_from(&exit.finished_at);
        from
    });
    if let Err(error) = engine.containers.save(container) {
        tracing::error!(id = container.id, %error, "a container's end can't be written");
    }
    container.tell_state(place.trace(), Some(from), if restart { "restarting" } else { "exited" });
    container.emit(engine, "die", &[("exitCode", exit.status.to_string())]);
    events::parted(engine, container, &endpoints);
    container.advance(|progress| {
        progress.running = false;
        progress.exits += 1;
        progress.code = exit.status;
    });
    if restart {
        spawn_restart(engine, container, ran);
    } else if auto_remove {
        let _life = container.life.lock().await;
        remove::remove_quietly(engine, container, place.trace()).await;
    }
    if let Some(receiver) = &receiver {
        receiver.drain();
        receiver.settle();
    }
}

/// What is told of a container whose shim was killed, and the container after it.
fn lost() -> Exit {
    let now = super::create::now();
    Exit { status: 137, signal: Some(9), oom_killed: false, started_at: now.clone(), finished_at: now }
}

fn should_restart(container: &Container, exit: &Exit) -> bool {
    container.look(|record| {
        let policy = &record.host_config.restart_policy;
        let retries = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
        !record.stopped_by_hand
            && match policy.name.as_str() {
                "always" | "unless-stopped" => true,
                "on-failure" => exit.status != 0 && (retries == 0 || record.restart_count < retries),
                _ => false,
            }
    })
}

/// Starts a container again, after a pause that grows with each attempt.
pub(crate) fn spawn_restart(engine: &Arc<Engine>, container: &Arc<Container>, ran: Duration) {
    let (engine, container) = (Arc::clone(engine), Arc::clone(container));
    task::spawn(async move {
        let count = container.change(|record| {
            if ran >= STEADY {
                record.restart_count = 0;
            }
            record.restart_count += 1;
            record.restart_count
        });
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(count.saturating_sub(1).min(16))).min(LONGEST);
        tokio::time::sleep(pause).await;
        let _life = container.life.lock().await;
        // Somebody may have stopped, started or removed it in the pause.
        if container.status() != Status::Restarting || container.look(|record| record.stopped_by_hand) {
            return;
        }
        let part: Arc<Use> =
            engine.operations.own(vec!["container".to_owned(), "restart".to_owned(), container.name()]);
        if let Err(error) = start::begin(&engine, &container, part.trace(), &part).await {
            tracing::warn!(id = container.id, %error, "a restart policy could not start its container");
        }
    });
}
