//! # Networks: how containers reach each other, the world, and are reached
//!
//! A container's network namespace begins empty: no link but a loopback that is
//! down. This room gives it an end of a virtual cable (a *veth* pair); the other
//! end is plugged into a bridge on the host, which is a switch in software:
//!
//! ```text
//!   container's namespace        host's namespace                     outside
//!   eth0 172.18.0.2/16 ══veth══ gv1a2b3c4d ─┐
//!                                           ├─ glassdock0 172.18.0.1/16 ── nft ── eth0
//!   eth0 172.18.0.3/16 ══veth══ gv5e6f7a8b ─┘        (the gateway)     masquerade
//! ```
//!
//! Each network has one bridge and one nftables table, both of the same name, so
//! that two engines on one host never meet, and removing a network is deleting two
//! things. What a table holds is explained in `nat.rs`.
//!
//! A container's way through here:
//!
//! ```text
//!   attach ── reserve address and ports (memory and storage; no two get the same)
//!          ── create the veth pair, its far end inside the namespace already
//!          ── loopback up, address, default route   (inside)
//!          ── a rule per published port             (host)
//!   detach ── rules away, veth away, address and ports free again
//! ```
//!
//! Reading order: addresses (`cidr`, `cidr6`, `ipam`, `ipam6`, `fixed`), what a network is (`model`), who
//! keeps them (`networks`, `builtin`, `configuration`, `storage`), the host's side (`host`), attaching
//! (`attach`), address translation and published ports (`nat`, `ports`, `proxy`),
//! putting order after a crash (`reconcile`), and the names of containers ([`names`]).
//!
//! Invariants:
//!
//! - What is reserved is written to the storage before the kernel is asked, so a
//!   crash leaves no link, rule or bridge that the next start doesn't know of.
//! - No lock is held while the kernel works or while someone holds the step gate.
//! - Nothing here starts another program; everything is netlink, through
//!   [`glassdock_kernel::link`] and [`glassdock_kernel::nft`].
//!
//! A network may have IPv6 beside IPv4: a second subnet, a second address of the bridge and of
//! each container, and a second table (`ip6`) of the same name. Or it has these alone.
//!
//! Absent on purpose: overlay and macvlan drivers.

pub mod cidr;

pub mod cidr6;

mod ipam;

mod ipam6;

mod fixed;

pub mod model;

pub mod error;

pub mod storage;

pub mod networks;

mod builtin;

mod configuration;

mod host;

mod attach;

mod routes;

mod nat;

mod nat6;

mod ports;

mod proxy;

mod reconcile;

pub mod names;

pub use cidr::Cidr;
pub use cidr6::Cidr6;
pub use error::{Error, ErrorKind};
pub use host::has_ipv6;
pub use model::{
    Driver, Endpoint, EndpointConfig, Ipam, Ipam6, Mac, Network, NewIpam6, NewNetwork, PortRequest, Protocol,
    Published,
};
pub use networks::{Config, Networks};
pub use storage::{Memory, Storage, StorageError};
