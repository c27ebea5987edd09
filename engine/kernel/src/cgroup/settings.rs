//! Which files limits are written to: a table for each version.

use super::limits::{Limits, ThrottleKind};

/// One write: which controller it belongs to, which file, what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: String,
    pub(super) value: String,
}

fn setting(controller: &'static str, file: &str, value: impl ToString) -> Setting {
    Setting { controller, file: file.to_owned(), value: value.to_string() }
}

/// The writes for v1, in an order that the kernel takes.
pub(super) fn v1(limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    // A number that stands for no limit is -1 there.
    let bound = |value: u64| if value == u64::MAX { "-1".to_owned() } else { value.to_string() };
    let mut add = |controller, file: &str, value: Option<String>| {
        if let Some(value) = value {
            all.push(setting(controller, file, value));
        }
    };
    add("memory", "memory.limit_in_bytes", limits.memory.map(bound));
    add("memory", "memory.memsw.limit_in_bytes", limits.memory_swap.map(bound));
    add("memory", "memory.soft_limit_in_bytes", limits.memory_reservation.map(bound));
    add("memory", "memory.oom_control", limits.oom_kill_disable.then(|| "1".to_owned()));
    add("cpu", "cpu.shares", limits.cpu_shares.map(|shares| shares.to_string()));
    add("cpu", "cpu.cfs_period_us", limits.cpu_period.map(|period| period.to_string()));
    add("cpu", "cpu.cfs_quota_us", limits.cpu_quota.map(|quota| quota.to_string()));
    add("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone());
    add("cpuset", "cpuset.mems", limits.cpuset_mems.clone());
    add("pids", "pids.max", limits.pids.map(max));
    add("blkio", "blkio.weight", limits.blkio_weight.map(|weight| weight.to_string()));
    for throttle in &limits.throttle {
        let file = match throttle.what {
            ThrottleKind::ReadBytes => "blkio.throttle.read_bps_device",
            ThrottleKind::WriteBytes => "blkio.throttle.write_bps_device",
            ThrottleKind::ReadOperations => "blkio.throttle.read_iops_device",
            ThrottleKind::WriteOperations => "blkio.throttle.write_iops_device",
        };
        add("blkio", file, Some(format!("{}:{} {}", throttle.major, throttle.minor, throttle.rate)));
    }
    if !limits.devices.is_empty() {
        add("devices", "devices.deny", Some("a".to_owned()));
        for rule in &limits.devices {
            let file = if rule.allow { "devices.allow" } else { "devices.deny" };
            add("devices", file, Some(rule.line()));
        }
    }
    all
}

/// The writes for v2. Devices are not among them: v2 has a program for them.
pub(super) fn v2(limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut add = |controller, file: &str, value: Option<String>| {
        if let Some(value) = value {
            all.push(setting(controller, file, value));
        }
    };
    add("memory", "memory.max", limits.memory.map(max));
    add("memory", "memory.swap.max", swap(limits).map(max));
    add("memory", "memory.low", limits.memory_reservation.map(max));
    add("cpu", "cpu.weight", limits.cpu_shares.map(|shares| weight_of_shares(shares).to_string()));
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota =
            limits.cpu_quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        add("cpu", "cpu.max", Some(format!("{quota} {}", limits.cpu_period.unwrap_or(100_000))));
    }
    add("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone());
    add("cpuset", "cpuset.mems", limits.cpuset_mems.clone());
    add("pids", "pids.max", limits.pids.map(max));
    add("io", "io.weight", limits.blkio_weight.map(|weight| weight_of_blkio(weight).to_string()));
    for throttle in &limits.throttle {
        let key = match throttle.what {
            ThrottleKind::ReadBytes => "rbps",
            ThrottleKind::WriteBytes => "wbps",
            ThrottleKind::ReadOperations => "riops",
            ThrottleKind::WriteOperations => "wiops",
        };
        add("io", "io.max", Some(format!("{}:{} {key}={}", throttle.major, throttle.minor, throttle.rate)));
    }
    for (file, value) in &limits.unified {
        add("unified", file, Some(value.clone()));
    }
    all
}

fn max(value: u64) -> String {
    if value == u64::MAX { "max".to_owned() } else { value.to_string() }
}

/// v2 bounds swap alone, where v1 bounds it together with memory.
fn swap(limits: &Limits) -> Option<u64> {
    match limits.memory_swap? {
        u64::MAX => Some(u64::MAX),
        both => Some(both.saturating_sub(limits.memory.unwrap_or(0))),
    }
}

/// v1's 2 to 262144 as v2's 1 to 10000.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// v1's 10 to 1000 as v2's 1 to 10000.
fn weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1_000)) - 10) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::super::limits::{DeviceRule, Throttle};
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            pids: Some(u64::MAX),
            throttle: vec![Throttle { major: 8, minor: 0, what: ThrottleKind::ReadBytes, rate: 1000 }],
            devices: vec![DeviceRule {
                allow: false,
                kind: 'b',
                major: Some(8),
                minor: None,
                access: "rw".into(),
            }],
            ..Limits::default()
        }
    }

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn v1_has_a_file_for_each() {
        let expected = [
            "memory.limit_in_bytes=67108864",
            "memory.memsw.limit_in_bytes=100663296",
            "cpu.shares=1024",
            "cpu.cfs_quota_us=50000",
            "pids.max=max",
            "blkio.throttle.read_bps_device=8:0 1000",
            "devices.deny=a",
            "devices.deny=b 8:* rw",
        ];
        assert_eq!(lines(&v1(&limits())), expected);
    }

    #[test]
    fn v2_counts_swap_by_itself() {
        let expected = [
            "memory.max=67108864",
            "memory.swap.max=33554432",
            "cpu.weight=39",
            "cpu.max=50000 100000",
            "pids.max=max",
            "io.max=8:0 rbps=1000",
        ];
        assert_eq!(lines(&v2(&limits())), expected);
    }

    #[test]
    fn weights_stay_in_their_bounds() {
        assert_eq!((weight_of_shares(0), weight_of_shares(u64::MAX)), (1, 10_000));
        assert_eq!((weight_of_blkio(0), weight_of_blkio(u16::MAX)), (1, 10_000));
    }
}
