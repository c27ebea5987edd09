//! An IPv4 network: an address and how many of its leading bits name the network.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address with the length of its network's prefix, such as `172.18.0.1/16`.
/// It may stand for the network (`172.18.0.0/16`) or for a host in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

/// A text that is not an address with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct NotACidr(pub(crate) String);

impl Cidr {
    /// That address in a network of that prefix; `None` for a prefix over 32.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then_some(Self { address, prefix })
    }

    /// The address as written.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// How many leading bits name the network.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The same network with all bits of the host cleared.
    #[must_use]
    pub fn network(self) -> Self {
        Self { address: Ipv4Addr::from_bits(self.first()), prefix: self.prefix }
    }

    /// The network's last address, its broadcast address.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first() | !self.mask())
    }

    /// Another address of the same network.
    #[must_use]
    pub fn with_address(self, address: Ipv4Addr) -> Self {
        Self { address, ..self }
    }

    /// Whether an address lies in the network.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.first()
    }

    /// Whether two networks share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network().address) || other.contains(self.network().address)
    }

    /// The addresses that hosts can have: all but the network's own and the broadcast
    /// address, in order. Of a `/31` or `/32` each address counts (RFC 3021).
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let (first, last) = (self.first(), self.broadcast().to_bits());
        let range = if self.prefix >= 31 { first..=last } else { first + 1..=last - 1 };
        range.map(Ipv4Addr::from_bits)
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    fn first(self) -> u32 {
        self.address.to_bits() & self.mask()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
            Self::new(address.parse().ok()?, plain.then(|| prefix.parse().ok())??)
        };
        parse().ok_or_else(|| NotACidr(text.to_owned()))
    }
}

impl TryFrom<String> for Cidr {
    type Error = NotACidr;

    fn try_from(text: String) -> Result<Self, NotACidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("the test's own CIDR")
    }

    #[test]
    fn a_network_knows_its_edges() {
        let net = cidr("172.18.3.4/16");
        assert_eq!(net.network().to_string(), "172.18.0.0/16");
        assert_eq!(net.broadcast(), Ipv4Addr::new(172, 18, 255, 255));
        assert!(net.contains(Ipv4Addr::new(172, 18, 9, 9)) && !net.contains(Ipv4Addr::new(172, 19, 0, 0)));
        assert_eq!(cidr("10.0.0.0/30").hosts().count(), 2);
        assert_eq!(cidr("10.0.0.0/31").hosts().count(), 2);
        assert_eq!(cidr("10.0.0.9/32").hosts().count(), 1);
    }

    #[test]
    fn the_whole_internet_is_a_network_too() {
        assert!(cidr("0.0.0.0/0").contains(Ipv4Addr::BROADCAST));
        assert!(cidr("0.0.0.0/0").overlaps(cidr("10.0.0.0/8")));
        assert!(cidr("10.1.0.0/16").overlaps(cidr("10.0.0.0/8")));
        assert!(!cidr("10.1.0.0/16").overlaps(cidr("10.2.0.0/16")));
    }

    #[test]
    fn what_is_no_cidr_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/0",
            "1.1.1.1/ 8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?} was taken");
        }
    }
}
