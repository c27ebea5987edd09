//! All commands, and how a command is found.

use super::Kind::{Bool, List, Text};
use super::{Arity, NO, Spec, build, container, flag, image, network, run, swarm, system, volume};

/// A group of commands, such as `container`.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it is for engines that are in a swarm.
    pub of_swarm: bool,
}

const fn group(name: &'static str, about: &'static str) -> Group {
    Group { name, about, of_swarm: false }
}

const fn of_swarm(name: &'static str, about: &'static str) -> Group {
    Group { name, about, of_swarm: true }
}

/// The groups.
pub(crate) const GROUPS: &[Group] = &[
    group("builder", "Manage builds"),
    group("checkpoint", "Manage checkpoints"),
    group("container", "Manage containers"),
    group("image", "Manage images"),
    group("manifest", "Manage Docker image manifests and manifest lists"),
    group("network", "Manage networks"),
    group("plugin", "Manage plugins"),
    group("system", "Manage Docker"),
    group("volume", "Manage volumes"),
    of_swarm("config", "Manage Swarm configs"),
    of_swarm("node", "Manage Swarm nodes"),
    of_swarm("secret", "Manage Swarm secrets"),
    of_swarm("service", "Manage Swarm services"),
    of_swarm("stack", "Manage Swarm stacks"),
    of_swarm("swarm", "Manage Swarm"),
];

/// The commands that most people type most.
pub(crate) const COMMON: &[&str] =
    &["run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info"];

/// glassdock's own commands, which read their own arguments.
pub(crate) const OWN: &[(&str, &str)] = &[
    ("daemon", "Run the engine: the Engine API on a socket"),
    ("registry", "Run a registry of images"),
    ("trace", "Read what the engine did, step by step"),
    ("lesson", "Run, check and replay the lessons"),
    ("book", "Build the book"),
    ("completion", "Print a completion script for a shell"),
];

/// The program's own flags, before the command.
pub(crate) static ROOT: Spec = Spec {
    names: &[""],
    usage: "[OPTIONS] COMMAND",
    about: "",
    aliases: "",
    arity: Arity::Any,
    interspersed: false,
    flags: &[
        flag(NO, "config", Text, "Location of client config files (default \"~/.docker\")"),
        flag('c', "context", Text, "Name of the context to use to connect to the daemon (only \"default\")"),
        flag('D', "debug", Bool, "Enable debug mode"),
        flag('H', "host", List, "Daemon socket to connect to"),
        flag(
            'l',
            "log-level",
            Text,
            "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
        ),
        flag('v', "version", Bool, "Print version information and quit"),
    ],
};

/// Every command with Docker's words.
pub(crate) fn specs() -> impl Iterator<Item = &'static Spec> {
    SPECS.iter().copied().chain(swarm::SPECS)
}

/// Those of what an engine has by itself.
#[rustfmt::skip]
static SPECS: &[&Spec] = &[
    &run::RUN, &run::CREATE,
    &container::START, &container::STOP, &container::RESTART, &container::KILL, &container::PAUSE,
    &container::UNPAUSE, &container::WAIT, &container::RM, &container::RENAME, &container::UPDATE,
    &container::PS, &container::LOGS, &container::ATTACH, &container::EXEC, &container::TOP,
    &container::PORT, &container::DIFF, &container::CP, &container::COMMIT, &container::EXPORT,
    &container::STATS, &container::CONTAINER_INSPECT, &container::CONTAINER_PRUNE,
    &build::BUILD, &build::BUILDER_PRUNE, &image::IMAGES, &image::PULL, &image::PUSH, &image::RMI, &image::TAG, &image::HISTORY,
    &image::IMPORT, &image::LOAD, &image::SAVE, &image::IMAGE_INSPECT, &image::IMAGE_PRUNE, &image::SEARCH, &image::MANIFEST_INSPECT,
    &system::VERSION, &system::INFO, &system::INSPECT, &system::EVENTS, &system::LOGIN, &system::LOGOUT,
    &system::SYSTEM_DF, &system::SYSTEM_PRUNE,
    &network::NETWORK_CONNECT, &network::NETWORK_CREATE, &network::NETWORK_DISCONNECT,
    &network::NETWORK_INSPECT, &network::NETWORK_LS, &network::NETWORK_PRUNE, &network::NETWORK_RM,
    &volume::VOLUME_CREATE, &volume::VOLUME_INSPECT, &volume::VOLUME_LS, &volume::VOLUME_PRUNE, &volume::VOLUME_RM,
    &volume::VOLUME_UPDATE,
];

/// A command that was found, with the name that Docker shows for it and how
/// many words the name took.
#[derive(Debug)]
pub(crate) struct Found {
    pub spec: &'static Spec,
    pub name: String,
    pub words: usize,
}

/// Finds the command that the words begin with.
pub(crate) fn find(words: &[String]) -> Option<Found> {
    let first = words.first()?;
    if is_group(first) {
        let second = words.get(1)?;
        let called = format!("{first} {second}");
        let spec = specs().find(|spec| spec.names.contains(&called.as_str()))?;
        // `container list` is shown as `container ls`: the first name within the group.
        let shown = spec.names.iter().find(|name| group_of(name) == Some(first))?;
        return Some(Found { spec, name: (*shown).to_owned(), words: 2 });
    }
    let spec = specs().find(|spec| spec.names.contains(&first.as_str()))?;
    Some(Found { spec, name: first.clone(), words: 1 })
}

/// Whether a word names a group.
pub(crate) fn is_group(word: &str) -> bool {
    GROUPS.iter().any(|group| group.name == word)
}

/// What only a swarm can do, of groups that are there without one: Docker's client knows it, and doesn't list it.
const OF_SWARMS: &str = "volume update";

/// The commands of a group: their short names and what they do.
pub(crate) fn members(group: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    specs().filter(|spec| !spec.names.contains(&OF_SWARMS)).filter_map(move |spec| {
        let name = spec.names.iter().find(|name| group_of(name) == Some(group))?;
        Some((name.split_once(' ')?.1, super::help::about(spec)))
    })
}

fn group_of(name: &str) -> Option<&str> {
    name.split_once(' ').map(|(group, _)| group)
}
