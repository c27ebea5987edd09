//! Networks on a real kernel, each test in network namespaces of its own: nothing
//! of the host is touched. Without root, or without `unshare`, they say so and skip.

mod support;

mod crash;
mod engines;
mod ipv6;
mod isolation;
mod leaks;
mod names;
mod poor;
mod publish;
mod rules;
mod speed;
mod traffic;
