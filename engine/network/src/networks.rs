//! Who keeps the networks of an engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use glassdock_trace::Trace;
use serde::{Deserialize, Serialize};

use crate::builtin::BUILTIN;
use crate::cidr::Cidr;
use crate::configuration;
use crate::error::Error;
use crate::host::{self, Version};
use crate::ipam;
use crate::ipam6;
use crate::model::{Driver, Endpoint, Network, NewNetwork};
use crate::names::Names;
use crate::ports::Ports;
use crate::proxy::Proxy;
use crate::storage::{Storage, StorageError};

/// How an engine wants its networks.
#[derive(Clone, Debug)]
pub struct Config {
    /// The engine's root: what marks bridges and tables as this engine's.
    pub root: PathBuf,
    /// The default network's bridge, `glassdock0` (`--bridge`).
    pub bridge: String,
    /// The default bridge's address (`--bip`); `None` picks a free private network.
    pub bip: Option<Cidr>,
}

/// The networks of an engine, and who is connected to them. Shared by all threads.
pub struct Networks {
    pub(crate) config: Config,
    pub(crate) mark: String,
    storage: Arc<dyn Storage>,
    state: Arc<Mutex<State>>,
    pub(crate) ports: Ports,
    pub(crate) proxy: Proxy,
    pub(crate) names: Names,
}

/// What is remembered, and what was found out about the host.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) networks: BTreeMap<String, Network>,
    /// By container and network.
    pub(crate) endpoints: BTreeMap<(String, String), Endpoint>,
    /// Why a network can't be used here, by its id.
    pub(crate) unavailable: HashMap<String, String>,
    pub(crate) warnings: Vec<String>,
    host: HostDocument,
    /// How often somebody took hold of all this to change it.
    changes: u64,
}

/// The state, locked. Whoever takes it to be changed is counted.
pub(crate) struct Held<'a>(MutexGuard<'a, State>);

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0.changes += 1;
        &mut self.0
    }
}

/// What the engine changed on the host, for putting it back.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct HostDocument {
    /// The engine switched `ip_forward` on.
    forwarding: bool,
    /// The engine switched IPv6's `forwarding` on.
    #[serde(default)]
    forwarding6: bool,
}

impl Networks {
    /// Reads what the storage has, and brings the host to it: each network's bridge
    /// and table are there afterwards, and those of networks that are no more are gone.
    /// A host that forbids bridges or nftables is no error: see [`Networks::warnings`].
    ///
    /// # Errors
    ///
    /// A storage that can't be read, a default bridge that makes no sense, and one
    /// that is another engine's.
    pub fn open(trace: &Trace, config: Config, storage: Arc<dyn Storage>) -> Result<Self, Error> {
        check_link_name(&config.bridge)?;
        let state = Arc::new(Mutex::new(read(storage.as_ref())?));
        let networks = Self {
            mark: host::mark(&config.root),
            config,
            storage,
            names: Names::new(Arc::clone(&state)),
            state,
            ports: Ports::default(),
            proxy: Proxy::default(),
        };
        let exclusive = host::exclusive();
        networks.ensure_builtin()?;
        networks.sweep(trace);
        for network in networks.list() {
            networks.bring_up(trace, &network)?;
        }
        drop(exclusive);
        Ok(networks)
    }

    /// What this host can't give, and what that means, a line each; for `info`.
    pub fn warnings(&self) -> Vec<String> {
        self.state().warnings.clone()
    }

    /// Makes a network: its bridge and its table.
    ///
    /// # Errors
    ///
    /// A name or subnet that is taken or makes no sense, and what the kernel refuses;
    /// nothing is left then.
    pub fn create(&self, trace: &Trace, new: NewNetwork) -> Result<Network, Error> {
        check_name(&new.name)?;
        let new = configuration::completed(&self.state(), new)?;
        if new.config_only {
            return self.keep_configuration(new);
        }
        let id = random_id();
        let bridge = match new.options.get("com.docker.network.bridge.name") {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("gd-{}", &id[..12]),
        };
        check_link_name(&bridge)?;
        let mtu = new.options.get("com.docker.network.driver.mtu").map(|mtu| {
            let mtu = mtu.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
            mtu.ok_or_else(|| {
                Error::Invalid("com.docker.network.driver.mtu is not a size in bytes".to_owned())
            })
        });
        let mtu = mtu.transpose()?;
        // Another engine could take the same addresses between looking and making.
        let _exclusive = host::exclusive();
        let looks = new.subnet.is_none() && !new.without_ipv4;
        let host_uses = if looks { host::used()? } else { Vec::new() };
        let network = {
            let mut state = self.state();
            if state.networks.values().any(|network| network.name == new.name) {
                return Err(Error::NameTaken(new.name));
            }
            let ours: Vec<_> = state.subnets().collect();
            let used: Vec<_> = ours.iter().chain(&host_uses).copied().collect();
            if new.without_ipv4 && new.ipv6.is_none() {
                return Err(Error::Invalid("IPv4 or IPv6 must be enabled".to_owned()));
            }
            let ipam = (!new.without_ipv4).then(|| ipam::plan(&new, &ours, &used)).transpose()?;
            let ours: Vec<_> = state.networks.values().filter_map(|other| other.ipam6.as_ref()).collect();
            let ours: Vec<_> = ours.iter().map(|ipam| ipam.subnet).collect();
            let ipam6 = new.ipv6.as_ref().map(|new| ipam6::plan(new, &ours, &self.mark)).transpose()?;
            let idle_ipam6 =
                new.idle_ipv6.as_ref().map(|new| ipam6::plan(new, &[], &self.mark)).transpose()?;
            let network = Network {
                id: id.clone(),
                name: new.name,
                driver: Driver::Bridge,
                created_ns: now_ns(),
                ipam,
                ipam6,
                idle_ipam6,
                bridge: Some(bridge),
                mtu,
                internal: new.internal,
                attachable: new.attachable,
                ipam_options: new.ipam_options,
                builtin: false,
                kept: None,
                config_from: new.config_from,
                labels: new.labels,
                options: new.options,
            };
            state.networks.insert(id.clone(), network.clone());
            network
        };
        let made =
            self.keep(&format!("network/{id}"), &network).and_then(|()| self.bring_up(trace, &network));
        let unavailable = self.state().unavailable.get(&id).cloned();
        let made = made.and(match unavailable {
            Some(reason) => Err(Error::Unavailable { network: network.name.clone(), reason }),
            None => Ok(()),
        });
        if let Err(error) = made {
            self.forget_network(&network)?;
            return Err(error);
        }
        Ok(network)
    }

    /// All networks, by name.
    pub fn list(&self) -> Vec<Network> {
        let mut networks: Vec<_> = self.state().networks.values().cloned().collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }

    /// The network of that name, id, or unique prefix of an id. `default` is `bridge`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] and [`Error::Ambiguous`].
    pub fn find(&self, name: &str) -> Result<Network, Error> {
        let name = if name == "default" { "bridge" } else { name };
        let state = self.state();
        if let Some(network) = state.networks.get(name) {
            return Ok(network.clone());
        }
        if let Some(network) = state.networks.values().find(|network| network.name == name) {
            return Ok(network.clone());
        }
        let matches: Vec<_> = state
            .networks
            .values()
            .filter(|network| !name.is_empty() && network.id.starts_with(name))
            .collect();
        match matches[..] {
            [] => Err(Error::NotFound(name.to_owned())),
            [network] => Ok(network.clone()),
            _ => Err(Error::Ambiguous(name.to_owned(), matches.len())),
        }
    }

    /// Removes a network.
    ///
    /// # Errors
    ///
    /// Not found, predefined, or with endpoints.
    pub fn remove(&self, trace: &Trace, name: &str) -> Result<Network, Error> {
        let network = self.find(name)?;
        if network.builtin {
            return Err(Error::Builtin(network.name));
        }
        {
            // Out of the state first: from here on nobody can connect to it.
            let mut state = self.state();
            configuration::check_unused(&state, &network)?;
            let endpoints: Vec<_> = state.endpoints_in(&network.id).map(short_name).collect();
            if !endpoints.is_empty() {
                let (name, id) = (network.name, network.id);
                return Err(Error::InUse { name, id, endpoints: endpoints.join(", ") });
            }
            state.networks.remove(&network.id);
        }
        let removed = match &network.bridge {
            Some(bridge) => host::remove(trace, bridge, &self.mark),
            None => Ok(()),
        };
        if let Err(error) = removed {
            self.state().networks.insert(network.id.clone(), network);
            return Err(error);
        }
        self.forget_network(&network)?;
        Ok(network)
    }

    /// At a clean end of the daemon: removes each bridge and table that no running
    /// container uses. The networks themselves are remembered.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn close(&self, trace: &Trace) -> Result<(), Error> {
        for network in self.list() {
            let Some(bridge) = &network.bridge else { continue };
            if self.endpoints_in(&network.id).is_empty() {
                host::remove(trace, bridge, &self.mark)?;
            }
        }
        let host = self.state().host;
        for (version, on) in [(Version::V4, host.forwarding), (Version::V6, host.forwarding6)] {
            if on && self.state().endpoints.is_empty() {
                host::restore_forwarding(trace, version)?;
                self.remember_forwarding(version, false)?;
            }
        }
        Ok(())
    }

    /// Who is connected to a network, by its id.
    pub fn endpoints_in(&self, network: &str) -> Vec<Endpoint> {
        self.state().endpoints_in(network).cloned().collect()
    }

    /// A number that another one follows before networks or endpoints look otherwise than they do now.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    // ---- for the other files of this room ----

    pub(crate) fn state(&self) -> Held<'_> {
        Held(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keep(&self, key: &str, document: &impl Serialize) -> Result<(), Error> {
        let failed = |source: StorageError| Error::Storage { key: key.to_owned(), source };
        let json = serde_json::to_string(document).map_err(|error| failed(error.into()))?;
        self.storage.put(key, &json).map_err(failed)
    }

    pub(crate) fn unkeep(&self, key: &str) -> Result<(), Error> {
        self.storage.remove(key).map_err(|source| Error::Storage { key: key.to_owned(), source })
    }

    /// Makes a network's host side be, and takes note where the host can't.
    pub(crate) fn bring_up(&self, trace: &Trace, network: &Network) -> Result<(), Error> {
        let Some(bridge) = &network.bridge else { return Ok(()) };
        let endpoints = self.endpoints_in(&network.id);
        match host::ensure(trace, network, bridge, &self.mark, &endpoints) {
            Ok((_, mut warnings)) => {
                if !network.internal {
                    for version in host::versions(network) {
                        match host::enable_forwarding(trace, version) {
                            Ok(true) => self.remember_forwarding(version, true)?,
                            Ok(false) => {}
                            Err(error) => warnings.push(format!(
                                "this host passes no packets on, so containers don't reach the world ({})",
                                host::chain(&error)
                            )),
                        }
                    }
                }
                let mut state = self.state();
                state.unavailable.remove(&network.id);
                state.warnings.extend(warnings);
                state.warnings.sort();
                state.warnings.dedup();
                Ok(())
            }
            Err(Error::Kernel(error)) => {
                let reason = host::chain(&error);
                let mut state = self.state();
                state.warnings.push(format!(
                    "network {} is not available, run containers with --network none or host ({reason})",
                    network.name
                ));
                state.unavailable.insert(network.id.clone(), reason);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes from the host what no network accounts for. What can't be removed now
    /// is found again at the next start, so a failure stops nothing.
    pub(crate) fn sweep(&self, trace: &Trace) {
        let (bridges, interfaces) = {
            let state = self.state();
            let bridges: Vec<_> =
                state.networks.values().filter_map(|network| network.bridge.clone()).collect();
            let interfaces: Vec<_> =
                state.endpoints.values().map(|endpoint| endpoint.host_interface.clone()).collect();
            (bridges, interfaces)
        };
        if let Err(error) = host::sweep(trace, &self.mark, &bridges, &interfaces) {
            self.state().warnings.push(format!("left-over links or tables stay: {}", host::chain(&error)));
        }
    }

    fn remember_forwarding(&self, version: Version, on: bool) -> Result<(), Error> {
        let mut document = self.state().host;
        match version {
            Version::V4 => document.forwarding = on,
            Version::V6 => document.forwarding6 = on,
        }
        self.state().host = document;
        self.keep("host", &document)
    }

    fn forget_network(&self, network: &Network) -> Result<(), Error> {
        let mut state = self.state();
        state.networks.remove(&network.id);
        state.unavailable.remove(&network.id);
        drop(state);
        self.unkeep(&format!("network/{}", network.id))
    }
}

impl State {
    pub(crate) fn endpoints_in<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |endpoint| endpoint.network == network)
    }

    /// The addresses of a network's containers.
    pub(crate) fn taken(&self, network: &str) -> BTreeSet<Ipv4Addr> {
        self.endpoints_in(network)
            .filter_map(|endpoint| endpoint.address.map(|address| address.address()))
            .collect()
    }

    /// The IPv6 addresses of a network's containers.
    pub(crate) fn taken6(&self, network: &str) -> BTreeSet<Ipv6Addr> {
        self.endpoints_in(network)
            .filter_map(|endpoint| endpoint.address6.map(|address| address.address()))
            .collect()
    }

    fn subnets(&self) -> impl Iterator<Item = Cidr> {
        self.subnets_but("")
    }

    pub(crate) fn subnets_but<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Cidr> + 'a {
        let others = self.networks.values().filter(move |network| network.id != id);
        others.filter_map(|network| network.ipam.as_ref().map(|ipam| ipam.subnet))
    }
}

/// Reads all documents. One of a kind that this version doesn't know is left alone.
fn read(storage: &dyn Storage) -> Result<State, Error> {
    let failed = |key: &str, source: StorageError| Error::Storage { key: key.to_owned(), source };
    let mut state = State::default();
    for (key, json) in storage.load().map_err(|source| failed("list", source))? {
        let bad = |error: serde_json::Error| failed(&key, error.into());
        if key.starts_with("network/") {
            let network: Network = serde_json::from_str(&json).map_err(bad)?;
            state.networks.insert(network.id.clone(), network);
        } else if key.starts_with("endpoint/") {
            let endpoint: Endpoint = serde_json::from_str(&json).map_err(bad)?;
            state.endpoints.insert((endpoint.container.clone(), endpoint.network.clone()), endpoint);
        } else if key == "host" {
            state.host = serde_json::from_str(&json).map_err(bad)?;
        }
    }
    Ok(state)
}

/// How an endpoint is called in a message: `name:"web" id:"0123456789ab"`.
fn short_name(endpoint: &Endpoint) -> String {
    let name = endpoint.names.first().unwrap_or(&endpoint.container);
    format!("name:{name:?} id:{:?}", endpoint.id.get(..12).unwrap_or(&endpoint.id))
}

/// Docker takes any name but those that are taken from the start: Compose 1 begins the names of a project in `_dir` with
/// `_`. Refused are those that no line of text could show, or that say nothing.
fn check_name(name: &str) -> Result<(), Error> {
    if BUILTIN.contains(&name) || name == "default" {
        return Err(Error::BuiltinName(name.to_owned()));
    }
    let fits = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Error::BadName(name.to_owned())) }
}

/// What the kernel takes for a link's name (`dev_valid_name`), a little stricter.
fn check_link_name(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let fits = (1..=15).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != "..";
    let what = || format!("{name:?} can't name a bridge: 1 to 15 letters, digits, '-', '_' or '.'");
    if fits { Ok(()) } else { Err(Error::Invalid(what())) }
}

/// A network of a new id, that has nothing yet.
pub(crate) fn bare(name: &str, driver: Driver) -> Network {
    Network {
        id: random_id(),
        name: name.to_owned(),
        driver,
        created_ns: now_ns(),
        ipam: None,
        ipam6: None,
        idle_ipam6: None,
        bridge: None,
        mtu: None,
        internal: false,
        attachable: false,
        ipam_options: None,
        builtin: false,
        kept: None,
        config_from: String::new(),
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    }
}

/// 64 random hexadecimal digits.
pub(crate) fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    if getrandom::fill(&mut bytes).is_err() {
        // No randomness this early in a machine's life: the clock tells ids apart.
        bytes[..8].copy_from_slice(&now_ns().to_be_bytes());
    }
    hex::encode(bytes)
}

pub(crate) fn now_ns() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
