//! The IPv6 addresses of a network that has them beside those of IPv4.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use crate::cidr6::Cidr6;
use crate::error::Error;
use crate::model::{Ipam6, NewIpam6};

/// The longest prefix that leaves room for a gateway and a container.
const LONGEST: u8 = 126;

/// Addresses that a network can't have among its own: the loopback's, and the first of those that
/// are for groups (RFC 4291, 2.5.3 and 2.7).
const RESERVED: [Ipv6Addr; 2] = [Ipv6Addr::LOCALHOST, Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)];

/// The IPv6 addresses of a new network, as far as the user named them. `ours` are those of the
/// engine's other networks; `mark` is what tells this engine from others.
pub(crate) fn plan(new: &NewIpam6, ours: &[Cidr6], mark: &str) -> Result<Ipam6, Error> {
    let subnet = match new.subnet {
        Some(subnet) if subnet != subnet.network() => {
            return Err(Error::Invalid(format!(
                "invalid subnet {subnet}: it should be {}",
                subnet.network()
            )));
        }
        Some(subnet) if subnet.prefix() > LONGEST => {
            return Err(Error::Invalid(format!(
                "invalid subnet {subnet}: no room for a gateway and a container"
            )));
        }
        Some(subnet) if RESERVED.into_iter().any(|address| subnet.contains(address)) => {
            return Err(Error::Invalid(format!(
                "invalid subnet {subnet}: it has addresses that no host can have"
            )));
        }
        Some(subnet) if ours.iter().any(|other| other.overlaps(subnet)) => {
            return Err(Error::PoolOverlaps(subnet.to_string()));
        }
        Some(subnet) => subnet,
        None if new.gateway.is_some() || new.range.is_some() => {
            return Err(Error::Invalid("a gateway or an address range takes a --subnet".to_owned()));
        }
        None => free(ours, mark).ok_or(Error::NoFreePool)?,
    };
    if let Some(range) = new.range
        && (range.prefix() < subnet.prefix() || !subnet.contains(range.network().address()))
    {
        return Err(Error::Invalid(format!("invalid ip-range {range}: it is not inside of {subnet}")));
    }
    for address in new.gateway.iter().chain(new.reserved.values()) {
        if !subnet.contains(*address) {
            return Err(Error::OutsideSubnet { address: (*address).into(), subnet: subnet.to_string() });
        }
    }
    let taken: BTreeSet<_> = new.reserved.values().copied().collect();
    let first = || subnet.hosts().find(|address| !taken.contains(address));
    let gateway = new.gateway.or_else(first).ok_or_else(|| Error::NoFreeAddress(subnet.to_string()))?;
    Ok(Ipam6 {
        subnet,
        range: new.range.map(Cidr6::network),
        gateway,
        reserved: new.reserved.clone(),
        of_user: new.subnet.is_some(),
    })
}

/// The first free `/64` of a private `/48` that is this engine's own: `fd`, and 40 bits that two
/// engines hardly share (RFC 4193, 3.2), made from what marks the engine.
fn free(ours: &[Cidr6], mark: &str) -> Option<Cidr6> {
    // FNV-1a, 64 bits: stable, and not a secret.
    let hash = mark.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let global = u128::from(hash >> 24) << 80;
    (0..=u128::from(u16::MAX))
        .filter_map(|part| Cidr6::new(Ipv6Addr::from_bits(0xfd << 120 | global | part << 64), 64))
        .find(|pool| !ours.iter().any(|other| other.overlaps(*pool)))
}

impl Ipam6 {
    /// An address for a container: the wanted one if it is free, else the lowest that is.
    /// `taken` are the addresses of the network's containers.
    pub(crate) fn pick(
        &self,
        network: &str,
        wanted: Option<Ipv6Addr>,
        taken: &BTreeSet<Ipv6Addr>,
    ) -> Result<Ipv6Addr, Error> {
        let held = |address: Ipv6Addr| {
            address == self.gateway
                || taken.contains(&address)
                || self.reserved.values().any(|other| *other == address)
                || address == self.subnet.network().address()
        };
        let Some(wanted) = wanted else {
            let free = self.range.unwrap_or(self.subnet).hosts().find(|address| !held(*address));
            return free.ok_or_else(|| Error::NoFreeAddress(network.to_owned()));
        };
        if !self.subnet.contains(wanted) {
            return Err(Error::OutsideSubnet { address: wanted.into(), subnet: self.subnet.to_string() });
        }
        if held(wanted) { Err(Error::AddressTaken(wanted.into())) } else { Ok(wanted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(subnet: &str) -> NewIpam6 {
        NewIpam6 { subnet: Some(subnet.parse().expect("the test's own CIDR")), ..NewIpam6::default() }
    }

    #[test]
    fn each_engine_has_pools_of_its_own() {
        let first = plan(&NewIpam6::default(), &[], "glassdock /a").expect("free").subnet;
        let second = plan(&NewIpam6::default(), &[first], "glassdock /a").expect("free").subnet;
        let other = plan(&NewIpam6::default(), &[], "glassdock /b").expect("free").subnet;
        assert!(!first.overlaps(second) && !first.overlaps(other));
        assert!(first.to_string().starts_with("fd") && first.prefix() == 64, "{first}");
    }

    #[test]
    fn addresses_are_handed_out_and_wrong_ones_refused() {
        let ipam = plan(&new("fd00:7::/126"), &[], "").expect("free");
        assert_eq!(ipam.gateway.to_string(), "fd00:7::1");
        let mut taken = BTreeSet::new();
        while let Ok(address) = ipam.pick("n", None, &taken) {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 2);
        assert!(matches!(ipam.pick("n", Some(ipam.gateway), &taken), Err(Error::AddressTaken(_))));
        let outside = ipam.pick("n", Some(Ipv6Addr::LOCALHOST), &taken);
        assert!(matches!(outside, Err(Error::OutsideSubnet { .. })));
        let ours = ["fd00:7::/64".parse().expect("a CIDR")];
        for wrong in ["fd00:7::1/64", "fd00:8::/127", "fd00:7::/80", "::/0", "::/64", "ff00::/8"] {
            assert!(plan(&new(wrong), &ours, "").is_err(), "{wrong} was taken");
        }
    }
}
