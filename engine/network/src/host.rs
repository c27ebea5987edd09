//! The host's side of a network: its bridge, its table, and the switches that both need.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use glassdock_kernel::link::{Link, Links};
use glassdock_kernel::nft::{Family, Nft};
use glassdock_trace::{Body, Trace};
use rustix::fs::{FlockOperation, flock};

use crate::cidr::Cidr;
use crate::error::Error;
use crate::model::{Endpoint, Ipam6, Mac, Network};
use crate::{nat, nat6};

/// The families that a network may have a table of.
const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

/// What begins the alias of each bridge and the comment of each table of an engine;
/// the engine's root follows.
const MARK: &str = "glassdock ";

/// The versions of the protocol, each with switches of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

impl Version {
    /// The switch that makes a host pass packets on: its name and its file.
    fn forwarding(self) -> (&'static str, &'static str) {
        match self {
            Self::V4 => ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            Self::V6 => ("net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"),
        }
    }
}

/// The versions that a network has addresses of.
pub(crate) fn versions(network: &Network) -> impl Iterator<Item = Version> {
    let four = network.ipam.as_ref().map(|_| Version::V4);
    four.into_iter().chain(network.ipam6.as_ref().map(|_| Version::V6))
}

/// Whether this machine knows IPv6.
#[must_use]
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// The text that marks what belongs to the engine of that root.
pub(crate) fn mark(root: &Path) -> String {
    let mut mark = format!("{MARK}{}", root.display());
    // Longest is a table's comment, 127 bytes; a longer root is told by its end.
    if mark.len() > 127 {
        let tail = root.display().to_string();
        let cut = (tail.len() - (126 - MARK.len() - 3)..).find(|at| tail.is_char_boundary(*at));
        mark = format!("{MARK}…{}", &tail[cut.unwrap_or(0)..]);
    }
    mark
}

/// Whether a mark is that of an engine whose root is gone.
fn is_orphan(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|root| root.starts_with('/') && !Path::new(root).exists())
}

/// Brings a bridge network's host side to be: bridge and table. Returns the bridge's
/// number, and what could not be had.
pub(crate) fn ensure(
    trace: &Trace,
    network: &Network,
    bridge: &str,
    mark: &str,
    endpoints: &[Endpoint],
) -> Result<(u32, Vec<String>), Error> {
    let index = ensure_bridge(trace, network, bridge, mark)?;
    let mut tables = Vec::new();
    if let Some(ipam) = &network.ipam {
        tables.push((Family::Ip, nat::table(network, ipam, bridge, mark, endpoints.iter())));
    }
    if let Some(ipam6) = &network.ipam6 {
        ensure_address6(trace, ipam6, bridge, index)?;
        tables.push((Family::Ip6, nat6::table(network, ipam6, bridge, mark, endpoints.iter())));
    }
    let mut warnings = Vec::new();
    for (family, table) in tables {
        let filtered = Nft::of(family).and_then(|mut nft| {
            nft.replace_table(trace, &table)?;
            for place in nft.closed_forward_chains()? {
                nft.open_foreign(trace, &place, &nat::through_others(bridge))?;
            }
            Ok(())
        });
        if let Err(glassdock_kernel::Error::Aborted(aborted)) = filtered {
            return Err(aborted.into());
        }
        if let Err(error) = filtered {
            let why = chain(&error);
            warnings.push(format!("no address translation for {bridge}: containers reach each other and this host, not the world; published TCP ports are served by the engine ({why})"));
        }
    }
    Ok((index, warnings))
}

/// The bridge's IPv6 address.
fn ensure_address6(trace: &Trace, ipam: &Ipam6, bridge: &str, index: u32) -> Result<(), Error> {
    // A host may have IPv6 off for links that are new.
    let switch = format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6");
    if fs::read_to_string(&switch).is_ok_and(|value| value.trim() == "1") {
        write_sysctl(trace, &format!("net.ipv6.conf.{bridge}.disable_ipv6"), &switch, "0")?;
    }
    let mut links = Links::here()?;
    if links.addresses_v6()?.contains(&(index, ipam.gateway, ipam.subnet.prefix())) {
        return Ok(());
    }
    Ok(links.add_address(trace, bridge, index, IpAddr::V6(ipam.gateway), ipam.subnet.prefix())?)
}

fn ensure_bridge(trace: &Trace, network: &Network, bridge: &str, mark: &str) -> Result<u32, Error> {
    let mut links = Links::here()?;
    let ipam = network.ipam.as_ref();
    let address = ipam.map(|ipam| (IpAddr::V4(ipam.gateway), ipam.subnet.prefix()));
    if let Some(link) = links.find(bridge)? {
        let addresses = links.addresses()?;
        let has = |link: &Link| addresses.iter().any(|(index, ..)| *index == link.index);
        if link.alias == mark {
            let right = ipam.map(|ipam| (link.index, ipam.gateway, ipam.subnet.prefix()));
            if right.map_or(!has(&link), |right| addresses.contains(&right)) {
                return Ok(link.index);
            }
            if let Some(address) = address.filter(|_| !has(&link)) {
                links.add_address(trace, bridge, link.index, address.0, address.1)?;
                return Ok(link.index);
            }
            // The network's addresses changed (`--bip`) while nobody was connected.
            links.delete(trace, bridge)?;
        } else if link.kind == "bridge" && link.alias.is_empty() && !has(&link) {
            // Ours, from a crash between its making and its marking: nobody's bridge is so bare.
            links.delete(trace, bridge)?;
        } else {
            let owner = link.alias.strip_prefix(MARK).map(|root| format!("the engine of {root}"));
            let owner = owner.unwrap_or_else(|| "another program".to_owned());
            return Err(Error::ForeignBridge { bridge: bridge.to_owned(), owner });
        }
    }
    let mac = ipam.map_or_else(|| Mac::named(&network.id), |ipam| Mac::of(ipam.gateway));
    Ok(links.create_bridge(trace, bridge, address, mac.0, network.mtu, mark)?)
}

/// Removes a network's host side. What is gone already is no error.
pub(crate) fn remove(trace: &Trace, bridge: &str, mark: &str) -> Result<(), Error> {
    let mut links = Links::here()?;
    if links.find(bridge)?.is_some_and(|link| link.alias == mark) {
        links.delete(trace, bridge)?;
    }
    for family in FAMILIES {
        // Without nftables there is nothing of it either.
        let Ok(mut nft) = Nft::of(family) else { continue };
        let Ok(tables) = nft.tables() else { continue };
        if tables.iter().any(|(name, owner)| name == bridge && owner == mark) {
            nft.delete_table(trace, bridge)?;
            nft.close_foreign(trace, &nat::through_others(bridge))?;
        }
    }
    Ok(())
}

/// Removes what no network of this engine accounts for: bridges and tables that a
/// crash left, links of containers that are gone, and idle bridges of engines whose
/// root was deleted.
pub(crate) fn sweep(
    trace: &Trace,
    mark: &str,
    bridges: &[String],
    host_interfaces: &[String],
) -> Result<(), Error> {
    let mut links = Links::here()?;
    let all = links.list()?;
    for bridge in all.iter().filter(|link| link.kind == "bridge") {
        let connected: Vec<_> = all.iter().filter(|link| link.master == bridge.index).collect();
        if bridge.alias == mark {
            for link in connected.into_iter().filter(|link| !host_interfaces.contains(&link.name)) {
                // It may go by itself at this moment, with its namespace.
                let _ = links.delete(trace, &link.name);
            }
            if !bridges.contains(&bridge.name) {
                remove(trace, &bridge.name, mark)?;
            }
        } else if is_orphan(&bridge.alias) && connected.is_empty() {
            remove(trace, &bridge.name, &bridge.alias)?;
        }
    }
    for family in FAMILIES {
        let Ok(mut nft) = Nft::of(family) else { continue };
        for (name, owner) in nft.tables().unwrap_or_default() {
            let lost = owner == mark && !bridges.contains(&name);
            let orphan =
                is_orphan(&owner) && !all.iter().any(|link| link.name == name && link.alias == owner);
            if lost || orphan {
                nft.delete_table(trace, &name)?;
                nft.close_foreign(trace, &nat::through_others(&name))?;
            }
        }
    }
    Ok(())
}

/// The networks that this host knows a way to, so that a new one meets none of them.
pub(crate) fn used() -> Result<Vec<Cidr>, Error> {
    let mut links = Links::here()?;
    let addresses = links.addresses()?.into_iter().map(|(_, address, prefix)| (address, prefix));
    let routes = links.routes()?;
    Ok(addresses.chain(routes).filter_map(|(address, prefix)| Cidr::new(address, prefix)).collect())
}

/// Makes the host pass packets on. Returns whether it did not before.
pub(crate) fn enable_forwarding(trace: &Trace, version: Version) -> Result<bool, Error> {
    let (name, file) = version.forwarding();
    if fs::read_to_string(file).is_ok_and(|value| value.trim() == "1") {
        let body = Body::SysctlSet { name: name.to_owned(), value: "1".to_owned() };
        trace.skip(body, "this host passes packets on already");
        return Ok(false);
    }
    write_sysctl(trace, name, file, "1")?;
    Ok(true)
}

/// Puts the switch back, unless somebody else has come to need it: another bridge
/// stands for a program that passes packets on too.
pub(crate) fn restore_forwarding(trace: &Trace, version: Version) -> Result<(), Error> {
    let mut links = Links::here()?;
    let mut bridges = links.list()?;
    bridges.retain(|link| link.kind == "bridge");
    if version == Version::V6 {
        // One that has only the address that the kernel gives to each link needs nothing passed on.
        let addresses = links.addresses_v6()?;
        bridges.retain(|bridge| {
            addresses.iter().any(|(index, own, _)| *index == bridge.index && !own.is_unicast_link_local())
        });
    }
    if !bridges.is_empty() {
        return Ok(());
    }
    let (name, file) = version.forwarding();
    write_sysctl(trace, name, file, "0")
}

/// Lets this machine's own processes reach published ports at 127.0.0.1: packets from
/// a loopback address may leave by the bridge. The table's chain `early` sees to it
/// that nothing comes in so.
pub(crate) fn route_localnet(trace: &Trace, bridge: &str) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
    if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    write_sysctl(trace, &format!("net.ipv4.conf.{bridge}.route_localnet"), &path, "1")
}

/// Whether packets between ports of one bridge pass the IPv4 hooks too (the module
/// br_netfilter, with its switch on). Then what is redirected from one port to the
/// same is bridged there at once, instead of being routed; see [`Links::set_hairpin`].
pub(crate) fn bridged_packets_are_filtered() -> bool {
    fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value.trim() == "1")
}

fn write_sysctl(trace: &Trace, name: &str, path: &str, value: &str) -> Result<(), Error> {
    trace.step(Body::SysctlSet { name: name.to_owned(), value: value.to_owned() }, |_| {
        fs::write(path, value).map_err(|error| glassdock_kernel::Error::call("write", path, error).into())
    })
}

/// Holds off other engines of this host while one looks for free addresses and takes
/// them. The lock is on the network namespace itself, so it reaches exactly those
/// that share the addresses.
pub(crate) fn exclusive() -> Option<File> {
    let namespace = File::open("/proc/thread-self/ns/net").ok()?;
    let patience = Instant::now() + Duration::from_secs(2);
    // Anybody may lock this file, so it is never waited for without end.
    while Instant::now() < patience {
        match flock(&namespace, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(namespace),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return None,
        }
    }
    None
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_fits_and_tells_roots_apart() {
        assert_eq!(mark(Path::new("/var/lib/glassdock")), "glassdock /var/lib/glassdock");
        let long = |end: &str| mark(Path::new(&format!("/{}/{end}", "é".repeat(200))));
        assert!(long("a").len() <= 127);
        assert_ne!(long("a"), long("b"));
        assert!(!is_orphan(&long("a")), "a root that is cut can't be looked for");
        assert!(is_orphan("glassdock /no/such/root") && !is_orphan("glassdock /tmp") && !is_orphan("br0"));
    }
}
