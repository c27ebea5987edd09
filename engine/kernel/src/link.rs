//! Links, addresses and routes: what ip(8) shows.
//!
//! A [`Links`] is a conversation about one network namespace: the host's, or a
//! container's ([`Links::inside`]). Each method that changes something is a door.
//!
//! A veth pair is made in one message that says everything of both ends: names,
//! addresses, which bridge the near end is plugged into and that it is up, and in
//! which namespace the far end appears. So there is no moment at which half of it is
//! there, and a crash leaves the whole pair or none. (Only the far end's coming up
//! can't be in that message: veth(4) refuses it before the ends know each other.)
//!
//! A pair needs no deletion when a container ends: with the namespace its end
//! vanishes, and an end never lives without the other.
//!
//! See rtnetlink(7), veth(4), bridge(8), network_namespaces(7).

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use glassdock_trace::{Body, Trace};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::netlink::{Message, Refusal, Reply, Socket, attribute, attributes, text, u32_ne};
use crate::{Error, Result};

/// A network namespace, held open so that it stays the one that was meant.
#[derive(Debug)]
pub struct Netns {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Netns {
    /// The namespace that a file stands for, such as `/proc/4711/ns/net`.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file =
            File::open(&path).map_err(|error| Error::call("open", path.display().to_string(), error))?;
        Ok(Self { descriptor: file.into(), path })
    }

    /// The namespace of a process.
    ///
    /// # Errors
    ///
    /// Those of open(2): `ENOENT` if there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does something in this namespace: in a thread of its own that joins it and
    /// ends there, so that no thread of this process is ever in a wrong one. What
    /// the thread opens (sockets) stays in the namespace.
    ///
    /// # Errors
    ///
    /// Those of setns(2), and of starting a thread.
    pub fn enter<T: Send>(&self, trace: &Trace, act: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path.display().to_string();
        let body = Body::NamespaceJoin { namespaces: vec!["network".to_owned()], path: Some(path.clone()) };
        trace.step(body, |_| {
            let join = || -> Result<T> {
                #[expect(clippy::disallowed_methods, reason = "this is the door for a thread")]
                move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| Error::call("setns", path, error))?;
                Ok(act())
            };
            std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, join);
                let thread = thread.map_err(|error| Error::call("clone", "a thread for setns", error))?;
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it, unique in its namespace.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// `bridge`, `veth`, …; empty for real cards and the loopback.
    pub kind: String,
    /// The number of the bridge that it is plugged into, or 0.
    pub master: u32,
    /// A free text that says what it is for; see ip-link(8) `alias`.
    pub alias: String,
    /// Whether it is up.
    pub up: bool,
}

/// A veth pair to be made.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    /// The near end's name.
    pub name: &'a str,
    /// The bridge that the near end is plugged into: its number and its name.
    pub bridge: (u32, &'a str),
    /// Where the far end appears.
    pub netns: &'a Netns,
    /// The far end's name, such as `eth0`.
    pub peer: &'a str,
    /// The far end's MAC address.
    pub mac: [u8; 6],
    /// The largest packet, in bytes; `None` is 1500.
    pub mtu: Option<u32>,
}

/// A conversation with the kernel about the links of one network namespace.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

impl Links {
    /// About the namespace of the calling thread: the host's.
    ///
    /// # Errors
    ///
    /// Those of socket(2).
    pub fn here() -> Result<Self> {
        let socket = Socket::open(libc::NETLINK_ROUTE);
        Ok(Self { socket: socket.map_err(|error| Error::call("socket", "NETLINK_ROUTE", error))? })
    }

    /// About another namespace.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and socket(2).
    pub fn inside(trace: &Trace, netns: &Netns) -> Result<Self> {
        netns.enter(trace, Self::here)?
    }

    /// Makes a bridge that is up, with an address, and marked with an alias.
    /// Returns its number.
    ///
    /// With a MAC address of its own the bridge keeps it; without, it takes the least
    /// of its ports', which changes as they come and go, and neighbours remember a
    /// wrong one.
    ///
    /// # Errors
    ///
    /// `EEXIST` if a link has the name, `EOPNOTSUPP` on a kernel without bridges.
    pub fn create_bridge(
        &mut self,
        trace: &Trace,
        name: &str,
        address: Option<(IpAddr, u8)>,
        mac: [u8; 6],
        mtu: Option<u32>,
        alias: &str,
    ) -> Result<u32> {
        let shown = address.map(|(address, prefix)| format!("{address}/{prefix}"));
        trace.step(Body::NetBridge { name: name.to_owned(), address: shown }, |span| {
            let mut message = Message::new(NEWLINK, CREATE | EXCL, &link_header(0, true));
            message.put_text(IFNAME, name).put(ADDRESS, &mac);
            if let Some(mtu) = mtu {
                message.put_u32(MTU, mtu);
            }
            message.nest(LINKINFO, |info| {
                info.put_text(INFO_KIND, "bridge");
            });
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_NEWLINK", name))?;
            let index = self.index_of(name)?;
            let mut message = Message::new(SETLINK, 0, &link_header(index, true));
            message.put(IFALIAS, alias.as_bytes());
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_SETLINK", name))?;
            if let Some((address, prefix)) = address {
                self.add_address(span.trace(), name, index, address, prefix)?;
            }
            Ok(index)
        })
    }

    /// Makes a veth pair: the near end up, the far one in its namespace and still down.
    ///
    /// # Errors
    ///
    /// `EEXIST` if a link has one of the names, `EINVAL` if the namespace or the
    /// bridge went away.
    pub fn create_veth(&mut self, trace: &Trace, veth: &Veth<'_>) -> Result<()> {
        let body = Body::NetLink {
            name: veth.name.to_owned(),
            action: "create".to_owned(),
            peer: Some(veth.peer.to_owned()),
            bridge: Some(veth.bridge.1.to_owned()),
            netns: Some(veth.netns.path.display().to_string()),
        };
        trace.step(body, |_| {
            let mut message = Message::new(NEWLINK, CREATE | EXCL, &link_header(0, true));
            message.put_text(IFNAME, veth.name).put_u32(MASTER, veth.bridge.0);
            if let Some(mtu) = veth.mtu {
                message.put_u32(MTU, mtu);
            }
            message.nest(LINKINFO, |info| {
                info.put_text(INFO_KIND, "veth").nest(INFO_DATA, |data| {
                    data.nest(VETH_PEER, |peer| {
                        peer.raw(&link_header(0, false)).put_text(IFNAME, veth.peer).put(ADDRESS, &veth.mac);
                        if let Some(mtu) = veth.mtu {
                            peer.put_u32(MTU, mtu);
                        }
                        peer.put(NET_NS_FD, &veth.netns.as_fd().as_raw_fd().to_ne_bytes());
                    });
                });
            });
            let pair = || format!("{} and {}", veth.name, veth.peer);
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_NEWLINK", pair()))
        })
    }

    /// Brings a link up.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is not there.
    pub fn bring_up(&mut self, trace: &Trace, name: &str) -> Result<()> {
        trace.step(link_body(name, "up"), |_| {
            let mut message = Message::new(NEWLINK, 0, &link_header(0, true));
            message.put_text(IFNAME, name);
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_NEWLINK", name))
        })
    }

    /// Lets a bridge send back by the port that a packet came in by: what a container
    /// sends to its own published port must come back to it.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is not there, `EINVAL` if it is no port of a bridge.
    pub fn set_hairpin(&mut self, trace: &Trace, name: &str) -> Result<()> {
        trace.step(link_body(name, "hairpin"), |_| {
            let index = self.index_of(name)?;
            let mut header = link_header(index, false);
            header[0] = BRIDGE_FAMILY;
            let mut message = Message::new(SETLINK, 0, &header);
            message.nest(PROTINFO, |port| {
                port.put(PORT_HAIRPIN, &[1]);
            });
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_SETLINK", name))
        })
    }

    /// Gives a link an address.
    ///
    /// # Errors
    ///
    /// `EEXIST` if it has the address, `ENODEV` if it is not there.
    pub fn add_address(
        &mut self,
        trace: &Trace,
        link: &str,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<()> {
        let shown = format!("{address}/{prefix}");
        trace.step(Body::NetAddr { link: link.to_owned(), address: shown.clone() }, |_| {
            // The engine knows that nobody else has the address, so the kernel need not ask around for a second
            // before it may be used (IPv6's duplicate address detection).
            let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
            let mut fixed = [family(address), prefix, flags, 0, 0, 0, 0, 0];
            fixed[4..].copy_from_slice(&index.to_ne_bytes());
            let mut message = Message::new(NEWADDR, CREATE | EXCL, &fixed);
            put_address(&mut message, IFA_LOCAL, address);
            put_address(&mut message, IFA_ADDRESS, address);
            if let (IpAddr::V4(address), 0..=30) = (address, prefix) {
                let broadcast = address.to_bits() | u32::MAX >> prefix;
                message.put_u32_be(IFA_BROADCAST, broadcast);
            }
            let subject = || format!("{shown} on {link}");
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_NEWADDR", subject()))
        })
    }

    /// Sends what has no better route to a gateway, which lies at the link of that name.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a default route, `ENETUNREACH` if the gateway is on no link, `ENODEV` without the link.
    pub fn add_default_route(&mut self, trace: &Trace, gateway: IpAddr, link: &str) -> Result<()> {
        self.default_route(trace, gateway, link, EXCL)
    }

    /// The same, whether there is a default route or not.
    ///
    /// # Errors
    ///
    /// `ENETUNREACH` if the gateway is on no link, `ENODEV` without the link.
    pub fn replace_default_route(&mut self, trace: &Trace, gateway: IpAddr, link: &str) -> Result<()> {
        self.default_route(trace, gateway, link, REPLACE)
    }

    fn default_route(&mut self, trace: &Trace, gateway: IpAddr, link: &str, flag: u16) -> Result<()> {
        // Each link has all of `fe80::/10`: there, the kernel has to be told which one is meant.
        let local = matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local());
        let link = local.then_some(link);
        let index = link.map(|link| self.index_of(link)).transpose()?;
        let body = Body::NetRoute {
            destination: "default".to_owned(),
            gateway: Some(gateway.to_string()),
            link: link.map(str::to_owned),
        };
        trace.step(body, |_| {
            let fixed = [family(gateway), 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, UNICAST, 0, 0, 0, 0];
            let mut message = Message::new(NEWROUTE, CREATE | flag, &fixed);
            put_address(&mut message, RTA_GATEWAY, gateway);
            if let Some(index) = index {
                message.put_u32(RTA_OIF, index);
            }
            let subject = || format!("default via {gateway}");
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_NEWROUTE", subject()))
        })
    }

    /// Deletes a link; one end of a veth pair takes the other along.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is not there.
    pub fn delete(&mut self, trace: &Trace, name: &str) -> Result<()> {
        trace.step(link_body(name, "delete"), |_| {
            let mut message = Message::new(DELLINK, 0, &link_header(0, false));
            message.put_text(IFNAME, name);
            self.socket.request(message).map_err(|refusal| refusal.of("RTM_DELLINK", name))
        })
    }

    /// The number of a link.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is not there.
    pub fn index_of(&mut self, name: &str) -> Result<u32> {
        self.find(name)?
            .map(|link| link.index)
            .ok_or_else(|| Error::call("RTM_GETLINK", name, io::Error::from_raw_os_error(libc::ENODEV)))
    }

    /// The link of that name, if there is one.
    ///
    /// # Errors
    ///
    /// What the kernel refuses otherwise.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = Message::new(GETLINK, 0, &link_header(0, false));
        message.put_text(IFNAME, name);
        match self.socket.get(message) {
            Ok(reply) => Ok(reply.as_ref().map(read_link)),
            Err(Refusal { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(refusal) => Err(refusal.of("RTM_GETLINK", name)),
        }
    }

    /// All links.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn list(&mut self) -> Result<Vec<Link>> {
        let links = self.socket.dump(GETLINK, &link_header(0, false));
        let links = links.map_err(|refusal| refusal.of("RTM_GETLINK", "all links"))?;
        Ok(links.iter().map(read_link).collect())
    }

    /// All IPv4 addresses: the link's number, the address, its prefix.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Ipv4Addr, u8)>> {
        let replies = self.socket.dump(GETADDR, &[INET, 0, 0, 0, 0, 0, 0, 0]);
        let replies = replies.map_err(|refusal| refusal.of("RTM_GETADDR", "all addresses"))?;
        Ok(replies.iter().filter_map(read_address).collect())
    }

    /// All IPv6 addresses: the link's number, the address, its prefix.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn addresses_v6(&mut self) -> Result<Vec<(u32, Ipv6Addr, u8)>> {
        let replies = self.socket.dump(GETADDR, &[INET6, 0, 0, 0, 0, 0, 0, 0]);
        let replies = replies.map_err(|refusal| refusal.of("RTM_GETADDR", "all IPv6 addresses"))?;
        Ok(replies.iter().filter_map(read_address_v6).collect())
    }

    /// Where IPv4 packets go: each route's destination and prefix, the default route left out.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn routes(&mut self) -> Result<Vec<(Ipv4Addr, u8)>> {
        let replies = self.socket.dump(GETROUTE, &[INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let replies = replies.map_err(|refusal| refusal.of("RTM_GETROUTE", "all routes"))?;
        Ok(replies.iter().filter_map(read_route).collect())
    }
}

fn link_body(name: &str, action: &str) -> Body {
    Body::NetLink { name: name.to_owned(), action: action.to_owned(), peer: None, bridge: None, netns: None }
}

/// `struct ifinfomsg`: which link, and whether it is to be up.
fn link_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        header[8..12].copy_from_slice(&UP.to_ne_bytes());
        header[12..].copy_from_slice(&UP.to_ne_bytes());
    }
    header
}

fn read_link(reply: &Reply) -> Link {
    let (header, rest) = reply.split(16);
    let mut link = Link {
        index: header.get(4..).map_or(0, u32_ne),
        up: header.get(8..).map_or(0, u32_ne) & UP != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFNAME => link.name = text(value),
            MASTER => link.master = u32_ne(value),
            IFALIAS => link.alias = text(value),
            LINKINFO => link.kind = attribute(value, INFO_KIND).map(text).unwrap_or_default(),
            _ => {}
        }
    }
    link
}

fn read_address(reply: &Reply) -> Option<(u32, Ipv4Addr, u8)> {
    let (header, rest) = reply.split(8);
    let value = attribute(rest, IFA_LOCAL).or_else(|| attribute(rest, IFA_ADDRESS))?;
    Some((u32_ne(header.get(4..)?), ipv4(value)?, *header.get(1)?))
}

fn read_address_v6(reply: &Reply) -> Option<(u32, Ipv6Addr, u8)> {
    let (header, rest) = reply.split(8);
    // A kernel without IPv6 answers with what it has.
    let value = attribute(rest, IFA_ADDRESS).filter(|_| header.first() == Some(&INET6))?;
    let address = <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from)?;
    Some((u32_ne(header.get(4..)?), address, *header.get(1)?))
}

fn read_route(reply: &Reply) -> Option<(Ipv4Addr, u8)> {
    let (header, rest) = reply.split(12);
    let prefix = *header.get(1)?;
    (prefix > 0).then(|| Some((ipv4(attribute(rest, RTA_DST)?)?, prefix)))?
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { INET } else { INET6 }
}

fn put_address(message: &mut Message, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => message.put(kind, &address.octets()),
        IpAddr::V6(address) => message.put(kind, &address.octets()),
    };
}

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h. Written out: libc has only some.
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
const REPLACE: u16 = 0x100;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;

const UP: u32 = 1;
const ADDRESS: u16 = 1;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const MASTER: u16 = 10;
const PROTINFO: u16 = 12;
const PORT_HAIRPIN: u16 = 4;
const BRIDGE_FAMILY: u8 = 7;
const LINKINFO: u16 = 18;
const IFALIAS: u16 = 20;
const NET_NS_FD: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;

const INET: u8 = 2;
const INET6: u8 = 10;
const IFA_F_NODAD: u8 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const UNICAST: u8 = 1;
