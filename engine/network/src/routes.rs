//! Which of a container's networks leads out of it.
//!
//! A container in several networks has one default route a family. The network with the highest priority has it
//! (`gw-priority`), of several the one whose name sorts first; internal networks lead nowhere, and a network without
//! IPv6 leaves IPv6's to the next one, as one without IPv4 leaves IPv4's. The container's ports are published through
//! the network that has IPv4's, or IPv6's if none has that. When a running container is connected to a better network, or disconnected from the best one, both move.

use std::net::IpAddr;

use glassdock_kernel::link::{Links, Netns};
use glassdock_trace::Trace;

use crate::attach::{key, unpublish};
use crate::error::Error;
use crate::model::{Driver, Endpoint, EndpointConfig, Network};
use crate::networks::Networks;

impl Networks {
    /// Decides which of a container's networks has the default routes, and gives the ports to that one.
    pub fn choose_routes(&self, configs: &mut [EndpointConfig]) {
        let mut places: Vec<usize> = (0..configs.len()).collect();
        places.sort_by(|a, b| {
            let (a, b) = (&configs[*a], &configs[*b]);
            b.priority.cmp(&a.priority).then_with(|| a.network.cmp(&b.network))
        });
        let leads = |config: &EndpointConfig| {
            let network = self.find(&config.network).ok()?;
            (network.driver == Driver::Bridge && !network.internal).then_some(network)
        };
        let first = |has: fn(&Network) -> bool| {
            places.iter().copied().find(|place| leads(&configs[*place]).is_some_and(|network| has(&network)))
        };
        let best = first(|network| network.ipam.is_some());
        let best6 = first(|network| network.ipam6.is_some());
        for (place, config) in configs.iter_mut().enumerate() {
            config.default_route = Some(place) == best;
            config.default_route6 = Some(place) == best6;
        }
        if let Some(best) = best.or(best6) {
            let ports: Vec<_> =
                configs.iter_mut().flat_map(|config| std::mem::take(&mut config.ports)).collect();
            configs[best].ports = ports;
        }
    }

    /// Moves a running container's default routes and its published ports to where `configs` has them.
    ///
    /// # Errors
    ///
    /// A port that was given up here and taken by somebody else meanwhile, and what the kernel refuses.
    pub fn settle_routes(
        &self,
        trace: &Trace,
        netns: &Netns,
        container: &str,
        configs: &[EndpointConfig],
    ) -> Result<(), Error> {
        let of = |endpoint: &Endpoint| configs.iter().find(|config| config.network == endpoint.network_name);
        // A route is replaced by the next one; ports must be free before somebody else can have them.
        for mut endpoint in self.endpoints_of(container) {
            let (default4, default6) =
                of(&endpoint).map_or((false, false), |config| (config.default_route, config.default_route6));
            let loses = (endpoint.default_route && !default4, endpoint.default_route6 && !default6);
            let gives =
                !endpoint.ports.is_empty() && of(&endpoint).is_none_or(|config| config.ports.is_empty());
            if gives {
                self.unpublish_all(trace, &mut endpoint)?;
            }
            endpoint.default_route &= default4;
            endpoint.default_route6 &= default6;
            if gives || loses.0 || loses.1 {
                self.remember(&endpoint)?;
            }
        }
        for mut endpoint in self.endpoints_of(container) {
            let Some(config) = of(&endpoint) else { continue };
            if config.default_route && !endpoint.default_route {
                self.lead_out(trace, netns, endpoint.gateway.map(IpAddr::V4), &endpoint.interface)?;
                endpoint.default_route = true;
                self.publish_anew(trace, config, &mut endpoint)?;
                self.remember(&endpoint)?;
            }
            if config.default_route6 && !endpoint.default_route6 {
                self.lead_out(trace, netns, endpoint.gateway6.map(IpAddr::V6), &endpoint.interface)?;
                endpoint.default_route6 = true;
                // Where nothing leads out by IPv4, the ports are here.
                if endpoint.ports.is_empty() {
                    self.publish_anew(trace, config, &mut endpoint)?;
                }
                self.remember(&endpoint)?;
            }
        }
        Ok(())
    }

    fn lead_out(
        &self,
        trace: &Trace,
        netns: &Netns,
        gateway: Option<IpAddr>,
        link: &str,
    ) -> Result<(), Error> {
        let Some(gateway) = gateway else { return Ok(()) };
        Ok(Links::inside(trace, netns)?.replace_default_route(trace, gateway, link)?)
    }

    fn unpublish_all(&self, trace: &Trace, endpoint: &mut Endpoint) -> Result<(), Error> {
        if endpoint.ports.is_empty() {
            return Ok(());
        }
        unpublish(trace, &self.find(&endpoint.network)?, endpoint)?;
        self.give_ports_back(endpoint);
        endpoint.ports.clear();
        Ok(())
    }

    fn publish_anew(
        &self,
        trace: &Trace,
        config: &EndpointConfig,
        endpoint: &mut Endpoint,
    ) -> Result<(), Error> {
        if config.ports.is_empty() {
            return Ok(());
        }
        self.take_ports(config, endpoint)?;
        let published = self.publish(trace, &self.find(&endpoint.network)?, endpoint);
        if published.is_err() {
            self.unpublish_all(trace, endpoint)?;
        }
        published
    }

    fn remember(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.keep(&key(endpoint), endpoint)?;
        let place = (endpoint.container.clone(), endpoint.network.clone());
        self.state().endpoints.insert(place, endpoint.clone());
        Ok(())
    }
}
