//! # Containers: what they are, and their whole life
//!
//! ```text
//!   create ──► record, name, volumes, folders          create, merge, wanted
//!   start  ──► bundle ──► shim ──► networks ──► execve   spec, start
//!   run    ──► streams, logs, execs, statistics        attach, logs, exec, stats, top
//!   end    ──► status, restart policy, auto-remove     supervise, signal
//!   remove ──► folders, name, volumes                  remove
//! ```
//!
//! A container is a [`record`] (what outlives the daemon) in a [`container`] (what
//! is in memory), found in the [`store`]. Reading order: [`model`] (the API's
//! words; [`sent`]), [`record`], [`container`], [`store`], [`names`]; then creating
//! ([`create`], [`merge`], [`wanted`], [`volumes`], [`fill`], [`ports`], [`image`], [`images`], [`warnings`]), what the
//! runtime is told ([`spec`], [`mounts`], [`defaults`], [`security`], [`devices`],
//! [`resources`], [`logging`], [`files`], [`networks`]), starting and ending ([`start`],
//! [`supervise`], `orphans`, [`signal`], [`remove`], [`adopt`]), and looking ([`list`],
//! [`inspect`], [`logs`], [`attach`], [`streams`], [`wait`], [`exec`], [`top`],
//! [`stats`], [`change`], [`health`]), and its files ([`view`], [`archive`], [`export`]).
//!
//! Invariants: a name belongs to one container, also in a race; whoever starts,
//! stops or removes a container holds its `life`, and looking at it never waits for
//! that; a status is told to those who wait after it is written.

pub mod model;

pub mod sent;

pub mod record;

pub mod container;

pub mod store;

pub mod names;

mod older;

pub mod create;
pub mod fill;
pub mod image;
pub mod images;
pub mod merge;
pub mod mounts;
pub mod ports;
pub mod volumes;
pub mod wanted;
pub mod warnings;

pub mod spec;

pub mod defaults;
pub mod devices;
pub mod files;
pub mod networks;
pub mod resources;
pub mod security;
pub mod sysctls;

mod sharing;

pub mod start;

mod orphans;

pub mod adopt;
pub mod remove;
pub mod signal;
pub mod supervise;

pub mod archive;
pub mod attach;
pub mod change;
pub mod exec;
pub mod execs;
pub mod export;
pub mod health;

mod probe;

mod events;

pub mod inspect;
pub mod links;

mod choose;

pub mod list;
pub mod logging;
pub mod logs;
pub mod stats;
pub mod streams;
pub mod top;
pub mod view;
pub mod wait;
pub mod websocket;

pub use container::Container;
pub use store::Containers;

use crate::error::{Error, Kind};

impl From<glassdock_runtime::Error> for Error {
    fn from(error: glassdock_runtime::Error) -> Self {
        let kind = match &error {
            glassdock_runtime::Error::Gone { .. } => Kind::Conflict,
            _ => Kind::Internal,
        };
        Self::of(kind, &error)
    }
}

impl From<glassdock_kernel::Error> for Error {
    fn from(error: glassdock_kernel::Error) -> Self {
        Self::of(Kind::Internal, &error)
    }
}

impl From<glassdock_image::layer::Error> for Error {
    fn from(error: glassdock_image::layer::Error) -> Self {
        use glassdock_image::layer::Error as Layer;
        let kind = match &error {
            Layer::Damaged(_)
            | Layer::Refused { .. }
            | Layer::Outside { .. }
            | Layer::Link { .. }
            | Layer::Overwrite { .. }
            | Layer::TooMuch { .. }
            | Layer::DiffId { .. } => Kind::Invalid,
            _ => Kind::Internal,
        };
        Self::of(kind, &error)
    }
}

/// The control group of a container, below the roots of the hierarchies.
pub(crate) fn cgroup_of(container: &Container) -> String {
    let parent = container.look(|record| record.host_config.resources.cgroup_parent.clone());
    match parent.trim_matches('/') {
        "" => format!("glassdock/{}", container.id),
        parent => format!("{parent}/{}", container.id),
    }
}
