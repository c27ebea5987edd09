//! `--link`: a container finds another one of the default network by a name of its own.
//!
//! In the network `bridge`, that has no names, a link is a line in `/etc/hosts` and
//! variables in the environment, both written at the start; the other container has to
//! run then. In a network that a user made it is a name that only this container sees.

use std::collections::BTreeMap;

use super::ports;
use super::record::Record;
use crate::engine::Engine;
use crate::error::Error;

/// Reads `NAME`, `NAME:ALIAS`, or the `/NAME:/OWN/ALIAS` that `inspect` shows: name and alias.
///
/// # Errors
///
/// Invalid, for what is none of these.
pub fn parse(text: &str) -> Result<(&str, &str), Error> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let bare = |name: &'_ str| -> Option<usize> { name.rfind('/').map(|place| place + 1) };
    let alias = alias.get(bare(alias).unwrap_or(0)..).unwrap_or_default();
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() || alias.is_empty() || alias.contains(':') {
        return Err(Error::invalid(format!("bad format for links: {text}")));
    }
    Ok((name, alias))
}

/// Takes the links out of a new container's request: those of the network `bridge` are noted
/// with the ids of the containers that they lead to, others belong to its network.
///
/// # Errors
///
/// Invalid, for links that are none or lead nowhere.
pub fn register(engine: &Engine, record: &mut Record) -> Result<(), Error> {
    let Some(links) = record.host_config.links.clone().filter(|links| !links.is_empty()) else {
        return Ok(());
    };
    let mode = record.host_config.network_mode.clone();
    if mode == "host" {
        return Err(Error::invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    if mode.starts_with("container:") {
        return Err(Error::invalid(
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        ));
    }
    if !matches!(mode.as_str(), "bridge" | "none") {
        for link in &links {
            parse(link)?;
        }
        if let Some(settings) = record.networks.get_mut(&mode) {
            settings.links.get_or_insert(links);
        }
        return Ok(());
    }
    record.host_config.links = None;
    for link in &links {
        let (name, alias) = parse(link)?;
        // "Not found" would mean the image to a client.
        let linked = engine
            .containers
            .find(name)
            .map_err(|error| Error::invalid(format!("could not get container for {name}: {error}")))?;
        record.links.insert(alias.to_owned(), linked.id.clone());
    }
    Ok(())
}

/// The links as `inspect` shows them.
#[must_use]
pub fn shown(engine: &Engine, record: &Record) -> Option<Vec<String>> {
    let shown = |(alias, id): (&String, &String)| {
        let linked = engine.containers.find(id).ok()?;
        Some(format!("/{}:/{}/{alias}", linked.name(), record.name))
    };
    let links: Vec<_> = record.links.iter().filter_map(shown).collect();
    if links.is_empty() { record.host_config.links.clone() } else { Some(links) }
}

/// The further names that containers have by the links of others, by id.
#[must_use]
pub fn names(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    engine.containers.each(|record| {
        for (alias, id) in &record.links {
            names.entry(id.clone()).or_default().push(format!("/{}/{alias}", record.name));
        }
    });
    names
}

/// Puts what the links of a starting container mean into a copy of its record: lines for
/// `/etc/hosts` and variables.
///
/// # Errors
///
/// In Docker's words, if a linked container does not run or is in no default network.
pub fn complete(engine: &Engine, record: &mut Record) -> Result<(), Error> {
    for (alias, id) in record.links.clone() {
        let Ok(linked) = engine.containers.find(&id).map(|container| container.record()) else { continue };
        if !linked.state.status.has_process() {
            return Err(Error::internal(format!(
                "Cannot link to a non running container: /{} AS /{}/{alias}",
                linked.name, record.name
            )));
        }
        let endpoints = engine.networks.endpoints_of(&id);
        let endpoint = endpoints.iter().find(|endpoint| endpoint.network_name == "bridge");
        let Some(address) = endpoint.and_then(|endpoint| endpoint.address) else {
            return Err(Error::internal(format!(
                "Cannot link to /{}, as it does not belong to the default network",
                linked.name
            )));
        };
        let address = address.address().to_string();
        let mut names = format!("{alias} {}", linked.config.hostname);
        if alias != linked.name {
            names = format!("{names} {}", linked.name);
        }
        record.host_config.extra_hosts.get_or_insert_default().push(format!("{names}:{address}"));
        let variables = variables(&record.name, &alias, &address, &linked);
        record.config.env.extend(variables);
    }
    Ok(())
}

fn variables(own: &str, alias: &str, address: &str, linked: &Record) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut open: Vec<_> =
        linked.config.exposed_ports.keys().filter_map(|port| ports::parse(port).ok()).collect();
    // TCP before UDP, small numbers first: the first one is the container's port.
    open.sort_by_key(|(number, protocol)| (protocol.to_string(), *number));
    let mut variables = Vec::new();
    if let Some((number, protocol)) = open.first() {
        variables.push(format!("{prefix}_PORT={protocol}://{address}:{number}"));
    }
    for (number, protocol) in &open {
        let port = format!("{prefix}_PORT_{number}_{}", protocol.to_string().to_uppercase());
        variables.push(format!("{port}={protocol}://{address}:{number}"));
        variables.push(format!("{port}_ADDR={address}"));
        variables.push(format!("{port}_PORT={number}"));
        variables.push(format!("{port}_PROTO={protocol}"));
    }
    variables.push(format!("{prefix}_NAME=/{own}/{alias}"));
    for (name, value) in linked.config.env.iter().filter_map(|pair| pair.split_once('=')) {
        if !matches!(name, "HOME" | "PATH") {
            variables.push(format!("{prefix}_ENV_{name}={value}"));
        }
    }
    variables
}

/// Removes a link by the name `OWN/ALIAS` (`rm --link`).
///
/// # Errors
///
/// If there is no such link.
pub fn remove(engine: &Engine, name: &str) -> Result<(), Error> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let Some((own, alias)) = bare.rsplit_once('/') else {
        engine.containers.find(bare)?;
        return Err(Error::conflict("Conflict, cannot remove the default link name of the container"));
    };
    let missing = || Error::not_found(format!("No such container: {name}"));
    let container = engine.containers.find(own).map_err(|_| missing())?;
    container.change(|record| record.links.remove(alias)).ok_or_else(missing)?;
    engine.containers.save(&container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_come_in_three_shapes() {
        assert_eq!(parse("db"), Ok(("db", "db")));
        assert_eq!(parse("db:store"), Ok(("db", "store")));
        assert_eq!(parse("/db:/web/store"), Ok(("db", "store")));
        for text in ["", ":", "a:", ":b", "a:b:c", "a:/b/"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_tell_the_ports_and_the_environment() {
        let mut linked = Record::default();
        for port in ["53/udp", "8080/tcp", "80/tcp"] {
            linked.config.exposed_ports.insert(port.to_owned(), serde_json::json!({}));
        }
        linked.config.env = vec!["PATH=/bin".into(), "A=b=c".into()];
        let told = variables("web", "my-db", "10.0.0.2", &linked);
        assert_eq!(told[0], "MY_DB_PORT=tcp://10.0.0.2:80");
        assert_eq!(told[1], "MY_DB_PORT_80_TCP=tcp://10.0.0.2:80");
        assert_eq!(
            told[2..5],
            ["MY_DB_PORT_80_TCP_ADDR=10.0.0.2", "MY_DB_PORT_80_TCP_PORT=80", "MY_DB_PORT_80_TCP_PROTO=tcp"]
        );
        assert_eq!(told[told.len() - 2..], ["MY_DB_NAME=/web/my-db", "MY_DB_ENV_A=b=c"]);
    }
}
