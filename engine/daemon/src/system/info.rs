//! `docker info`.

use std::path::Path;

use glassdock_kernel::cgroup::Hierarchy;
use serde_json::{Value, json};

use super::version::{NONE, kernel_release};
use super::{hostname, memory_total};
use crate::VERSION;
use crate::call::{ApiVersion, Call};
use crate::containers::record::Status;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply};

/// `SystemInfo`: what the engine is, has, and found on its machine.
pub(crate) async fn info(call: Call) -> Reply {
    let mut shown = call.engine.blocking(|engine| Ok::<_, Error>(shown(engine))).await?;
    if call.version < ApiVersion(50) {
        // Whether bridges ask the firewall; Docker asked the kernel for that once.
        shown["BridgeNfIptables"] = json!(bridges_ask("iptables"));
        shown["BridgeNfIp6tables"] = json!(bridges_ask("ip6tables"));
    }
    if call.version < ApiVersion(49) {
        for commit in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            shown[commit]["Expected"] = shown[commit]["ID"].clone();
        }
        shown["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = json!([]);
        shown["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = json!([]);
    }
    reply::json(&shown)
}

/// What a switch of the module br_netfilter says; off without the module.
fn bridges_ask(whom: &str) -> bool {
    let switch = format!("/proc/sys/net/bridge/bridge-nf-call-{whom}");
    std::fs::read_to_string(switch).is_ok_and(|value| value.trim() == "1")
}

fn shown(engine: &Engine) -> Value {
    let mut whole = serde_json::Map::new();
    for part in [objects(engine), limits(engine), machine(engine), parts(engine)] {
        if let Value::Object(part) = part {
            whole.extend(part);
        }
    }
    Value::Object(whole)
}

/// What it has.
fn objects(engine: &Engine) -> Value {
    let containers = engine.containers.all();
    let count =
        |fits: fn(Status) -> bool| containers.iter().filter(|container| fits(container.status())).count();
    let (running, paused) =
        (count(|status| status == Status::Running), count(|status| status == Status::Paused));
    json!({
        "ID": engine.id,
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": containers.len() - running - paused,
        "Images": engine.images.list().len(),
    })
}

/// What can be limited.
fn limits(engine: &Engine) -> Value {
    let controls = controllers(engine);
    let has = |name: &str| controls.1.iter().any(|controller| controller == name);
    json!({
        "MemoryLimit": has("memory"),
        "SwapLimit": has("memory"),
        "CpuCfsPeriod": has("cpu"),
        "CpuCfsQuota": has("cpu"),
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "PidsLimit": has("pids"),
        "IPv4Forwarding": true,
        "Debug": false,
        "NFd": open_descriptors(),
        "OomKillDisable": has("memory") && controls.0 == "1",
        "NGoroutines": 0,
    })
}

/// What it runs on.
fn machine(engine: &Engine) -> Value {
    let controls = controllers(engine);
    json!({
        "SystemTime": crate::containers::create::now(),
        "LoggingDriver": "json-file",
        "CgroupDriver": if controls.0.is_empty() { "none" } else { "cgroupfs" },
        "CgroupVersion": controls.0,
        "NEventsListener": 0,
        "KernelVersion": kernel_release(),
        "OperatingSystem": operating_system(),
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registry_config(engine),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory_total(),
        "GenericResources": null,
        "DockerRootDir": engine.config.root,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": hostname(),
        "Labels": [],
        "ExperimentalBuild": false,
    })
}

/// What it is made of.
fn parts(engine: &Engine) -> Value {
    let backing = filesystem(&engine.config.root);
    json!({
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", backing], ["Supports d_type", "true"], ["Using metacopy", "false"], ["Native Overlay Diff", "true"]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "none"],
        },
        "ServerVersion": VERSION,
        "Runtimes": { "glassdock": { "path": "glassdock-shim" } },
        "DefaultRuntime": "glassdock",
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        // Clients print these in any case. The shim does what the three of them do for Docker.
        "InitBinary": "glassdock-shim",
        "ContainerdCommit": { "ID": NONE },
        "RuncCommit": { "ID": NONE },
        "InitCommit": { "ID": VERSION },
        "SecurityOptions": security_options(engine),
        "Warnings": Some(warnings(engine)).filter(|warnings| !warnings.is_empty()),
    })
}

/// The file system that a folder is on, as the kernel calls it in `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5)); "unknown" where that can't be read.
fn filesystem(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    filesystem_of(&folder, &mounts).unwrap_or("unknown").to_owned()
}

fn filesystem_of<'a>(folder: &Path, mounts: &'a str) -> Option<&'a str> {
    // Of mounts on the same place the last is on top, and max_by_key takes the last.
    let above = |line: &&str| line.split(' ').nth(4).is_some_and(|place| folder.starts_with(place));
    let line = mounts.lines().filter(above).max_by_key(|line| line.split(' ').nth(4).map_or(0, str::len))?;
    // The optional fields before the type end with a dash.
    line.split_once(" - ")?.1.split(' ').next()
}

/// The version of control groups, and what they control here.
fn controllers(engine: &Engine) -> (&'static str, Vec<String>) {
    match &engine.facts.cgroups {
        Hierarchy::V2 { controllers, .. } => ("2", controllers.clone()),
        Hierarchy::V1(controllers) => ("1", controllers.keys().cloned().collect()),
        Hierarchy::None(_) => ("", Vec::new()),
    }
}

fn security_options(engine: &Engine) -> Vec<&'static str> {
    let seccomp = engine.facts.seccomp.then_some("name=seccomp,profile=builtin");
    seccomp.into_iter().chain(["name=cgroupns"]).collect()
}

fn warnings(engine: &Engine) -> Vec<String> {
    let mut warnings = engine.networks.warnings();
    if let Hierarchy::None(reason) = &engine.facts.cgroups {
        warnings.push(format!("WARNING: no control groups, so no limits: {reason}"));
    }
    if !engine.facts.seccomp {
        warnings.push("WARNING: the kernel has no seccomp filters".to_owned());
    }
    warnings
}

fn registry_config(engine: &Engine) -> Value {
    // With a slash at the end, as Docker tells them.
    let mirrors: Vec<String> = engine
        .config
        .registry_mirrors
        .iter()
        .map(|mirror| format!("{}/", mirror.trim_end_matches('/')))
        .collect();
    json!({
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": {
            "docker.io": { "Name": "docker.io", "Mirrors": mirrors, "Secure": true, "Official": true },
        },
        "Mirrors": mirrors,
    })
}

/// The distribution's name, from os-release(5).
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_that_of_the_nearest_mount() {
        let mounts = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                      22 21 0:20 / /var rw - xfs /dev/a rw\n\
                      23 22 0:21 / /var rw master:2 shared:3 - tmpfs none rw\n";
        let of = |folder| filesystem_of(Path::new(folder), mounts);
        assert_eq!(of("/home/x"), Some("ext4"));
        assert_eq!(of("/var/lib/glassdock"), Some("tmpfs"));
        assert_eq!(of("/variety"), Some("ext4"));
        assert_eq!(filesystem_of(Path::new("/"), ""), None);
    }
}
