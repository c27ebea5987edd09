//! Further processes in a running container: `docker exec`.
//!
//! An exec is created, then started once; its shim tells of its end. Those of a
//! container go with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glassdock_runtime::oci::{ConsoleSize, Process};
use glassdock_runtime::{ExecSpec, Streams};
use glassdock_trace::Channel;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio_util::io::ReaderStream;

use super::attach::content_type;
use super::container::Container;
use super::record::Status;
use super::{attach, names, security, spec, streams};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::operations::Receiver;
use crate::reply::{self, Reply};

/// An ended exec is remembered until its container has so many newer ones.
const KEPT: usize = 256;

/// An exec that closed its output has so long to end before its client is let go.
const SETTLING: Duration = Duration::from_secs(1);

/// All execs of an engine.
#[derive(Debug, Default)]
pub struct Execs {
    known: Mutex<BTreeMap<String, Exec>>,
    ended: Notify,
}

#[derive(Clone, Debug)]
struct Exec {
    container: String,
    request: ExecRequest,
    running: bool,
    started: bool,
    exit_code: Option<i32>,
    pid: u32,
    /// The order of their making.
    number: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ExecRequest {
    user: String,
    privileged: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    detach_keys: String,
    env: Vec<String>,
    working_dir: String,
    cmd: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StartRequest {
    detach: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
}

impl Execs {
    /// The ids of a container's execs that run, for `inspect`; `null` for none.
    #[must_use]
    pub fn running_in(&self, container: &str) -> Option<Vec<String>> {
        let execs = self.lock();
        let running: Vec<String> = execs
            .iter()
            .filter(|(_, exec)| exec.container == container && exec.running)
            .map(|(id, _)| id.clone())
            .collect();
        (!running.is_empty()).then_some(running)
    }

    /// An exec's process has ended.
    pub(crate) fn ended(&self, engine: &Engine, id: &str, status: i32) {
        let container = {
            let mut execs = self.lock();
            let Some(exec) = execs.get_mut(id) else { return };
            exec.running = false;
            exec.exit_code = Some(status);
            exec.container.clone()
        };
        self.ended.notify_waiters();
        if let Ok(container) = engine.containers.find(&container) {
            container.emit(
                engine,
                "exec_die",
                &[("execID", id.to_owned()), ("exitCode", status.to_string())],
            );
        }
    }

    /// A container has ended, and its execs with it.
    pub(crate) fn container_ended(&self, container: &str) {
        for exec in self.lock().values_mut().filter(|exec| exec.container == container && exec.running) {
            exec.running = false;
            exec.exit_code.get_or_insert(137);
        }
    }

    /// Waits until an exec has ended, for a little while. Its output ends before
    /// its status is told; a client asks for that as soon as it sees the end.
    async fn settled(&self, id: &str) {
        let settled = async {
            loop {
                let ended = self.ended.notified();
                if !self.lock().get(id).is_some_and(|exec| exec.running) {
                    return;
                }
                ended.await;
            }
        };
        let _ = tokio::time::timeout(SETTLING, settled).await;
    }

    /// A container is gone, and its execs with it.
    pub(crate) fn container_removed(&self, container: &str) {
        self.lock().retain(|_, exec| exec.container != container);
    }

    fn add(&self, id: String, container: &str, request: ExecRequest) {
        let mut execs = self.lock();
        let number = execs.values().map(|exec| exec.number).max().unwrap_or(0) + 1;
        let mut over: Vec<(u64, String)> = execs
            .iter()
            .filter(|(_, exec)| exec.container == container && !exec.running)
            .map(|(id, exec)| (exec.number, id.clone()))
            .collect();
        over.sort_unstable();
        for (_, id) in over.iter().take(over.len().saturating_sub(KEPT)) {
            execs.remove(id);
        }
        let container = container.to_owned();
        execs.insert(
            id,
            Exec { container, request, running: false, started: false, exit_code: None, pid: 0, number },
        );
    }

    fn get(&self, id: &str) -> Result<Exec, Error> {
        self.lock().get(id).cloned().ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Exec)) {
        if let Some(exec) = self.lock().get_mut(id) {
            change(exec);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exec>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `ContainerExec`: an exec is created.
pub(crate) async fn create(mut call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let request: ExecRequest = call.json().await?;
    check_running(&container)?;
    if request.cmd.first().is_none_or(String::is_empty) {
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
    let id = names::new_id()?;
    container.emit(
        &call.engine,
        &format!("exec_create: {}", request.cmd.join(" ")),
        &[("execID", id.clone())],
    );
    call.engine.execs.add(id.clone(), &container.id, request);
    reply::json_with(StatusCode::CREATED, &json!({ "Id": id }))
}

fn check_running(container: &Container) -> Result<(), Error> {
    match container.status() {
        Status::Running => Ok(()),
        Status::Paused => Err(Error::conflict(format!(
            "Container {} is paused, unpause the container before exec",
            container.id
        ))),
        Status::Restarting => Err(Error::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            container.id
        ))),
        _ => Err(container.not_running()),
    }
}

/// `ExecStart`: the process begins; the connection becomes its streams.
pub(crate) async fn start(mut call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let start: StartRequest = call.json_or_empty().await?.unwrap_or_default();
    let engine = call.engine.clone();
    let exec = engine.execs.get(&id)?;
    let container = engine.containers.find(&exec.container)?;
    check_running(&container)?;
    if exec.started {
        return Err(Error::conflict(format!("Error: Exec command {id} is already running")));
    }
    engine.execs.change(&id, |exec| (exec.started, exec.running) = (true, true));
    let spec = match spec_of(&container, &id, &exec.request, &start) {
        Ok(spec) => spec,
        Err(error) => {
            engine.execs.change(&id, |exec| (exec.running, exec.exit_code) = (false, Some(126)));
            return Err(error);
        }
    };
    let (near, far) = Channel::pair()?;
    let Some(part) = call.operation.clone() else {
        return Err(Error::internal("an exec without an operation"));
    };
    let receiver = Receiver::spawn(
        &engine.operations,
        part.operation(),
        near,
        vec!["exec".to_owned(), container.name()],
    )?;
    container.emit(
        &engine,
        &format!("exec_start: {}", exec.request.cmd.join(" ")),
        &[("execID", id.clone())],
    );
    let (shim, trace) = (container.shim()?, call.trace.clone());
    let begun = engine.blocking(move |_| Ok::<_, Error>(shim.exec(&spec, &trace, Some(far)))).await?;
    receiver.drain();
    let execed = match begun {
        Ok(execed) => execed,
        Err(error) => {
            let (error, status) = failed(&error);
            engine.execs.change(&id, |exec| (exec.running, exec.exit_code) = (false, Some(status)));
            return match call.upgrade() {
                Some(upgrade) => Ok(told(upgrade, &error, exec.request.tty, call.version)),
                None => Err(error),
            };
        }
    };
    engine.execs.change(&id, |exec| exec.pid = execed.pid);
    let Some(stream) = execed.stream else { return Ok(reply::empty(StatusCode::OK)) };
    let stream = streams::of_shim(stream)?;
    let content_type = content_type(exec.request.tty, call.version);
    let keys = streams::keys_for(exec.request.tty, Some(&exec.request.detach_keys))?;
    match call.upgrade() {
        Some(upgrade) => {
            tokio::spawn(async move {
                if let Ok(client) = upgrade.await {
                    streams::join(client, stream, keys, engine.execs.settled(&id)).await;
                }
                drop(part);
            });
            Ok(reply::upgraded(content_type))
        }
        None => Ok(reply::stream(content_type, ReaderStream::new(stream))),
    }
}

/// Tells why an exec can't begin to a client that has asked for the streams: it reads nothing
/// else any more, and takes the exit status from `ExecInspect`.
fn told(
    upgrade: hyper::upgrade::OnUpgrade,
    error: &Error,
    tty: bool,
    version: crate::call::ApiVersion,
) -> http::Response<axum::body::Body> {
    let words = stdout_frame(&format!("{error}\r\n"), tty);
    tokio::spawn(async move {
        let Ok(client) = upgrade.await else { return };
        let mut client = hyper_util::rt::TokioIo::new(client);
        // A client that left misses it.
        let _ = client.write_all(&words).await;
        let _ = client.shutdown().await;
    });
    reply::upgraded(content_type(tty, version))
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
fn failed(error: &glassdock_runtime::Error) -> (Error, i32) {
    match error {
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
    let record = container.record();
    let shared = spec::Shared::default();
    let (whole, extras) = spec::of(container, &record, &shared)?;
    let mut process: Process = whole.process.unwrap_or_default();
    process.args.clone_from(&request.cmd);
    process.terminal = request.tty;
    process.console_size =
        request.console_size.or(start.console_size).map(|[height, width]| ConsoleSize { height, width });
    process.env.extend(request.env.iter().cloned());
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
        user: if request.user.is_empty() { extras.user } else { Some(request.user.clone()) },
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
        "CanRemove": !exec.running && exec.started,
        "ContainerID": exec.container,
        "DetachKeys": request.detach_keys,
        "Pid": exec.pid,
    }))
}

/// `ExecResize`.
pub(crate) async fn resize(call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let exec = call.engine.execs.get(&id)?;
    let (rows, columns) = attach::size(&call)?;
    if !exec.running {
        return Err(Error::not_found(format!("No such exec instance: {id}")));
    }
    let shim = call.engine.containers.find(&exec.container)?.shim()?;
    call.engine.blocking(move |_| shim.resize(Some(&id), rows, columns)).await?;
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
