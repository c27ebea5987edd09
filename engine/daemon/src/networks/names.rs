//! Name servers for containers: who gets one, and who is asked beyond it.

use std::net::IpAddr;

use glassdock_kernel::link::Netns;
use glassdock_trace::Trace;

use crate::containers::networks::failed;
use crate::containers::record::Record;
use crate::engine::Engine;
use crate::error::Error;

/// Whether a container finds others by name: when it is in a network that a user made.
#[must_use]
pub fn wanted(record: &Record) -> bool {
    record.networks.keys().any(|name| !matches!(name.as_str(), "bridge" | "host" | "none"))
}

/// Answers a container's questions, if it is one that may ask.
///
/// # Errors
///
/// What the kernel refuses.
pub fn serve(engine: &Engine, trace: &Trace, record: &Record, netns: &Netns) -> Result<(), Error> {
    if !wanted(record) {
        return Ok(());
    }
    let upstream: Vec<IpAddr> = record.host_config.dns.iter().filter_map(|text| text.parse().ok()).collect();
    engine.networks.serve_names(trace, netns, &record.id, upstream).map_err(failed)
}
