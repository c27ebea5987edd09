//! What is remembered of a container: its record, in memory and in `state.db`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use glassdock_runtime::bundle::{SecretVariable, Stack};
use glassdock_runtime::oci;
use serde::{Deserialize, Serialize};

use super::health::Health;
use super::model::{ContainerConfig, EndpointSettings, HostConfig, MountPoint};

/// The time of what has not happened yet, as Docker writes it.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container, as far as it outlives the daemon.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the slash that the API puts before it.
    pub name: String,
    /// When it was created, RFC 3339 with nanoseconds.
    pub created: String,
    /// The image's id.
    pub image: String,
    /// The layers below it, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// What runs in it: what was asked for, completed from the image.
    pub config: ContainerConfig,
    /// How it stands on the host.
    pub host_config: HostConfig,
    /// The networks that it is in, by name, as they were asked for.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Links to containers of the default network: their ids, by what they are called here.
    pub links: BTreeMap<String, String>,
    /// Binds, volumes and images.
    pub mounts: Vec<MountPoint>,
    /// The images among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<MountedImage>,
    /// What a build's step has beside its layers.
    #[serde(skip_serializing_if = "Beside::is_empty")]
    pub beside: Beside,
    /// Whether mounts that are read-only are so without what is mounted below them: clients before version 1.44 of
    /// the API expect that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shallow_read_only: bool,
    /// Volumes that were made for it, and go with it.
    pub anonymous_volumes: Vec<String>,
    /// What it is doing.
    pub state: State,
    /// How often its restart policy has started it again.
    pub restart_count: u32,
    /// Whether somebody stopped it: its restart policy does not act then.
    pub stopped_by_hand: bool,
}

/// An image whose files a container has at one of its mount points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountedImage {
    /// The image's id.
    pub id: String,
    /// Its layers, and the folder that they are mounted over in the container's mount namespace: the mount point's source.
    pub stack: Stack,
    /// The part of it that is seen; all of it if empty.
    pub subpath: String,
}

/// What a container of a build's step has, for which the API has no words: mounts of `RUN --mount`, and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beside {
    /// The mounts.
    pub mounts: Vec<oci::Mount>,
    /// Stacks that some of them show a part of.
    pub stacks: Vec<Stack>,
    /// Variables that are secrets, by the files that have them.
    pub secret_env: Vec<SecretVariable>,
    /// Whether it goes with its build, also if that ends with the daemon.
    pub passing: bool,
}

impl Beside {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a container is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The word for it.
    pub status: Status,
    /// Its first process, in the host's numbering; 0 while there is none.
    pub pid: u32,
    /// The exit status of its last run.
    pub exit_code: i32,
    /// Why its last start failed.
    pub error: String,
    /// When it was started last.
    pub started_at: String,
    /// When it ended last.
    pub finished_at: String,
    /// Whether the kernel killed something in it for want of memory.
    pub oom_killed: bool,
    /// How it is, if there is a command that checks that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            started_at: NEVER.to_owned(),
            finished_at: NEVER.to_owned(),
            oom_killed: false,
            health: None,
        }
    }
}

/// The states of a container.
///
/// ```text
///   created ──start──► running ⇄ paused
///                       │  ▲
///                  exit ▼  │ start
///                      exited ⇄ restarting      ──remove──► removing, gone
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started.
    #[default]
    Created,
    /// Its program runs.
    Running,
    /// Its program is frozen.
    Paused,
    /// Its program ended, and its restart policy will start it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// Its program ended.
    Exited,
    /// It could not be removed whole.
    Dead,
}

impl Status {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether there is a first process.
    #[must_use]
    pub fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl Record {
    /// The words that are executed: entrypoint and command.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let words = [&self.config.entrypoint, &self.config.cmd];
        words.into_iter().flatten().flatten().cloned().collect()
    }

    /// The stacks of layers that its mounts show, beside its own.
    pub fn stacks(&self) -> impl Iterator<Item = &Stack> {
        let images = self.images.iter().map(|image| &image.stack);
        // An image without layers has nothing to stack: what is seen of it is the empty folder.
        self.beside.stacks.iter().chain(images.filter(|stack| !stack.layers.lower.is_empty()))
    }
}
