//! An IPv6 network: as [`crate::cidr`], with 128 bits.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cidr::NotACidr;

/// An address with the length of its network's prefix, such as `fd00::1/64`.
/// It may stand for the network (`fd00::/64`) or for a host in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr6 {
    address: Ipv6Addr,
    prefix: u8,
}

impl Cidr6 {
    /// That address in a network of that prefix; `None` for a prefix over 128.
    #[must_use]
    pub fn new(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        (prefix <= 128).then_some(Self { address, prefix })
    }

    /// The address as written.
    #[must_use]
    pub fn address(self) -> Ipv6Addr {
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
        Self { address: Ipv6Addr::from_bits(self.address.to_bits() & self.mask()), prefix: self.prefix }
    }

    /// Another address of the same network.
    #[must_use]
    pub fn with_address(self, address: Ipv6Addr) -> Self {
        Self { address, ..self }
    }

    /// Whether an address lies in the network.
    #[must_use]
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & self.mask() == self.address.to_bits() & self.mask()
    }

    /// Whether two networks share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network().address) || other.contains(self.network().address)
    }

    /// The addresses that hosts can have, in order: all but the first, which every router of the
    /// network listens at (RFC 4291, 2.6.1). There is no broadcast address.
    pub fn hosts(self) -> impl Iterator<Item = Ipv6Addr> {
        let first = self.network().address.to_bits();
        (first | 1..=first | !self.mask()).map(Ipv6Addr::from_bits)
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Cidr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr6 {
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

impl TryFrom<String> for Cidr6 {
    type Error = NotACidr;

    fn try_from(text: String) -> Result<Self, NotACidr> {
        text.parse()
    }
}

impl From<Cidr6> for String {
    fn from(cidr: Cidr6) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr6 {
        text.parse().expect("the test's own CIDR")
    }

    #[test]
    fn a_network_knows_its_edges() {
        let net = cidr("fd00:1::7/64");
        assert_eq!(net.network().to_string(), "fd00:1::/64");
        assert!(net.contains("fd00:1::ffff".parse().expect("an address")));
        assert!(!net.contains("fd00:1:0:1::".parse().expect("an address")));
        assert_eq!(net.hosts().next().map(|first| first.to_string()), Some("fd00:1::1".to_owned()));
        assert_eq!(cidr("fd00::4/126").hosts().count(), 3);
        assert!(cidr("::/0").overlaps(net) && !cidr("fd00::/64").overlaps(net));
    }

    #[test]
    fn what_is_no_cidr_is_refused() {
        for text in ["", "/", "fd00::", "fd00::/129", "fd00::/+8", "10.0.0.0/8", "fd00::/ 8", "fd00:::/8"] {
            assert!(text.parse::<Cidr6>().is_err(), "{text:?} was taken");
        }
    }
}
