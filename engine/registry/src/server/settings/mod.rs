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

mod config;
mod keys;
mod reading;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth::{Anonymous, Method, Rule};
use super::storage::collect::Collecting;
pub use keys::{KEYS, Key};
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
    /// The folder that everything is kept in, where there is no bucket.
    pub root: PathBuf,
    /// Whether what was answered for outlives a loss of power.
    pub durable: bool,
    /// Whether manifests may name blobs and manifests that aren't here (yet).
    pub sparse: bool,
    /// The bucket that everything is kept in.
    pub s3: BucketSettings,
}

/// `storage.s3`: who may use the bucket is told by the environment alone, as every client of S3
/// has it (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketSettings {
    /// The bucket's name; without it, everything is kept in the folder.
    pub bucket: Option<String>,
    /// What all keys begin with.
    pub prefix: String,
    /// The address of the object storage, where it isn't Amazon's.
    pub endpoint: Option<String>,
    /// The region; without it that of the environment, or `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name and not of the path.
    pub virtual_hosted: bool,
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
        Self {
            root: "/var/lib/glassdock-registry".into(),
            durable: true,
            sparse: false,
            s3: BucketSettings::default(),
        }
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
