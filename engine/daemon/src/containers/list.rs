//! `ContainerList`: `docker ps`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::container::Container;
use super::model::{EndpointSettings, MountPoint};
use super::networks::{port_list, shown};
use super::record::{NEVER, Record, Status};
use super::{choose, health};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// `ContainerList`.
pub(crate) async fn list(call: Call) -> Reply {
    let chosen = choose::of(&call)?;
    let with_size = call.flag("size");
    let engine = &call.engine;
    let rows = if with_size {
        engine.blocking(move |engine| rows(engine, &chosen, true)).await?
    } else {
        rows(engine, &chosen, false)?
    };
    Ok(reply::json_text(rows))
}

/// How long a row is, about: enough for most, so that the text rarely has to move while it grows.
const ROW: usize = 1024;

/// Containers as the list shows them, as the text of a JSON array. Each row is written while its
/// record is looked at: there may be hundreds, and a copy of each would cost more than all the rest.
///
/// # Errors
///
/// Internal, if a row can't be JSON.
pub(crate) fn rows(engine: &Engine, chosen: &[Arc<Container>], with_size: bool) -> Result<Vec<u8>, Error> {
    let mut text = Text(Vec::with_capacity(chosen.len() * ROW + 2));
    text.0.push(b'[');
    let linked = super::links::names(engine);
    let mut images = super::image::Meanings::default();
    // Before the first is looked at: what changes meanwhile is seen the next time.
    let networks = engine.networks.changes();
    for container in chosen {
        let size = with_size.then(|| super::inspect::sizes(container));
        if text.0.len() > 1 {
            text.0.push(b',');
        }
        container
            .look_at_change(|record, changes| {
                let image = images.shown_name(engine, record);
                let linked = linked.get(&record.id).map_or(&[][..], Vec::as_slice);
                let mut kept = container.shown.lock().unwrap_or_else(PoisonError::into_inner);
                let is_of = |shown: &Shown| {
                    (shown.changes, shown.networks) == (changes, networks)
                        && shown.image == image
                        && shown.linked == linked
                };
                if let (Some(shown), None) = (kept.as_ref().filter(|shown| is_of(shown)), size) {
                    return shown.write(&mut text, record);
                }
                let shown = Shown::of(engine, record, size, (changes, networks), image, linked)?;
                shown.write(&mut text, record)?;
                *kept = size.is_none().then_some(shown);
                Ok(())
            })
            .map_err(|error: serde_json::Error| Error::of(Kind::Internal, &error))?;
    }
    text.0.push(b']');
    Ok(text.0)
}

/// A row as it was written last, without its status, which tells how long ago something was. Most of
/// what a list shows is what the last one did.
#[derive(Debug)]
pub(super) struct Shown {
    /// The changes of the record and of the networks that it shows.
    changes: u64,
    networks: u64,
    image: String,
    linked: Vec<String>,
    /// What stands before the status, and after it.
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Shown {
    fn of(
        engine: &Engine,
        record: &Record,
        size: Option<(u64, u64)>,
        (changes, networks): (u64, u64),
        image: String,
        linked: &[String],
    ) -> serde_json::Result<Self> {
        let (mut head, mut tail) = (Text(Vec::with_capacity(ROW)), Text(Vec::with_capacity(ROW)));
        let (first, last) = row(engine, record, &image, size, linked);
        serde_json::to_writer(&mut head, &first)?;
        serde_json::to_writer(&mut tail, &last)?;
        // The brace that closed the first part, and the one that opened the second.
        head.0.pop();
        tail.0.remove(0);
        Ok(Self { changes, networks, image, linked: linked.to_vec(), head: head.0, tail: tail.0 })
    }

    fn write(&self, text: &mut Text, record: &Record) -> serde_json::Result<()> {
        text.0.extend_from_slice(&self.head);
        text.0.extend_from_slice(b",\"Status\":");
        serde_json::to_writer(&mut *text, &status(record))?;
        text.0.push(b',');
        text.0.extend_from_slice(&self.tail);
        Ok(())
    }
}

/// Where the rows are written. Most of what JSON's writer writes is one byte long, a quote or a comma,
/// and hundreds of rows have a hundred thousand of them: those are put down without a call.
struct Text(Vec<u8>);

impl std::io::Write for Text {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match bytes {
            [] => {}
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One line of the list, up to its status.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Head<'a> {
    id: &'a str,
    names: Vec<Cow<'a, str>>,
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: String,
    created: i64,
    ports: Vec<Value>,
    labels: &'a BTreeMap<String, String>,
    state: &'static str,
}

/// What comes after the status.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tail<'a> {
    host_config: RowHost<'a>,
    network_settings: RowNetworks<'a>,
    mounts: &'a [MountPoint],
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RowHost<'a> {
    network_mode: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RowNetworks<'a> {
    networks: BTreeMap<&'a str, EndpointSettings>,
}

/// The annotations of a container that has none.
static NONE: BTreeMap<String, String> = BTreeMap::new();

fn row<'a>(
    engine: &Engine,
    record: &'a Record,
    image: &'a str,
    size: Option<(u64, u64)>,
    linked: &'a [String],
) -> (Head<'a>, Tail<'a>) {
    let endpoints = engine.networks.endpoints_of(&record.id);
    let network = |(name, settings): (&'a String, &EndpointSettings)| {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.network_name == *name);
        (name.as_str(), shown(record, name, settings, endpoint))
    };
    let head = Head {
        id: &record.id,
        names: std::iter::once(Cow::Owned(format!("/{}", record.name)))
            .chain(linked.iter().map(|name| Cow::Borrowed(name.as_str())))
            .collect(),
        image,
        image_id: &record.image,
        command: command(&record.argv()),
        created: seconds(&record.created),
        ports: port_list(record, &endpoints),
        labels: &record.config.labels,
        state: record.state.status.word(),
    };
    let host = &record.host_config;
    let tail = Tail {
        host_config: RowHost {
            network_mode: &host.network_mode,
            annotations: host.annotations.as_ref().unwrap_or(&NONE),
        },
        network_settings: RowNetworks { networks: record.networks.iter().map(network).collect() },
        mounts: &record.mounts,
        size_rw: size.map(|(own, _)| own),
        size_root_fs: size.map(|(_, all)| all),
    };
    (head, tail)
}

/// The command in one line: words with spaces are quoted, as Docker does.
fn command(argv: &[String]) -> String {
    let word = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn seconds(time: &str) -> i64 {
    time.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

/// `Up 5 minutes`, `Exited (0) 2 hours ago`.
#[must_use]
pub fn status(record: &Record) -> String {
    let state = &record.state;
    let since = |time: &str| human(Timestamp::now().as_second().saturating_sub(seconds(time)));
    match state.status {
        Status::Running => {
            let health = health::suffix(record);
            format!("Up {}{health}", since(&state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Created => "Created".to_owned(),
        Status::Exited if state.finished_at == NEVER => format!("Exited ({})", state.exit_code),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(&state.finished_at)),
    }
}

/// A span of time as Docker's clients say it.
fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_docker_does() {
        let said: Vec<_> = [0, 1, 59, 60, 150, 3599, 3600, 7200, 200_000].into_iter().map(human).collect();
        assert_eq!(
            said,
            [
                "Less than a second",
                "1 second",
                "59 seconds",
                "About a minute",
                "2 minutes",
                "59 minutes",
                "About an hour",
                "2 hours",
                "2 days"
            ]
        );
    }
}
