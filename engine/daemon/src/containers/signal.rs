//! Ending and holding containers: kill, stop, restart, pause, unpause.

use std::sync::Arc;
use std::time::Duration;

use glassdock_kernel::process::Signal;
use glassdock_trace::Trace;

use super::container::Container;
use super::record::Status;
use super::{health, start};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// How long a container has to end by itself, unless it says otherwise.
const PATIENCE: i64 = 10;

/// How long the kernel has to end a killed process.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// `ContainerKill`.
pub(crate) async fn kill(call: Call) -> Reply {
    let name = call.param("id");
    let container = call.engine.containers.find(name).map_err(|error| {
        Error::new(error.kind(), format!("Cannot kill container: {name}: {}", error.message()))
    })?;
    let signal = match call.query("signal") {
        None | Some("") => Signal::KILL,
        Some(text) => parse(text)?,
    };
    if !container.status().has_process() {
        return Err(Error::conflict(format!(
            "cannot kill container: {}: container {} is not running",
            call.param("id"),
            container.id
        )));
    }
    if signal == Signal::KILL || Some(signal) == stop_signal(&container) {
        by_hand(&call.engine, &container);
    }
    send(&call.engine, &container, signal, &call.trace).await?;
    if signal == Signal::KILL {
        // Docker answers when the container has ended; clients count on that.
        ends(&container, Some(AFTER_KILL)).await;
    }
    reply::done()
}

/// `ContainerStop`.
pub(crate) async fn stop(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let (signal, patience) = manner(&call)?;
    let life = container.life.lock().await;
    if !container.status().has_process() && container.status() != Status::Restarting {
        return Err(Error::not_modified());
    }
    let asked = ask_to_end(&call.engine, &container, &call.trace, signal, patience).await?;
    // Patience may be long: meanwhile others may stop it sooner, pause it or commit it.
    drop(life);
    if let Some(asked) = asked {
        see_it_end(&call.engine, &container, &call.trace, asked).await?;
    }
    container.emit(&call.engine, "stop", &[]);
    reply::done()
}

/// `ContainerRestart`.
pub(crate) async fn restart(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let (signal, patience) = manner(&call)?;
    let mut life = container.life.lock().await;
    if container.status().has_process() || container.status() == Status::Restarting {
        // A restart must not remove what removes itself at its end.
        let auto_remove = container.change(|record| std::mem::take(&mut record.host_config.auto_remove));
        let asked = ask_to_end(&call.engine, &container, &call.trace, signal, patience).await;
        // As with a stop, others need not wait for the end.
        drop(life);
        let ended = match asked {
            Ok(Some(asked)) => see_it_end(&call.engine, &container, &call.trace, asked).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        // A second restart at the same time found it taken, and leaves it as the first one found it.
        container.change(|record| record.host_config.auto_remove |= auto_remove);
        ended?;
        life = container.life.lock().await;
    }
    container.change(|record| record.restart_count = 0);
    let begun = match &call.operation {
        Some(part) => start::begin(&call.engine, &container, &call.trace, part).await,
        None => Ok(()),
    };
    drop(life);
    match begun {
        // Somebody else started it again meanwhile; it is a new process, which is what was asked for.
        Err(error) if error.kind() == Kind::NotModified => {}
        other => other?,
    }
    container.emit(&call.engine, "restart", &[]);
    reply::done()
}

/// The signal and the seconds that a stop asks for.
fn manner(call: &Call) -> Result<(Option<Signal>, Option<i64>), Error> {
    let signal = call.query("signal").filter(|text| !text.is_empty()).map(parse).transpose()?;
    Ok((signal, call.number("t")?))
}

fn parse(text: &str) -> Result<Signal, Error> {
    Signal::parse(text).ok_or_else(|| Error::invalid(format!("Invalid signal: {text}")))
}

fn stop_signal(container: &Container) -> Option<Signal> {
    container.look(|record| Signal::parse(&record.config.stop_signal))
}

/// Ends a container: its stop signal, patience, and then the signal that can't be
/// ignored. Returns when it has ended.
pub(crate) async fn end(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    signal: Option<Signal>,
    patience: Option<i64>,
) -> Result<(), Error> {
    match ask_to_end(engine, container, trace, signal, patience).await? {
        Some(asked) => see_it_end(engine, container, trace, asked).await,
        None => Ok(()),
    }
}

/// A container that was asked to end.
struct Asked {
    /// How often it had ended before.
    exits: u64,
    /// How long it has; none is without end.
    patience: Option<Duration>,
}

/// Sends the signal of the end. None if there is no process that could get it.
async fn ask_to_end(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    signal: Option<Signal>,
    patience: Option<i64>,
) -> Result<Option<Asked>, Error> {
    by_hand(engine, container);
    if container.status() == Status::Restarting {
        container.change(|record| record.state.status = Status::Exited);
        engine.containers.save(container)?;
        return Ok(None);
    }
    let signal = signal.or_else(|| stop_signal(container)).unwrap_or(Signal::TERM);
    let patience =
        patience.or_else(|| container.look(|record| record.config.stop_timeout)).unwrap_or(PATIENCE);
    let exits = container.progress().borrow().exits;
    send(engine, container, signal, trace).await?;
    // A negative number is patience without end.
    Ok(Some(Asked { exits, patience: u64::try_from(patience).ok().map(Duration::from_secs) }))
}

/// Waits, and loses patience. Who started the container again meanwhile has another one, which is let be.
async fn see_it_end(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    asked: Asked,
) -> Result<(), Error> {
    if ends_after(container, asked.exits, asked.patience).await {
        return Ok(());
    }
    send(engine, container, Signal::KILL, trace).await?;
    if ends_after(container, asked.exits, Some(AFTER_KILL)).await {
        return Ok(());
    }
    Err(Error::internal(format!(
        "cannot stop container: {}: its first process did not end after SIGKILL: it waits for the kernel, see its state in /proc",
        container.id
    )))
}

/// Remembers that somebody wanted it so: the restart policy does not act.
fn by_hand(engine: &Engine, container: &Container) {
    container.change(|record| record.stopped_by_hand = true);
    if let Err(error) = engine.containers.save(container) {
        tracing::warn!(id = container.id, %error, "that a container was stopped by hand can't be written");
    }
}

/// Sends a signal. That the container has ended meanwhile is no error.
pub(crate) async fn send(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    signal: Signal,
    trace: &Trace,
) -> Result<(), Error> {
    let Ok(shim) = container.shim() else { return Ok(()) };
    let (inside, frozen) = (trace.clone(), container.status() == Status::Paused);
    let sent = engine
        .blocking(move |_| {
            shim.kill(signal.number(), false, &inside)?;
            // What is frozen takes no signal, not even the last one.
            if frozen && signal == Signal::KILL { shim.unpause(&inside) } else { Ok(()) }
        })
        .await;
    container.emit(engine, "kill", &[("signal", signal.number().to_string())]);
    match sent {
        Err(_) if is_over(container) => Ok(()),
        other => other,
    }
}

/// Whether a container has ended, also when nobody has noted that yet.
pub(crate) fn is_over(container: &Container) -> bool {
    !container.status().has_process() || container.bundle.exit().is_ok_and(|exit| exit.is_some())
}

/// Waits until a container has no process; false if patience ends first.
pub(crate) async fn ends(container: &Container, patience: Option<Duration>) -> bool {
    let exits = container.progress().borrow().exits;
    ends_after(container, exits, patience).await
}

/// As [`ends`], for the process that there was when the container had ended `exits` times.
async fn ends_after(container: &Container, exits: u64, patience: Option<Duration>) -> bool {
    let mut progress = container.progress();
    let ended = async { progress.wait_for(|now| !now.running || now.exits != exits).await.is_ok() };
    match patience {
        Some(patience) => tokio::time::timeout(patience, ended).await.is_ok(),
        None => ended.await,
    }
}

/// `ContainerPause`.
pub(crate) async fn pause(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let _life = container.life.lock().await;
    match container.status() {
        Status::Running => {}
        Status::Paused => {
            return Err(Error::conflict(format!("container {} is already paused", container.id)));
        }
        _ => return Err(container.not_running()),
    }
    freeze(&call.engine, &call.trace, &container, Status::Paused).await
}

/// `ContainerUnpause`.
pub(crate) async fn unpause(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let _life = container.life.lock().await;
    if container.status() != Status::Paused {
        return Err(Error::conflict(format!("container {} is not paused", container.id)));
    }
    freeze(&call.engine, &call.trace, &container, Status::Running).await
}

pub(crate) async fn freeze(
    engine: &Arc<Engine>,
    trace: &Trace,
    container: &Arc<Container>,
    to: Status,
) -> Reply {
    let (shim, inside) = (container.shim()?, trace.clone());
    let act =
        move |_: &Arc<Engine>| if to == Status::Paused { shim.pause(&inside) } else { shim.unpause(&inside) };
    let acted = engine.blocking(act).await;
    acted.map_err(|error| if is_over(container) { container.not_running() } else { error })?;
    let from = container.change(|record| std::mem::replace(&mut record.state.status, to));
    if to == Status::Paused {
        health::unwatch(container)
    } else {
        health::watch(engine, container)
    }
    engine.containers.save(container)?;
    container.tell_state(trace, Some(from), to.word());
    container.emit(engine, if to == Status::Paused { "pause" } else { "unpause" }, &[]);
    reply::done()
}
