//! # Lessons: the book's chapters as files that run and are checked
//!
//! ```text
//!   scenarios/03-pull.yaml ──► read ──► run in a lab ──► report, transcript
//!                                        │  own root, daemon, registry, bridge
//!                                        ├─ checks: engine, trace, evidence, script
//!                                        ├─ proof: each wrong answer fails
//!                                        └─ snapshots/03-pull.{transcript,trace}.snap
//! ```
//!
//! Reading order: what a lesson is ([`scenario`], [`need`], [`read`]); the world that
//! it runs in ([`files`], [`tools`], [`slot`], [`shell`], [`api`], [`lab`], [`leftovers`]); how it is
//! run and judged ([`observe`], [`checks`], [`run`], [`prove`], [`snapshot`]); and what is
//! said about it ([`report`], [`doctor`], [`template`]). Then the ways for people: on a screen
//! ([`stage`], [`keys`], [`utf8`]) a lesson is played ([`play`]), recorded and replayed without an
//! engine ([`recording`]), or learnt in a shell ([`terminal`], [`learn`]).
//!
//! The engine knows nothing of this crate: a lesson uses it as a person would, by its
//! command line, its API, and the traces that it writes.

pub mod scenario;

pub mod files;

pub mod need;

pub mod read;

pub mod tools;

pub mod slot;

pub mod shell;

pub mod api;

pub mod leftovers;

pub mod lab;

pub mod observe;

pub mod checks;

pub mod run;

pub mod prove;

pub mod snapshot;

pub mod report;

pub mod doctor;

pub mod template;

pub mod utf8;

pub mod keys;

pub mod stage;

pub mod play;

pub mod recording;

pub mod terminal;

pub mod learn;
