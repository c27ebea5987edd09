//! # The registry: where images come from, and where they go
//!
//! A registry is a web server that keeps two kinds of things: *blobs*, pieces of
//! content named by their digest, and *manifests*, small JSON texts that say which
//! blobs make an image. A tag is a name for a manifest. The protocol between a
//! registry and its clients is the OCI distribution specification; everything in
//! this crate follows it.
//!
//! ```text
//!   seed ──fills──► server ◄──HTTP──► client ──► the content store of engine/image
//!                     │                  │
//!               registry.serve    registry.request          events of the trace
//! ```
//!
//! - [`server`] keeps repositories on disk and serves them (`glassdock registry serve`);
//! - [`seed`] builds the images that the lessons need, from code, always with the same digests;
//! - [`client`] resolves, pulls and pushes. Its transport is one of the engine's three
//!   doors: no request to a registry can be made without its event in the trace;
//! - [`task`] begins what goes on beside its asker, or blocks: for this room, the daemon's and the client's.
//!
//! Invariants:
//!
//! - Bytes are believed only when their digest and their size are what was promised.
//! - A password or token is sent to the host that it belongs to and to nobody else, and is
//!   never part of an event or an error.
//! - What comes from the other side is bounded, in size, in number and in time.

pub mod server;

pub mod seed;

pub mod client;

pub mod task;
