//! The files of `/etc` that the engine writes for a container: `hostname`,
//! `hosts` and `resolv.conf`. They lie in the bundle and are bound over the image's.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use glassdock_network::Endpoint;

use super::container::Container;
use super::record::Record;
use crate::error::Error;

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Writes what is known before the start. `hosts` gets the addresses later, in
/// place: the file is bound by then.
///
/// # Errors
///
/// If a file can't be written.
pub fn write(container: &Container, record: &Record) -> Result<(), Error> {
    std::fs::write(container.bundle.path("hostname"), format!("{}\n", record.config.hostname))?;
    write_resolv_conf(container, record)?;
    write_hosts(container, record, &[])
}

/// Writes `resolv.conf`.
///
/// # Errors
///
/// If the file can't be written.
pub fn write_resolv_conf(container: &Container, record: &Record) -> Result<(), Error> {
    Ok(std::fs::write(container.bundle.path("resolv.conf"), resolv_conf(record))?)
}

/// Writes `hosts`, with the addresses that the container has.
///
/// # Errors
///
/// If the file can't be written.
pub fn write_hosts(container: &Container, record: &Record, endpoints: &[Endpoint]) -> Result<(), Error> {
    let text = if record.host_config.network_mode == "host" {
        let mut text = std::fs::read_to_string("/etc/hosts").unwrap_or_else(|_| HOSTS.to_owned());
        text.push_str(&extra_hosts(record, endpoints));
        text
    } else {
        let mut text = HOSTS.to_owned() + &extra_hosts(record, endpoints);
        let name = &record.config.hostname;
        let names = match record.config.domainname.as_str() {
            "" => name.clone(),
            domain => format!("{name}.{domain} {name}"),
        };
        for endpoint in endpoints {
            if let Some(address) = endpoint.address {
                let _ = writeln!(text, "{}\t{names}", address.address());
            }
            if let Some(address) = endpoint.address6 {
                let _ = writeln!(text, "{}\t{names}", address.address());
            }
        }
        text
    };
    Ok(std::fs::write(container.bundle.path("hosts"), text)?)
}

fn extra_hosts(record: &Record, endpoints: &[Endpoint]) -> String {
    let mut text = String::new();
    for line in record.host_config.extra_hosts.iter().flatten() {
        let Some((name, address)) = line.split_once([':', '=']) else { continue };
        if address == "host-gateway" {
            let four = endpoints.iter().find_map(|endpoint| endpoint.gateway.map(IpAddr::V4));
            let six = || endpoints.iter().find_map(|endpoint| endpoint.gateway6.map(IpAddr::V6));
            if let Some(gateway) = four.or_else(six) {
                let _ = writeln!(text, "{gateway}\t{name}");
            }
        } else {
            let _ = writeln!(text, "{}\t{name}", address.trim_matches(['[', ']']));
        }
    }
    text
}

/// The host's resolvers, unless the container names its own. A resolver on the
/// host's loopback can't be reached from the container's: it is left away.
fn resolv_conf(record: &Record) -> String {
    let host = &record.host_config;
    let of_host = std::fs::read_to_string(Path::new("/etc/resolv.conf")).unwrap_or_default();
    let shares = host.network_mode == "host";
    let mut lines: Vec<String> = Vec::new();
    let reachable = |line: &&str| shares || !loopback(line);
    let of = |word: &str| -> Vec<String> {
        let wanted = of_host.lines().filter(|line| line.split_whitespace().next() == Some(word));
        wanted.filter(reachable).map(str::to_owned).collect()
    };
    let named = crate::networks::names::wanted(record);
    if named {
        // The engine's own server asks the others, whoever they are.
        lines.push(format!("nameserver {}", glassdock_network::names::ADDRESS));
    } else if host.dns.is_empty() {
        lines.extend(of("nameserver"));
    } else {
        lines.extend(host.dns.iter().map(|address| format!("nameserver {address}")));
    }
    match &*host.dns_search {
        [] => lines.extend(of("search")),
        [none] if none == "." => {}
        search => lines.push(format!("search {}", search.join(" "))),
    }
    let own = host.dns_options.join(" ");
    match (host.dns_options.is_empty(), named) {
        (true, true) => lines.push("options ndots:0".to_owned()),
        (true, false) => lines.extend(of("options")),
        (false, true) if !own.contains("ndots:") => lines.push(format!("options {own} ndots:0")),
        (false, _) => lines.push(format!("options {own}")),
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn loopback(line: &str) -> bool {
    let address = line.split_whitespace().nth(1).and_then(|text| text.parse::<std::net::IpAddr>().ok());
    line.starts_with("nameserver") && address.is_some_and(|address| address.is_loopback())
}
