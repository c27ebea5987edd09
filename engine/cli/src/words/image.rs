//! Commands on images: their words, as the docker client has them.

use super::Kind::{Bool, Commas, Filter, Int, List, Text};
use super::{Arity, FORMAT, FORMAT_TABLE, NO, Spec, flag};

/// `docker images`.
pub(crate) static IMAGES: Spec = Spec {
    names: &["images", "image ls", "image list"],
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    aliases: "docker image ls, docker image list, docker images",
    arity: Arity::Max(1),
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Show all images (default hides intermediate images)"),
        flag(NO, "digests", Bool, "Show digests"),
        flag('f', "filter", Filter, "Filter output based on conditions provided"),
        flag(NO, "format", Text, FORMAT_TABLE),
        flag(NO, "no-trunc", Bool, "Don't truncate output"),
        flag('q', "quiet", Bool, "Only show image IDs"),
        flag(NO, "tree", Bool, "List multi-platform images as a tree (EXPERIMENTAL)"),
    ],
};

/// `docker pull`.
pub(crate) static PULL: Spec = Spec {
    names: &["pull", "image pull"],
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    aliases: "docker image pull, docker pull",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag('a', "all-tags", Bool, "Download all tagged images in the repository"),
        flag(NO, "disable-content-trust", Bool, "Skip image verification (default true)"),
        flag(NO, "platform", Text, "Set platform if server is multi-platform capable"),
        flag('q', "quiet", Bool, "Suppress verbose output"),
    ],
};

/// `docker push`.
pub(crate) static PUSH: Spec = Spec {
    names: &["push", "image push"],
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    aliases: "docker image push, docker push",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag('a', "all-tags", Bool, "Push all tags of an image to the repository"),
        flag(NO, "disable-content-trust", Bool, "Skip image signing (default true)"),
        flag(
            NO,
            "platform",
            Text,
            concat!(
                "Push a platform-specific manifest as a single-platform image to the registry.\n",
                "Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n",
                "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
            ),
        ),
        flag('q', "quiet", Bool, "Suppress verbose output"),
    ],
};

/// `docker rmi`.
pub(crate) static RMI: Spec = Spec {
    names: &["rmi", "image rm", "image remove"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    aliases: "docker image rm, docker image remove, docker rmi",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('f', "force", Bool, "Force removal of the image"),
        flag(NO, "no-prune", Bool, "Do not delete untagged parents"),
        flag(
            NO,
            "platform",
            Commas,
            "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ],
};

/// `docker tag`.
pub(crate) static TAG: Spec = Spec {
    names: &["tag", "image tag"],
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases: "docker image tag, docker tag",
    arity: Arity::Exact(2),
    interspersed: true,
    flags: &[],
};

/// `docker history`.
pub(crate) static HISTORY: Spec = Spec {
    names: &["history", "image history"],
    usage: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    aliases: "docker image history, docker history",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag(NO, "format", Text, FORMAT_TABLE),
        flag('H', "human", Bool, "Print sizes and dates in human readable format (default true)"),
        flag(NO, "no-trunc", Bool, "Don't truncate output"),
        flag(
            NO,
            "platform",
            Text,
            "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        flag('q', "quiet", Bool, "Only show image IDs"),
    ],
};

/// `docker import`.
pub(crate) static IMPORT: Spec = Spec {
    names: &["import", "image import"],
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: "docker image import, docker import",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('c', "change", List, "Apply Dockerfile instruction to the created image"),
        flag('m', "message", Text, "Set commit message for imported image"),
        flag(NO, "platform", Text, "Set platform if server is multi-platform capable"),
    ],
};

/// `docker load`.
pub(crate) static LOAD: Spec = Spec {
    names: &["load", "image load"],
    usage: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    aliases: "docker image load, docker load",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('i', "input", Text, "Read from tar archive file, instead of STDIN"),
        flag(
            NO,
            "platform",
            Text,
            "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        flag('q', "quiet", Bool, "Suppress the load output"),
    ],
};

/// `docker save`.
pub(crate) static SAVE: Spec = Spec {
    names: &["save", "image save"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases: "docker image save, docker save",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('o', "output", Text, "Write to a file, instead of STDOUT"),
        flag(
            NO,
            "platform",
            Text,
            "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ],
};

/// `docker image inspect`.
pub(crate) static IMAGE_INSPECT: Spec = Spec {
    names: &["image inspect"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    aliases: "",
    arity: Arity::Min(1),
    interspersed: true,
    flags: &[
        flag('f', "format", Text, FORMAT),
        flag(
            NO,
            "platform",
            Text,
            concat!(
                "Inspect a specific platform of the multi-platform image.\n",
                "If the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n",
                "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
            ),
        ),
    ],
};

/// `docker image prune`.
pub(crate) static IMAGE_PRUNE: Spec = Spec {
    names: &["image prune"],
    usage: "[OPTIONS]",
    about: "Remove unused images",
    aliases: "",
    arity: Arity::None,
    interspersed: true,
    flags: &[
        flag('a', "all", Bool, "Remove all unused images, not just dangling ones"),
        flag(NO, "filter", Filter, "Provide filter values (e.g. \"until=<timestamp>\")"),
        flag('f', "force", Bool, "Do not prompt for confirmation"),
    ],
};

/// `docker search`.
pub(crate) static SEARCH: Spec = Spec {
    names: &["search"],
    usage: "[OPTIONS] TERM",
    about: "Search Docker Hub for images",
    aliases: "",
    arity: Arity::Exact(1),
    interspersed: true,
    flags: &[
        flag('f', "filter", Filter, "Filter output based on conditions provided"),
        flag(NO, "format", Text, "Pretty-print search using a Go template"),
        flag(NO, "limit", Int, "Max number of search results"),
        flag(NO, "no-trunc", Bool, "Don't truncate output"),
    ],
};

/// `docker manifest inspect`.
pub(crate) static MANIFEST_INSPECT: Spec = Spec {
    names: &["manifest inspect"],
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Display an image manifest, or manifest list",
    aliases: "",
    arity: Arity::Range(1, 2),
    interspersed: true,
    flags: &[
        flag(NO, "insecure", Bool, "Allow communication with an insecure registry"),
        flag('v', "verbose", Bool, "Output additional info including layers and platform"),
    ],
};
