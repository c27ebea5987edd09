//! Rules as the kernel has them: expressions over registers.
//!
//! Register 1 (16 bytes) holds what a match loaded; registers 1 and 2 hold address
//! and port for a translation; register 0 is the verdict. All numbers in attributes
//! are in the network's byte order; what is compared is in the order that the
//! expression loads it: packets as on the wire, the kernel's own numbers as the
//! machine has them.

use std::net::IpAddr;

use crate::netlink::{Message, Reply, attribute, u32_be};
use crate::nft::rule::{Match, Rule, Transport, Verdict};
use crate::nft::{Chain, ForeignChain, comment, name_in, u64_be};

/// `NFPROTO_IPV4`, the family `ip`.
pub(super) const IP: u8 = 2;
/// `NFPROTO_IPV6`, the family `ip6`.
pub(super) const IP6: u8 = 10;
/// `NFPROTO_INET`, the family `inet`: IPv4 and IPv6.
const INET: u8 = 1;

// ---- whole messages ----

pub(super) fn begin() -> Message {
    batch_mark(0x10)
}

pub(super) fn end() -> Message {
    batch_mark(0x11)
}

/// A mark names in its header the subsystem whose transaction it is.
fn batch_mark(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, &[0, 0, high, low])
}

pub(super) fn new_table(family: u8, name: &str, owner: &str) -> Message {
    let mut message = message(NEWTABLE, CREATE, family);
    message.put_text(1, name).put(6, &userdata(owner));
    message
}

pub(super) fn delete_table(family: u8, name: &str) -> Message {
    let mut message = message(DELTABLE, 0, family);
    message.put_text(1, name);
    message
}

pub(super) fn new_chain(family: u8, table: &str, chain: &Chain) -> Message {
    let mut message = message(NEWCHAIN, CREATE, family);
    message.put_text(1, table).put_text(3, chain.name);
    if let Some((kind, hook, priority)) = chain.hook.map(super::Hook::place) {
        message.nest(4, |place| {
            place.put_u32_be(1, hook).put(2, &priority.to_be_bytes());
        });
        message.put_u32_be(5, ACCEPT).put_text(7, kind);
    }
    message
}

pub(super) fn append_rule(family: u8, table: &str, chain: &str, rule: &Rule) -> Message {
    new_rule(CREATE | APPEND, family, table, chain, rule)
}

pub(super) fn insert_rule(family: u8, table: &str, chain: &str, rule: &Rule) -> Message {
    new_rule(CREATE, family, table, chain, rule)
}

fn new_rule(flags: u16, family: u8, table: &str, chain: &str, rule: &Rule) -> Message {
    let mut message = message(NEWRULE, flags, family);
    message.put_text(1, table).put_text(2, chain);
    message.nest(4, |program| {
        rule.matches.iter().for_each(|condition| put_match(program, condition));
        put_verdict(program, &rule.verdict);
    });
    if !rule.comment.is_empty() {
        message.put(7, &userdata(&rule.comment));
    }
    message
}

pub(super) fn delete_rule(family: u8, table: &str, chain: &str, handle: u64) -> Message {
    let mut message = message(DELRULE, 0, family);
    message.put_text(1, table).put_text(2, chain).put(3, &handle.to_be_bytes());
    message
}

pub(super) fn get_tables(flags: u16, family: u8) -> Message {
    message(GETTABLE, flags, family)
}

pub(super) fn get_chains(flags: u16) -> Message {
    message(GETCHAIN, flags, 0)
}

pub(super) fn get_rules(flags: u16, family: u8, table: &str, chain: &str) -> Message {
    let mut message = message(GETRULE, flags, family);
    message.put_text(1, table).put_text(2, chain);
    message
}

/// A table's name and comment.
pub(super) fn read_table(reply: &Reply) -> (String, String) {
    let (_, rest) = reply.split(4);
    (name_in(rest, 1), attribute(rest, 6).map(comment).unwrap_or_default())
}

/// A rule's handle and comment.
pub(super) fn read_rule(reply: &Reply) -> (u64, String) {
    let (_, rest) = reply.split(4);
    (attribute(rest, 3).map_or(0, u64_be), attribute(rest, 7).map(comment).unwrap_or_default())
}

/// A chain at the hook `forward` that packets of that family meet.
pub(super) fn read_forward_chain(reply: &Reply, of: u8) -> Option<ForeignChain> {
    let (header, rest) = reply.split(4);
    let family = *header.first()?;
    let hook = attribute(attribute(rest, 4)?, 1).map(u32_be)?;
    let place = ForeignChain { family, table: name_in(rest, 1), chain: name_in(rest, 3) };
    (hook == FORWARD && (family == of || family == INET)).then_some(place)
}

/// The same, if its policy is to drop.
pub(super) fn read_closed_forward_chain(reply: &Reply, of: u8) -> Option<ForeignChain> {
    let (_, rest) = reply.split(4);
    let policy = attribute(rest, 5).map(u32_be)?;
    (policy == DROP).then(|| read_forward_chain(reply, of))?
}

// ---- matches and verdicts ----

fn put_match(program: &mut Message, condition: &Match) {
    match condition {
        Match::In(link) => link_name(program, META_IIFNAME, link, EQUAL),
        Match::Out(link) => link_name(program, META_OIFNAME, link, EQUAL),
        Match::NotOut(link) => link_name(program, META_OIFNAME, link, NOT_EQUAL),
        Match::From(address, prefix) => network(program, true, *address, *prefix),
        Match::To(address, prefix) => network(program, false, *address, *prefix),
        Match::ToThisMachine => {
            expression(program, "fib", |fib| {
                fib.put_u32_be(1, REGISTER_1).put_u32_be(2, FIB_ADDRTYPE).put_u32_be(3, FIB_DADDR);
            });
            compare(program, EQUAL, &RTN_LOCAL.to_ne_bytes());
        }
        Match::Port(transport, port) => {
            let number = match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            };
            load_meta(program, META_L4PROTO);
            compare(program, EQUAL, &[number]);
            load_payload(program, TRANSPORT_HEADER, 2, 2);
            compare(program, EQUAL, &port.to_be_bytes());
        }
        Match::Answered => connection(program, CT_STATE, STATE_ESTABLISHED | STATE_RELATED),
        Match::Redirected => connection(program, CT_STATUS, STATUS_DNAT),
    }
}

fn put_verdict(program: &mut Message, verdict: &Verdict) {
    match verdict {
        Verdict::Accept => immediate_verdict(program, ACCEPT, None),
        Verdict::Drop => immediate_verdict(program, DROP, None),
        Verdict::Jump(chain) => immediate_verdict(program, JUMP, Some(chain)),
        Verdict::Masquerade => expression(program, "masq", |_| {}),
        Verdict::RedirectTo(address, port) => {
            let family = match address {
                IpAddr::V4(address) => {
                    immediate(program, REGISTER_1, &address.octets());
                    IP
                }
                IpAddr::V6(address) => {
                    immediate(program, REGISTER_1, &address.octets());
                    IP6
                }
            };
            immediate(program, REGISTER_2, &port.to_be_bytes());
            expression(program, "nat", |nat| {
                nat.put_u32_be(1, NAT_DNAT).put_u32_be(2, u32::from(family));
                nat.put_u32_be(3, REGISTER_1).put_u32_be(5, REGISTER_2);
            });
        }
    }
}

/// A link's name, compared with its null byte, so that `gd1` is not `gd12`.
fn link_name(program: &mut Message, key: u32, link: &str, operator: u32) {
    load_meta(program, key);
    let mut name = [0; 16];
    let length = link.len().min(15);
    name[..length].copy_from_slice(&link.as_bytes()[..length]);
    compare(program, operator, &name);
}

/// The source or destination in the header of IPv4 (bytes 12 and 16) or IPv6 (8 and 24), as far
/// as the prefix reaches.
fn network(program: &mut Message, source: bool, address: IpAddr, prefix: u8) {
    match address {
        IpAddr::V4(address) => {
            load_payload(program, NETWORK_HEADER, if source { 12 } else { 16 }, 4);
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            if prefix < 32 {
                masked(program, &mask.to_be_bytes());
            }
            compare(program, EQUAL, &(address.to_bits() & mask).to_be_bytes());
        }
        IpAddr::V6(address) => {
            load_payload(program, NETWORK_HEADER, if source { 8 } else { 24 }, 16);
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            if prefix < 128 {
                masked(program, &mask.to_be_bytes());
            }
            compare(program, EQUAL, &(address.to_bits() & mask).to_be_bytes());
        }
    }
}

/// Any of these bits of what connection tracking knows.
fn connection(program: &mut Message, key: u32, bits: u32) {
    expression(program, "ct", |ct| {
        ct.put_u32_be(1, REGISTER_1).put_u32_be(2, key);
    });
    masked(program, &bits.to_ne_bytes());
    compare(program, NOT_EQUAL, &[0; 4]);
}

// ---- expressions ----

fn expression(program: &mut Message, name: &str, fill: impl FnOnce(&mut Message)) {
    program.nest(1, |element| {
        element.put_text(1, name).nest(2, fill);
    });
}

fn load_meta(program: &mut Message, key: u32) {
    expression(program, "meta", |meta| {
        meta.put_u32_be(1, REGISTER_1).put_u32_be(2, key);
    });
}

fn load_payload(program: &mut Message, base: u32, offset: u32, length: u32) {
    expression(program, "payload", |payload| {
        payload.put_u32_be(1, REGISTER_1).put_u32_be(2, base).put_u32_be(3, offset).put_u32_be(4, length);
    });
}

fn masked<const N: usize>(program: &mut Message, mask: &[u8; N]) {
    expression(program, "bitwise", |bitwise| {
        bitwise.put_u32_be(1, REGISTER_1).put_u32_be(2, REGISTER_1).put_u32_be(3, N as u32);
        bitwise.nest(4, |data| {
            data.put(1, mask);
        });
        bitwise.nest(5, |data| {
            data.put(1, &[0; N]);
        });
    });
}

fn compare(program: &mut Message, operator: u32, value: &[u8]) {
    expression(program, "cmp", |cmp| {
        cmp.put_u32_be(1, REGISTER_1).put_u32_be(2, operator).nest(3, |data| {
            data.put(1, value);
        });
    });
}

fn immediate(program: &mut Message, register: u32, value: &[u8]) {
    expression(program, "immediate", |immediate| {
        immediate.put_u32_be(1, register).nest(2, |data| {
            data.put(1, value);
        });
    });
}

fn immediate_verdict(program: &mut Message, code: u32, chain: Option<&str>) {
    expression(program, "immediate", |immediate| {
        immediate.put_u32_be(1, REGISTER_VERDICT).nest(2, |data| {
            data.nest(2, |verdict| {
                verdict.put_u32_be(1, code);
                if let Some(chain) = chain {
                    verdict.put_text(2, chain);
                }
            });
        });
    });
}

/// A comment as libnftables stores it: (kind 0, length, text with a null byte).
fn userdata(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(127)];
    let mut userdata = vec![0, text.len() as u8 + 1];
    userdata.extend_from_slice(text);
    userdata.push(0);
    userdata
}

fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &[family, 0, 0, 0])
}

// linux/netfilter/nf_tables.h, nfnetlink.h, nf_conntrack_common.h.
const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const FORWARD: u32 = 2;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const JUMP: u32 = -3_i32 as u32;

const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const FIB_ADDRTYPE: u32 = 3;
const FIB_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const STATE_ESTABLISHED: u32 = 2;
const STATE_RELATED: u32 = 4;
const STATUS_DNAT: u32 = 0x20;
const NAT_DNAT: u32 = 1;
