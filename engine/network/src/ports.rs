//! Ports of the host that are given to containers.
//!
//! The kernel's translation needs no socket on the host, but without one nobody else
//! would know that the port is taken. So each published port is held by a bound
//! socket: two containers never get the same, another program gets `EADDRINUSE`,
//! and the kernel chooses a free one where the user leaves it to us. The same
//! sockets serve what translation can't: connections over IPv6, and all of them on
//! a host without nftables ([`crate::proxy`]).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

use crate::error::Error;
use crate::model::{PortRequest, Protocol, Published};

/// A published port with the socket that holds it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) published: Published,
    pub(crate) socket: Arc<OwnedFd>,
}

/// All ports that this engine holds, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    held: Mutex<HashMap<String, Vec<Held>>>,
}

/// How often another port is tried where the kernel's choice is free in one family only.
const TRIES: usize = 16;

impl Ports {
    /// Takes the ports for an endpoint, all or none.
    pub(crate) fn take(&self, endpoint: &str, requests: &[PortRequest]) -> Result<Vec<Held>, Error> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        // Held over bind(2), which doesn't wait: so that of two that want the same
        // port the second finds the first here.
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mine = Vec::new();
        for request in requests {
            let others = || all.values().flatten().chain(&mine);
            mine.extend(take_one(request, others().map(|held| held.published.clone()).collect())?);
        }
        all.insert(endpoint.to_owned(), mine.clone());
        Ok(mine)
    }

    /// Takes ports again that an endpoint had before the daemon's start, as many as
    /// can be had; returns what can't.
    pub(crate) fn take_again(&self, endpoint: &str, ports: &[Published]) -> Vec<Published> {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = Vec::new();
        for published in ports {
            let address = SocketAddr::new(published.host_address, published.host_port);
            match hold(published.protocol, address) {
                Ok(socket) => all
                    .entry(endpoint.to_owned())
                    .or_default()
                    .push(Held { published: published.clone(), socket: Arc::new(socket.0) }),
                Err(_) => lost.push(published.clone()),
            }
        }
        lost
    }

    /// The ports that an endpoint has.
    pub(crate) fn of(&self, endpoint: &str) -> Vec<Held> {
        let all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(endpoint).cloned().unwrap_or_default()
    }

    /// Gives an endpoint's ports back.
    pub(crate) fn give_back(&self, endpoint: &str) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
    }
}

/// Takes the first port that is free of those that the request allows, at each address.
fn take_one(request: &PortRequest, others: Vec<Published>) -> Result<Vec<Held>, Error> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let (addresses, explicit) = match request.host_address {
        Some(address) => (vec![address], true),
        None => (everywhere.to_vec(), false),
    };
    let several = request.host_ports.is_none();
    let choices: RangeInclusive<u16> = request.host_ports.clone().unwrap_or(0..=0);
    let tries = if several { TRIES } else { 1 };
    let mut failure = None;
    for port in choices.flat_map(|port| std::iter::repeat_n(port, tries)) {
        match take_at(request, &addresses, explicit, port) {
            Ok(held) => return Ok(held),
            Err((address, error)) => {
                let taken = error.kind() == io::ErrorKind::AddrInUse;
                let ours = others.iter().any(|other| meets(other, request.protocol, address));
                let (host, port) = (address.ip(), address.port());
                let protocol = request.protocol;
                failure = Some(if taken && ours {
                    Error::PortAllocated { host, port }
                } else {
                    Error::PortInUse { host, port, protocol, source: error }
                });
                if !taken {
                    break;
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::Invalid("an empty range of host ports".to_owned())))
}

/// Takes one port at each address; 0 is any, the same at each.
fn take_at(
    request: &PortRequest,
    addresses: &[IpAddr],
    explicit: bool,
    mut port: u16,
) -> Result<Vec<Held>, (SocketAddr, io::Error)> {
    let mut held = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        let (socket, bound) = match hold(request.protocol, at) {
            Ok(held) => held,
            // A host without IPv6: not what the user asked for by name.
            Err(error) if !explicit && address.is_ipv6() && no_such_family(&error) => continue,
            Err(error) => return Err((at, error)),
        };
        port = bound.port();
        let published = Published {
            protocol: request.protocol,
            container_port: request.container_port,
            host_address: *address,
            host_port: port,
        };
        held.push(Held { published, socket: Arc::new(socket) });
    }
    Ok(held)
}

/// A bound socket, and where it is bound. TCP listens, so that it counts as taken
/// and can be served.
fn hold(protocol: Protocol, address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that linger in TIME_WAIT are no reason to refuse; another listener still is.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, 128)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound))
}

fn no_such_family(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    ) || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Whether a published port and an address can't both be.
fn meets(other: &Published, protocol: Protocol, address: SocketAddr) -> bool {
    let same_place = other.host_address == address.ip()
        || (other.host_address.is_ipv4() == address.is_ipv4()
            && (other.host_address.is_unspecified() || address.ip().is_unspecified()));
    other.protocol == protocol && other.host_port == address.port() && same_place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(port: Option<RangeInclusive<u16>>) -> PortRequest {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        PortRequest {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_address: Some(loopback),
            host_ports: port,
        }
    }

    #[test]
    fn a_port_is_given_once_also_in_a_race() {
        let ports = Ports::default();
        let free = ports.take("probe", &[request(None)]).expect("some port is free")[0].published.host_port;
        ports.give_back("probe");
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let ports = &ports;
                    scope.spawn(move || ports.take(&number.to_string(), &[request(Some(free..=free))]))
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic").ok()).count()
        });
        assert_eq!(won, 1);
        let error = ports.take("late", &[request(Some(free..=free))]).expect_err("it is taken");
        assert_eq!(error.to_string(), format!("Bind for 127.0.0.1:{free} failed: port is already allocated"));
    }

    #[test]
    fn another_programs_port_is_in_use_and_a_range_goes_on_to_the_next() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = other.local_addr().expect("it is bound").port();
        let ports = Ports::default();
        let error = ports.take("a", &[request(Some(port..=port))]).expect_err("it is taken");
        assert!(matches!(error, Error::PortInUse { .. }), "{error}");
        if port < u16::MAX - 8 {
            let held = ports.take("b", &[request(Some(port..=port + 8))]).expect("one of the next is free");
            assert!(held[0].published.host_port > port);
        }
    }

    #[test]
    fn all_or_none() {
        let ports = Ports::default();
        let taken = ports.take("a", &[request(None)]).expect("some port is free")[0].published.host_port;
        let free = ports.take("probe", &[request(None)]).expect("some port is free")[0].published.host_port;
        ports.give_back("probe");
        let both = [request(Some(free..=free)), request(Some(taken..=taken))];
        assert!(ports.take("b", &both).is_err());
        assert!(ports.take("c", &[request(Some(free..=free))]).is_ok());
    }
}
