//! # The daemon: the Docker Engine API, and the life cycles of the objects behind it
//!
//! One process per root folder. It wires the rooms together (images, registry,
//! runtime, network) and speaks HTTP on a Unix socket, so that the ordinary
//! `docker` client and the SDKs can talk to it.
//!
//! ```text
//!   client ──HTTP──► server ──► router ──► operations ──► handler ──► engine ──► rooms
//!                    sockets,   one line   a trace for     parse,      objects    images, registry,
//!                    the lock   an end-    each request    call,       in memory, runtime, network
//!                               point                      reply       durable in state.db
//! ```
//!
//! Reading order: what it is started with ([`config`]), who listens ([`socket`],
//! [`server`]), which endpoint is whose ([`router`], and [`route`] that matches a
//! path), what a handler gets and gives ([`call`], [`reply`], [`pipe`], [`error`]), what is
//! behind them all ([`engine`]), how a request becomes a trace ([`operations`]),
//! and then the resources: [`system`], [`images`], [`containers`], [`build`], [`networks`], [`volumes`], [`events`],
//! and what this engine does not have ([`absent`]).
//!
//! Invariants:
//!
//! - A handler never holds a lock over an await, nor while a step gate waits:
//!   what it needs for itself (a name, a state) is reserved in a short critical
//!   section, so a stepped operation holds up nobody else.
//! - A request that changes something goes on to its end even when its client
//!   vanishes: nothing is left half done. Streams end with their client.
//! - The daemon's death loses no container: shims keep them, `state.db` knows
//!   them, and the next daemon connects to them again.
//! - Only [`error`] knows which HTTP status an error has.

pub mod config;

pub mod socket;

pub mod server;

pub mod router;

pub mod route;

pub mod fields;

pub mod syntax;

pub mod drain;

pub mod request_line;

pub mod call;

pub mod reply;

pub mod pipe;

pub mod error;

pub mod engine;

pub mod operations;

pub mod events;

pub mod saved;

pub mod trash;

pub mod images;

pub mod containers;

pub mod build;

pub mod networks;

pub mod volumes;

pub mod system;

pub mod absent;

pub use config::Config;
pub use server::{Failed, run};

/// The newest version of the Engine API that is spoken here.
pub const API_VERSION: call::ApiVersion = call::ApiVersion(50);

/// The oldest version of the Engine API that is understood.
pub const MIN_API_VERSION: call::ApiVersion = call::ApiVersion(24);

/// The engine's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
