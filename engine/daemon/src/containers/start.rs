//! `ContainerStart`: a created container becomes a running one.
//!
//! ```text
//!   daemon                                  shim, init
//!     writes the bundle
//!     runtime::create ────────────────────► namespaces exist
//!     attaches networks to /proc/PID/ns/net   … mounts, pivot_root, limits
//!     writes hosts and resolv.conf            … waits
//!     attaches the clients that wait
//!     shim.start ─────────────────────────► execve
//!     running
//! ```
//!
//! All of it is one piece of blocking work: a step gate holds that thread, and no
//! lock but the container's own.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glassdock_kernel::link::Netns;
use glassdock_registry::task;
use glassdock_runtime::{Launch, Shim};
use glassdock_trace::{Channel, Trace};

use super::container::{Container, Live};
use super::create::now;
use super::record::{Record, State, Status};
use super::{events, files, health, links, logging, mounts, networks, sharing, spec, supervise, volumes};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind, in_dockers_words};
use crate::operations::{Receiver, Use};
use crate::reply::{self, Reply};

/// A shim whose start failed has so long to end.
const SHIM_TIME: Duration = Duration::from_secs(5);

/// `ContainerStart`.
pub(crate) async fn start(call: Call) -> Reply {
    // An empty object is shorter; a length that isn't told is no empty body.
    let length = call.header("content-length").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if length > 7 || call.header("transfer-encoding").is_some() {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let container = call.engine.containers.find(call.param("id"))?;
    if let Some(part) = &call.operation {
        run(&call.engine, &container, &call.trace, part).await?;
    }
    reply::done()
}

/// Starts a container, if it does not run already.
///
/// # Errors
///
/// Not modified, if it runs; conflict, if its state forbids it; and whatever failed.
pub(crate) async fn run(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    part: &Arc<Use>,
) -> Result<(), Error> {
    let _life = container.life.lock().await;
    if !container.status().has_process() {
        // Its restart policy counts from here.
        container.change(|record| record.restart_count = 0);
    }
    begin(engine, container, trace, part).await
}

/// As [`run`], by someone who holds the container's life.
pub(crate) async fn begin(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    part: &Arc<Use>,
) -> Result<(), Error> {
    match container.status() {
        Status::Running => return Err(Error::not_modified()),
        Status::Paused => {
            return Err(Error::conflict("cannot start a paused container, try unpause instead"));
        }
        Status::Removing | Status::Dead => {
            return Err(Error::conflict("container is marked for removal and cannot be started"));
        }
        Status::Created | Status::Exited | Status::Restarting => {}
    }
    let (near, far) = Channel::pair()?;
    let story = vec!["container".to_owned(), container.name()];
    let receiver = Receiver::spawn(&engine.operations, part.operation(), near, story);
    let (at, work, inside, hears) =
        (Arc::clone(engine), Arc::clone(container), trace.clone(), Arc::clone(&receiver));
    let launched = task::spawn_blocking(move || launch(&at, &work, &inside, far, &hears)).await?;
    receiver.drain();
    match launched {
        Ok(launched) => {
            container.set_live(Some(Live { shim: launched.shim, receiver: Some(receiver) }));
            events::joined(engine, container);
            container.emit(engine, "start", &[]);
            health::watch(engine, container);
            supervise::spawn(engine, container, launched.watch, Some(launched.process))
        }
        Err(failed) => {
            // Clients that wait for the streams of this start see their end.
            container.waiting_clients().clear();
            fail(engine, container, trace, &failed).await;
            Err(failed.error)
        }
    }
}

struct Launched {
    shim: Shim,
    process: glassdock_kernel::process::Process,
    watch: UnixStream,
}

/// A start that failed, and the exit status that it means for the container.
struct Failed {
    error: Error,
    status: i32,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, status: 128 }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<glassdock_runtime::Error> for Failed {
    fn from(error: glassdock_runtime::Error) -> Self {
        use glassdock_runtime::Error as Runtime;
        let task = |message: &str| {
            format!("failed to create task for container: {}: unknown", in_dockers_words(message))
        };
        match &error {
            // Docker answers 400 for a program that can't be executed and for what isn't there, 500 for everything else.
            // As the client's user is looked for before anything is made there, that has its own words.
            Runtime::Step(failed) if failed.step == "user" => {
                Self { error: Error::internal(failed.message.clone()), status: failed.status }
            }
            Runtime::Step(failed) => {
                let given = matches!(failed.status, 126 | 127) || asked_for(failed);
                let kind = if given { Kind::Invalid } else { Kind::Internal };
                Self { error: Error::new(kind, task(&failed.message)), status: failed.status }
            }
            _ => {
                let error = Error::of(Kind::Internal, &error);
                Self { error: Error::internal(task(error.message())), status: 128 }
            }
        }
    }
}

/// Whether a step failed by what the container was asked to have: a kernel's setting or a mount that
/// can't be.
fn asked_for(failed: &glassdock_runtime::Failed) -> bool {
    matches!(failed.step.as_str(), "sysctl" | "mounts")
        && failed.errno.is_some_and(|errno| {
            use std::io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
            matches!(std::io::Error::from_raw_os_error(errno).kind(), NotFound | NotADirectory | InvalidInput)
        })
}

/// The start itself; blocking. What it did is undone when it fails.
fn launch(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    trace: &Trace,
    channel: Channel,
    receiver: &Arc<Receiver>,
) -> Result<Launched, Failed> {
    let mut record = container.record();
    links::complete(engine, &mut record)?;
    let shared = sharing::at_start(engine, &mut record)?;
    mounts::check_propagation(&record, &engine.config.root)?;
    logging::kept(&record.host_config.log_config)?;
    container.change(|known| {
        known.config.hostname.clone_from(&record.config.hostname);
        known.config.domainname.clone_from(&record.config.domainname);
    });
    if record.host_config.auto_remove {
        // A stack whose writes need not survive marks its work folder, and can't be made there again.
        let work = container.bundle.path("work");
        std::fs::remove_dir_all(&work)?;
        std::fs::create_dir(&work)?;
    }
    // The end of an earlier run is none of this one.
    match std::fs::remove_file(container.bundle.path("exit.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    files::write(container, &record)?;
    let (spec, extras) = spec::of(container, &record, &shared)?;
    write_json(&container.bundle.path("config.json"), &spec)?;
    write_json(&container.bundle.path("glassdock.json"), &extras)?;
    volumes::hold(engine, trace, &record)?;
    let launched = launch_held(engine, container, &record, trace, channel, receiver);
    if launched.is_err() {
        volumes::let_go(engine, trace, &record);
    }
    launched
}

/// The rest of a launch, while the container's volumes are held for it.
fn launch_held(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    record: &Record,
    trace: &Trace,
    channel: Channel,
    receiver: &Arc<Receiver>,
) -> Result<Launched, Failed> {
    let launch = Launch { bundle: container.bundle.clone(), channel: Some(channel), shim: None };
    let created = glassdock_runtime::create(launch, trace)?;
    let shim = Shim::connect(&container.bundle)?;
    let result = connect(engine, container, record, trace, (created.init_pid, &shim));
    let launched = result.and_then(|()| {
        let watch = shim.watch()?;
        give_streams(container, &shim)?;
        shim.start()?;
        created.lent.give_back();
        Ok(watch)
    });
    match launched {
        Ok(watch) => {
            // What led here is told before what follows from it.
            receiver.drain();
            running(engine, container, trace, created.init_pid)?;
            Ok(Launched { shim, process: created.shim, watch })
        }
        Err(failed) => {
            // A shim whose init did not come to its execve ends by itself; one that waits is told to.
            let _ = shim.kill(9, true, trace);
            // A shim keeps the reason for whoever asks; asked, it has nothing to stay for. It is waited
            // for, so that the next start finds nothing of this one.
            let _ = shim.start();
            let process = created.shim;
            let waiting = task::spawn_blocking(move || process.wait(&Trace::off()));
            let end = Instant::now() + SHIM_TIME;
            while !waiting.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            super::orphans::end(trace, container);
            if let Err(error) = engine.networks.release(trace, &container.id) {
                tracing::warn!(id = container.id, %error, "networks of a failed start stay");
            }
            Err(failed)
        }
    }
}

/// Attaches the container's networks while init mounts, and writes what is known then.
fn connect(
    engine: &Engine,
    container: &Container,
    record: &Record,
    trace: &Trace,
    (init_pid, shim): (u32, &Shim),
) -> Result<(), Failed> {
    if record.host_config.network_mode.starts_with("container:") || record.config.network_disabled {
        return Ok(());
    }
    let netns = Netns::of(init_pid).map_err(|error| {
        // An init that is gone has failed by itself, at a mount; its shim knows why.
        let gone = std::io::Error::from_raw_os_error(error.errno().unwrap_or_default()).kind();
        let reason = (gone == std::io::ErrorKind::NotFound).then(|| shim.start().err()).flatten();
        reason.map_or_else(|| Error::of(Kind::Internal, &error).into(), Failed::from)
    })?;
    let mut configs = networks::endpoint_configs(record)?;
    engine.networks.choose_routes(&mut configs);
    for config in configs {
        engine.networks.attach(trace, &netns, &config).map_err(|error| {
            let error = networks::failed(error);
            Error::new(error.kind(), format!("failed to set up container networking: {}", error.message()))
        })?;
    }
    crate::networks::names::serve(engine, trace, record, &netns)?;
    files::write_hosts(container, record, &engine.networks.endpoints_of(&container.id))?;
    Ok(())
}

/// Gives the clients that attached before the start their streams, so that they
/// miss nothing.
fn give_streams(container: &Container, shim: &Shim) -> Result<(), Failed> {
    let waiting = std::mem::take(&mut *container.waiting_clients());
    for waiting in waiting {
        let stream = shim.attach(waiting.streams)?;
        // A client that left meanwhile misses nothing either.
        let _ = waiting.give.send(stream);
    }
    Ok(())
}

fn running(engine: &Engine, container: &Container, trace: &Trace, pid: u32) -> Result<(), Error> {
    let from = container.change(|record| {
        let from = record.state.status;
        record.stopped_by_hand = false;
        record.state = State {
            status: Status::Running,
            pid,
            started_at: now(),
            finished_at: std::mem::take(&mut record.state.finished_at),
            health: health::at_start(record),
            ..State::default()
        };
        from
    });
    container.advance(|progress| progress.running = true);
    container.tell_state(trace, Some(from), "running");
    engine.containers.save(container)
}

/// Remembers why a start failed, as Docker does: the container stays as it was,
/// with the exit status and the error.
async fn fail(engine: &Arc<Engine>, container: &Arc<Container>, trace: &Trace, failed: &Failed) {
    container.change(|record| {
        record.state.exit_code = failed.status;
        failed.error.message().clone_into(&mut record.state.error);
        record.state.pid = 0;
        if record.state.status == Status::Restarting {
            record.state.status = Status::Exited;
        }
    });
    if let Err(error) = engine.containers.save(container) {
        tracing::error!(id = container.id, %error, "the end of a failed start can't be written");
    }
    container.emit(engine, "die", &[("exitCode", failed.status.to_string())]);
    container.advance(|progress| {
        progress.exits += 1;
        progress.code = failed.status;
    });
    if container.look(|record| record.host_config.auto_remove) {
        super::remove::remove_quietly(engine, container, trace).await;
    }
}

fn write_json(path: &std::path::Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(value).map_err(|error| Error::of(Kind::Internal, &error))?;
    Ok(std::fs::write(path, text)?)
}
