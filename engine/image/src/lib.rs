//! # Images: names, content, layers, and what is known about them
//!
//! The engine's only door to the disk. An image is a small tree of documents that
//! name each other by digest; this room keeps the documents and their layers, and
//! knows which names people gave them.
//!
//! ```text
//!   busybox:latest ──► image id (sha256 of the config)
//!    reference             │
//!                          ├─ config   blobs/sha256/…   who runs what, and the diff ids
//!                          ├─ manifest blobs/sha256/…   the layers' blobs, as a registry has them
//!                          └─ layers   layers/CHAIN/fs  unpacked once, stacked by overlayfs
//!
//!   a pull of one layer:
//!   bytes ─► Ingest (digest and size) ─► gunzip/zstd ─► sha256 (diff id) ─► tar ─► files
//!                └ ingest/… ─rename─► blobs/…                        layers/.new-… ─rename─► layers/CHAIN
//! ```
//!
//! Reading order: names ([`reference`](mod@reference)), identities ([`digest`]), documents
//! ([`descriptor`], [`manifest`], [`config`]), bytes ([`content`]), file trees
//! ([`layer`]), the database ([`state`]), and what ties them together ([`images`]).
//!
//! Invariants:
//!
//! - What is visible is whole: blobs and layers get their names by rename(2), after
//!   their digests agreed, and an image's row is written after everything that it names.
//! - Nothing that an archive says touches what is outside of its layer's directory.
//! - Layers are made without looking at those below, so they are unpacked in
//!   parallel: whiteouts become overlayfs's own marks.
//! - After a power loss, whatever was not known to be on disk is held against its digest again.

pub mod reference;

pub mod digest;

pub mod descriptor;

pub mod manifest;

pub mod config;

pub mod content;

pub mod layer;

pub mod state;

pub mod images;

pub use content::{Ingest, Store};
pub use descriptor::{Descriptor, Platform};
pub use digest::{ChainId, DiffId, Digest};
pub use images::Images;
pub use layer::Layers;
pub use reference::Reference;
pub use state::State;
