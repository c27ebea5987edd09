//! The registry from outside: over real sockets, with real clients and peers.

mod fake;
mod hostile;
mod hub;
mod peers;
mod protocol;
mod search;
mod support;
