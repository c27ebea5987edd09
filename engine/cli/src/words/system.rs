//! Commands on the engine, and on accounts at registries: their words, as the docker client has them.

use super::Kind::{Bool, Filter, Text};
use super::{Arity, FORMAT, FORMAT_TABLE, NO, Spec, flag};

/// `docker version`.
pub(crate) static VERSION: Spec = Spec {
    names: &["version"],
    usage: "[OPTIONS]",
    about: "Show the Docker version information",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[flag('f', "format", Text, FORMAT)],
};

/// `docker info`.
pub(crate) static INFO: Spec = Spec {
    names: &["info", "system info"],
    usage: "[OPTIONS]",
    about: "Display system-wide information",
    aliases: "docker system info, docker info",
    arity: Arity::None,
    interspersed: true,
    flags: &[flag('f', "format", Text, FORMAT)],
};

/// `docker inspect`.
pub(crate) static INSPECT: Spec = Spec {
    names: &["inspect"],
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Return low-level information on Docker objects",
    aliases: "",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('f', "format", Text, FORMAT),
        flag('s', "size", Bool, "Display total file sizes if the type is container"),
        flag(NO, "type", Text, "Only inspect objects of the given type"),
    ],
};

/// `docker events`.
pub(crate) static EVENTS: Spec = Spec {
    names: &["events", "system events"],
    usage: "[OPTIONS]",
    about: "Get real time events from the server",
    aliases: "docker system events, docker events",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('f', "filter", Filter, "Filter output based on conditions provided"),
        flag(NO, "format", Text, FORMAT),
        flag(NO, "since", Text, "Show all events created since timestamp"),
        flag(NO, "until", Text, "Stream events until this timestamp"),
    ],
};

/// `docker login`.
pub(crate) static LOGIN: Spec = Spec {
    names: &["login"],
    usage: "[OPTIONS] [SERVER]",
    about: concat!("Authenticate to a registry.\n", "Defaults to Docker Hub if no server is specified.",),
    aliases: "",
    arity: Arity::Max(1),
    interspersed: true,
    flags: &[
        flag('p', "password", Text, "Password or Personal Access Token (PAT)"),
        flag(NO, "password-stdin", Bool, "Take the Password or Personal Access Token (PAT) from stdin"),
        flag('u', "username", Text, "Username"),
    ],
};

/// `docker logout`.
pub(crate) static LOGOUT: Spec = Spec {
    names: &["logout"],
    usage: "[SERVER]",
    about: concat!(
        "Log out from a registry.\n",
        "If no server is specified, the default is defined by the daemon.",
    ),
    aliases: "",
    arity: Arity::Max(1),
    interspersed: true,
    flags: &[],
};

/// `docker system df`.
pub(crate) static SYSTEM_DF: Spec = Spec {
    names: &["system df"],
    usage: "[OPTIONS]",
    about: "Show docker disk usage",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag(NO, "format", Text, FORMAT_TABLE),
        flag('v', "verbose", Bool, "Show detailed information on space usage"),
    ],
};

/// `docker system prune`.
pub(crate) static SYSTEM_PRUNE: Spec = Spec {
    names: &["system prune"],
    usage: "[OPTIONS]",
    about: "Remove unused data",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Remove all unused images not just dangling ones"),
        flag(NO, "filter", Filter, "Provide filter values (e.g. \"label=<key>=<value>\")"),
        flag('f', "force", Bool, "Do not prompt for confirmation"),
        flag(NO, "volumes", Bool, "Prune anonymous volumes"),
    ],
};
