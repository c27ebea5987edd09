//! `ContainerTop`: the processes of a container, as the host's ps(1) shows them.

use std::collections::HashSet;
use std::process::{Command, Stdio};

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
    let (titles, processes) = call
        .engine
        .blocking(move |_| {
            let group = glassdock_kernel::cgroup::Cgroup::open(&name).and_then(|group| group.processes());
            // Without control groups only the first process is known.
            let mut pids: HashSet<u32> = group.unwrap_or_default().into_iter().collect();
            pids.insert(first);
            table(&arguments, &pids)
        })
        .await?;
    reply::json(&json!({ "Titles": titles, "Processes": processes }))
}

/// Refuses a format without process ids, by which the container's are found.
fn check(arguments: &str) -> Result<(), Error> {
    if arguments.contains('\0') || arguments.len() > 4096 {
        return Err(Error::invalid("ps: the arguments are too long or have a zero byte"));
    }
    Ok(())
}

type Table = (Vec<String>, Vec<Vec<String>>);

fn table(arguments: &str, pids: &HashSet<u32>) -> Result<Table, Error> {
    let output =
        Command::new("ps").args(arguments.split_whitespace()).stdin(Stdio::null()).output().map_err(
            |error| Error::internal(format!("cannot run ps on the host: {error}: install procps")),
        )?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        return Err(Error::internal(format!("ps: {}: {said}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
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
