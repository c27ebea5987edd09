//! Networks that are only a configuration (`--config-only`), and those that are made of one (`--config-from`).
//!
//! A configuration is remembered like a network, under a name and an id, and has nothing on the host: no bridge, no
//! addresses taken. Whoever makes a network of it says only what the network is called and who may use it; all
//! else is the configuration's, which stays as long as such a network is there.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::model::{Driver, Network, NewNetwork};
use crate::networks::{Networks, State, bare};

impl Networks {
    /// Remembers a network that is only a configuration.
    pub(crate) fn keep_configuration(&self, new: NewNetwork) -> Result<Network, Error> {
        let network = {
            let mut state = self.state();
            if state.networks.values().any(|network| network.name == new.name) {
                return Err(Error::NameTaken(new.name));
            }
            let mut network = Network {
                ipam_options: new.ipam_options.clone(),
                labels: new.labels.clone(),
                options: new.options.clone(),
                ..bare(&new.name, Driver::None)
            };
            network.kept = Some(Box::new(new));
            state.networks.insert(network.id.clone(), network.clone());
            network
        };
        if let Err(error) = self.keep(&format!("network/{}", network.id), &network) {
            self.state().networks.remove(&network.id);
            return Err(error);
        }
        Ok(network)
    }
}

/// What is asked for, completed from the configuration that it names.
///
/// # Errors
///
/// For a configuration that isn't there, and words that don't go with one.
pub(crate) fn completed(state: &State, new: NewNetwork) -> Result<NewNetwork, Error> {
    if new.config_only {
        if new.internal || new.attachable {
            return Err(Error::OperatorFields);
        }
        return if new.config_from.is_empty() { Ok(new) } else { Err(Error::ConfigOfConfig) };
    }
    if new.config_from.is_empty() {
        return Ok(new);
    }
    let bare = NewNetwork {
        name: new.name.clone(),
        internal: new.internal,
        attachable: new.attachable,
        config_from: new.config_from.clone(),
        options: new.options.clone(),
        // An empty list of options is none.
        ipam_options: new.ipam_options.clone().filter(BTreeMap::is_empty),
        ..NewNetwork::default()
    };
    if new != bare {
        return Err(Error::OwnConfig);
    }
    if !new.options.is_empty() {
        return Err(Error::OwnOptions);
    }
    let named = state.networks.values().find(|network| network.name == new.config_from);
    let kept = named.and_then(|network| network.kept.as_deref());
    let kept = kept.ok_or_else(|| Error::NoConfig(new.config_from.clone()))?;
    Ok(NewNetwork {
        name: new.name,
        internal: new.internal,
        attachable: new.attachable,
        config_only: false,
        config_from: new.config_from,
        ..kept.clone()
    })
}

/// Whether a configuration may go.
pub(crate) fn check_unused(state: &State, network: &Network) -> Result<(), Error> {
    let used = state.networks.values().any(|other| other.config_from == network.name);
    if network.kept.is_some() && used { Err(Error::ConfigInUse(network.name.clone())) } else { Ok(()) }
}
