//! Where a registry is asked: its addresses, in the order in which they are tried, and the
//! certificates that are believed there.
//!
//! | registry | addresses |
//! |---|---|
//! | `docker.io` | each mirror, then `https://registry-1.docker.io` |
//! | with a folder in `certs.d` | `https` with these certificates, and nothing else |
//! | loopback | `http`, then `https` without a check of the certificate |
//! | declared insecure | `https` without a check of the certificate, then `http` |
//! | any other | `https` |

use std::net::IpAddr;
use std::path::PathBuf;

use super::ClientConfig;

/// The host behind the name `docker.io`.
const HUB: &str = "registry-1.docker.io";
/// And the one that knows what there is.
const HUB_SEARCH: &str = "index.docker.io";

/// An address of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    /// `https://HOST[:PORT]`, without a slash at the end.
    pub(super) base: String,
    pub(super) trust: Trust,
    /// Whether it stands in for another registry, so that any failure leads on to the next address.
    pub(super) mirror: bool,
}

/// Which certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    /// None is needed: plain http.
    Plain,
    /// Those that the system believes, and those of a folder.
    Authorities(Option<PathBuf>),
    /// Any.
    Anything,
}

/// The addresses for a domain as references have it, at least one.
pub(super) fn endpoints(config: &ClientConfig, domain: &str) -> Vec<Endpoint> {
    let mut found = Vec::new();
    if domain == glassdock_image::reference::DEFAULT_DOMAIN {
        for mirror in &config.mirrors {
            let base = mirror.trim_end_matches('/').to_owned();
            let (scheme, host) = base.split_once("://").unwrap_or(("https", &base));
            let trust = match scheme {
                "http" => Trust::Plain,
                _ if is_insecure(config, host) => Trust::Anything,
                _ => Trust::Authorities(certificates(config, host)),
            };
            found.push(Endpoint { base: format!("{scheme}://{host}"), trust, mirror: true });
        }
        if config.hub || found.is_empty() {
            found.push(secure(config, HUB));
        }
        return found;
    }
    if certificates(config, domain).is_some() {
        return vec![secure(config, domain)];
    }
    let plain = || Endpoint { base: format!("http://{domain}"), trust: Trust::Plain, mirror: false };
    let unchecked = || Endpoint { base: format!("https://{domain}"), trust: Trust::Anything, mirror: false };
    if is_loopback(host_of(domain)) {
        return vec![plain(), unchecked()];
    }
    if is_insecure(config, domain) {
        return vec![unchecked(), plain()];
    }
    vec![secure(config, domain)]
}

/// As [`endpoints`], for a search: Docker Hub has another host for that.
pub(super) fn search_endpoints(config: &ClientConfig, domain: &str) -> Vec<Endpoint> {
    let hub = secure(config, HUB);
    let asked = |endpoint| if endpoint == hub { secure(config, HUB_SEARCH) } else { endpoint };
    endpoints(config, domain).into_iter().map(asked).collect()
}

/// What is believed of an address that a registry sends us to.
pub(super) fn trust(config: &ClientConfig, address: &reqwest::Url) -> Trust {
    let host = super::error::authority(address);
    match address.scheme() {
        "http" => Trust::Plain,
        _ => match certificates(config, &host) {
            None if is_insecure(config, &host) => Trust::Anything,
            folder => Trust::Authorities(folder),
        },
    }
}

fn secure(config: &ClientConfig, host: &str) -> Endpoint {
    let trust = Trust::Authorities(certificates(config, host));
    Endpoint { base: format!("https://{host}"), trust, mirror: false }
}

/// The folder of `certs.d` for this host, if there is one.
fn certificates(config: &ClientConfig, host: &str) -> Option<PathBuf> {
    // The host comes from a parsed reference or the configuration; a slash would lead elsewhere.
    let name = host.split('/').next().filter(|name| !name.is_empty() && *name != "..")?;
    config.certificates.iter().map(|folder| folder.join(name)).find(|folder| folder.is_dir())
}

/// The host without its port.
fn host_of(domain: &str) -> &str {
    if let Some(bracketed) = domain.strip_prefix('[') {
        return bracketed.split(']').next().unwrap_or(bracketed);
    }
    domain.rsplit_once(':').map_or(domain, |(host, _)| host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_insecure(config: &ClientConfig, domain: &str) -> bool {
    let host = host_of(domain);
    is_loopback(host)
        || config.insecure.iter().any(|declared| {
            declared == domain || declared == host || is_in_network(host.parse().ok(), declared)
        })
}

/// Whether an address is in a network such as `10.0.0.0/8`.
fn is_in_network(address: Option<IpAddr>, network: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    match (address, base.parse(), bits.parse::<u32>()) {
        (Some(IpAddr::V4(address)), Ok(IpAddr::V4(base)), Ok(bits @ 0..=32)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(base) & mask
        }
        (Some(IpAddr::V6(address)), Ok(IpAddr::V6(base)), Ok(bits @ 0..=128)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(base) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(config: &ClientConfig, domain: &str) -> Vec<String> {
        endpoints(config, domain).into_iter().map(|endpoint| endpoint.base).collect()
    }

    #[test]
    fn each_kind_of_registry_has_its_addresses_in_order() {
        let mut config = ClientConfig {
            mirrors: vec!["http://127.0.0.1:5000/".to_owned()],
            insecure: vec!["plain.test".to_owned(), "10.0.0.0/8".to_owned()],
            certificates: Vec::new(),
            ..ClientConfig::default()
        };
        assert_eq!(bases(&config, "docker.io"), ["http://127.0.0.1:5000", "https://registry-1.docker.io"]);
        config.hub = false;
        assert_eq!(bases(&config, "docker.io"), ["http://127.0.0.1:5000"]);
        assert_eq!(bases(&config, "localhost:5000"), ["http://localhost:5000", "https://localhost:5000"]);
        assert_eq!(bases(&config, "[::1]:5000"), ["http://[::1]:5000", "https://[::1]:5000"]);
        assert_eq!(bases(&config, "plain.test:80"), ["https://plain.test:80", "http://plain.test:80"]);
        assert_eq!(bases(&config, "10.1.2.3:5000"), ["https://10.1.2.3:5000", "http://10.1.2.3:5000"]);
        assert_eq!(bases(&config, "11.1.2.3:5000"), ["https://11.1.2.3:5000"]);
    }

    #[test]
    fn with_certificates_nothing_but_tls_will_do() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("localhost:5000")).expect("a folder inside");
        let config = ClientConfig { certificates: vec![folder.path().to_owned()], ..ClientConfig::default() };
        let [endpoint] = &endpoints(&config, "localhost:5000")[..] else { panic!("one address") };
        assert_eq!(endpoint.trust, Trust::Authorities(Some(folder.path().join("localhost:5000"))));
    }
}
