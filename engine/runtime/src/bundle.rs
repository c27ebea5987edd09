//! The bundle: a container's folder, and the files in it.
//!
//! ```text
//!   BUNDLE/
//!     config.json       what the OCI specification has words for      (oci::Spec)
//!     glassdock.json    what it has no words for                      (Extras)
//!     container.log     Docker's json-file format                     (log)
//!     shim.sock         where the shim answers, while it lives        (client)
//!     exit.json         how the container ended, for good             (Exit)
//! ```
//!
//! A bundle without `glassdock.json` is a plain OCI bundle.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::oci::Spec;

/// A file of a bundle is at most this long, in bytes: the shim reads it whole.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// A container's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    folder: PathBuf,
}

/// `glassdock.json`: what a container needs beyond OCI's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// The container's id.
    pub id: String,
    /// The layers that make the root; instead of OCI's `root.path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<Overlay>,
    /// Whether the root can't be changed (where there is an overlay, OCI's `root` is absent).
    pub readonly: bool,
    /// Where output is written; nowhere if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// Standard input.
    pub stdin: Stdin,
    /// The user as Docker's words say it: `name`, `name:group`, `uid:gid`; looked
    /// up in the container's own files. Goes before OCI's numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Further groups, by name or number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Stacks that are mounted over folders of the host before the mounts, in the container's mount
    /// namespace only: sources of binds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
    /// Variables whose values are the content of files of the host: secrets, which no bundle has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_env: Vec<SecretVariable>,
}

/// Layers that binds take files from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The host's folder that they are mounted over.
    pub place: PathBuf,
    /// The layers.
    #[serde(flatten)]
    pub layers: Overlay,
}

/// A variable of the environment whose value lies in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVariable {
    /// Its name.
    pub name: String,
    /// The file, absolute.
    pub path: PathBuf,
}

/// A stack of layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only layers, the uppermost first, absolute.
    pub lower: Vec<PathBuf>,
    /// Where changes go; without one the root is read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<PathBuf>,
    /// overlayfs' own folder, on the same file system as `upper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<PathBuf>,
    /// Whether what is written need not survive a crash of the machine: no syncs, which
    /// else cost the end of a container the writing out of the whole disk's cache. For `--rm`.
    #[serde(default)]
    pub volatile: bool,
}

/// The log of a container's output, in Docker's json-file format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The file.
    pub path: PathBuf,
    /// A file that would grow beyond so many bytes is put aside; no bound if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// How many files are kept, the one in use included; at least 1.
    #[serde(default = "one")]
    pub max_file: u32,
}

fn one() -> u32 {
    1
}

/// What a container reads as standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// `/dev/null` (for a terminal: what attached clients type all the same).
    #[default]
    Closed,
    /// What attached clients send; it stays open when they leave.
    Open,
    /// What the first attached client sends; its end is the end.
    Once,
}

/// `exit.json`: how a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, 128 + the signal's number if a signal ended it.
    pub status: i32,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of the container because its memory limit was reached.
    #[serde(default)]
    pub oom_killed: bool,
    /// When the program was started, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended, RFC 3339 in UTC.
    pub finished_at: String,
}

impl Bundle {
    /// The bundle in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one of the bundle's files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    ///
    /// If it can't be read, is longer than 4 MiB, or is no configuration.
    pub fn spec(&self) -> Result<Spec, Error> {
        self.read("config.json")?.ok_or_else(|| Error::Read {
            path: self.path("config.json"),
            source: io::Error::from(io::ErrorKind::NotFound),
        })
    }

    /// Reads `glassdock.json`; the defaults if there is none.
    ///
    /// # Errors
    ///
    /// If it can't be read, is longer than 4 MiB, or isn't what it should be.
    pub fn extras(&self) -> Result<Extras, Error> {
        Ok(self.read("glassdock.json")?.unwrap_or_default())
    }

    /// Reads how the container ended; `None` while it has not.
    ///
    /// # Errors
    ///
    /// If `exit.json` can't be read or isn't what it should be.
    pub fn exit(&self) -> Result<Option<Exit>, Error> {
        self.read("exit.json")
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        // Room for all of it, as far as the bound goes: a text that grows as it is read takes ten calls.
        let length = file.metadata().map_or(0, |metadata| metadata.len()).min(FILE_LIMIT) + 1;
        let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        if let Err(source) = file.take(FILE_LIMIT + 1).read_to_end(&mut text) {
            return Err(Error::Read { path, source });
        }
        if text.len() as u64 > FILE_LIMIT {
            return Err(Error::Invalid { path, reason: format!("it is longer than {FILE_LIMIT} bytes") });
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::Invalid { path, reason: error.to_string() })
    }
}
