//! Commands on swarms, on plugins and on checkpoints: their words, as the docker client has them. What
//! they are for is not in this engine; its answers are shown, and those of an engine that has it.

use super::Kind::{Bool, Filter, Int, Label, Text};
use super::{Arity, FORMAT, FORMAT_TABLE, Flag, NO, Spec, flag};

const fn spec(
    names: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    arity: Arity,
    flags: &'static [Flag],
) -> Spec {
    Spec { names, usage, about, aliases: "", arity, interspersed: true, flags }
}

/// A command with a second name.
const fn also(aliases: &'static str, spec: Spec) -> Spec {
    Spec { aliases, ..spec }
}

const LIST: &[Flag] = &[
    flag('f', "filter", Filter, "Filter output based on conditions provided"),
    flag(NO, "format", Text, FORMAT_TABLE),
    flag('q', "quiet", Bool, "Only display IDs"),
];

const INSPECT: &[Flag] = &[
    flag('f', "format", Text, FORMAT),
    flag(NO, "pretty", Bool, "Print the information in a human friendly format"),
];

const TOKEN: Flag = flag('q', "quiet", Bool, "Only display token");

const OPTIONS: &str = "[OPTIONS]";

/// All of them.
#[rustfmt::skip]
pub(crate) static SPECS: &[Spec] = &[
    spec(&["swarm init"], OPTIONS, "Initialize a swarm", Arity::None, &[
        flag(NO, "advertise-addr", Text, "Advertised address (format: \"<ip|interface>[:port]\")"),
        flag(NO, "autolock", Bool, "Enable manager autolocking (requiring an unlock key to start a stopped manager)"),
        flag(NO, "availability", Text, "Availability of the node (\"active\", \"pause\", \"drain\") (default \"active\")"),
        flag(NO, "data-path-addr", Text, "Address or interface to use for data path traffic (format: \"<ip|interface>\")"),
        flag(NO, "force-new-cluster", Bool, "Force create a new cluster from current state"),
        flag(NO, "listen-addr", Text, "Listen address (format: \"<ip|interface>[:port]\") (default 0.0.0.0:2377)"),
    ]),
    spec(&["swarm join"], "[OPTIONS] HOST:PORT", "Join a swarm as a node and/or manager", Arity::Exact(1), &[
        flag(NO, "advertise-addr", Text, "Advertised address (format: \"<ip|interface>[:port]\")"),
        flag(NO, "availability", Text, "Availability of the node (\"active\", \"pause\", \"drain\") (default \"active\")"),
        flag(NO, "data-path-addr", Text, "Address or interface to use for data path traffic (format: \"<ip|interface>\")"),
        flag(NO, "listen-addr", Text, "Listen address (format: \"<ip|interface>[:port]\") (default 0.0.0.0:2377)"),
        flag(NO, "token", Text, "Token for entry into the swarm"),
    ]),
    spec(&["swarm leave"], OPTIONS, "Leave the swarm", Arity::None,
        &[flag('f', "force", Bool, "Force this node to leave the swarm, ignoring warnings")]),
    spec(&["swarm join-token"], "[OPTIONS] (worker|manager)", "Manage join tokens", Arity::Exact(1), &[TOKEN]),
    spec(&["swarm unlock"], "", "Unlock swarm", Arity::None, &[]),
    spec(&["swarm unlock-key"], OPTIONS, "Manage the unlock key", Arity::None, &[TOKEN]),
    spec(&["swarm ca"], OPTIONS, "Display and rotate the root CA", Arity::None, &[]),

    also("docker node ls, docker node list",
        spec(&["node ls", "node list"], OPTIONS, "List nodes in the swarm", Arity::None, LIST)),
    spec(&["node inspect"], "[OPTIONS] self|NODE [NODE...]", "Display detailed information on one or more nodes", Arity::Min(1), INSPECT),
    also("docker node rm, docker node remove",
        spec(&["node rm", "node remove"], "[OPTIONS] NODE [NODE...]", "Remove one or more nodes from the swarm", Arity::Min(1),
            &[flag('f', "force", Bool, "Force remove a node from the swarm")])),

    also("docker service ls, docker service list",
        spec(&["service ls", "service list"], OPTIONS, "List services", Arity::None, LIST)),
    spec(&["service inspect"], "[OPTIONS] SERVICE [SERVICE...]", "Display detailed information on one or more services", Arity::Min(1), INSPECT),
    also("docker service rm, docker service remove",
        spec(&["service rm", "service remove"], "SERVICE [SERVICE...]", "Remove one or more services", Arity::Min(1), &[])),

    also("docker stack ls, docker stack list",
        spec(&["stack ls", "stack list"], OPTIONS, "List stacks", Arity::None, &[flag(NO, "format", Text, FORMAT_TABLE)])),

    also("docker secret ls, docker secret list",
        spec(&["secret ls", "secret list"], OPTIONS, "List secrets", Arity::None, LIST)),
    spec(&["secret create"], "[OPTIONS] SECRET [file|-]", "Create a secret from a file or STDIN as content", Arity::Range(1, 2), &[
        flag('d', "driver", Text, "Secret driver"),
        flag('l', "label", Label, "Secret labels"),
        flag(NO, "template-driver", Text, "Template driver"),
    ]),
    spec(&["secret inspect"], "[OPTIONS] SECRET [SECRET...]", "Display detailed information on one or more secrets", Arity::Min(1), INSPECT),
    also("docker secret rm, docker secret remove",
        spec(&["secret rm", "secret remove"], "SECRET [SECRET...]", "Remove one or more secrets", Arity::Min(1), &[])),

    also("docker config ls, docker config list",
        spec(&["config ls", "config list"], OPTIONS, "List configs", Arity::None, LIST)),
    spec(&["config create"], "[OPTIONS] CONFIG file|-", "Create a config from a file or STDIN", Arity::Exact(2), &[
        flag('l', "label", Label, "Config labels"),
        flag(NO, "template-driver", Text, "Template driver"),
    ]),
    spec(&["config inspect"], "[OPTIONS] CONFIG [CONFIG...]", "Display detailed information on one or more configs", Arity::Min(1), INSPECT),
    also("docker config rm, docker config remove",
        spec(&["config rm", "config remove"], "CONFIG [CONFIG...]", "Remove one or more configs", Arity::Min(1), &[])),

    also("docker plugin ls, docker plugin list",
        spec(&["plugin ls", "plugin list"], OPTIONS, "List plugins", Arity::None, &[
            flag('f', "filter", Filter, "Provide filter values (e.g. \"enabled=true\")"),
            flag(NO, "format", Text, FORMAT_TABLE),
            flag(NO, "no-trunc", Bool, "Don't truncate output"),
            flag('q', "quiet", Bool, "Only display plugin IDs"),
        ])),
    spec(&["plugin inspect"], "[OPTIONS] PLUGIN [PLUGIN...]", "Display detailed information on one or more plugins", Arity::Min(1),
        &[flag('f', "format", Text, FORMAT)]),
    also("docker plugin rm, docker plugin remove",
        spec(&["plugin rm", "plugin remove"], "[OPTIONS] PLUGIN [PLUGIN...]", "Remove one or more plugins", Arity::Min(1),
            &[flag('f', "force", Bool, "Force the removal of an active plugin")])),
    spec(&["plugin enable"], "[OPTIONS] PLUGIN", "Enable a plugin", Arity::Exact(1),
        &[flag(NO, "timeout", Int, "HTTP client timeout (in seconds) (default 30)")]),
    spec(&["plugin disable"], "[OPTIONS] PLUGIN", "Disable a plugin", Arity::Exact(1),
        &[flag('f', "force", Bool, "Force the disable of an active plugin")]),

    also("docker checkpoint ls, docker checkpoint list",
        spec(&["checkpoint ls", "checkpoint list"], "[OPTIONS] CONTAINER", "List checkpoints for a container", Arity::Exact(1), &[])),
    spec(&["checkpoint create"], "[OPTIONS] CONTAINER CHECKPOINT", "Create a checkpoint from a running container", Arity::Exact(2),
        &[flag(NO, "leave-running", Bool, "Leave the container running after checkpoint")]),
    also("docker checkpoint rm, docker checkpoint remove",
        spec(&["checkpoint rm", "checkpoint remove"], "[OPTIONS] CONTAINER CHECKPOINT", "Remove a checkpoint", Arity::Exact(2), &[])),
];
