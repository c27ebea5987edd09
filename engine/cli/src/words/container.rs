//! Commands on containers: their words, as the docker client has them.

use super::Kind::{Bool, Bytes, BytesOrNone, Decimal, Env, Filter, Int, List, Text, Uint16};
use super::{Arity, FORMAT, FORMAT_TABLE, NO, Spec, flag};

/// `docker start`.
pub(crate) static START: Spec = Spec {
    names: &["start", "container start"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    aliases: "docker container start, docker start",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('a', "attach", Bool, "Attach STDOUT/STDERR and forward signals"),
        flag(NO, "checkpoint", Text, "Restore from this checkpoint"),
        flag(NO, "checkpoint-dir", Text, "Use a custom checkpoint storage directory"),
        flag(NO, "detach-keys", Text, "Override the key sequence for detaching a container"),
        flag('i', "interactive", Bool, "Attach container's STDIN"),
    ],
};

/// `docker stop`.
pub(crate) static STOP: Spec = Spec {
    names: &["stop", "container stop"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    aliases: "docker container stop, docker stop",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('s', "signal", Text, "Signal to send to the container"),
        flag('t', "timeout", Int, "Seconds to wait before killing the container"),
    ],
};

/// `docker restart`.
pub(crate) static RESTART: Spec = Spec {
    names: &["restart", "container restart"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    aliases: "docker container restart, docker restart",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('s', "signal", Text, "Signal to send to the container"),
        flag('t', "timeout", Int, "Seconds to wait before killing the container"),
    ],
};

/// `docker kill`.
pub(crate) static KILL: Spec = Spec {
    names: &["kill", "container kill"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    aliases: "docker container kill, docker kill",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[flag('s', "signal", Text, "Signal to send to the container")],
};

/// `docker pause`.
pub(crate) static PAUSE: Spec = Spec {
    names: &["pause", "container pause"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    aliases: "docker container pause, docker pause",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[],
};

/// `docker unpause`.
pub(crate) static UNPAUSE: Spec = Spec {
    names: &["unpause", "container unpause"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Unpause all processes within one or more containers",
    aliases: "docker container unpause, docker unpause",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[],
};

/// `docker wait`.
pub(crate) static WAIT: Spec = Spec {
    names: &["wait", "container wait"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    aliases: "docker container wait, docker wait",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[],
};

/// `docker rm`.
pub(crate) static RM: Spec = Spec {
    names: &["rm", "container rm", "container remove"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    aliases: "docker container rm, docker container remove, docker rm",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('f', "force", Bool, "Force the removal of a running container (uses SIGKILL)"),
        flag('l', "link", Bool, "Remove the specified link"),
        flag('v', "volumes", Bool, "Remove anonymous volumes associated with the container"),
    ],
};

/// `docker rename`.
pub(crate) static RENAME: Spec = Spec {
    names: &["rename", "container rename"],
    usage: "CONTAINER NEW_NAME",
    about: "Rename a container",
    aliases: "docker container rename, docker rename",
    arity: Arity::Exact(2),
    interspersed: true,
    flags: &[],
};

/// `docker update`.
pub(crate) static UPDATE: Spec = Spec {
    names: &["update", "container update"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    aliases: "docker container update, docker update",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag(
            NO,
            "blkio-weight",
            Uint16,
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
        ),
        flag(NO, "cpu-period", Int, "Limit CPU CFS (Completely Fair Scheduler) period"),
        flag(NO, "cpu-quota", Int, "Limit CPU CFS (Completely Fair Scheduler) quota"),
        flag(NO, "cpu-rt-period", Int, "Limit the CPU real-time period in microseconds"),
        flag(NO, "cpu-rt-runtime", Int, "Limit the CPU real-time runtime in microseconds"),
        flag('c', "cpu-shares", Int, "CPU shares (relative weight)"),
        flag(NO, "cpus", Decimal, "Number of CPUs"),
        flag(NO, "cpuset-cpus", Text, "CPUs in which to allow execution (0-3, 0,1)"),
        flag(NO, "cpuset-mems", Text, "MEMs in which to allow execution (0-3, 0,1)"),
        flag('m', "memory", Bytes, "Memory limit"),
        flag(NO, "memory-reservation", Bytes, "Memory soft limit"),
        flag(
            NO,
            "memory-swap",
            BytesOrNone,
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        flag(NO, "pids-limit", Int, "Tune container pids limit (set -1 for unlimited)"),
        flag(NO, "restart", Text, "Restart policy to apply when a container exits"),
    ],
};

/// `docker ps`.
pub(crate) static PS: Spec = Spec {
    names: &["ps", "container ls", "container list", "container ps"],
    usage: "[OPTIONS]",
    about: "List containers",
    aliases: "docker container ls, docker container list, docker container ps, docker ps",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Show all containers (default shows just running)"),
        flag('f', "filter", Filter, "Filter output based on conditions provided"),
        flag(NO, "format", Text, FORMAT_TABLE),
        flag('n', "last", Int, "Show n last created containers (includes all states) (default -1)"),
        flag('l', "latest", Bool, "Show the latest created container (includes all states)"),
        flag(NO, "no-trunc", Bool, "Don't truncate output"),
        flag('q', "quiet", Bool, "Only display container IDs"),
        flag('s', "size", Bool, "Display total file sizes"),
    ],
};

/// `docker logs`.
pub(crate) static LOGS: Spec = Spec {
    names: &["logs", "container logs"],
    usage: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    aliases: "docker container logs, docker logs",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag(NO, "details", Bool, "Show extra details provided to logs"),
        flag('f', "follow", Bool, "Follow log output"),
        flag(
            NO,
            "since",
            Text,
            "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
        flag('n', "tail", Text, "Number of lines to show from the end of the logs (default \"all\")"),
        flag('t', "timestamps", Bool, "Show timestamps"),
        flag(
            NO,
            "until",
            Text,
            "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
    ],
};

/// `docker attach`.
pub(crate) static ATTACH: Spec = Spec {
    names: &["attach", "container attach"],
    usage: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    aliases: "docker container attach, docker attach",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag(NO, "detach-keys", Text, "Override the key sequence for detaching a container"),
        flag(NO, "no-stdin", Bool, "Do not attach STDIN"),
        flag(NO, "sig-proxy", Bool, "Proxy all received signals to the process (default true)"),
    ],
};

/// `docker exec`.
pub(crate) static EXEC: Spec = Spec {
    names: &["exec", "container exec"],
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    aliases: "docker container exec, docker exec",
    arity: Arity::Min(2),
    interspersed: false,
    flags: &[
        flag('d', "detach", Bool, "Detached mode: run command in the background"),
        flag(NO, "detach-keys", Text, "Override the key sequence for detaching a container"),
        flag('e', "env", Env, "Set environment variables"),
        flag(NO, "env-file", List, "Read in a file of environment variables"),
        flag('i', "interactive", Bool, "Keep STDIN open even if not attached"),
        flag(NO, "privileged", Bool, "Give extended privileges to the command"),
        flag('t', "tty", Bool, "Allocate a pseudo-TTY"),
        flag('u', "user", Text, "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
        flag('w', "workdir", Text, "Working directory inside the container"),
    ],
};

/// `docker top`.
pub(crate) static TOP: Spec = Spec {
    names: &["top", "container top"],
    usage: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    aliases: "docker container top, docker top",
    arity: Arity::Min(1),
    interspersed: false,
    flags: &[],
};

/// `docker port`.
pub(crate) static PORT: Spec = Spec {
    names: &["port", "container port"],
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    aliases: "docker container port, docker port",
    arity: Arity::Range(1, 2),
    interspersed: true,
    flags: &[],
};

/// `docker diff`.
pub(crate) static DIFF: Spec = Spec {
    names: &["diff", "container diff"],
    usage: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    aliases: "docker container diff, docker diff",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[],
};

/// `docker cp`.
pub(crate) static CP: Spec = Spec {
    names: &["cp", "container cp"],
    usage: concat!(
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n",
        "\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    ),
    about: concat!(
        "Copy files/folders between a container and the local filesystem\n",
        "\n",
        "Use '-' as the source to read a tar archive from stdin\n",
        "and extract it to a directory destination in a container.\n",
        "Use '-' as the destination to stream a tar archive of a\n",
        "container source to stdout.",
    ),
    aliases: "docker container cp, docker cp",
    arity: Arity::Exact(2),
    interspersed: true,
    flags: &[
        flag('a', "archive", Bool, "Archive mode (copy all uid/gid information)"),
        flag('L', "follow-link", Bool, "Always follow symbol link in SRC_PATH"),
        flag(
            'q',
            "quiet",
            Bool,
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
        ),
    ],
};

/// `docker commit`.
pub(crate) static COMMIT: Spec = Spec {
    names: &["commit", "container commit"],
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    aliases: "docker container commit, docker commit",
    arity: Arity::Range(1, 2),
    interspersed: true,
    flags: &[
        flag('a', "author", Text, "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
        flag('c', "change", List, "Apply Dockerfile instruction to the created image"),
        flag('m', "message", Text, "Commit message"),
        flag('p', "pause", Bool, "Pause container during commit (default true)"),
    ],
};

/// `docker export`.
pub(crate) static EXPORT: Spec = Spec {
    names: &["export", "container export"],
    usage: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    aliases: "docker container export, docker export",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[flag('o', "output", Text, "Write to a file, instead of STDOUT")],
};

/// `docker stats`.
pub(crate) static STATS: Spec = Spec {
    names: &["stats", "container stats"],
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    aliases: "docker container stats, docker stats",
    arity: Arity::Any,
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Show all containers (default shows just running)"),
        flag(NO, "format", Text, FORMAT_TABLE),
        flag(NO, "no-stream", Bool, "Disable streaming stats and only pull the first result"),
        flag(NO, "no-trunc", Bool, "Do not truncate output"),
    ],
};

/// `docker container inspect`.
pub(crate) static CONTAINER_INSPECT: Spec = Spec {
    names: &["container inspect"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    aliases: "",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[flag('f', "format", Text, FORMAT), flag('s', "size", Bool, "Display total file sizes")],
};

/// `docker container prune`.
pub(crate) static CONTAINER_PRUNE: Spec = Spec {
    names: &["container prune"],
    usage: "[OPTIONS]",
    about: "Remove all stopped containers",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag(NO, "filter", Filter, "Provide filter values (e.g. \"until=<timestamp>\")"),
        flag('f', "force", Bool, "Do not prompt for confirmation"),
    ],
};
