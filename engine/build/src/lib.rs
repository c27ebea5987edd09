//! # Build: a Dockerfile becomes an image
//!
//! ```text
//!   bytes ──► language ──► plan ──► builder ──► image
//!             instructions  stages,    step by step: the cache is asked,
//!                           what needs  a container runs, files are copied,
//!                           what        a layer is made
//! ```
//!
//! Reading order: the [`language`], [`check`]s that people know from Docker, the
//! [`plan`] of stages, [`ignore`] (`.dockerignore`), [`change`], which applies
//! the instructions that only change an image's config, what ADD and COPY need to know
//! ([`remote`], [`mode`]), and the [`cache`]'s keys.
//! What needs an engine (running, copying) is done by the daemon.

pub mod language;

pub mod check;

pub mod plan;

pub mod ignore;

pub mod change;

pub mod remote;

pub mod mode;

pub mod cache;

pub use language::{File, read};
