//! What Docker has and this engine has not: Swarm (with services, secrets and
//! configs) and plugins. The answers are those of a Docker engine that is in no
//! swarm and has no plugins, because clients clean up through these endpoints.

use serde_json::json;

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

/// Endpoints that only a manager of a swarm answers.
pub(crate) async fn no_manager(_call: Call) -> Reply {
    Err(Error::new(
        Kind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
         node to swarm and try again.",
    ))
}

/// `SwarmLeave`: there is nothing to leave.
pub(crate) async fn not_in_swarm(_call: Call) -> Reply {
    Err(Error::new(Kind::Unavailable, "This node is not part of a swarm"))
}

/// `SwarmInit`, `SwarmJoin`: this engine stays alone.
pub(crate) async fn no_swarm_here(_call: Call) -> Reply {
    Err(Error::unsupported("this engine has no swarm mode: it is one machine's engine"))
}

/// `PluginList`: none.
pub(crate) async fn no_plugins(_call: Call) -> Reply {
    reply::json(&json!([]))
}

/// Every other endpoint of plugins: the one that is named isn't there.
pub(crate) async fn no_plugin(call: Call) -> Reply {
    let name = call.query("remote").unwrap_or_else(|| call.param("name"));
    let verbs = ["enable", "disable", "upgrade", "push", "set"];
    let name = verbs.iter().find_map(|verb| name.strip_suffix(&format!("/{verb}"))).unwrap_or(name);
    Err(Error::not_found(format!("plugin \"{name}\" not found")))
}
