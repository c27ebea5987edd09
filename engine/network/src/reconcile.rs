//! Putting order after a start of the daemon, however the last one ended.
//!
//! The storage says what was meant to be; the caller says which containers still
//! run (their shims outlive a daemon). What is meant and runs stays and gets its
//! ports again; what is meant and doesn't run is freed; what neither accounts for
//! is removed from the host.

use std::collections::HashSet;

use glassdock_trace::Trace;

use crate::error::Error;
use crate::networks::Networks;

impl Networks {
    /// After a start of the daemon: frees what containers had that don't run any
    /// more, and takes the ports of those that do. A port that another program took
    /// in the meantime still leads to the container from outside; a warning says so.
    ///
    /// # Errors
    ///
    /// What the kernel or the storage refuses.
    pub fn reconcile(&self, trace: &Trace, running: &HashSet<String>) -> Result<(), Error> {
        let endpoints: Vec<_> = self.state().endpoints.values().cloned().collect();
        for endpoint in endpoints {
            if !running.contains(&endpoint.container) {
                self.release(trace, &endpoint.container)?;
                continue;
            }
            let lost = self.ports.take_again(&endpoint.id, &endpoint.ports);
            for port in lost {
                self.state().warnings.push(format!(
                    "port {}:{}/{} of container {} was taken by another program",
                    port.host_address, port.host_port, port.protocol, endpoint.container
                ));
            }
            self.serve(&endpoint);
        }
        self.sweep(trace);
        Ok(())
    }
}
