//! Ports of a container: `80/tcp` and what leads to it.

use std::ops::RangeInclusive;

use glassdock_network::model::{PortRequest, Protocol};

use super::model::{ContainerConfig, HostConfig, PortBinding};
use crate::error::Error;

/// Reads `80`, `80/tcp` or `53/udp`.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn parse(text: &str) -> Result<(u16, Protocol), Error> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Error::invalid(format!("invalid port specification: {text:?}")))?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => {
            return Err(Error::invalid(format!(
                "invalid port specification: {text:?}: the protocol {other:?} is not known"
            )));
        }
    };
    Ok((number, protocol))
}

/// What a container wants to have published.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn requests(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<PortRequest>, Error> {
    let mut requests = Vec::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = parse(port)?;
        for binding in bindings {
            requests.push(request(container_port, protocol, binding)?);
        }
    }
    if host.publish_all_ports {
        for port in config.exposed_ports.keys() {
            let (container_port, protocol) = parse(port)?;
            let has = |request: &PortRequest| {
                request.container_port == container_port && request.protocol == protocol
            };
            if !requests.iter().any(has) {
                requests.push(PortRequest { protocol, container_port, host_address: None, host_ports: None });
            }
        }
    }
    Ok(requests)
}

fn request(container_port: u16, protocol: Protocol, binding: &PortBinding) -> Result<PortRequest, Error> {
    let host_address = match binding.host_ip.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?),
    };
    Ok(PortRequest { protocol, container_port, host_address, host_ports: range(&binding.host_port)? })
}

fn range(text: &str) -> Result<Option<RangeInclusive<u16>>, Error> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let invalid = || Error::invalid(format!("invalid port specification: \"{text}\""));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    let (first, last) = (number(first)?, number(last)?);
    if first > last { Err(invalid()) } else { Ok(Some(first..=last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol() {
        assert_eq!(parse("80"), Ok((80, Protocol::Tcp)));
        assert_eq!(parse("53/udp"), Ok((53, Protocol::Udp)));
        for wrong in ["", "0", "x", "80/", "70000", "-1", "80/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_ports_may_be_a_range() {
        assert_eq!(range(""), Ok(None));
        assert_eq!(range("8000-8010"), Ok(Some(8000..=8010)));
        assert!(range("9-8").is_err());
    }
}
