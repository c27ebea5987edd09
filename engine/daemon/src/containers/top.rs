//! `ContainerTop`: the processes of a container, as the host's ps(1) shows them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

use glassdock_kernel::cgroup::Cgroup;
use glassdock_kernel::process::{self, Spawn};
use glassdock_trace::Trace;
use serde_json::json;

use super::record::Status;
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// `ContainerTop`.
pub(crate) async fn top(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    match container.status() {
        Status::Running | Status::Paused => {}
        Status::Restarting => {
            return Err(Error::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                container.id
            )));
        }
        _ => return Err(container.not_running()),
    }
    let arguments = call.query("ps_args").filter(|text| !text.trim().is_empty()).unwrap_or("-ef").to_owned();
    check(&arguments)?;
    let name = super::cgroup_of(&container);
    let first = container.look(|record| record.state.pid);
    let trace = call.trace.clone();
    let (titles, processes) = call
        .engine
        .blocking(move |_| {
            let group = Cgroup::open(&name).and_then(|group| group.list_processes(&trace));
            // Without control groups only the first process is known.
            let mut pids: HashSet<u32> = group.unwrap_or_default().into_iter().collect();
            pids.insert(first);
            table(&arguments, &pids, &trace)
        })
        .await?;
    reply::json(&json!({ "Titles": titles, "Processes": processes }))
}

/// Refuses arguments by which process ids, by which the container's are found, could be mistaken.
fn check(arguments: &str) -> Result<(), Error> {
    if arguments.contains('\0') || arguments.len() > 4096 {
        return Err(Error::invalid("ps: the arguments are too long or have a zero byte"));
    }
    // Another column that is called as the ids' is.
    for (at, _) in arguments.match_indices('=') {
        let (before, after) =
            (arguments.get(..at).unwrap_or_default(), arguments.get(at + 1..).unwrap_or_default());
        let column = before.rsplit(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
        let title = after.trim_start();
        if title.starts_with("PID") && column != "pid" {
            let title = title.split_whitespace().next().unwrap_or_default();
            return Err(Error::invalid(format!("specifying \"{column}={title}\" is not allowed")));
        }
    }
    Ok(())
}

type Table = (Vec<String>, Vec<Vec<String>>);

/// The container's rows of what ps says of the whole host. Some options have it look at its own terminal's processes only
/// (`ps o pid,cmd`); where that shows nothing of the container, it is asked for the container's by their numbers.
fn table(arguments: &str, pids: &HashSet<u32>, trace: &Trace) -> Result<Table, Error> {
    let all = ps(arguments, trace).and_then(|text| rows(&text, pids));
    if all.as_ref().is_ok_and(|(_, processes)| !processes.is_empty()) {
        return all;
    }
    let mut list: Vec<String> = pids.iter().map(u32::to_string).collect();
    list.sort_unstable();
    let only = format!("{arguments} -q {}", list.join(","));
    ps(&only, trace).and_then(|text| rows(&text, pids)).or(all)
}

fn rows(text: &str, pids: &HashSet<u32>) -> Result<Table, Error> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(Error::internal("Couldn't find PID field in ps output"));
    };
    let mut processes = Vec::new();
    for line in lines {
        let fields = split(line, titles.len());
        let pid = fields.get(column).and_then(|field| field.parse::<u32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            processes.push(fields);
        }
    }
    Ok((titles, processes))
}

/// What the host's ps says; it knows nothing of containers.
fn ps(arguments: &str, trace: &Trace) -> Result<String, Error> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let file = std::env::split_paths(&path).map(|folder| folder.join("ps")).find(|file| file.is_file());
    let file = file.ok_or_else(|| Error::internal("there is no ps on the host: install procps"))?;
    run(file, arguments, trace).map_err(|error| match error {
        Failed::Said(words) => Error::internal(format!("ps: {words}")),
        Failed::Run(why) => Error::internal(format!("cannot run ps on the host: {why}")),
    })
}

/// Why ps has no answer.
enum Failed {
    /// Its own words.
    Said(String),
    /// It did not run.
    Run(String),
}

fn run(file: PathBuf, arguments: &str, trace: &Trace) -> Result<String, Failed> {
    let broken = |error: &dyn std::fmt::Display| Failed::Run(error.to_string());
    let (output, output_there) = io::pipe().map_err(|error| broken(&error))?;
    let (words, words_there) = io::pipe().map_err(|error| broken(&error))?;
    let program = Spawn {
        role: "ps",
        path: file,
        argv: std::iter::once("ps").chain(arguments.split_whitespace()).map(OsString::from).collect(),
        env: vec!["LC_ALL=C".into()],
        descriptors: vec![(output_there.as_fd(), 1), (words_there.as_fd(), 2)],
        session: false,
    };
    let child = process::spawn(trace, &program).map_err(|error| broken(&error))?;
    drop((output_there, words_there));
    // Side by side, so that neither pipe can fill while the other is read.
    let words = std::thread::spawn(move || read(words));
    let text = read(output);
    let said = words.join().unwrap_or_default();
    // Its end is no end of a container, and is not told as one.
    let exit = child.wait(&Trace::off()).map_err(|error| broken(&error))?.code();
    if exit == 0 {
        return Ok(text);
    }
    Err(Failed::Said(match said.lines().next() {
        Some(line) if !line.is_empty() => line.to_owned(),
        _ => format!("exit status {exit}"),
    }))
}

/// All of a pipe, at most so much as a host has processes.
fn read(pipe: PipeReader) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is all there is.
    let _ = pipe.take(64 << 20).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The fields of a line; the last one has all the rest, spaces too.
fn split(line: &str, count: usize) -> Vec<String> {
    let mut fields = Vec::with_capacity(count);
    let mut rest = line.trim();
    while fields.len() + 1 < count {
        match rest.split_once(char::is_whitespace) {
            Some((field, after)) => {
                fields.push(field.to_owned());
                rest = after.trim_start();
            }
            None => break,
        }
    }
    fields.push(rest.to_owned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_field_has_the_rest() {
        assert_eq!(split("root  12 sh -c  x", 3), ["root", "12", "sh -c  x"]);
        assert_eq!(split("root", 3), ["root"]);
    }
}
