//! What a container asks for and this machine can't give. Docker would start it
//! without, or fail; here it starts without, and whoever created it is told.

use glassdock_kernel::cgroup::Hierarchy;

use super::model::HostConfig;

/// Takes out what can't be had, and says so in a line each.
pub fn of(host: &mut HostConfig, cgroups: &Hierarchy) -> Vec<String> {
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
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_without_control_groups_are_not_silent() {
        let none = Hierarchy::None("nothing is mounted".to_owned());
        let mut host = HostConfig::default();
        assert!(of(&mut host, &none).is_empty());
        host.resources.memory = 64 << 20;
        let warnings = of(&mut host, &none);
        assert!(warnings.iter().any(|warning| warning.contains("nothing is mounted")), "{warnings:?}");
        assert!(of(&mut host, &Hierarchy::V1([].into())).is_empty());
    }
}
