//! The clock of a trace: `CLOCK_MONOTONIC`, one for all processes of the machine,
//! so that the daemon, a shim and a container's init can be put on one time line.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`; see clock_gettime(2).
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
