//! The registry from outside: over real sockets, with real clients and peers.

mod bucket;
mod doorkeeping;
mod fake;
mod hardship;
mod hostile;
mod hub;
mod keeping;
mod kinds;
mod mirroring;
mod peers;
mod protocol;
mod resuming;
mod search;
mod support;
