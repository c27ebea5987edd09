//! Which addresses a network gets, and which one a container gets in it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::cidr::Cidr;
use crate::error::Error;
use crate::model::{Ipam, NewNetwork};

/// The private networks that are tried in turn, the ones that Docker's users know:
/// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 in sixteen parts (RFC 1918).
fn pools() -> impl Iterator<Item = Cidr> {
    let large = (17..=31).map(|part| (Ipv4Addr::new(172, part, 0, 0), 16));
    let small = (0..=15).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
    large.chain(small).filter_map(|(address, prefix)| Cidr::new(address, prefix))
}

/// The first pool that overlaps nothing of `used`.
pub(crate) fn free_pool(used: &[Cidr]) -> Result<Cidr, Error> {
    pools().find(|pool| !used.iter().any(|other| other.overlaps(*pool))).ok_or(Error::NoFreePool)
}

/// The addresses of a new network, as far as the user named them; `used` are those
/// of this host and of the engine's other networks.
///
/// A subnet that the user names may overlap the host's routes (they may know why),
/// but not another of the engine's networks (`ours`).
pub(crate) fn plan(new: &NewNetwork, ours: &[Cidr], used: &[Cidr]) -> Result<Ipam, Error> {
    let subnet = match new.subnet {
        Some(subnet) if subnet != subnet.network() => {
            return Err(Error::Invalid(format!(
                "invalid subnet {subnet}: it should be {}",
                subnet.network()
            )));
        }
        Some(subnet) if subnet.prefix() > 30 => {
            return Err(Error::Invalid(format!(
                "invalid subnet {subnet}: no room for a gateway and a container"
            )));
        }
        Some(subnet) if ours.iter().any(|other| other.overlaps(subnet)) => {
            return Err(Error::PoolOverlaps(subnet.to_string()));
        }
        Some(subnet) => subnet,
        None if new.gateway.is_some() || new.range.is_some() => {
            return Err(Error::Invalid("a gateway or an address range takes a --subnet".to_owned()));
        }
        None => free_pool(used)?,
    };
    if let Some(range) = new.range
        && (range.prefix() < subnet.prefix() || !subnet.contains(range.network().address()))
    {
        return Err(Error::Invalid(format!("invalid ip-range {range}: it is not inside of {subnet}")));
    }
    let named = new.gateway.iter().chain(new.reserved.values());
    for address in named {
        if !subnet.contains(*address) {
            return Err(Error::OutsideSubnet { address: (*address).into(), subnet: subnet.to_string() });
        }
    }
    let taken: BTreeSet<_> = new.reserved.values().copied().collect();
    let first = || subnet.hosts().find(|address| !taken.contains(address));
    let gateway = new.gateway.or_else(first).ok_or_else(|| Error::NoFreeAddress(new.name.clone()))?;
    Ok(Ipam {
        subnet,
        range: new.range.map(Cidr::network),
        gateway,
        reserved: new.reserved.clone(),
        of_user: new.subnet.is_some(),
    })
}

impl Ipam {
    /// An address for a container: the wanted one if it is free, else the lowest
    /// that is. `taken` are the addresses of the network's containers.
    pub(crate) fn pick(
        &self,
        network: &str,
        wanted: Option<Ipv4Addr>,
        taken: &BTreeSet<Ipv4Addr>,
    ) -> Result<Ipv4Addr, Error> {
        let held = |address: Ipv4Addr| {
            address == self.gateway
                || taken.contains(&address)
                || self.reserved.values().any(|other| *other == address)
                || address == self.subnet.network().address()
                || address == self.subnet.broadcast()
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

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("the test's own CIDR")
    }

    #[test]
    fn a_pool_that_the_host_uses_is_left_alone() {
        assert_eq!(free_pool(&[]).expect("free").to_string(), "172.17.0.0/16");
        let used = [cidr("172.17.0.1/16"), cidr("172.18.5.0/24")];
        assert_eq!(free_pool(&used).expect("free").to_string(), "172.19.0.0/16");
        assert!(matches!(free_pool(&[cidr("0.0.0.0/0")]), Err(Error::NoFreePool)));
    }

    #[test]
    fn addresses_are_handed_out_from_the_lowest_and_end_some_time() {
        let new = NewNetwork { subnet: Some(cidr("10.9.0.0/29")), ..NewNetwork::default() };
        let ipam = plan(&new, &[], &[]).expect("a subnet that is free");
        assert_eq!(ipam.gateway, Ipv4Addr::new(10, 9, 0, 1));
        let mut taken = BTreeSet::new();
        while let Ok(address) = ipam.pick("n", None, &taken) {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 5, "eight less the network, the broadcast and the gateway");
        assert!(matches!(ipam.pick("n", Some(ipam.gateway), &taken), Err(Error::AddressTaken(_))));
        let outside = ipam.pick("n", Some(Ipv4Addr::new(10, 8, 0, 2)), &taken);
        assert!(matches!(outside, Err(Error::OutsideSubnet { .. })));
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let with = |subnet: &str, range: Option<&str>, gateway: Option<[u8; 4]>| NewNetwork {
            subnet: (!subnet.is_empty()).then(|| cidr(subnet)),
            range: range.map(cidr),
            gateway: gateway.map(Ipv4Addr::from),
            ..NewNetwork::default()
        };
        let ours = [cidr("10.1.0.0/16")];
        for new in [
            with("10.9.0.1/24", None, None),
            with("10.9.0.0/31", None, None),
            with("10.1.2.0/24", None, None),
            with("10.9.0.0/24", Some("10.8.0.0/25"), None),
            with("10.9.0.0/24", None, Some([10, 8, 0, 1])),
            with("", None, Some([10, 8, 0, 1])),
        ] {
            assert!(plan(&new, &ours, &ours).is_err(), "{new:?} was taken");
        }
    }
}
