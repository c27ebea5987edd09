//! Further processes in a running container: `docker exec`.
//!
//! An exec is created, then started once; its shim tells of its end. Those of a
//! container go with it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use glassdock_registry::task;
use glassdock_runtime::oci::ConsoleSize;
use glassdock_runtime::{ExecSpec, Streams};
use glassdock_trace::{Channel, Trace};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::attach::content_type;
use super::container::Container;
use super::execs::{Exec, ExecRequest, no_such};
use super::record::Status;
use super::{attach, names, security, spec, streams};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::operations::{Receiver, Use};
use crate::reply::{self, Reply};

/// So long does a terminal's size wait for an exec to begin.
const BEGINNING: Duration = Duration::from_secs(10);

/// `ESRCH`; errno(3).
const NO_SUCH_PROCESS: i32 = 3;

/// What a shim says whose container has ended.
const NOT_RUNNING: &str = "the container is not running";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StartRequest {
    detach: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
}

/// `ContainerExec`: an exec is created.
pub(crate) async fn create(mut call: Call) -> Reply {
    let request: ExecRequest = call.json().await?;
    let container = call.engine.containers.find(call.param("id"))?;
    check_running(&container, call.param("id"))?;
    if request.cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    if request
        .cmd
        .iter()
        .chain(&request.env)
        .chain([&request.user, &request.working_dir])
        .any(|text| text.contains('\0'))
    {
        return Err(Error::invalid("a zero byte can't be in a word, a name or the environment"));
    }
    streams::detach_keys(Some(&request.detach_keys))?;
    let id = add(&call.engine, &container, request)?;
    reply::json_with(StatusCode::CREATED, &json!({ "Id": id }))
}

fn add(engine: &Engine, container: &Container, request: ExecRequest) -> Result<String, Error> {
    let id = names::new_id()?;
    let action = format!("exec_create: {}", request.cmd.join(" "));
    container.emit(engine, &action, &[("execID", id.clone())]);
    engine.execs.add(id.clone(), &container.id, request);
    Ok(id)
}

/// An exec of the engine's own, that checks a container's health: its id.
///
/// # Errors
///
/// Conflict, if the container doesn't run.
pub(crate) fn prepare(engine: &Engine, container: &Container, command: &[String]) -> Result<String, Error> {
    check_running(container, &container.id)?;
    let cmd = command.to_vec();
    add(
        engine,
        container,
        ExecRequest { cmd, attach_stdout: true, attach_stderr: true, ..ExecRequest::default() },
    )
}

/// Starts an exec of the engine's own: its output.
///
/// # Errors
///
/// Why the command can't be executed.
pub(crate) async fn begin(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    id: &str,
    operation: Option<&Arc<Use>>,
) -> Result<Option<tokio::net::UnixStream>, Error> {
    engine.execs.claim(id)?;
    let begin = Begin {
        engine: Arc::clone(engine),
        container: Arc::clone(container),
        id: id.to_owned(),
        exec: engine.execs.get(id)?,
        start: StartRequest::default(),
        trace: operation.map_or_else(Trace::off, |operation| operation.trace().clone()),
        part: operation.map(Arc::clone),
    };
    begin.run().await
}

/// Whether something can be executed in a container, which the client called `name`.
fn check_running(container: &Container, name: &str) -> Result<(), Error> {
    match container.status() {
        Status::Running => Ok(()),
        Status::Paused => {
            Err(Error::conflict(format!("Container {name} is paused, unpause the container before exec")))
        }
        Status::Restarting => Err(Error::conflict(format!(
            "Container {name} is restarting, wait until the container is running"
        ))),
        _ => Err(container.not_running()),
    }
}

/// `ExecStart`: the process begins; the connection becomes its streams.
///
/// A client that asks for the streams gets the reply's head before the process begins, as from
/// Docker: one that reads the head through a buffer would lose the output that came with it.
pub(crate) async fn start(mut call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let start: StartRequest = call.json_or_empty().await?.unwrap_or_default();
    let engine = call.engine.clone();
    let exec = engine.execs.get(&id)?;
    let container = engine.containers.find(&exec.container)?;
    check_running(&container, &container.id)?;
    engine.execs.claim(&id)?;
    let upgrade = if start.detach { None } else { call.upgrade() };
    let begin =
        Begin { engine, container, id, exec, start, trace: call.trace.clone(), part: call.operation.clone() };
    let (tty, keys) = (begin.exec.request.tty, begin.exec.request.detach_keys.clone());
    // The process has a terminal if its making said so; the stream has frames unless its start says so.
    let shape = streams::Shape::of(tty, begin.start.tty);
    let content_type = content_type(begin.start.tty, call.version);
    let Some(upgrade) = upgrade else {
        let stream = begin.run().await?;
        return Ok(match stream {
            Some(stream) => {
                let (engine, id) = (begin.engine.clone(), begin.id.clone());
                let settled = futures_util::stream::once(async move {
                    engine.execs.settled(&id).await;
                    None
                });
                let output = ReaderStream::new(shape.put_on(stream)?);
                reply::stream(content_type, output.chain(settled.filter_map(std::future::ready)))
            }
            None => reply::empty(StatusCode::OK),
        });
    };
    let keys = streams::keys_for(tty, Some(&keys))?;
    task::spawn(async move {
        let Ok(client) = upgrade.await else {
            // The client left before it began; it is as if it had not asked.
            begin.engine.execs.change(&begin.id, |exec| (exec.started, exec.running) = (false, false));
            return;
        };
        match begin.run().await.and_then(|stream| stream.map(|stream| shape.put_on(stream)).transpose()) {
            Ok(Some(stream)) => {
                let Some(client) = streams::Client::of(client).await else { return };
                streams::join(client, stream, keys, begin.engine.execs.settled(&begin.id)).await;
            }
            Ok(None) => {}
            Err(error) => {
                // It reads nothing else any more, and takes the exit status from `ExecInspect`.
                let mut client = hyper_util::rt::TokioIo::new(client);
                let _ = client.write_all(&stdout_frame(&format!("{error}\r\n"), begin.start.tty)).await;
                let _ = client.shutdown().await;
            }
        }
        drop(begin);
    });
    Ok(reply::upgraded(content_type))
}

/// An exec that is about to begin, and what it needs for that.
struct Begin {
    engine: Arc<Engine>,
    container: Arc<Container>,
    id: String,
    exec: Exec,
    start: StartRequest,
    trace: Trace,
    /// Keeps the request's operation open until the streams' end; none is not recorded.
    part: Option<Arc<Use>>,
}

impl Begin {
    /// Starts the process: its streams, or none if nobody wants them.
    async fn run(&self) -> Result<Option<tokio::net::UnixStream>, Error> {
        let begun = self.launch().await;
        match begun {
            Ok(stream) => Ok(stream),
            Err((error, status)) => {
                let failed = |exec: &mut Exec| {
                    (exec.running, exec.exit_code, exec.receiver) = (false, Some(status), None);
                };
                self.engine.execs.change(&self.id, failed);
                Err(error)
            }
        }
    }

    async fn launch(&self) -> Result<Option<tokio::net::UnixStream>, (Error, i32)> {
        let cannot = |error: Error| (error, 126);
        let (engine, container, request) = (&self.engine, &self.container, &self.exec.request);
        let spec = spec_of(container, &self.id, request, &self.start).map_err(cannot)?;
        let mut channel = None;
        let mut receiver = None;
        if let Some(part) = &self.part {
            let (near, far) = Channel::pair().map_err(|error| cannot(error.into()))?;
            let story = vec!["exec".to_owned(), container.name()];
            let hears = Receiver::spawn(&engine.operations, part.operation(), near, story);
            engine.execs.change(&self.id, |exec| exec.receiver = Some(Arc::clone(&hears)));
            (channel, receiver) = (Some(far), Some(hears));
        }
        let action = format!("exec_start: {}", request.cmd.join(" "));
        container.emit(engine, &action, &[("execID", self.id.clone())]);
        let (shim, trace) = (container.shim().map_err(cannot)?, self.trace.clone());
        let begun = engine.blocking(move |_| Ok::<_, Error>(shim.exec(&spec, &trace, channel))).await;
        if let Some(receiver) = receiver {
            receiver.drain();
        }
        let execed = begun.map_err(cannot)?.map_err(|error| failed(container, &error))?;
        engine.execs.change(&self.id, |exec| exec.pid = execed.pid);
        execed.stream.map(streams::of_shim).transpose().map_err(cannot)
    }
}

/// Words as a process's standard output: as they are for a terminal, else in a frame.
fn stdout_frame(words: &str, tty: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(words.len() + 8);
    if !tty {
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(u32::try_from(words.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.extend(words.as_bytes());
    bytes
}

/// What the client is told when an exec can't begin, and the exit status of that.
/// Clients tell "not found" and "not executable" by the words.
fn failed(container: &Container, error: &glassdock_runtime::Error) -> (Error, i32) {
    match error {
        // The first process, whose namespaces were to be joined, ended just now; so did the shim,
        // or it cleans up.
        glassdock_runtime::Error::Step(failed)
            if failed.errno == Some(NO_SUCH_PROCESS) || failed.message == NOT_RUNNING =>
        {
            (container.not_running(), 126)
        }
        glassdock_runtime::Error::Gone { .. } => (container.not_running(), 126),
        // Docker looks for the user before anything else, and has words of its own for that.
        glassdock_runtime::Error::Step(failed) if failed.step == "user" => {
            (Error::internal(failed.message.clone()), 126)
        }
        glassdock_runtime::Error::Step(failed) => {
            let kind = if matches!(failed.status, 126 | 127) { Kind::Invalid } else { Kind::Internal };
            (
                Error::new(
                    kind,
                    format!(
                        "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
                        failed.message
                    ),
                ),
                failed.status,
            )
        }
        error => (Error::of(Kind::Internal, error), 126),
    }
}

/// The process: the container's, with what the exec asks for otherwise.
fn spec_of(
    container: &Container,
    id: &str,
    request: &ExecRequest,
    start: &StartRequest,
) -> Result<ExecSpec, Error> {
    let (process, own_user) = container.look(|record| (spec::process(record), spec::user(record)));
    let mut process = process?;
    process.args.clone_from(&request.cmd);
    process.terminal = request.tty;
    process.console_size =
        request.console_size.or(start.console_size).map(|[height, width]| ConsoleSize { height, width });
    spec::set_variables(&mut process.env, &request.env);
    if request.tty && !process.env.iter().any(|pair| pair.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_owned());
    }
    if !request.working_dir.is_empty() {
        process.cwd.clone_from(&request.working_dir);
    }
    if request.privileged {
        let all = super::model::HostConfig { privileged: true, ..super::model::HostConfig::default() };
        let names = security::capabilities(&all)?.names();
        if let Some(sets) = &mut process.capabilities {
            (sets.bounding, sets.effective, sets.permitted) = (names.clone(), names.clone(), names);
        }
    }
    let streams =
        Streams { stdin: request.attach_stdin, stdout: request.attach_stdout, stderr: request.attach_stderr };
    Ok(ExecSpec {
        id: id.to_owned(),
        process,
        user: Some(if request.user.is_empty() { own_user } else { request.user.clone() }),
        privileged: request.privileged,
        open_stdin: request.attach_stdin && !start.detach,
        attach: (!start.detach).then_some(streams),
    })
}

/// `ExecInspect`.
pub(crate) async fn inspect(call: Call) -> Reply {
    let id = call.param("id");
    let exec = call.engine.execs.get(id)?;
    let request = &exec.request;
    let (program, arguments) = match request.cmd.split_first() {
        Some((program, arguments)) => (program.clone(), arguments.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let mut process = json!({ "tty": request.tty, "entrypoint": program, "arguments": arguments, "privileged": request.privileged });
    if let (false, Some(map)) = (request.user.is_empty(), process.as_object_mut()) {
        map.insert("user".to_owned(), Value::String(request.user.clone()));
    }
    reply::json(&json!({
        "ID": id,
        "Running": exec.running,
        "ExitCode": exec.exit_code,
        "ProcessConfig": process,
        "OpenStdin": request.attach_stdin,
        "OpenStderr": request.attach_stderr,
        "OpenStdout": request.attach_stdout,
        "CanRemove": false,
        "ContainerID": exec.container,
        "DetachKeys": request.detach_keys,
        "Pid": exec.pid,
    }))
}

/// `ExecResize`.
pub(crate) async fn resize(call: Call) -> Reply {
    let id = call.param("id").to_owned();
    call.engine.execs.get(&id)?;
    let (rows, columns) = attach::size(&call)?;
    // A client is attached before the process begins, and may ask at once.
    let _ = tokio::time::timeout(BEGINNING, call.engine.execs.begun(&id)).await;
    let exec = call.engine.execs.get(&id)?;
    if !exec.running {
        return Err(no_such(&id));
    }
    let shim = call.engine.containers.find(&exec.container)?.shim()?;
    if exec.request.tty {
        call.engine.blocking(move |_| shim.resize(Some(&id), rows, columns)).await?;
    }
    Ok(reply::empty(StatusCode::OK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_as_the_process_would_say_them() {
        assert_eq!(stdout_frame("no\r\n", false), b"\x01\0\0\0\0\0\0\x04no\r\n");
        assert_eq!(stdout_frame("no\r\n", true), b"no\r\n");
    }
}
