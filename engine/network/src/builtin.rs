//! The networks that are there from the start: `bridge`, `host` and `none`.

use crate::cidr::Cidr;
use crate::error::Error;
use crate::host;
use crate::ipam;
use crate::model::{Driver, Network, NewNetwork};
use crate::networks::{Networks, bare};

/// The names that no user's network may have.
pub(crate) const BUILTIN: [&str; 3] = ["bridge", "host", "none"];

impl Networks {
    /// Sees to it that `bridge`, `host` and `none` are there, the first with the
    /// addresses and the bridge that the configuration names.
    pub(crate) fn ensure_builtin(&self) -> Result<(), Error> {
        for (name, driver) in BUILTIN.into_iter().zip([Driver::Bridge, Driver::Host, Driver::None]) {
            let found = self.state().networks.values().find(|network| network.name == name).cloned();
            let mut network =
                found.clone().unwrap_or_else(|| Network { builtin: true, ..bare(name, driver) });
            if driver == Driver::Bridge {
                self.settle_default(&mut network)?;
            }
            if found.as_ref() != Some(&network) {
                self.keep(&format!("network/{}", network.id), &network)?;
                self.state().networks.insert(network.id.clone(), network);
            }
        }
        Ok(())
    }

    /// Decides the default bridge's name and addresses. While containers are
    /// connected they stay; otherwise what has come to be used by others is left to them.
    fn settle_default(&self, network: &mut Network) -> Result<(), Error> {
        if network.ipam.is_some() && !self.endpoints_in(&network.id).is_empty() {
            return Ok(());
        }
        network.bridge = Some(self.config.bridge.clone());
        let ours: Vec<_> = self.state().subnets_but(&network.id).collect();
        if let Some(bip) = self.config.bip {
            let new = NewNetwork {
                subnet: Some(bip.network()),
                gateway: Some(bip.address()),
                ..NewNetwork::default()
            };
            network.ipam = Some(ipam::plan(&new, &ours, &[])?);
            return Ok(());
        }
        // A host that does not tell its routes has none that we could respect.
        let mut used = host::used().unwrap_or_default();
        used.extend(ours);
        // Our own bridge, if it is there, is one of the host's routes too.
        let mine = network.ipam.as_ref().map(|ipam| ipam.subnet.with_address(ipam.gateway));
        used.retain(|other| mine != Some(*other) && mine.map(Cidr::network) != Some(*other));
        used.retain(|other| {
            mine.is_none_or(|mine| !(other.prefix() == 32 && mine.contains(other.address())))
        });
        let stays = mine.is_some_and(|mine| !used.iter().any(|other| other.overlaps(mine)));
        if !stays {
            let new = NewNetwork { name: network.name.clone(), ..NewNetwork::default() };
            network.ipam = Some(ipam::plan(&new, &used, &used)?);
        }
        Ok(())
    }
}
