//! Addresses that users give out by hand: only where they chose the subnet too, or the engine may
//! give the address to someone else, or choose another subnet.

use std::net::IpAddr;

use crate::error::Error;
use crate::model::Network;

impl Network {
    /// Whether a container may have this address because a user says so. Whether it is free, only
    /// attaching tells.
    ///
    /// # Errors
    ///
    /// [`Error::NoSubnetOfUsers`] and [`Error::InNoSubnet`].
    pub fn allows(&self, address: IpAddr) -> Result<(), Error> {
        let contains = match address {
            IpAddr::V4(address) => {
                let own = self.ipam.as_ref().filter(|ipam| ipam.of_user);
                own.map(|ipam| ipam.subnet.contains(address))
            }
            IpAddr::V6(address) => {
                // One of a pool that lies idle is kept, though the container doesn't get it.
                let mut pools = self.ipam6.iter().chain(&self.idle_ipam6);
                let own = pools.find(|ipam| ipam.of_user);
                own.map(|ipam| ipam.subnet.contains(address))
            }
        };
        match contains {
            None => Err(Error::NoSubnetOfUsers),
            Some(false) => Err(Error::InNoSubnet(address)),
            Some(true) => Ok(()),
        }
    }
}
