//! The API's endpoints of networks.

use std::collections::BTreeMap;
use std::str::FromStr;

use glassdock_network::{Network, NewIpam6, NewNetwork};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connect::{connect, disconnect};
use super::{emit, shown};
use crate::call::{ApiVersion, Call};
use crate::containers::model::EndpointSettings;
use crate::containers::networks::failed;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// `NetworkList`.
pub(crate) async fn list(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["dangling", "driver", "id", "label", "label!", "name", "scope", "type"])?;
    let dangling = filters.truth("dangling")?;
    if let Some(other) =
        filters.get("type").iter().find(|kind| !matches!(kind.as_str(), "builtin" | "custom"))
    {
        return Err(Error::invalid(format!("invalid filter: 'type'='{other}'")));
    }
    let fits = |network: &Network| {
        let unused = || !network.builtin && call.engine.networks.endpoints_in(&network.id).is_empty();
        dangling.is_none_or(|dangling| dangling == unused())
            && filters.any("driver", |driver| network.driver.name() == driver)
            && filters.any("id", |id| network.id.starts_with(id))
            && filters.any("name", |name| network.name.contains(name))
            && filters.any("scope", |scope| scope == "local")
            && filters.any("type", |kind| network.builtin == (kind == "builtin"))
            && filters.labels_fit(&network.labels)
    };
    let networks = call.engine.networks.list();
    reply::json(&networks.iter().filter(|network| fits(network)).map(shown::listed).collect::<Vec<_>>())
}

/// `NetworkInspect`.
pub(crate) async fn inspect(call: Call) -> Reply {
    let network = call.engine.networks.find(call.param("id")).map_err(failed)?;
    if call.query("scope").is_some_and(|scope| !matches!(scope, "" | "local")) {
        return Err(Error::not_found(format!("network {} not found", call.param("id"))));
    }
    reply::json(&shown::whole(&call.engine, &network))
}

/// `NetworkDelete`.
pub(crate) async fn delete(call: Call) -> Reply {
    let (trace, name) = (call.trace.clone(), call.param("id").to_owned());
    let removed = call.engine.blocking(move |engine| engine.networks.remove(&trace, &name).map_err(failed));
    emit(&call.engine, "destroy", &removed.await?, None);
    reply::done()
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateRequest {
    name: String,
    driver: String,
    scope: String,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_only: bool,
    config_from: ConfigFrom,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: IpamRequest,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConfigFrom {
    network: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamRequest {
    driver: String,
    options: Option<BTreeMap<String, String>>,
    config: Vec<PoolRequest>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PoolRequest {
    subnet: String,
    #[serde(rename = "IPRange")]
    ip_range: String,
    gateway: String,
    auxiliary_addresses: BTreeMap<String, String>,
}

/// `NetworkCreate`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let mut request: CreateRequest = call.json().await?;
    if call.version < ApiVersion(48) {
        request.enable_ipv4 = None;
    }
    check(&request)?;
    let mut new = planned(request)?;
    let mut warning = "";
    if new.ipv6.is_some() && !glassdock_network::has_ipv6() {
        if new.without_ipv4 {
            return Err(Error::invalid("this machine has no IPv6: a network needs IPv4 here"));
        }
        warning = "this machine has no IPv6: the network has IPv4 only";
        new.idle_ipv6 = new.ipv6.take().filter(|pool| pool.subnet.is_some());
    }
    let trace = call.trace.clone();
    let made = call.engine.blocking(move |engine| engine.networks.create(&trace, new).map_err(failed));
    let network = made.await?;
    emit(&call.engine, "create", &network, None);
    reply::json_with(StatusCode::CREATED, &Created { id: network.id, warning })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    warning: &'static str,
}

/// Refuses what this engine doesn't make, in Docker's words.
fn check(request: &CreateRequest) -> Result<(), Error> {
    if request.name.trim().is_empty() {
        return Err(Error::invalid("invalid network name: name is empty"));
    }
    if request.config_only {
        // It is of no driver.
        let operator = request.ingress || !request.scope.is_empty();
        return if operator { Err(failed(glassdock_network::Error::OperatorFields)) } else { Ok(()) };
    }
    let swarm = matches!(request.scope.as_str(), "swarm" | "global")
        || request.driver == "overlay"
        || request.ingress;
    if swarm {
        return Err(Error::new(
            Kind::Denied,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
             node to swarm and try again.",
        ));
    }
    match request.driver.as_str() {
        "" | "bridge" | "default" => {}
        only @ ("host" | "null") => {
            return Err(Error::new(
                Kind::Denied,
                format!("only one instance of \"{only}\" network is allowed"),
            ));
        }
        other => {
            return Err(Error::not_found(format!(
                "could not find plugin {other} in v1 plugin registry: plugin \"{other}\" not found"
            )));
        }
    }
    if !matches!(request.ipam.driver.as_str(), "" | "default") {
        return Err(Error::not_found(format!("plugin \"{}\" not found", request.ipam.driver)));
    }
    Ok(())
}

fn planned(request: CreateRequest) -> Result<NewNetwork, Error> {
    let mut new = NewNetwork {
        name: request.name,
        config_only: request.config_only,
        config_from: request.config_from.network,
        internal: request.internal,
        attachable: request.attachable,
        ipam_options: request.ipam.options,
        labels: request.labels,
        options: request.options,
        without_ipv4: request.enable_ipv4 == Some(false),
        ipv6: request.enable_ipv6.then(NewIpam6::default),
        ..NewNetwork::default()
    };
    let (six, four): (Vec<_>, Vec<_>) =
        request.ipam.config.into_iter().partition(|pool| pool.subnet.contains(':'));
    if four.len() > 1 || six.len() > 1 {
        return Err(Error::invalid("a network of driver bridge has one subnet of IPv4 and one of IPv6"));
    }
    for pool in four {
        new.subnet = cidr("subnet", &pool.subnet)?;
        new.range = cidr("ip-range", &pool.ip_range)?;
        new.gateway = optional("gateway", &pool.gateway)?;
        new.reserved = reserved(pool.auxiliary_addresses)?;
    }
    // A pool of IPv6 without --ipv6 is checked and lies idle, as in Docker.
    for pool in six {
        let pool = NewIpam6 {
            subnet: cidr("subnet", &pool.subnet)?,
            range: cidr("ip-range", &pool.ip_range)?,
            gateway: optional("gateway", &pool.gateway)?,
            reserved: reserved(pool.auxiliary_addresses)?,
        };
        if new.ipv6.is_some() {
            new.ipv6 = Some(pool);
        } else {
            new.idle_ipv6 = Some(pool);
        }
    }
    Ok(new)
}

fn reserved<A: FromStr>(addresses: BTreeMap<String, String>) -> Result<BTreeMap<String, A>, Error> {
    let parsed = |(name, text): (String, String)| Ok((name, address("auxiliary address", &text)?));
    addresses.into_iter().map(parsed).collect()
}

fn optional<A: FromStr>(what: &str, text: &str) -> Result<Option<A>, Error> {
    (!text.is_empty()).then(|| address(what, text)).transpose()
}

fn cidr<C: FromStr>(what: &str, text: &str) -> Result<Option<C>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| {
        Error::invalid(format!("invalid network config:\ninvalid {what} {text}: invalid CIDR block notation"))
    })
}

fn address<A: FromStr>(what: &str, text: &str) -> Result<A, Error> {
    text.parse().map_err(|_| {
        Error::invalid(format!("invalid network config:\ninvalid {what} {text}: invalid address"))
    })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConnectRequest {
    container: String,
    endpoint_config: EndpointSettings,
}

/// `NetworkConnect`.
pub(crate) async fn connected(mut call: Call) -> Reply {
    let request: ConnectRequest = call.json().await?;
    if request.container.is_empty() {
        return Err(Error::invalid("invalid container name or ID: value is empty"));
    }
    let container = call.engine.containers.find(&request.container)?;
    let network = call.engine.networks.find(call.param("id")).map_err(failed)?;
    let trace = call.trace.clone();
    let (engine, name, id) = (call.engine.clone(), network.clone(), container.id.clone());
    connect(&engine, &trace, &container, &name, request.endpoint_config).await?;
    emit(&call.engine, "connect", &network, Some(&id));
    Ok(reply::empty(StatusCode::OK))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DisconnectRequest {
    container: String,
    force: bool,
}

/// `NetworkDisconnect`.
pub(crate) async fn disconnected(mut call: Call) -> Reply {
    let request: DisconnectRequest = call.json().await?;
    let network = call.engine.networks.find(call.param("id")).map_err(failed)?;
    let container = match call.engine.containers.find(&request.container) {
        // A container that is gone and left something here is freed all the same.
        Err(_) if request.force => {
            let (trace, id) = (call.trace.clone(), request.container);
            if call.engine.networks.endpoints_of(&id).is_empty() {
                return Err(Error::new(Kind::NotFound, format!("endpoint {id} not found")));
            }
            call.engine.blocking(move |engine| engine.networks.release(&trace, &id).map_err(failed)).await?;
            return Ok(reply::empty(StatusCode::OK));
        }
        found => found?,
    };
    disconnect(&call.engine, &call.trace, &container, &network).await?;
    emit(&call.engine, "disconnect", &network, Some(&container.id));
    Ok(reply::empty(StatusCode::OK))
}

/// `NetworkPrune`: the users' networks that no running container is connected to.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["label", "label!", "until"])?;
    let until = crate::system::until_of(&filters)?;
    let mut deleted = Vec::new();
    for network in call.engine.networks.list() {
        let late = until.is_some_and(|until| i128::from(network.created_ns) > until.as_nanosecond());
        // A configuration waits for those that are made of it.
        if network.builtin || network.kept.is_some() || late || !filters.labels_fit(&network.labels) {
            continue;
        }
        let (trace, id) = (call.trace.clone(), network.id.clone());
        let removed =
            call.engine.blocking(move |engine| engine.networks.remove(&trace, &id).map_err(failed)).await;
        match removed {
            Ok(network) => {
                emit(&call.engine, "destroy", &network, None);
                deleted.push(network.name);
            }
            // It is in use, or was removed by somebody else.
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::NotFound) => {}
            Err(error) => tracing::warn!(network = network.name, %error, "a network can't be removed"),
        }
    }
    let attributes = BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]);
    call.engine.events.emit("network", "prune", "", attributes);
    reply::json(&json!({ "NetworksDeleted": (!deleted.is_empty()).then_some(deleted) }))
}
