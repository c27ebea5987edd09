//! The runtime from outside: bundles with a BusyBox root, run as root.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod support;

mod isolation;

mod life;

mod output;

mod processes;

mod trace;
