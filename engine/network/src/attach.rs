//! Connecting a container to a network, and taking it off again.

use std::net::{IpAddr, Ipv6Addr};

use glassdock_kernel::link::{Links, Netns, Veth};
use glassdock_kernel::nft::{Family, Nft};
use glassdock_trace::{Body, Trace};

use crate::error::Error;
use crate::host;
use crate::model::{Driver, Endpoint, EndpointConfig, Mac, Network};
use crate::networks::{Networks, State, random_id};
use crate::{nat, nat6};

impl Networks {
    /// Connects a container, whose network namespace is there, to a network. For the
    /// network `none` only the loopback comes up; for `host` nothing is done.
    ///
    /// # Errors
    ///
    /// Nothing is left behind by a failure: an address or port that is taken, or
    /// what the kernel refuses.
    pub fn attach(&self, trace: &Trace, netns: &Netns, config: &EndpointConfig) -> Result<Endpoint, Error> {
        let network = self.find(&config.network)?;
        if network.kept.is_some() {
            return Err(Error::ConfigOnly);
        }
        let mut endpoint = self.reserve(&network, config)?;
        let connected = match network.driver {
            Driver::Host => Ok(()),
            Driver::None => Links::inside(trace, netns)
                .map_err(Error::from)
                .and_then(|mut inside| Ok(inside.bring_up(trace, "lo")?)),
            Driver::Bridge => self.connect(trace, netns, &network, config, &mut endpoint),
        };
        let connected = connected.and_then(|()| self.keep(&key(&endpoint), &endpoint));
        if let Err(error) = connected {
            // The cable may be there already; its deletion may fail because it is not.
            if network.driver == Driver::Bridge {
                let _ = self.unplug(trace, &network, &endpoint);
            }
            self.forget(&endpoint)?;
            return Err(error);
        }
        self.state()
            .endpoints
            .insert((endpoint.container.clone(), endpoint.network.clone()), endpoint.clone());
        Ok(endpoint)
    }

    /// Disconnects a running container from one network.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`], and what the kernel refuses.
    pub fn detach(&self, trace: &Trace, container: &str, network: &str) -> Result<(), Error> {
        let network = self.find(network)?;
        let found = self.state().endpoints.get(&(container.to_owned(), network.id.clone())).cloned();
        let not_attached =
            || Error::NotAttached { container: container.to_owned(), network: network.name.clone() };
        let endpoint = found.ok_or_else(not_attached)?;
        if network.driver == Driver::Bridge {
            self.unplug(trace, &network, &endpoint)?;
        }
        self.forget(&endpoint)
    }

    /// Frees all that a container had, after its end. Its links went with its
    /// namespace; a container that has nothing is no error.
    ///
    /// # Errors
    ///
    /// What the kernel or the storage refuses; the rest is freed all the same.
    pub fn release(&self, trace: &Trace, container: &str) -> Result<(), Error> {
        let mut result = Ok(());
        self.names.close(container);
        for endpoint in self.endpoints_of(container) {
            let network = self.state().networks.get(&endpoint.network).cloned();
            let unpublished = network.map_or(Ok(()), |network| unpublish(trace, &network, &endpoint));
            result = result.and(unpublished).and(self.forget(&endpoint));
        }
        result
    }

    /// Gives a container other names in a network, at once; one that isn't connected there is no error.
    ///
    /// # Errors
    ///
    /// What the storage refuses.
    pub fn set_names(&self, container: &str, network: &str, names: Vec<String>) -> Result<(), Error> {
        let mut state = self.state();
        let mut endpoints = state.endpoints.values_mut();
        let own = endpoints.find(|found| found.container == container && found.network_name == network);
        let Some(endpoint) = own else { return Ok(()) };
        endpoint.names = names;
        // Under the lock: one that is forgotten meanwhile must not be remembered again.
        self.keep(&key(endpoint), endpoint)
    }

    /// What a container has, in the order of its links: `eth0` first.
    pub fn endpoints_of(&self, container: &str) -> Vec<Endpoint> {
        let state = self.state();
        let mut endpoints: Vec<_> = of(&state, container).cloned().collect();
        endpoints.sort_by(|a, b| a.interface.cmp(&b.interface));
        endpoints
    }

    /// Takes an address and ports, in memory and storage, before the kernel is asked.
    fn reserve(&self, network: &Network, config: &EndpointConfig) -> Result<Endpoint, Error> {
        let id = random_id();
        let mut endpoint = {
            let mut state = self.state();
            let key = (config.container.clone(), network.id.clone());
            if state.endpoints.contains_key(&key) {
                let name = config.names.first().unwrap_or(&config.container).clone();
                return Err(Error::AlreadyAttached { name, network: network.name.clone() });
            }
            if let Some(reason) = state.unavailable.get(&network.id) {
                let (network, reason) = (network.name.clone(), reason.clone());
                return Err(Error::Unavailable { network, reason });
            }
            let endpoint = plan(&state, network, config, id)?;
            state.endpoints.insert(key, endpoint.clone());
            endpoint
        };
        let kept =
            self.take_ports(config, &mut endpoint).and_then(|()| self.keep(&key(&endpoint), &endpoint));
        if let Err(error) = kept {
            self.forget(&endpoint)?;
            return Err(error);
        }
        Ok(endpoint)
    }

    pub(crate) fn take_ports(&self, config: &EndpointConfig, endpoint: &mut Endpoint) -> Result<(), Error> {
        // Who comes by IPv6 can go on by IPv4, but not the reverse: a container without IPv4 has no ports there.
        let mut requests = config.ports.clone();
        if endpoint.address.is_none() {
            requests.retain(|request| request.host_address.is_none_or(|address| address.is_ipv6()));
            let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            requests
                .iter_mut()
                .for_each(|request| request.host_address = request.host_address.or(Some(everywhere)));
        }
        let held = self.ports.take(&endpoint.id, &requests).map_err(|source| Error::Publish {
            name: config.names.first().unwrap_or(&config.container).clone(),
            endpoint: endpoint.id.clone(),
            source: Box::new(source),
        })?;
        endpoint.ports = held.into_iter().map(|held| held.published).collect();
        Ok(())
    }

    /// The cable, what is inside at its end, and the published ports.
    fn connect(
        &self,
        trace: &Trace,
        netns: &Netns,
        network: &Network,
        config: &EndpointConfig,
        endpoint: &mut Endpoint,
    ) -> Result<(), Error> {
        let (Some(bridge), Some(mac)) = (&network.bridge, endpoint.mac) else { return Ok(()) };
        let mut links = Links::here()?;
        let index = match links.find(bridge)? {
            Some(link) => link.index,
            None => {
                // Somebody deleted the bridge under us; it is made again.
                self.bring_up(trace, network)?;
                links.index_of(bridge)?
            }
        };
        let veth = Veth {
            name: &endpoint.host_interface,
            bridge: (index, bridge),
            netns,
            peer: &endpoint.interface,
            mac: mac.0,
            mtu: network.mtu,
        };
        links.create_veth(trace, &veth)?;
        let mut inside = Links::inside(trace, netns)?;
        if endpoint.interface == "eth0" {
            inside.bring_up(trace, "lo")?;
        }
        inside.bring_up(trace, &endpoint.interface)?;
        let eth = inside.index_of(&endpoint.interface)?;
        if let Some(address) = endpoint.address {
            let own = IpAddr::V4(address.address());
            inside.add_address(trace, &endpoint.interface, eth, own, address.prefix())?;
            if let Some(gateway) = endpoint.gateway.filter(|_| endpoint.default_route) {
                inside.add_default_route(trace, IpAddr::V4(gateway), &endpoint.interface)?;
            }
        }
        if let Some(address) = endpoint.address6 {
            let own = IpAddr::V6(address.address());
            inside.add_address(trace, &endpoint.interface, eth, own, address.prefix())?;
            if let Some(gateway) = endpoint.gateway6.filter(|_| endpoint.default_route6) {
                inside.add_default_route(trace, IpAddr::V6(gateway), &endpoint.interface)?;
            }
        }
        for own in &endpoint.link_local {
            // As large as the networks of RFC 3927 and RFC 4291 are.
            let prefix = if own.is_ipv4() { 16 } else { 64 };
            inside.add_address(trace, &endpoint.interface, eth, *own, prefix)?;
        }
        if config.ports.is_empty() { Ok(()) } else { self.publish(trace, network, endpoint) }
    }

    /// Makes the endpoint's ports lead to it.
    pub(crate) fn publish(&self, trace: &Trace, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(bridge) = &network.bridge else { return Ok(()) };
        if host::bridged_packets_are_filtered() {
            Links::here()?.set_hairpin(trace, &endpoint.host_interface)?;
        }
        for port in &endpoint.ports {
            let one = Endpoint { ports: vec![port.clone()], ..endpoint.clone() };
            trace.step(publish_body(endpoint, port), |span| {
                let trace = span.trace();
                for (family, rules) in [(Family::Ip, nat::rules(&one)), (Family::Ip6, nat6::rules(&one))] {
                    if rules.is_empty() {
                        continue;
                    }
                    let ready =
                        if family == Family::Ip { host::route_localnet(trace, bridge) } else { Ok(()) };
                    let append = || Ok(Nft::of(family)?.append(trace, bridge, nat::PUBLISHED, &rules)?);
                    match ready.and_then(|()| append()) {
                        // Without nftables the proxy does what it can.
                        Err(Error::Kernel(_)) if !self.translates(family, bridge) => {}
                        other => other?,
                    }
                }
                Ok::<(), Error>(())
            })?;
        }
        self.serve(endpoint);
        Ok(())
    }

    /// Whether the host has the bridge's table.
    fn translates(&self, family: Family, bridge: &str) -> bool {
        let tables = Nft::of(family).and_then(|mut nft| nft.tables());
        tables.is_ok_and(|tables| tables.iter().any(|(name, owner)| name == bridge && *owner == self.mark))
    }

    /// Undoes what [`Networks::connect`] did, as far as it came.
    fn unplug(&self, trace: &Trace, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        unpublish(trace, network, endpoint)?;
        let mut links = Links::here()?;
        if links.find(&endpoint.host_interface)?.is_some() {
            links.delete(trace, &endpoint.host_interface)?;
        }
        Ok(())
    }

    pub(crate) fn give_ports_back(&self, endpoint: &Endpoint) {
        self.proxy.stop(&endpoint.id);
        self.ports.give_back(&endpoint.id);
    }

    /// Gives address and ports back.
    pub(crate) fn forget(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.give_ports_back(endpoint);
        let mut state = self.state();
        // The document goes first: an address is free again only when nobody remembers it as taken.
        let removed = self.unkeep(&key(endpoint));
        state.endpoints.remove(&(endpoint.container.clone(), endpoint.network.clone()));
        removed
    }
}

/// Takes the rules of an endpoint's ports away.
pub(crate) fn unpublish(trace: &Trace, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
    let Some(bridge) = &network.bridge else { return Ok(()) };
    for (family, rules) in [(Family::Ip, nat::rules(endpoint)), (Family::Ip6, nat6::rules(endpoint))] {
        if rules.is_empty() {
            continue;
        }
        let gone = Nft::of(family).and_then(|mut nft| nft.delete(trace, bridge, nat::PUBLISHED, &rules));
        match gone {
            // No table, or no nftables at all: then there is no rule either.
            Err(glassdock_kernel::Error::Call { source, .. })
                if source.raw_os_error() != Some(rustix::io::Errno::PERM.raw_os_error()) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The endpoint that a container gets: address, link names, names.
fn plan(state: &State, network: &Network, config: &EndpointConfig, id: String) -> Result<Endpoint, Error> {
    let mut endpoint = Endpoint {
        container: config.container.clone(),
        network: network.id.clone(),
        network_name: network.name.clone(),
        interface: String::new(),
        host_interface: String::new(),
        address: None,
        gateway: None,
        default_route: false,
        address6: None,
        gateway6: None,
        default_route6: false,
        link_local: config.link_local.clone(),
        mac: None,
        names: config.names.clone(),
        links: config.links.clone(),
        ports: Vec::new(),
        id,
    };
    if network.driver != Driver::Bridge {
        return Ok(endpoint);
    }
    endpoint.mac = Some(config.mac.unwrap_or_else(|| Mac::named(&endpoint.id)));
    match (&network.ipam, config.address) {
        (Some(ipam), wanted) => {
            let address = ipam.pick(&network.name, wanted, &state.taken(&network.id))?;
            endpoint.address = Some(ipam.subnet.with_address(address));
            endpoint.mac = Some(config.mac.unwrap_or_else(|| Mac::of(address)));
            endpoint.gateway = (!network.internal).then_some(ipam.gateway);
            endpoint.default_route = config.default_route && !network.internal;
        }
        (None, Some(_)) => return Err(Error::NoSubnetOfUsers),
        (None, None) => {}
    }
    match (&network.ipam6, config.address6) {
        (Some(ipam), wanted) => {
            let address = ipam.pick(&network.name, wanted, &state.taken6(&network.id))?;
            endpoint.address6 = Some(ipam.subnet.with_address(address));
            endpoint.gateway6 = (!network.internal).then_some(ipam.gateway);
            endpoint.default_route6 = config.default_route6 && !network.internal;
        }
        (None, Some(wanted))
            if network.idle_ipam6.as_ref().is_some_and(|idle| idle.subnet.contains(wanted)) => {}
        (None, Some(wanted)) => {
            let subnet = network.ipam.as_ref().map_or_else(String::new, |ipam| ipam.subnet.to_string());
            return Err(Error::OutsideSubnet { address: wanted.into(), subnet });
        }
        (None, None) => {}
    }
    endpoint.host_interface = format!("gv{}", endpoint.id.get(..12).unwrap_or_default());
    let used: Vec<_> = of(state, &config.container).map(|endpoint| endpoint.interface.as_str()).collect();
    let names = (0..=used.len()).map(|number| format!("eth{number}"));
    endpoint.interface = names.into_iter().find(|name| !used.contains(&name.as_str())).unwrap_or_default();
    Ok(endpoint)
}

/// A container's endpoints: the map is sorted by container first.
fn of<'a>(state: &'a State, container: &'a str) -> impl Iterator<Item = &'a Endpoint> {
    let first = (container.to_owned(), String::new());
    let range = state.endpoints.range(first..).take_while(move |((found, _), _)| found == container);
    range.map(|(_, endpoint)| endpoint)
}

/// Where the storage has an endpoint.
pub(crate) fn key(endpoint: &Endpoint) -> String {
    format!("endpoint/{}/{}", endpoint.container, endpoint.network)
}

fn publish_body(endpoint: &Endpoint, port: &crate::model::Published) -> Body {
    let container = match (endpoint.address, endpoint.address6) {
        (_, Some(address)) if port.host_address.is_ipv6() => format!("[{}]", address.address()),
        (address, _) => address.map(|address| address.address().to_string()).unwrap_or_default(),
    };
    Body::PortPublish {
        protocol: port.protocol.to_string(),
        host: std::net::SocketAddr::new(port.host_address, port.host_port).to_string(),
        container: format!("{container}:{}", port.container_port),
    }
}
