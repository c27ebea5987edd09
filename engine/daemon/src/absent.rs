//! What Docker has and this engine has not: Swarm (with services, secrets, configs and
//! cluster volumes), plugins, checkpoints and sessions of BuildKit. The answers are those of a
//! Docker engine that is in no swarm and has no plugins, because clients clean up through these
//! endpoints: what is asked wrongly is told so first, then what is missing.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::error::{Error, Kind};
use crate::reply::{self, Reply};

/// `ContainerCheckpointCreate`, `…List`, `…Delete`: an experiment of Docker's, which is off.
pub(crate) async fn no_checkpoints(_call: Call) -> Reply {
    Err(Error::unsupported(
        "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order \
         to enable it.",
    ))
}

/// Endpoints that only a manager of a swarm answers: what is looked at or removed.
pub(crate) async fn no_manager(_call: Call) -> Reply {
    Err(not_a_manager())
}

/// `NodeList`, `ServiceList`, `TaskList`, `SecretList`, `ConfigList`.
pub(crate) async fn no_manager_to_list(call: Call) -> Reply {
    call.filters()?;
    Err(not_a_manager())
}

/// `ServiceCreate`, `SecretCreate`, `ConfigCreate`, `SwarmUnlock`: what is sent is JSON.
pub(crate) async fn no_manager_to_make(mut call: Call) -> Reply {
    call.json_or_empty::<Map<String, Value>>().await?;
    Err(not_a_manager())
}

/// `SwarmUpdate`, `NodeUpdate`, `ServiceUpdate`, `SecretUpdate`, `ConfigUpdate`: besides, the version
/// of what is to be changed is a number.
pub(crate) async fn no_manager_to_update(mut call: Call) -> Reply {
    call.json_or_empty::<Map<String, Value>>().await?;
    let kind = call.parts.uri.path().split('/').find_map(|part| match part {
        "swarm" => Some("swarm"),
        "nodes" => Some("node"),
        "services" => Some("service"),
        "secrets" => Some("secret"),
        "configs" => Some("config"),
        _ => None,
    });
    let kind = kind.unwrap_or("object");
    let version = call.query("version").unwrap_or_default();
    let digits = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let why = match (digits, version.parse::<u64>()) {
        (true, Ok(_)) => return Err(not_a_manager()),
        (true, Err(_)) => "value out of range",
        (false, _) => "invalid syntax",
    };
    // In Docker's words, which are those of the library that reads its numbers.
    Err(Error::invalid(match kind {
        "secret" | "config" => format!("invalid {kind} version"),
        _ => format!("invalid {kind} version '{version}': strconv.ParseUint: parsing \"{version}\": {why}"),
    }))
}

/// `ServiceLogs`, `TaskLogs`.
pub(crate) async fn no_manager_to_log(call: Call) -> Reply {
    if !call.flag("stdout") && !call.flag("stderr") {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    Err(not_a_manager())
}

/// `VolumeUpdate`: only volumes of a swarm can be changed.
pub(crate) async fn no_cluster_volumes(_call: Call) -> Reply {
    Err(Error::new(
        Kind::Unavailable,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    ))
}

/// What an engine says that manages no swarm.
pub(crate) fn not_a_manager() -> Error {
    Error::new(
        Kind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
         node to swarm and try again.",
    )
}

/// `SwarmLeave`: there is nothing to leave.
pub(crate) async fn not_in_swarm(_call: Call) -> Reply {
    Err(Error::new(Kind::Unavailable, "This node is not part of a swarm"))
}

/// What comes with `SwarmInit` and `SwarmJoin`, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    listen_addr: String,
    remote_addrs: Vec<String>,
}

/// `SwarmInit`: this engine stays alone.
pub(crate) async fn no_swarm_to_init(mut call: Call) -> Reply {
    entry(&mut call).await?;
    Err(no_swarm_mode())
}

/// `SwarmJoin`: and with nobody.
pub(crate) async fn no_swarm_to_join(mut call: Call) -> Reply {
    if entry(&mut call).await?.remote_addrs.is_empty() {
        return Err(Error::invalid("at least 1 RemoteAddr is required to join"));
    }
    Err(no_swarm_mode())
}

async fn entry(call: &mut Call) -> Result<Entry, Error> {
    let entry = call.json_or_empty::<Entry>().await?.unwrap_or_default();
    if entry.listen_addr.is_empty() {
        return Err(Error::invalid("invalid ListenAddr \"\": invalid empty address"));
    }
    Ok(entry)
}

fn no_swarm_mode() -> Error {
    Error::unsupported("this engine has no swarm mode: it is one machine's engine")
}

/// `PluginList`: none.
pub(crate) async fn no_plugins(call: Call) -> Reply {
    call.filters()?.only(&["capability", "enabled"])?;
    reply::json(&json!([]))
}

/// `PluginInspect`, `…Delete`, `…Enable`, `…Disable`, `…Push`: the one that is named isn't there.
pub(crate) async fn no_plugin(call: Call) -> Reply {
    Err(plugin_not_found(call.param("name")))
}

/// `PluginSet`, `PluginUpgrade`: a list comes with them.
pub(crate) async fn no_plugin_to_change(mut call: Call) -> Reply {
    call.json_list::<Value>().await?;
    no_plugin(call).await
}

/// `GetPluginPrivileges`, `PluginPull`: what a registry would have.
pub(crate) async fn no_plugin_there(mut call: Call) -> Reply {
    call.json_list::<Value>().await?;
    let remote = call.query("remote").unwrap_or_default();
    plugin_name(remote)?;
    Err(plugin_not_found(remote))
}

/// `PluginCreate`: there is nothing that would run it.
pub(crate) async fn no_plugin_to_make(call: Call) -> Reply {
    let name = call.query("name").unwrap_or_default();
    plugin_name(name)?;
    Err(Error::unsupported(format!("this engine has no plugins: {name:?} cannot be made one")))
}

fn plugin_name(name: &str) -> Result<(), Error> {
    glassdock_image::reference::Reference::parse(name)?;
    Ok(())
}

fn plugin_not_found(name: &str) -> Error {
    Error::not_found(format!("plugin \"{name}\" not found"))
}

/// `Session`: BuildKit's way to ask its client for files. Builds here get theirs with `POST /build`.
pub(crate) async fn no_session(call: Call) -> Reply {
    if call.header("upgrade").is_none() {
        return Err(Error::invalid("no upgrade proto in request"));
    }
    Err(Error::unsupported("this engine has no BuildKit and no sessions: builds go to POST /build"))
}
