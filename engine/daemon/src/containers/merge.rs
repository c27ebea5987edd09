//! What a container runs: the request, completed from the image's configuration
//! and checked. The rules are Docker's: what the request has goes before what the
//! image has; an entrypoint in the request sets the image's command aside.

use std::collections::BTreeMap;

use super::model::{ContainerConfig, HostConfig, LogConfig};
use super::{names, resources};
use crate::error::Error;

/// Completes a request from the image's configuration.
pub fn complete(config: &mut ContainerConfig, image: &ContainerConfig) {
    fn fill(field: &mut String, image: &str) {
        if field.is_empty() {
            image.clone_into(field);
        }
    }
    fill(&mut config.user, &image.user);
    fill(&mut config.working_dir, &image.working_dir);
    fill(&mut config.stop_signal, &image.stop_signal);
    for (port, nothing) in &image.exposed_ports {
        config.exposed_ports.entry(port.clone()).or_insert_with(|| nothing.clone());
    }
    for (name, value) in &image.labels {
        config.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (path, nothing) in image.volumes.iter().flatten() {
        config.volumes.get_or_insert_default().entry(path.clone()).or_insert_with(|| nothing.clone());
    }
    // Clients send an object without anything in it for no volumes; Docker shows `null` for that.
    config.volumes = config.volumes.take().filter(|volumes| !volumes.is_empty());
    for pair in &image.env {
        let name = pair.split('=').next().unwrap_or_default();
        if !config.env.iter().any(|own| own.split('=').next() == Some(name)) {
            config.env.push(pair.clone());
        }
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `--entrypoint ""` sets the image's entrypoint aside.
    if config.entrypoint.as_ref().is_some_and(|words| words.iter().all(String::is_empty)) {
        config.entrypoint = None;
    }
    if let Some(health) = &image.healthcheck {
        let own = config.healthcheck.get_or_insert_with(|| health.clone());
        if own.test.is_empty() {
            own.test.clone_from(&health.test);
        }
        for (own, image) in [
            (&mut own.interval, health.interval),
            (&mut own.timeout, health.timeout),
            (&mut own.start_period, health.start_period),
            (&mut own.start_interval, health.start_interval),
            (&mut own.retries, health.retries),
        ] {
            if *own == 0 {
                *own = image;
            }
        }
    }
}

/// Checks a completed configuration.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn check(config: &ContainerConfig) -> Result<(), Error> {
    let words = [&config.entrypoint, &config.cmd];
    if words.into_iter().flatten().flatten().next().is_none() {
        return Err(Error::invalid("no command specified"));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    for pair in &config.env {
        if pair.is_empty() || pair.starts_with('=') {
            return Err(Error::invalid(format!("invalid environment variable: {pair}")));
        }
    }
    let texts = [&config.user, &config.hostname, &config.domainname, &config.working_dir];
    let mut texts = texts.into_iter().chain(&config.env).chain(words.into_iter().flatten().flatten());
    if texts.any(|text| text.contains('\0')) {
        return Err(Error::invalid(
            "invalid configuration: a zero byte can't be in a word, a name or the environment",
        ));
    }
    if !config.stop_signal.is_empty()
        && glassdock_kernel::process::Signal::parse(&config.stop_signal).is_none()
    {
        return Err(Error::invalid(format!("Invalid signal: {}", config.stop_signal)));
    }
    if config.stop_timeout.is_some_and(|seconds| seconds < -1) {
        return Err(Error::invalid("invalid stop timeout: it is less than -1"));
    }
    for port in config.exposed_ports.keys() {
        super::ports::parse(port)?;
    }
    check_health(config)
}

fn check_health(config: &ContainerConfig) -> Result<(), Error> {
    let Some(health) = &config.healthcheck else { return Ok(()) };
    for (what, nanoseconds) in [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ] {
        if nanoseconds != 0 && nanoseconds < 1_000_000 {
            return Err(Error::invalid(format!("{what} in Healthcheck cannot be less than 1ms")));
        }
    }
    if health.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

/// Completes and checks how the container stands on the host.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn settle(host: &mut HostConfig, config: &mut ContainerConfig, id: &str) -> Result<(), Error> {
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    let fill = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.cgroupns_mode, "private");
    fill(&mut host.log_config.kind, "json-file");
    fill(&mut host.runtime, "glassdock");
    fill(&mut host.restart_policy.name, "no");
    if host.shm_size == 0 {
        host.shm_size = 64 * 1024 * 1024;
    }
    if host.masked_paths.is_none() && !host.privileged {
        host.masked_paths = Some(super::defaults::MASKED_PATHS.map(str::to_owned).to_vec());
    }
    if host.readonly_paths.is_none() && !host.privileged {
        host.readonly_paths = Some(super::defaults::READONLY_PATHS.map(str::to_owned).to_vec());
    }
    // There are several words for no limit, and one way to show it.
    let resources = &mut host.resources;
    resources.pids_limit = resources.pids_limit.filter(|limit| *limit > 0);
    resources.memory_swappiness = resources.memory_swappiness.filter(|swappiness| *swappiness != -1);
    if host.resources.memory > 0 && host.resources.memory_swap == 0 {
        host.resources.memory_swap = host.resources.memory.saturating_mul(2);
    }
    check_names(host, config)?;
    if config.hostname.is_empty() {
        config.hostname =
            if host.network_mode == "host" { crate::system::hostname() } else { names::short(id).to_owned() };
    }
    check_host(host)
}

/// Whether a name of its own goes with what the container shares.
fn check_names(host: &HostConfig, config: &ContainerConfig) -> Result<(), Error> {
    let refused = |words: &str| Err(Error::invalid(words));
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refused("conflicting options: hostname and the UTS mode");
    }
    if host.uts_mode == "host" && !config.domainname.is_empty() {
        // Docker's words, who sets it as a parameter of the kernel.
        return refused("sysctl \"kernel.domainname\" is not in a separate kernel namespace");
    }
    if host.network_mode.starts_with("container:") && !config.hostname.is_empty() {
        return refused("conflicting options: hostname and the network mode");
    }
    Ok(())
}

fn check_host(host: &HostConfig) -> Result<(), Error> {
    let resources = &host.resources;
    let invalid = |message: String| Err(Error::invalid(message));
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "no" | "") {
        return invalid("can't create 'AutoRemove' container with restart policy".to_owned());
    }
    if host.annotations.iter().flatten().any(|(name, _)| name.is_empty()) {
        return invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key".to_owned(),
        );
    }
    let retries = host.restart_policy.maximum_retry_count;
    match host.restart_policy.name.as_str() {
        "no" | "always" | "unless-stopped" if retries != 0 => {
            return invalid(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'".into(),
            );
        }
        "no" | "always" | "unless-stopped" => {}
        "on-failure" if retries < 0 => {
            return invalid("invalid restart policy: maximum retry count cannot be negative".into());
        }
        "on-failure" => {}
        other => {
            return invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            ));
        }
    }
    check_log(&host.log_config)?;
    if !matches!(host.runtime.as_str(), "glassdock" | "runc" | "io.containerd.runc.v2") {
        return invalid(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if host.storage_opt.as_ref().is_some_and(|options| !options.is_empty()) {
        return invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option".into(),
        );
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return invalid(format!("invalid isolation: {:?} - linux only supports 'default'", host.isolation));
    }
    if resources.memory != 0 && resources.memory < 6 * 1024 * 1024 {
        return invalid("Minimum memory limit allowed is 6MB".to_owned());
    }
    if resources.memory_reservation != 0 && resources.memory_reservation < 6 * 1024 * 1024 {
        return invalid("Minimum memory reservation allowed is 6MB".to_owned());
    }
    if resources.memory_swap > 0 && resources.memory == 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage".to_owned(),
        );
    }
    if resources.memory > 0 && resources.memory_swap > 0 && resources.memory_swap < resources.memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage".to_owned());
    }
    if resources.memory > 0 && resources.memory_reservation > resources.memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage".to_owned(),
        );
    }
    if let Some(value) = resources.memory_swappiness.filter(|value| !(-1..=100).contains(value)) {
        return invalid(format!("Invalid value: {value}, valid memory swappiness range is 0-100"));
    }
    let processors = i64::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1);
    if resources.nano_cpus < 0 || resources.nano_cpus > processors * 1_000_000_000 {
        return invalid(format!(
            "range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available"
        ));
    }
    if resources.cpu_shares < 0 {
        let shares = resources.cpu_shares;
        return invalid(format!("invalid CPU shares ({shares}): value must be a positive integer"));
    }
    if resources.nano_cpus > 0 && resources.cpu_period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
    }
    if resources.nano_cpus > 0 && resources.cpu_quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned());
    }
    resources::check_places(resources)?;
    if resources.cpu_period != 0 && !(1_000..=1_000_000).contains(&resources.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".into(),
        );
    }
    if resources.cpu_quota > 0 && resources.cpu_quota < 1_000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    if resources.blkio_weight != 0 && !(10..=1000).contains(&resources.blkio_weight) {
        return invalid("range of blkio weight is from 10 to 1000".to_owned());
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0".to_owned());
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    check_modes(host)
}

/// Where output goes, and the options of that.
fn check_log(log: &LogConfig) -> Result<(), Error> {
    let mode = log.config.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Error::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    if log.config.contains_key("max-buffer-size") && mode != "non-blocking" {
        return Err(Error::invalid(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ));
    }
    let known: &[&str] = match log.kind.as_str() {
        "json-file" => {
            &["max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"]
        }
        "local" => &["max-file", "max-size", "compress"],
        "none" => return Ok(()),
        other => {
            return Err(Error::invalid(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found"
            )));
        }
    };
    match log
        .config
        .keys()
        .find(|name| !known.contains(&name.as_str()) && !matches!(name.as_str(), "mode" | "max-buffer-size"))
    {
        Some(name) => Err(Error::invalid(format!("unknown log opt '{name}' for {} log driver", log.kind))),
        None => Ok(()),
    }
}

fn check_modes(host: &HostConfig) -> Result<(), Error> {
    let invalid = |message: String| Err(Error::invalid(message));
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return invalid(format!("invalid UTS mode: {}", host.uts_mode));
    }
    let ipc = host.ipc_mode.as_str();
    if !matches!(ipc, "none" | "private" | "shareable" | "host") && !ipc.starts_with("container:") {
        return invalid(format!("invalid IPC mode: {ipc}"));
    }
    let pid = host.pid_mode.as_str();
    if !matches!(pid, "" | "host") && !pid.starts_with("container:") {
        return invalid(format!("invalid PID mode: {pid}"));
    }
    if !matches!(host.cgroupns_mode.as_str(), "private" | "host") {
        return invalid(format!("invalid cgroup namespace mode: {}", host.cgroupns_mode));
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return invalid(format!("invalid USER mode: {}", host.userns_mode));
    }
    let shared = host.network_mode.starts_with("container:");
    if host.network_mode == "container:" {
        return invalid("invalid network mode: invalid container format container:<name|id>".to_owned());
    }
    if shared && host.port_bindings.iter().flatten().next().is_some() {
        return invalid(
            "conflicting options: port publishing and the container type network mode".to_owned(),
        );
    }
    if shared && host.dns.iter().any(|name| !name.is_empty()) {
        return invalid("conflicting options: dns and the network mode".to_owned());
    }
    for port in host.port_bindings.iter().flat_map(BTreeMap::keys) {
        super::ports::parse(port)?;
    }
    for address in &host.dns {
        if address.parse::<std::net::IpAddr>().is_err() {
            return invalid(format!("bad format for dns server: {address}"));
        }
    }
    for line in host.extra_hosts.iter().flatten() {
        let Some((_, address)) = line.split_once([':', '=']).filter(|(name, _)| !name.is_empty()) else {
            return invalid(format!("bad format for add-host: \"{line}\""));
        };
        let address = address.trim_matches(['[', ']']);
        if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
            return invalid(format!("invalid IP address in add-host: \"{address}\""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    fn merged(entrypoint: Option<Vec<String>>, cmd: Option<Vec<String>>) -> String {
        let image =
            ContainerConfig { entrypoint: words("/entry -x"), cmd: words("image"), ..Default::default() };
        let mut config = ContainerConfig { entrypoint, cmd, ..Default::default() };
        complete(&mut config, &image);
        [config.entrypoint, config.cmd].into_iter().flatten().flatten().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn entrypoint_and_command_follow_dockers_rules() {
        assert_eq!(merged(None, None), "/entry -x image");
        assert_eq!(merged(None, words("own")), "/entry -x own");
        assert_eq!(merged(words("/own"), None), "/own");
        assert_eq!(merged(words("/own"), words("a b")), "/own a b");
        assert_eq!(merged(Some(vec![String::new()]), words("a b")), "a b");
    }

    #[test]
    fn the_requests_environment_goes_first() {
        let image = ContainerConfig { env: vec!["PATH=/bin".into(), "A=1".into()], ..Default::default() };
        let mut config = ContainerConfig { env: vec!["A=2".into()], ..Default::default() };
        complete(&mut config, &image);
        assert_eq!(config.env, ["A=2", "PATH=/bin"]);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = || ContainerConfig { cmd: words("true"), ..Default::default() };
        assert!(check(&good()).is_ok());
        assert!(check(&ContainerConfig { cmd: None, ..good() }).is_err());
        assert!(check(&ContainerConfig { working_dir: "a".into(), ..good() }).is_err());
        assert!(check(&ContainerConfig { env: vec!["=x".into()], ..good() }).is_err());
        assert!(check(&ContainerConfig { user: "a\0b".into(), ..good() }).is_err());
        let host = |change: fn(&mut HostConfig)| {
            let mut host = HostConfig::default();
            change(&mut host);
            settle(&mut host, &mut good(), &"a".repeat(64))
        };
        assert!(host(|_| ()).is_ok());
        assert!(host(|host| host.resources.memory = 1).is_err());
        assert!(host(|host| host.resources.nano_cpus = i64::MAX).is_err());
        assert!(host(|host| host.restart_policy.name = "sometimes".into()).is_err());
        assert!(host(|host| host.pid_mode = "x".into()).is_err());
        assert!(host(|host| host.runtime = "runc".into()).is_ok());
        assert!(host(|host| host.runtime = "x".into()).is_err());
        assert!(host(|host| host.log_config.kind = "x".into()).is_err());
        assert!(host(|host| host.log_config.config = [("x".into(), String::new())].into()).is_err());
        assert!(
            host(|host| host.extra_hosts = Some(vec!["a:1.2.3.4".into(), "b=host-gateway".into()])).is_ok()
        );
        assert!(host(|host| host.extra_hosts = Some(vec!["a:b".into()])).is_err());
        assert!(host(|host| host.resources.cpuset_cpus = "0".into()).is_ok());
        assert!(host(|host| host.resources.cpuset_cpus = "4000000".into()).is_err());
        assert!(host(|host| host.port_bindings = Some([("x".into(), vec![])].into())).is_err());
    }
}
