//! What a group may use, in words that fit both versions.

use std::collections::BTreeMap;

/// What a group may use; `None` and empty mean no limit of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Memory, in bytes; `u64::MAX` for no limit.
    pub memory: Option<u64>,
    /// Memory and swap together, in bytes; `u64::MAX` for no limit.
    pub memory_swap: Option<u64>,
    /// Memory below which the group is spared, in bytes.
    pub memory_reservation: Option<u64>,
    /// Whether the kernel may not end a process of the group when memory is out (v1 only).
    pub oom_kill_disable: bool,
    /// Weight of CPU time against other groups, 2 to 262144; 1024 is ordinary.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period; negative for no limit.
    pub cpu_quota: Option<i64>,
    /// The period, in microseconds; 100000 is ordinary.
    pub cpu_period: Option<u64>,
    /// The CPUs it may run on: `0-3,6`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes it may use.
    pub cpuset_mems: Option<String>,
    /// How many processes and threads; `u64::MAX` for no limit.
    pub pids: Option<u64>,
    /// Weight of block input and output, 10 to 1000; 500 is ordinary.
    pub blkio_weight: Option<u16>,
    /// Bounds on block devices.
    pub throttle: Vec<Throttle>,
    /// Devices that may be used, in order, the last that fits counting; all others may not. Empty: no rules are set.
    pub devices: Vec<DeviceRule>,
    /// Files of the v2 tree with what is written to them.
    pub unified: BTreeMap<String, String>,
}

/// A bound on one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The device's driver.
    pub major: u32,
    /// The device's number there.
    pub minor: u32,
    /// What is bounded.
    pub what: ThrottleKind,
    /// Bytes or operations in a second.
    pub rate: u64,
}

/// What a [`Throttle`] bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    ReadOperations,
    /// Writes.
    WriteOperations,
}

/// Whether some devices may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allowed or denied.
    pub allow: bool,
    /// `c`, `b`, or `a` for all.
    pub kind: char,
    /// The driver; any if `None`.
    pub major: Option<u32>,
    /// The number there; any if `None`.
    pub minor: Option<u32>,
    /// `r`, `w`, `m` (mknod).
    pub access: String,
}

/// Kind, major, minor and access of what every container may use: making nodes (not using them), the
/// default devices, its terminals and their multiplexer.
const DEFAULTS: [(char, Option<u32>, Option<u32>, &str); 10] = [
    ('c', None, None, "m"),
    ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"),
    ('c', Some(1), Some(5), "rwm"),
    ('c', Some(1), Some(7), "rwm"),
    ('c', Some(1), Some(8), "rwm"),
    ('c', Some(1), Some(9), "rwm"),
    ('c', Some(5), Some(0), "rwm"),
    ('c', Some(5), Some(2), "rwm"),
    ('c', Some(136), None, "rwm"),
];

impl DeviceRule {
    /// What every container may use.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let rule = |(kind, major, minor, access): (char, Option<u32>, Option<u32>, &str)| Self {
            allow: true,
            kind,
            major,
            minor,
            access: access.to_owned(),
        };
        DEFAULTS.into_iter().map(rule).collect()
    }

    /// As v1's `devices.allow` takes it: `c 1:3 rwm`.
    pub(super) fn line(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        format!("{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}
