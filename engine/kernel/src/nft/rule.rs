//! A rule in our form, and its text.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Matches, a verdict, and a comment by which it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub matches: Vec<Match>,
    /// What happens then.
    pub verdict: Verdict,
    /// At most 127 bytes; may be empty.
    pub comment: String,
}

impl Rule {
    /// A rule without a comment.
    #[must_use]
    pub fn new(matches: impl Into<Vec<Match>>, verdict: Verdict) -> Self {
        Self { matches: matches.into(), verdict, comment: String::new() }
    }

    /// The same with a comment.
    #[must_use]
    pub fn comment(self, comment: impl Into<String>) -> Self {
        Self { comment: comment.into(), ..self }
    }
}

/// One thing that is asked of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It came in by that link.
    In(String),
    /// It goes out by that link.
    Out(String),
    /// It goes out by another link.
    NotOut(String),
    /// It is from that network.
    From(IpAddr, u8),
    /// It is for that network.
    To(IpAddr, u8),
    /// It is for an address of this machine.
    ToThisMachine,
    /// It is of that protocol and for that port.
    Port(Transport, u16),
    /// It belongs to a connection that both sides know, or to one that such a one made.
    Answered,
    /// It belongs to a connection whose destination was translated.
    Redirected,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, protocol 6.
    Tcp,
    /// UDP, protocol 17.
    Udp,
}

/// What happens with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes this chain's hook, as far as this table is concerned.
    Accept,
    /// It is gone.
    Drop,
    /// Another chain is asked, and then the next rule.
    Jump(&'static str),
    /// It leaves with the address of the link that it leaves by; answers find back.
    Masquerade,
    /// It goes to another address and port; answers seem to come from the first.
    RedirectTo(IpAddr, u16),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        write!(f, "{}", self.verdict)?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " comment \"{}\"", self.comment) }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(link) => write!(f, "iifname \"{link}\""),
            Self::Out(link) => write!(f, "oifname \"{link}\""),
            Self::NotOut(link) => write!(f, "oifname != \"{link}\""),
            Self::From(address, prefix) => network(f, "saddr", *address, *prefix),
            Self::To(address, prefix) => network(f, "daddr", *address, *prefix),
            Self::ToThisMachine => f.write_str("fib daddr type local"),
            Self::Port(Transport::Tcp, port) => write!(f, "tcp dport {port}"),
            Self::Port(Transport::Udp, port) => write!(f, "udp dport {port}"),
            Self::Answered => f.write_str("ct state established,related"),
            Self::Redirected => f.write_str("ct status dnat"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::RedirectTo(address, port) => write!(f, "dnat to {}", SocketAddr::new(*address, *port)),
        }
    }
}

fn network(f: &mut fmt::Formatter<'_>, field: &str, address: IpAddr, prefix: u8) -> fmt::Result {
    let (family, whole) = if address.is_ipv4() { ("ip", 32) } else { ("ip6", 128) };
    write!(f, "{family} {field} {address}")?;
    if prefix == whole { Ok(()) } else { write!(f, "/{prefix}") }
}
