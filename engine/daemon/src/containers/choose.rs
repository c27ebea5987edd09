//! Which containers `docker ps` shows: its filters.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use glassdock_network::Protocol;
use regex_lite::Regex;
use serde_json::Value;

use super::container::Container;
use super::health;
use super::networks::port_list;
use super::record::{Record, Status};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::Error;
use crate::route::Filters;

const FILTERS: [&str; 17] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "until",
];

/// The containers that a request for the list means, the newest first.
///
/// # Errors
///
/// Invalid, for filters that make no sense; not found, for a container that others are compared with.
pub(super) fn of(call: &Call) -> Result<Vec<Arc<Container>>, Error> {
    let engine = &call.engine;
    let filters = call.filters()?;
    let wanted = Wanted::of(engine, &filters)?;
    let limit =
        call.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    // Filters that name a state speak of all containers, not only of those that run.
    let all = call.flag("all")
        || limit.is_some()
        || ["status", "exited", "before", "since"].iter().any(|name| filters.has(name));
    let mut chosen = engine.containers.all();
    chosen.retain(|container| {
        container.look(|record| {
            (all || record.state.status.has_process() || record.state.status == Status::Restarting)
                && wanted.fits(engine, record)
        })
    });
    chosen.truncate(limit.unwrap_or(usize::MAX));
    Ok(chosen)
}

/// The filters, read once for all containers.
struct Wanted<'a> {
    filters: &'a Filters,
    /// Regular expressions, as in Docker; one that is none fits nothing.
    names: Vec<Regex>,
    before: Option<String>,
    since: Option<String>,
    ancestors: HashSet<String>,
    networks: Vec<String>,
    expose: Vec<Ports>,
    publish: Vec<Ports>,
}

impl<'a> Wanted<'a> {
    fn of(engine: &Engine, filters: &'a Filters) -> Result<Self, Error> {
        filters.only(&FILTERS)?;
        check_words(filters)?;
        let created = |name: &String| {
            engine.containers.find(name).map(|container| container.look(|record| record.created.clone()))
        };
        // Networks are named by their names or ids; containers remember names.
        let named =
            |wanted: &String| engine.networks.find(wanted).map_or(wanted.clone(), |network| network.name);
        let ports = |name: &str| -> Result<Vec<Ports>, Error> {
            filters.get(name).iter().map(|text| Ports::read(name, text)).collect()
        };
        Ok(Self {
            names: filters.get("name").iter().filter_map(|text| Regex::new(text).ok()).collect(),
            before: filters.get("before").first().map(created).transpose()?,
            since: filters.get("since").first().map(created).transpose()?,
            ancestors: super::image::ancestors(engine, filters.get("ancestor")),
            networks: filters.get("network").iter().map(named).collect(),
            expose: ports("expose")?,
            publish: ports("publish")?,
            filters,
        })
    }

    fn fits(&self, engine: &Engine, record: &Record) -> bool {
        let filters = self.filters;
        self.before.as_ref().is_none_or(|before| record.created < *before)
            && self.since.as_ref().is_none_or(|since| record.created > *since)
            && (!filters.has("ancestor")
                || self.ancestors.contains(&record.image)
                || filters.get("ancestor").contains(&record.config.image))
            && (!filters.has("network")
                || self.networks.iter().any(|name| record.networks.contains_key(name)))
            && (!filters.has("name") || self.names.iter().any(|name| name_fits(&record.name, name)))
            && filters.any("id", |id| record.id.starts_with(id))
            && filters.any("status", |word| record.state.status.word() == word)
            && filters.any("exited", |code| {
                record.state.status == Status::Exited && code.parse() == Ok(record.state.exit_code)
            })
            && filters.any("health", |word| health::word(record) == word)
            && filters.truth("is-task").ok().flatten() != Some(true)
            && filters.any("volume", |wanted| {
                let points = &record.mounts;
                points.iter().any(|point| {
                    [&point.name, &point.destination, &point.source].iter().any(|text| *text == wanted)
                })
            })
            && self.ports_fit(engine, record)
            && filters.labels_fit(&record.config.labels)
    }

    /// Whether a container has one of the ports; its own (`expose`), or one of the host's that leads to it (`publish`).
    fn ports_fit(&self, engine: &Engine, record: &Record) -> bool {
        if self.expose.is_empty() && self.publish.is_empty() {
            return true;
        }
        let endpoints = engine.networks.endpoints_of(&record.id);
        port_list(record, &endpoints).iter().any(|port| {
            let has = |wanted: &[Ports], number: &str| wanted.iter().any(|ports| ports.has(port, number));
            has(&self.publish, "PublicPort") || has(&self.expose, "PrivatePort")
        })
    }
}

/// Refuses words that are none of those that there are.
fn check_words(filters: &Filters) -> Result<(), Error> {
    for word in filters.get("status") {
        if !["created", "restarting", "running", "removing", "paused", "exited", "dead"]
            .contains(&word.as_str())
        {
            return Err(Error::invalid(format!("invalid filter 'status={word}'")));
        }
    }
    for word in filters.get("health") {
        if !["none", "starting", "healthy", "unhealthy"].contains(&word.as_str()) {
            return Err(Error::invalid(format!("unrecognized filter value for health: {word}")));
        }
    }
    for code in filters.get("exited") {
        code.parse::<i32>().map_err(|_| Error::invalid(format!("invalid filter 'exited={code}'")))?;
    }
    filters.truth("is-task").map(drop)
}

/// Names are known with and without the slash before them.
fn name_fits(name: &str, wanted: &Regex) -> bool {
    wanted.is_match(name) || wanted.is_match(&format!("/{name}"))
}

/// Ports that a filter names: `80`, `80/udp`, `8000-8080`.
struct Ports {
    numbers: RangeInclusive<u64>,
    protocol: Protocol,
}

impl Ports {
    fn read(filter: &str, text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid(format!("invalid filter '{filter}={text}'"));
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().map(u64::from).map_err(|_| invalid());
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(invalid()),
        };
        let numbers = number(first)?..=number(last)?;
        if numbers.is_empty() { Err(invalid()) } else { Ok(Self { numbers, protocol }) }
    }

    /// Whether a port, as the list shows it, is one of these by that one of its numbers.
    fn has(&self, port: &Value, number: &str) -> bool {
        let is_one =
            port.get(number).and_then(Value::as_u64).is_some_and(|number| self.numbers.contains(&number));
        is_one && port.get("Type").and_then(Value::as_str) == Some(&self.protocol.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_regular_expressions() {
        let fits = |wanted: &str| Regex::new(wanted).is_ok_and(|wanted| name_fits("otter_1", &wanted));
        for wanted in ["tte", "^/otter_1$", "^otter_1$", "^otter_[0-9]$", "fox|otter", ""] {
            assert!(fits(wanted), "{wanted}");
        }
        for wanted in ["^tter", "otte$", "^/otter$", "("] {
            assert!(!fits(wanted), "{wanted}");
        }
    }

    #[test]
    fn ports_may_be_ranges() {
        let port = json!({ "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" });
        let has = |text: &str, number: &str| {
            Ports::read("publish", text).is_ok_and(|ports| ports.has(&port, number))
        };
        assert!(has("80", "PrivatePort") && has("79-81/tcp", "PrivatePort") && has("8080", "PublicPort"));
        assert!(!has("80", "PublicPort") && !has("80/udp", "PrivatePort"));
        for wrong in ["", "x", "80-70", "80-", "70000", "80/foo"] {
            assert!(Ports::read("publish", wrong).is_err(), "{wrong}");
        }
    }
}
