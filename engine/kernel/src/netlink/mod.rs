//! Netlink: how a process talks with the kernel's network code.
//!
//! A netlink socket carries *messages*. Each has a header (length, kind, flags, a
//! number to tell answers apart), a fixed structure of its kind, and *attributes*:
//! (length, kind, value) triples, padded to four bytes, which may hold attributes
//! in turn. Links, addresses and routes are spoken of in the family
//! `NETLINK_ROUTE` ([`crate::link`]), packet filters in `NETLINK_NETFILTER`
//! ([`crate::nft`]). One small encoder serves both.
//!
//! A socket stays in the network namespace where it was opened, whatever its
//! owner does later: that is how one process configures many namespaces.
//!
//! See netlink(7), rtnetlink(7); kernel `userspace-api/netlink/intro`.

mod message;

mod socket;

pub(crate) use message::{Message, Reply, attribute, attributes, text, u32_be, u32_ne};
pub(crate) use socket::{Refusal, Socket};
