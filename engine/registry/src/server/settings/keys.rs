//! The keys that have a flag and a variable of the environment.

/// A key that can be given in the environment and on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it is in the file, `storage.root`.
    pub path: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What stands for the value in a help text; nothing for what is on or off.
    pub value: &'static str,
    /// What it says.
    pub help: &'static str,
}

impl Key {
    /// The variable of the environment, `GLASSDOCK_REGISTRY_STORAGE_ROOT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("GLASSDOCK_REGISTRY_{}", self.path.replace('.', "_").to_uppercase())
    }
}

const fn key(path: &'static str, flag: &'static str, value: &'static str, help: &'static str) -> Key {
    Key { path, flag, value, help }
}

/// All keys but `auth.access`, which is a list of rules and needs a file.
pub const KEYS: &[Key] = &[
    key(
        "listen",
        "listen",
        "ADDRESS",
        "The address to listen at; port 0 takes a free one [default: 127.0.0.1:5000]",
    ),
    key(
        "storage.root",
        "root",
        "DIR",
        "The folder that everything is kept in [default: /var/lib/glassdock-registry]",
    ),
    key(
        "storage.durable",
        "durable",
        "",
        "Whether what was answered for outlives a loss of power [default: true]",
    ),
    key("storage.sparse", "sparse", "", "Accept manifests that name what isn't here (yet) [default: false]"),
    key(
        "storage.s3.bucket",
        "s3-bucket",
        "NAME",
        "Keep everything in this bucket, which several servers may share",
    ),
    key("storage.s3.prefix", "s3-prefix", "PATH", "What all keys in the bucket begin with"),
    key("storage.s3.endpoint", "s3-endpoint", "URL", "The S3-compatible storage, where it isn't Amazon's"),
    key("storage.s3.region", "s3-region", "NAME", "The region [default: AWS_REGION, or us-east-1]"),
    key(
        "storage.s3.virtual_hosted",
        "s3-virtual-hosted",
        "",
        "Whether the bucket is part of the host's name [default: false]",
    ),
    key("workers", "workers", "N", "How many threads serve; 0 is one for each processor"),
    key("grace", "grace", "TIME", "How long requests may go on after SIGTERM [default: 10s]"),
    key(
        "access_log",
        "access-log",
        "FILE",
        "Write a line for each request to this file; - is standard output",
    ),
    key("traces", "traces", "DIR", "Record what is served as a trace in this folder"),
    key("seed", "seed", "", "Put the lessons' images in it first"),
    key(
        "busybox",
        "busybox",
        "FILE",
        "The BusyBox binary (statically linked) that the lessons' images are made of",
    ),
    key(
        "collect.every",
        "collect-every",
        "TIME",
        "How often garbage is collected; `null` is never [default: 1d]",
    ),
    key(
        "collect.grace",
        "collect-grace",
        "TIME",
        "What was pushed or asked for so lately stays [default: 1h]",
    ),
    key(
        "collect.uploads",
        "collect-uploads",
        "TIME",
        "Give up uploads that nobody went on with for so long [default: 7d]",
    ),
    key("collect.untagged", "collect-untagged", "", "Let manifests go too that have no tag"),
    key(
        "limits.connections",
        "max-connections",
        "N",
        "Connections that are served at a time [default: 4096]",
    ),
    key("limits.idle", "idle", "TIME", "Close a connection that says nothing for so long [default: 1m]"),
    key("limits.blob", "max-blob", "SIZE", "The largest blob, such as 10GB"),
    key("limits.manifest", "max-manifest", "SIZE", "The largest manifest [default: 4MiB]"),
    key("tls.certificate", "tls-certificate", "FILE", "The certificate and those that signed it, PEM"),
    key("tls.key", "tls-key", "FILE", "The certificate's private key, PEM"),
    key("auth.htpasswd", "htpasswd", "FILE", "The users and their passwords, as `htpasswd -B` writes them"),
    key("auth.method", "auth-method", "METHOD", "How users log in: basic or token [default: basic]"),
    key(
        "auth.anonymous",
        "anonymous",
        "WHAT",
        "What who does not log in may do: none or pull [default: none]",
    ),
    key("auth.service", "auth-service", "NAME", "This registry's name in challenges and tokens"),
    key("auth.realm", "auth-realm", "URL", "Where clients find the token service, if not at /token here"),
    key("auth.lifetime", "auth-lifetime", "TIME", "How long a token is good [default: 5m]"),
    key("mirror.url", "mirror", "URL", "Fetch what isn't here from this registry, and keep it"),
    key("mirror.username", "mirror-username", "NAME", "Who asks there"),
    key("mirror.password_file", "mirror-password-file", "FILE", "A file with that user's password"),
    key("mirror.fresh", "mirror-fresh", "TIME", "How long a tag from there is believed [default: 1m]"),
];
