//! `-p` and `--expose`: `[[ADDRESS:]HOST-PORT:]PORT[/PROTOCOL]`, each perhaps a range.

use serde_json::{Map, Value, json};

use crate::words::Args;
use crate::words::check::quote;

/// The exposed ports, and where they are published.
pub(crate) fn read(args: &Args) -> Result<(Value, Value), String> {
    let mut exposed = Map::new();
    let mut bindings = Map::new();
    for spec in args.all("publish") {
        for binding in publish(spec)? {
            let key = format!("{}/{}", binding.container, binding.protocol);
            exposed.insert(key.clone(), json!({}));
            let list = bindings.entry(key).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(json!({"HostIp": binding.address, "HostPort": binding.host}));
            }
        }
    }
    for spec in args.all("expose") {
        let (ports, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
        if ports.contains(':') {
            return Err(format!("invalid port format for --expose: {spec}"));
        }
        let (from, to) = range(ports)
            .map_err(|error| format!("invalid range format for --expose: {spec}, error: {error}"))?;
        for port in from..=to {
            exposed.entry(format!("{port}/{protocol}")).or_insert_with(|| json!({}));
        }
    }
    Ok((Value::Object(exposed), Value::Object(bindings)))
}

#[derive(Debug, PartialEq)]
struct Binding {
    address: String,
    host: String,
    container: u16,
    protocol: String,
}

fn publish(spec: &str) -> Result<Vec<Binding>, String> {
    if spec.contains('=') {
        return long(spec);
    }
    let (address, rest) = split_address(spec)?;
    let (rest, protocol) = rest.rsplit_once('/').unwrap_or((rest, "tcp"));
    let (host, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    if container.is_empty() {
        return Err(format!("no port specified: {spec}<empty>"));
    }
    let (from, to) = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    if !matches!(protocol.to_lowercase().as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let protocol = protocol.to_lowercase();
    if host.is_empty() {
        let each = |port| Binding {
            address: address.to_owned(),
            host: String::new(),
            container: port,
            protocol: protocol.clone(),
        };
        return Ok((from..=to).map(each).collect());
    }
    let (host_from, host_to) = range(host).map_err(|_| format!("invalid hostPort: {host}"))?;
    if to - from != host_to - host_from {
        // One port of the container may be published at any of a range.
        if from != to {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
        return Ok(vec![Binding {
            address: address.to_owned(),
            host: host.to_owned(),
            container: from,
            protocol,
        }]);
    }
    Ok((from..=to)
        .zip(host_from..=host_to)
        .map(|(container, host)| Binding {
            address: address.to_owned(),
            host: host.to_string(),
            container,
            protocol: protocol.clone(),
        })
        .collect())
}

/// The address before the ports, if there is one.
fn split_address(spec: &str) -> Result<(&str, &str), String> {
    if let Some(rest) = spec.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once("]:") else {
            return Err(format!("invalid IP address: {}", spec.split(':').next().unwrap_or_default()));
        };
        if address.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("invalid IP address: {address}"));
        }
        return Ok((address, rest));
    }
    let colons = spec.matches(':').count();
    if colons < 2 {
        return Ok(("", spec));
    }
    let mut parts = spec.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    Ok((address, spec.get(spec.len() - host.len() - container.len() - 1..).unwrap_or_default()))
}

/// `target=80,published=8080,protocol=tcp`.
fn long(spec: &str) -> Result<Vec<Binding>, String> {
    let mut binding =
        Binding { address: String::new(), host: String::new(), container: 0, protocol: "tcp".to_owned() };
    for field in spec.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field: {field}"))?;
        match key {
            "protocol" => binding.protocol = value.to_owned(),
            "target" => {
                binding.container = port(value)
                    .map_err(|_| format!("invalid target port ({value}): value must be an integer"))?
            }
            "published" => {
                port(value)
                    .map_err(|_| format!("invalid published port ({value}): value must be an integer"))?;
                binding.host = value.to_owned();
            }
            "mode" => {}
            _ => return Err(format!("invalid field key: {key}")),
        }
    }
    if binding.container == 0 {
        return Err(format!("missing mandatory field {}", quote("target")));
    }
    Ok(vec![binding])
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (port(from)?, port(to)?);
    if to < from {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((from, to))
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u64>() {
        Ok(number) => u16::try_from(number)
            .map_err(|_| format!("strconv.ParseUint: parsing {}: value out of range", quote(text))),
        Err(_) => Err(format!("strconv.ParseUint: parsing {}: invalid syntax", quote(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(spec: &str) -> Vec<String> {
        match publish(spec) {
            Ok(list) => list
                .iter()
                .map(|b| format!("{}|{}|{}|{}", b.address, b.host, b.container, b.protocol))
                .collect(),
            Err(error) => vec![error],
        }
    }

    #[test]
    fn every_form() {
        assert_eq!(shown("80"), ["||80|tcp"]);
        assert_eq!(shown("8080:80/udp"), ["|8080|80|udp"]);
        assert_eq!(shown("127.0.0.1:8080:80"), ["127.0.0.1|8080|80|tcp"]);
        assert_eq!(shown("127.0.0.1::80"), ["127.0.0.1||80|tcp"]);
        assert_eq!(shown("[::1]:1-2:3-4"), ["::1|1|3|tcp", "::1|2|4|tcp"]);
        assert_eq!(shown("8000-8010:80"), ["|8000-8010|80|tcp"]);
        assert_eq!(shown("99999"), ["invalid containerPort: 99999"]);
        assert_eq!(shown("1:2/x"), ["invalid proto: x"]);
        assert_eq!(shown("1-2:3-5"), ["invalid ranges specified for container and host Ports: 3-5 and 1-2"]);
    }
}
