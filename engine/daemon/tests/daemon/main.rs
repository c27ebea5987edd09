//! The daemon from outside: a real process with a root, a socket and a bridge of
//! its own, asked by raw HTTP, by bollard, and by the `docker` client where it is
//! installed. They need root and a static BusyBox, and skip with a message otherwise.

mod support;

mod absent;

mod binds;

mod build;

mod build_hostile;
mod build_killed;
mod build_limits;

mod build_mounts;

mod build_sources;

mod clients;

mod configurations;

mod exec;

mod files;

mod health;

mod image_mounts;

mod input;

mod ipv6;

mod leaks;

mod life;

mod links;

mod operations;

mod options;

mod orphans;

mod requests;

mod restart;

mod routes;

mod search;

mod sharing;

mod streams;

mod versions;

mod volumes;
