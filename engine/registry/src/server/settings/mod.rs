//! What a registry is told, from where: its file, the environment, the command line.
//!
//! ```yaml
//! listen: 0.0.0.0:5000
//! workers: 4
//! storage:
//!   root: /data/registry
//! auth:
//!   htpasswd: /etc/glassdock/htpasswd
//!   anonymous: pull
//! ```
//!
//! Each key has a flag and a variable of the environment ([`KEYS`]): the flag wins over the
//! variable, that over the file, and that over the default.

mod units;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use super::auth::{Anonymous, AuthConfig, Method, Rule};
use super::mirror::MirrorConfig;
use super::storage::collect::Collecting;
use super::{Config, TlsFiles};
use crate::client::{ClientConfig, Credentials};
pub use units::{Size, Time};

/// Everything that a registry can be told. A missing key has its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The address to listen at.
    pub listen: String,
    /// How many threads serve; 0 is one for each processor.
    pub workers: usize,
    /// How long requests that run may go on after the server was told to stop.
    pub grace: Time,
    /// Where a line is written for each request: a file, or `-` for standard output.
    pub access_log: Option<PathBuf>,
    /// A folder for traces of what is served.
    pub traces: Option<PathBuf>,
    /// Whether the lessons' images are put in first.
    pub seed: bool,
    /// The BusyBox binary that the lessons' images are made of.
    pub busybox: PathBuf,
    /// What is kept, and how.
    pub storage: StorageSettings,
    /// When garbage goes.
    pub collect: CollectSettings,
    /// What is too much.
    pub limits: Limits,
    /// The certificate, for https.
    pub tls: TlsSettings,
    /// Who may do what; without a file of users, everybody everything.
    pub auth: AuthSettings,
    /// The registry that this one stands in for.
    pub mirror: MirrorSettings,
}

/// `storage`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSettings {
    /// The folder that everything is kept in.
    pub root: PathBuf,
    /// Whether what was answered for outlives a loss of power.
    pub durable: bool,
}

/// `collect`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectSettings {
    /// How often; without it, only `glassdock registry gc` collects.
    pub every: Option<Time>,
    /// What was pushed or asked for so lately stays.
    pub grace: Time,
    /// Uploads that nobody went on with for so long are given up.
    pub uploads: Time,
    /// Whether manifests without a tag go too.
    pub untagged: bool,
}

/// `limits`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections that are served at a time.
    pub connections: usize,
    /// A connection that says nothing for so long is closed.
    pub idle: Time,
    /// The largest blob.
    pub blob: Option<Size>,
    /// The largest manifest.
    pub manifest: Size,
}

/// `tls`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The certificate and those that signed it, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
}

/// `auth`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// The users, as `htpasswd -B` writes them.
    pub htpasswd: Option<PathBuf>,
    /// `basic` or `token`.
    pub method: Method,
    /// `none` or `pull`.
    pub anonymous: Anonymous,
    /// This registry's name in challenges and tokens.
    pub service: String,
    /// Where clients find the token service, if it isn't `/token` here.
    pub realm: Option<String>,
    /// How long a token is good.
    pub lifetime: Time,
    /// What users may do; without a rule, everything.
    pub access: Vec<Rule>,
}

/// `mirror`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MirrorSettings {
    /// The other registry's address.
    pub url: Option<String>,
    /// Who asks there.
    pub username: Option<String>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
    /// How long a tag is believed to stand for the same image.
    pub fresh: Time,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5000".to_owned(),
            workers: 0,
            grace: Time(Duration::from_secs(10)),
            access_log: None,
            traces: None,
            seed: false,
            busybox: crate::seed::BUSYBOX.into(),
            storage: StorageSettings::default(),
            collect: CollectSettings::default(),
            limits: Limits::default(),
            tls: TlsSettings::default(),
            auth: AuthSettings::default(),
            mirror: MirrorSettings::default(),
        }
    }
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { root: "/var/lib/glassdock-registry".into(), durable: true }
    }
}

impl Default for CollectSettings {
    fn default() -> Self {
        let Collecting { grace, uploads, untagged, .. } = Collecting::default();
        let every = Some(Time(Duration::from_secs(24 * 60 * 60)));
        Self { every, grace: Time(grace), uploads: Time(uploads), untagged }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            idle: Time(Duration::from_secs(60)),
            blob: None,
            manifest: Size(super::manifest::MANIFEST_LIMIT as u64),
        }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            htpasswd: None,
            method: Method::Basic,
            anonymous: Anonymous::None,
            service: "glassdock-registry".to_owned(),
            realm: None,
            lifetime: Time(Duration::from_secs(300)),
            access: Vec::new(),
        }
    }
}

impl Default for MirrorSettings {
    fn default() -> Self {
        Self { url: None, username: None, password_file: None, fresh: Time(Duration::from_secs(60)) }
    }
}

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

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that can't be.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What, and where.
        source: serde_yaml::Error,
    },
    /// A flag or a variable says something that can't be.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Settings {
    /// Reads the file, if there is one, and then what is said on top of it: keys of [`KEYS`],
    /// and values as they would stand in the file.
    ///
    /// # Errors
    ///
    /// If the file can't be read, a key is unknown or a value makes no sense.
    pub fn read(file: Option<&Path>, over: &[(&str, String)]) -> Result<Self, Error> {
        let mut tree = Value::Mapping(Mapping::new());
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::Read { path: path.to_owned(), source })?;
            let failed = |source| Error::File { path: path.to_owned(), source };
            // Read as what it is to be first: these errors tell the line.
            if !text.trim().is_empty() {
                serde_yaml::from_str::<Option<Self>>(&text).map_err(failed)?;
                tree = serde_yaml::from_str(&text).map_err(failed)?;
            }
            if tree.is_null() {
                tree = Value::Mapping(Mapping::new());
            }
        }
        for (key, text) in over {
            let wrong = |reason: String| Error::Value { key: (*key).to_owned(), reason };
            put(&mut tree, key, scalar(text)).ok_or_else(|| wrong("the file has no such part".to_owned()))?;
            serde_yaml::from_value::<Self>(tree.clone()).map_err(|error| wrong(error.to_string()))?;
        }
        serde_yaml::from_value(tree)
            .map_err(|error| Error::Value { key: "the settings".to_owned(), reason: error.to_string() })
    }

    /// As a file would say it, with all defaults.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // Plain data can be written.
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// How many threads serve.
    #[must_use]
    pub fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        if self.workers == 0 { processors() } else { self.workers }
    }

    /// What the server is told.
    ///
    /// # Errors
    ///
    /// If the address can't be found, a file can't be read, or keys that belong together are not.
    pub fn config(&self) -> Result<Config, Error> {
        let wrong = |key: &str, reason: &str| Error::Value { key: key.to_owned(), reason: reason.to_owned() };
        let mut config = Config::new(&self.storage.root);
        config.listen = address(&self.listen).map_err(|reason| wrong("listen", &reason))?;
        config.durable = self.storage.durable;
        config.idle = self.limits.idle.0;
        config.connections = self.limits.connections;
        config.largest_blob = self.limits.blob.map_or(u64::MAX, |size| size.0);
        config.largest_manifest = usize::try_from(self.limits.manifest.0).unwrap_or(usize::MAX);
        config.grace = self.grace.0;
        config.access_log = self.access_log.clone();
        config.collect_every = self.collect.every.map(|time| time.0).filter(|time| !time.is_zero());
        config.collecting = self.collecting();
        config.tls = match (&self.tls.certificate, &self.tls.key) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            (Some(_), None) => return Err(wrong("tls.key", "a certificate needs its key")),
            (None, Some(_)) => return Err(wrong("tls.certificate", "a key needs its certificate")),
        };
        config.auth = self.auth.htpasswd.as_ref().map(|htpasswd| AuthConfig {
            htpasswd: htpasswd.clone(),
            method: self.auth.method,
            anonymous: self.auth.anonymous,
            access: self.auth.access.clone(),
            service: self.auth.service.clone(),
            realm: self.auth.realm.clone(),
            lifetime: self.auth.lifetime.0,
        });
        if self.auth.service.contains(['"', '\\']) || !self.auth.service.is_ascii() {
            return Err(wrong("auth.service", "it stands in quotes in a header"));
        }
        config.mirror = match &self.mirror.url {
            None => None,
            Some(url) => Some(MirrorConfig {
                url: url.clone(),
                credentials: self.mirror_credentials()?,
                fresh: self.mirror.fresh.0,
                // Who waits here is somebody's client, and wants to hear soon that it is away.
                client: ClientConfig {
                    connect: Duration::from_secs(5),
                    attempts: 3,
                    ..ClientConfig::default()
                },
            }),
        };
        Ok(config)
    }

    /// How garbage is collected.
    #[must_use]
    pub fn collecting(&self) -> Collecting {
        Collecting {
            grace: self.collect.grace.0,
            uploads: self.collect.uploads.0,
            untagged: self.collect.untagged,
            dry_run: false,
        }
    }

    fn mirror_credentials(&self) -> Result<Option<Credentials>, Error> {
        let Some(username) = self.mirror.username.clone() else { return Ok(None) };
        let path = self.mirror.password_file.as_ref().ok_or_else(|| Error::Value {
            key: "mirror.password_file".to_owned(),
            reason: "a user needs a password".to_owned(),
        })?;
        let password =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(Some(Credentials::Basic {
            username,
            password: password.trim_end_matches(['\r', '\n']).to_owned(),
        }))
    }
}

/// What a flag says, as it would stand in the file. Only what can be nothing else is no text.
fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" | "on" => Value::Bool(true),
        "false" | "off" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

fn put(tree: &mut Value, key: &str, value: Value) -> Option<()> {
    let mut place = tree;
    for part in key.split('.') {
        if place.is_null() {
            *place = Value::Mapping(Mapping::new());
        }
        place = place.as_mapping_mut()?.entry(part.into()).or_insert(Value::Null);
    }
    *place = value;
    Some(())
}

/// `HOST:PORT`, or `:PORT` for every address of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let mut found = text.to_socket_addrs().map_err(|error| format!("no address HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, over: &[(&str, &str)]) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let over: Vec<_> = over.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Settings::read(Some(file.path()), &over).map_err(|error| error.to_string())
    }

    #[test]
    fn each_key_can_be_given_on_top_and_is_printed() {
        let printed: Value = serde_yaml::from_str(&Settings::default().to_yaml()).expect("its own output");
        for key in KEYS {
            let there = key.path.split('.').try_fold(&printed, |part, name| part.get(name));
            assert!(there.is_some(), "{} is no key of the file", key.path);
            assert!(key.value.is_empty() || !key.help.is_empty());
        }
        let settings = read(
            "storage: {root: /data/registry}\nworkers: 4\n",
            &[("workers", "2"), ("limits.blob", "1GiB"), ("auth.service", "a b"), ("seed", "true")],
        )
        .expect("settings");
        assert_eq!(settings.storage.root, Path::new("/data/registry"));
        assert_eq!((settings.workers, settings.seed), (2, true));
        assert_eq!(settings.limits.blob, Some(Size(1 << 30)));
        let again = read(&settings.to_yaml(), &[]).expect("what is printed can be read");
        assert_eq!(again.to_yaml(), settings.to_yaml());
    }

    #[test]
    fn mistakes_say_where() {
        let unknown = read("listen: ':1'\nstorage:\n  rot: /x\n", &[]).expect_err("an unknown key");
        assert!(unknown.contains("rot") && unknown.contains("line 3"), "{unknown}");
        let time = read("grace: soon\n", &[]).expect_err("no time");
        assert!(time.contains("soon") && time.contains("line 1"), "{time}");
        let flag = read("", &[("limits.idle", "never")]).expect_err("no time");
        assert!(flag.starts_with("limits.idle: ") && flag.contains("never"), "{flag}");
        let half = read("tls: {key: /k}\n", &[]).expect("readable").config().expect_err("half of TLS");
        assert_eq!(half.to_string(), "tls.certificate: a key needs its certificate");
    }
}
