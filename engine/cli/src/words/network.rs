//! Commands on networks: their words, as the docker client has them.

use super::Kind::{Bool, Commas, Filter, Int, Label, List, Map, Text};
use super::{Arity, FORMAT, FORMAT_TABLE, NO, Spec, flag};

/// `docker network connect`.
pub(crate) static NETWORK_CONNECT: Spec = Spec {
    names: &["network connect"],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    aliases: "",
    arity: Arity::Exact(2),
    interspersed: true,
    flags: &[
        flag(NO, "alias", Commas, "Add network-scoped alias for the container"),
        flag(NO, "driver-opt", Commas, "driver options for the network"),
        flag(
            NO,
            "gw-priority",
            Int,
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        flag(NO, "ip", Text, "IPv4 address (e.g., \"172.30.100.104\")"),
        flag(NO, "ip6", Text, "IPv6 address (e.g., \"2001:db8::33\")"),
        flag(NO, "link", List, "Add link to another container"),
        flag(NO, "link-local-ip", Commas, "Add a link-local address for the container"),
    ],
};

/// `docker network create`.
pub(crate) static NETWORK_CREATE: Spec = Spec {
    names: &["network create"],
    usage: "[OPTIONS] NETWORK",
    about: "Create a network",
    aliases: "",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag(NO, "attachable", Bool, "Enable manual container attachment"),
        flag(
            NO,
            "aux-address",
            Map,
            "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])",
        ),
        flag(NO, "config-from", Text, "The network from which to copy the configuration"),
        flag(NO, "config-only", Bool, "Create a configuration only network"),
        flag('d', "driver", Text, "Driver to manage the Network (default \"bridge\")"),
        flag(NO, "gateway", Commas, "IPv4 or IPv6 Gateway for the master subnet"),
        flag(NO, "ingress", Bool, "Create swarm routing-mesh network"),
        flag(NO, "internal", Bool, "Restrict external access to the network"),
        flag(NO, "ip-range", Commas, "Allocate container ip from a sub-range"),
        flag(NO, "ipam-driver", Text, "IP Address Management Driver (default \"default\")"),
        flag(NO, "ipam-opt", Map, "Set IPAM driver specific options (default map[])"),
        flag(NO, "ipv4", Bool, "Enable or disable IPv4 address assignment (default true)"),
        flag(NO, "ipv6", Bool, "Enable or disable IPv6 address assignment"),
        flag(NO, "label", Label, "Set metadata on a network"),
        flag('o', "opt", Map, "Set driver specific options (default map[])"),
        flag(NO, "scope", Text, "Control the network's scope"),
        flag(NO, "subnet", Commas, "Subnet in CIDR format that represents a network segment"),
    ],
};

/// `docker network disconnect`.
pub(crate) static NETWORK_DISCONNECT: Spec = Spec {
    names: &["network disconnect"],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    aliases: "",
    arity: Arity::Exact(2),
    interspersed: true,
    flags: &[flag('f', "force", Bool, "Force the container to disconnect from a network")],
};

/// `docker network inspect`.
pub(crate) static NETWORK_INSPECT: Spec = Spec {
    names: &["network inspect"],
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Display detailed information on one or more networks",
    aliases: "",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[flag('f', "format", Text, FORMAT), flag('v', "verbose", Bool, "Verbose output for diagnostics")],
};

/// `docker network ls`.
pub(crate) static NETWORK_LS: Spec = Spec {
    names: &["network ls", "network list"],
    usage: "[OPTIONS]",
    about: "List networks",
    aliases: "docker network ls, docker network list",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('f', "filter", Filter, "Provide filter values (e.g. \"driver=bridge\")"),
        flag(NO, "format", Text, FORMAT_TABLE),
        flag(NO, "no-trunc", Bool, "Do not truncate the output"),
        flag('q', "quiet", Bool, "Only display network IDs"),
    ],
};

/// `docker network prune`.
pub(crate) static NETWORK_PRUNE: Spec = Spec {
    names: &["network prune"],
    usage: "[OPTIONS]",
    about: "Remove all unused networks",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag(NO, "filter", Filter, "Provide filter values (e.g. \"until=<timestamp>\")"),
        flag('f', "force", Bool, "Do not prompt for confirmation"),
    ],
};

/// `docker network rm`.
pub(crate) static NETWORK_RM: Spec = Spec {
    names: &["network rm", "network remove"],
    usage: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    aliases: "docker network rm, docker network remove",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[flag('f', "force", Bool, "Do not error if the network does not exist")],
};
