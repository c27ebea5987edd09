//! `build`: its words, as the docker client has them, and glassdock's own.

use super::Kind::{AddHost, Bool, Bytes, BytesOrNone, Commas, Env, Filter, Int, Label, List, Text, Ulimit};
use super::{Arity, NO, Spec, flag};

/// `docker build`.
pub(crate) static BUILD: Spec = Spec {
    names: &["build", "image build", "builder build"],
    usage: "[OPTIONS] PATH | URL | -",
    about: "Build an image from a Dockerfile",
    aliases: "docker image build, docker build, docker builder build",
    arity: Arity::Any,
    interspersed: true,
    flags: &[
        flag(NO, "add-host", AddHost, "Add a custom host-to-IP mapping (\"host:ip\")"),
        flag(NO, "build-arg", Env, "Set build-time variables"),
        flag(
            NO,
            "cache-from",
            List,
            "Images to consider as cache sources (or \"type=registry,ref=image\", \"type=local,src=folder\")",
        ),
        flag(
            NO,
            "cache-to",
            List,
            "Where to keep the image's steps, with mode=max those of all stages (\"type=registry,ref=image\", \"type=local,dest=folder\")",
        ),
        flag(NO, "cgroup-parent", Text, "Set the parent cgroup for the \"RUN\" instructions during build"),
        flag(NO, "check", Bool, "Check Dockerfiles for mistakes and questionable practice, without building"),
        flag(NO, "compress", Bool, "Compress the build context using gzip"),
        flag(NO, "cpu-period", Int, "Limit the CPU CFS (Completely Fair Scheduler) period"),
        flag(NO, "cpu-quota", Int, "Limit the CPU CFS (Completely Fair Scheduler) quota"),
        flag('c', "cpu-shares", Int, "CPU shares (relative weight)"),
        flag(NO, "cpuset-cpus", Text, "CPUs in which to allow execution (0-3, 0,1)"),
        flag(NO, "cpuset-mems", Text, "MEMs in which to allow execution (0-3, 0,1)"),
        flag(NO, "disable-content-trust", Bool, "Skip image verification (default true)"),
        flag('f', "file", Text, "Name of the Dockerfile (Default is \"PATH/Dockerfile\")"),
        flag(NO, "force-rm", Bool, "Always remove intermediate containers"),
        flag(NO, "iidfile", Text, "Write the image ID to the file"),
        flag(NO, "isolation", Text, "Container isolation technology"),
        flag(NO, "label", Label, "Set metadata for an image"),
        flag('m', "memory", Bytes, "Memory limit"),
        flag(
            NO,
            "memory-swap",
            BytesOrNone,
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        flag(
            NO,
            "network",
            Text,
            "Set the networking mode for the RUN instructions during build (default \"default\")",
        ),
        flag(NO, "no-cache", Bool, "Do not use cache when building the image"),
        flag(NO, "platform", Text, "Set platform if server is multi-platform capable"),
        flag(
            NO,
            "print",
            Text,
            "Print the instructions (\"ast\") or the stages (\"plan\") as JSON, without building",
        ),
        flag(
            NO,
            "progress",
            Text,
            "Set type of progress output (\"auto\", \"plain\", \"tty\", \"json\") (default \"auto\")",
        ),
        flag(NO, "pull", Bool, "Always attempt to pull a newer version of the image"),
        flag('q', "quiet", Bool, "Suppress the build output and print image ID on success"),
        flag(NO, "rm", Bool, "Remove intermediate containers after a successful build (default true)"),
        flag(
            NO,
            "secret",
            List,
            "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")",
        ),
        flag(NO, "security-opt", Commas, "Security options"),
        flag(NO, "shm-size", Bytes, "Size of \"/dev/shm\""),
        flag(NO, "squash", Bool, "Squash newly built layers into a single new layer"),
        flag(
            NO,
            "ssh",
            List,
            "SSH agent socket or keys to expose to the build (format: \"default|<id>[=<socket>|<key>[,<key>]]\")",
        ),
        flag('t', "tag", List, "Name and optionally a tag in the \"name:tag\" format"),
        flag(NO, "target", Text, "Set the target build stage to build."),
        flag(NO, "ulimit", Ulimit, "Ulimit options (default [])"),
    ],
};

/// `docker builder prune`.
pub(crate) static BUILDER_PRUNE: Spec = Spec {
    names: &["builder prune"],
    usage: "",
    about: "Remove build cache",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Remove all unused build cache, not just dangling ones"),
        flag(NO, "filter", Filter, "Provide filter values (e.g. \"until=24h\")"),
        flag('f', "force", Bool, "Do not prompt for confirmation"),
        flag(NO, "keep-storage", Bytes, "Amount of disk space to keep for cache"),
    ],
};
