//! What a container asks for and this machine can't give. Docker would start it
//! without, or fail; here it starts without, and whoever created it is told.

use glassdock_kernel::cgroup::Hierarchy;
use glassdock_kernel::features::Facts;
use glassdock_kernel::rlimit::{self, Resource};

use super::model::HostConfig;

/// Takes out what can't be had, and says so in a line each.
pub fn of(host: &mut HostConfig, facts: &Facts) -> Vec<String> {
    let cgroups = &facts.cgroups;
    let mut warnings = Vec::new();
    if matches!(cgroups, Hierarchy::V1(_)) {
        // Where it can be said, Docker says that it is off.
        host.resources.oom_kill_disable.get_or_insert(false);
    }
    let resources = &host.resources;
    let limited = resources.memory > 0
        || resources.nano_cpus > 0
        || resources.cpu_quota > 0
        || resources.cpu_shares > 0
        || !resources.cpuset_cpus.is_empty()
        || resources.pids_limit.is_some_and(|limit| limit > 0);
    if let (Hierarchy::None(why), true) = (cgroups, limited) {
        warnings.push(format!(
            "This machine has no control groups ({why}): limits of memory, processors and processes do nothing."
        ));
    }
    if host.resources.oom_kill_disable == Some(true) && host.resources.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources."
                .to_owned(),
        );
    }
    if host.resources.device_requests.iter().flatten().next().is_some() {
        warnings.push("Device requests (such as --gpus) are not supported here. Discarded.".to_owned());
        host.resources.device_requests = None;
    }
    if host.network_mode == "host" && host.port_bindings.iter().flatten().next().is_some() {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if host.resources.kernel_only() {
        warnings.push("Real-time CPU limits need a kernel with RT_GROUP_SCHED. Discarded.".to_owned());
        host.resources.cpu_realtime_period = 0;
        host.resources.cpu_realtime_runtime = 0;
    }
    if !facts.cap_sys_resource {
        warnings.extend(without_sys_resource(host, glassdock_kernel::process::oom_score(), rlimit::most));
    }
    warnings
}

/// What the engine can't give without CAP_SYS_RESOURCE: a lower score than its own (`lowest`), and more than its own hard
/// limits (`most`).
fn without_sys_resource(host: &HostConfig, lowest: i32, most: fn(Resource) -> u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let score = host.oom_score_adj;
    if score < i64::from(lowest) {
        warnings.push(format!(
            "The OOM score can't be adjusted to {score} without CAP_SYS_RESOURCE; it is {lowest}."
        ));
    }
    for ulimit in &host.resources.ulimits {
        let Some(resource) = Resource::parse(&ulimit.name) else { continue };
        let most = most(resource);
        // -1 is no limit.
        if u64::try_from(ulimit.hard).unwrap_or(u64::MAX) > most {
            warnings.push(format!(
                "The limit {} can't be raised to {} without CAP_SYS_RESOURCE; it is {most}.",
                ulimit.name, ulimit.hard
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_without_control_groups_are_not_silent() {
        let facts = |cgroups| Facts { cgroups, cap_sys_resource: true, ..Facts::probe() };
        let none = facts(Hierarchy::None("nothing is mounted".to_owned()));
        let mut host = HostConfig::default();
        assert!(of(&mut host, &none).is_empty());
        host.resources.memory = 64 << 20;
        let warnings = of(&mut host, &none);
        assert!(warnings.iter().any(|warning| warning.contains("nothing is mounted")), "{warnings:?}");
        assert!(of(&mut host, &facts(Hierarchy::V1([].into()))).is_empty());
    }

    #[test]
    fn what_takes_more_power_than_the_engine_has_is_told() {
        use crate::containers::model::Ulimit;
        let mut host = HostConfig { oom_score_adj: -1, ..HostConfig::default() };
        let ulimit = |name: &str, hard| Ulimit { name: name.to_owned(), hard, soft: 1 };
        host.resources.ulimits = vec![ulimit("nofile", 100), ulimit("nproc", 101), ulimit("core", -1)].into();
        let told = without_sys_resource(&host, 0, |_| 100);
        assert_eq!(
            told,
            [
                "The OOM score can't be adjusted to -1 without CAP_SYS_RESOURCE; it is 0.",
                "The limit nproc can't be raised to 101 without CAP_SYS_RESOURCE; it is 100.",
                "The limit core can't be raised to -1 without CAP_SYS_RESOURCE; it is 100.",
            ]
        );
        assert!(without_sys_resource(&host, -1, |_| u64::MAX).is_empty());
    }
}
