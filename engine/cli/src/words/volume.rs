//! Commands on volumes: their words, as the docker client has them.

use super::Kind::{Bool, Bytes, Filter, Label, List, Map, Text};
use super::{Arity, FORMAT, FORMAT_TABLE, NO, Spec, flag};

/// `docker volume create`.
pub(crate) static VOLUME_CREATE: Spec = Spec {
    names: &["volume create"],
    usage: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    aliases: "",
    arity: Arity::Max(1),
    interspersed: true,
    flags: &[
        flag(
            NO,
            "availability",
            Text,
            "Cluster Volume availability (\"active\", \"pause\", \"drain\") (default \"active\")",
        ),
        flag('d', "driver", Text, "Specify volume driver name (default \"local\")"),
        flag(NO, "group", Text, "Cluster Volume group (cluster volumes)"),
        flag(NO, "label", Label, "Set metadata for a volume"),
        flag(NO, "limit-bytes", Bytes, "Minimum size of the Cluster Volume in bytes"),
        flag('o', "opt", Map, "Set driver specific options (default map[])"),
        flag(NO, "required-bytes", Bytes, "Maximum size of the Cluster Volume in bytes"),
        flag(NO, "scope", Text, "Cluster Volume access scope (\"single\", \"multi\") (default \"single\")"),
        flag(NO, "secret", Map, "Cluster Volume secrets (default map[])"),
        flag(
            NO,
            "sharing",
            Text,
            "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\") (default \"none\")",
        ),
        flag(NO, "topology-preferred", List, "A topology that the Cluster Volume would be preferred in"),
        flag(NO, "topology-required", List, "A topology that the Cluster Volume must be accessible from"),
        flag(NO, "type", Text, "Cluster Volume access type (\"mount\", \"block\") (default \"block\")"),
    ],
};

/// `docker volume inspect`.
pub(crate) static VOLUME_INSPECT: Spec = Spec {
    names: &["volume inspect"],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    aliases: "",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[flag('f', "format", Text, FORMAT)],
};

/// `docker volume ls`.
pub(crate) static VOLUME_LS: Spec = Spec {
    names: &["volume ls", "volume list"],
    usage: "[OPTIONS]",
    about: "List volumes",
    aliases: "docker volume ls, docker volume list",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag(NO, "cluster", Bool, "Display only cluster volumes, and use cluster volume list formatting"),
        flag('f', "filter", Filter, "Provide filter values (e.g. \"dangling=true\")"),
        flag(NO, "format", Text, FORMAT_TABLE),
        flag('q', "quiet", Bool, "Only display volume names"),
    ],
};

/// `docker volume prune`.
pub(crate) static VOLUME_PRUNE: Spec = Spec {
    names: &["volume prune"],
    usage: "[OPTIONS]",
    about: "Remove unused local volumes",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Remove all unused volumes, not just anonymous ones"),
        flag(NO, "filter", Filter, "Provide filter values (e.g. \"label=<label>\")"),
        flag('f', "force", Bool, "Do not prompt for confirmation"),
    ],
};

/// `docker volume update`.
pub(crate) static VOLUME_UPDATE: Spec = Spec {
    names: &["volume update"],
    usage: "[OPTIONS] [VOLUME]",
    about: "Update a volume (cluster volumes only)",
    aliases: "",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[flag(
        NO,
        "availability",
        Text,
        "Cluster Volume availability (\"active\", \"pause\", \"drain\") (default \"active\")",
    )],
};

/// `docker volume rm`.
pub(crate) static VOLUME_RM: Spec = Spec {
    names: &["volume rm", "volume remove"],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    aliases: "docker volume rm, docker volume remove",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[flag('f', "force", Bool, "Force the removal of one or more volumes")],
};
