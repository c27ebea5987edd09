//! A container's record as an OCI bundle: `config.json` and `glassdock.json`.
//!
//! This is where Docker's words become the specification's. See the OCI
//! runtime-spec, `config.md` and `config-linux.md`.

use glassdock_kernel::capability;
use glassdock_runtime::bundle::{Bundle, Extras, Log, Overlay, Stdin};
use glassdock_runtime::first;
use glassdock_runtime::oci::{
    Capabilities, ConsoleSize, Linux, Mount, Namespace, Process, Rlimit, Seccomp, Spec, User,
};

use super::container::Container;
use super::model::HostConfig;
use super::record::Record;
use super::{defaults, devices, logging, mounts, resources, security, sysctls};
use crate::error::Error;

/// What a start needs to know of other containers and the host.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// The first process of the container whose network is shared.
    pub network: Option<u32>,
    /// That container's folder: its files of names in `/etc` are shared too.
    pub names: Option<Bundle>,
    /// Of the one whose IPC objects are shared.
    pub ipc: Option<u32>,
    /// Of the one whose processes are shared.
    pub pid: Option<u32>,
}

/// Both files of a container's bundle.
///
/// # Errors
///
/// Invalid, for what can't be put in the specification's words.
pub fn of(container: &Container, record: &Record, shared: &Shared) -> Result<(Spec, Extras), Error> {
    let (config, host) = (&record.config, &record.host_config);
    let options = security::options(host)?;
    let capabilities = security::capabilities(host)?;
    let own_ipc = host.ipc_mode != "host" && shared.ipc.is_none();
    let shm_size = (own_ipc && host.ipc_mode != "none").then_some(host.shm_size);
    let mut all_mounts = defaults::mounts(host.privileged, own_ipc, shm_size);
    if !own_ipc {
        all_mounts.extend(mounts::shared_ipc(shared.ipc));
    }
    all_mounts.extend(mounts::of_record(shared.names.as_ref().unwrap_or(&container.bundle), record)?);
    let mut args = record.argv();
    if has_init(host) {
        all_mounts.push(small_init());
        args.splice(0..0, [first::PLACE.to_owned(), "--".to_owned()]);
    }
    let spec = Spec {
        oci_version: "1.2.0".to_owned(),
        root: None,
        mounts: all_mounts,
        process: Some(Process {
            terminal: config.tty,
            console_size: console_size(host),
            args,
            ..process_of(record, capabilities, &options)?
        }),
        hostname: (host.uts_mode != "host").then(|| config.hostname.clone()),
        domainname: (host.uts_mode != "host" && !config.domainname.is_empty())
            .then(|| config.domainname.clone()),
        linux: Some(linux(container, record, shared, seccomp(&options, capabilities))?),
        annotations: host.annotations.clone().unwrap_or_default(),
    };
    Ok((spec, extras(container, record)))
}

/// What every process of a container gets, without its own words.
///
/// # Errors
///
/// If the container's options don't fit together.
pub fn process(record: &Record) -> Result<Process, Error> {
    let host = &record.host_config;
    process_of(record, security::capabilities(host)?, &security::options(host)?)
}

fn process_of(
    record: &Record,
    capabilities: capability::Set,
    options: &security::Options,
) -> Result<Process, Error> {
    let (config, host) = (&record.config, &record.host_config);
    let names = capabilities.names();
    Ok(Process {
        terminal: false,
        console_size: None,
        user: User::default(),
        args: Vec::new(),
        env: environment(record),
        cwd: if config.working_dir.is_empty() { "/".to_owned() } else { config.working_dir.clone() },
        capabilities: Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            inheritable: Vec::new(),
            ambient: Vec::new(),
        }),
        rlimits: rlimits(host)?,
        no_new_privileges: options.no_new_privileges,
        oom_score_adj: (host.oom_score_adj != 0).then(|| i32::try_from(host.oom_score_adj).unwrap_or(0)),
    })
}

/// The user of a container's processes, in Docker's words. No words are looked up too: they mean root, who is in
/// groups of the image's.
pub fn user(record: &Record) -> String {
    record.config.user.clone()
}

fn linux(
    container: &Container,
    record: &Record,
    shared: &Shared,
    seccomp: Option<Seccomp>,
) -> Result<Linux, Error> {
    let host = &record.host_config;
    let (devices, rules) = devices::of(host)?;
    let parent = match host.resources.cgroup_parent.trim_matches('/') {
        "" => "glassdock",
        parent => parent,
    };
    Ok(Linux {
        namespaces: namespaces(host, shared),
        devices,
        cgroups_path: Some(format!("/{parent}/{}", container.id)),
        resources: Some(resources::of(&host.resources, rules)?),
        sysctl: sysctls::of(host, shared)?,
        seccomp,
        rootfs_propagation: mounts::root_propagation(record),
        masked_paths: host.masked_paths.clone().unwrap_or_default(),
        readonly_paths: host.readonly_paths.clone().unwrap_or_default(),
        ..Linux::default()
    })
}

/// Whether a small process 1 stands before the program; where other processes are, one is there already.
fn has_init(host: &HostConfig) -> bool {
    host.init == Some(true) && host.pid_mode.is_empty()
}

fn small_init() -> Mount {
    Mount {
        destination: first::PLACE.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(glassdock_runtime::launch::shim_beside_us().display().to_string()),
        options: ["bind", "ro", "nosuid", "nodev"].map(str::to_owned).to_vec(),
    }
}

fn extras(container: &Container, record: &Record) -> Extras {
    let (config, host) = (&record.config, &record.host_config);
    // Words that make no sense are told by the start; see `logging`.
    let kept = logging::kept(&host.log_config).ok();
    let log = (host.log_config.kind != "none").then(|| Log {
        path: container.log_path(),
        max_size: kept.and_then(|kept| kept.max_size),
        max_file: kept.map_or(1, |kept| kept.max_file),
    });
    Extras {
        id: container.id.clone(),
        overlay: Some(Overlay {
            lower: record.layers.clone(),
            upper: Some(container.bundle.path("upper")),
            work: Some(container.bundle.path("work")),
            // What removes itself at its end need not survive the machine's crash.
            volatile: host.auto_remove,
        }),
        readonly: host.readonly_rootfs,
        log,
        stdin: match (config.open_stdin, config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        },
        user: Some(user(record)),
        groups: host.group_add.clone().unwrap_or_default(),
        stacks: record.stacks().cloned().collect(),
        secret_env: record.beside.secret_env.clone(),
    }
}

/// Docker's own variables first, then the container's, which may replace them.
fn environment(record: &Record) -> Vec<String> {
    let config = &record.config;
    let mut env = vec![defaults::PATH.to_owned(), format!("HOSTNAME={}", config.hostname)];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    set_variables(&mut env, &config.env);
    env
}

/// Puts variables, `NAME=value`, into an environment in place of those of the same name; a name without a value takes
/// the variable away.
pub fn set_variables(env: &mut Vec<String>, pairs: &[String]) {
    for pair in pairs {
        let (name, value) =
            pair.split_once('=').map_or((pair.as_str(), None), |(name, value)| (name, Some(value)));
        // A variable that is known keeps its place, as in Docker.
        let place = env.iter().position(|known| known.split('=').next() == Some(name));
        match (place, value) {
            (Some(place), Some(_)) => env.splice(place..=place, [pair.clone()]).for_each(drop),
            (None, Some(_)) => env.push(pair.clone()),
            (Some(place), None) => drop(env.remove(place)),
            (None, None) => {}
        }
    }
}

fn namespaces(host: &HostConfig, shared: &Shared) -> Vec<Namespace> {
    let own = |kind: &str| Namespace { kind: kind.to_owned(), path: None };
    let of = |kind: &str, file: &str, pid: u32| Namespace {
        kind: kind.to_owned(),
        path: Some(format!("/proc/{pid}/ns/{file}")),
    };
    let mut namespaces = vec![own("mount")];
    let mut add = |kind: &str, file: &str, of_host: bool, pid: Option<u32>| match pid {
        Some(pid) => namespaces.push(of(kind, file, pid)),
        None if of_host => {}
        None => namespaces.push(own(kind)),
    };
    add("network", "net", host.network_mode == "host", shared.network);
    add("uts", "uts", host.uts_mode == "host", None);
    add("pid", "pid", host.pid_mode == "host", shared.pid);
    add("ipc", "ipc", host.ipc_mode == "host", shared.ipc);
    add("cgroup", "cgroup", host.cgroupns_mode == "host", None);
    namespaces
}

fn console_size(host: &HostConfig) -> Option<ConsoleSize> {
    let [height, width] = host.console_size.map(|number| u16::try_from(number).unwrap_or(0));
    (height > 0 && width > 0).then_some(ConsoleSize { height, width })
}

fn rlimits(host: &HostConfig) -> Result<Vec<Rlimit>, Error> {
    const KNOWN: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let limit = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    host.resources
        .ulimits
        .iter()
        .map(|ulimit| {
            let name = ulimit.name.to_ascii_lowercase();
            if !KNOWN.contains(&name.as_str()) {
                return Err(Error::invalid(format!("invalid ulimit type: {}", ulimit.name)));
            }
            if limit(ulimit.soft) > limit(ulimit.hard) {
                return Err(Error::invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    ulimit.soft, ulimit.hard
                )));
            }
            let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
            Ok(Rlimit { kind, hard: limit(ulimit.hard), soft: limit(ulimit.soft) })
        })
        .collect()
}

fn seccomp(options: &security::Options, capabilities: capability::Set) -> Option<Seccomp> {
    match &options.seccomp {
        security::SeccompOption::Default => Some(security::default_profile(capabilities)),
        security::SeccompOption::Unconfined => None,
        security::SeccompOption::Profile(profile) => Some((**profile).clone()),
    }
}
