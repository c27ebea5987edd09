//! Parameters of the kernel that a container may set: those that a namespace of its own has, and no others, since they
//! would be the host's. See sysctl(8) and namespaces(7).

use std::collections::BTreeMap;
use std::path::Path;

use super::model::HostConfig;
use super::spec::Shared;
use crate::error::Error;

/// What an IPC namespace has; ipc_namespaces(7).
pub const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What Docker sets in a network namespace of a container's own: it has its addresses for itself, so any of its users may
/// listen at any port of them, and send echo requests; ip(7), icmp(7).
const OF_OWN_NETWORK: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// The parameters that a container asks for, and those that each one with its own network gets.
///
/// # Errors
///
/// Invalid, for one that isn't the container's to set.
pub fn of(host: &HostConfig, shared: &Shared) -> Result<BTreeMap<String, String>, Error> {
    let mut asked = host.sysctls.clone().unwrap_or_default();
    for name in asked.keys() {
        let dotted = dotted(name);
        let refused = |why: &str| Err(Error::invalid(format!("sysctl {name:?} {why}")));
        if OF_IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
            if host.ipc_mode == "host" || shared.ipc.is_some_and(|pid| is_the_host_s(pid, "ipc")) {
                return refused("is not allowed in the hosts ipc namespace");
            }
        } else if dotted.starts_with("net.") {
            if host.network_mode == "host" || shared.network.is_some_and(|pid| is_the_host_s(pid, "net")) {
                return refused("not allowed in host network namespace");
            }
        } else if dotted == "kernel.hostname" {
            return refused("is not allowed as it conflicts with the OCI \"hostname\" field");
        } else if dotted != "kernel.domainname" || host.uts_mode == "host" {
            return refused("is not in a separate kernel namespace");
        }
    }
    if shared.network.is_none() && !host.network_mode.starts_with("container:") && host.network_mode != "host"
    {
        let known = |name: &str| Path::new("/proc/sys").join(name.replace('.', "/")).exists();
        for (name, value) in OF_OWN_NETWORK.into_iter().filter(|(name, _)| known(name)) {
            asked.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    Ok(asked)
}

/// A name with dots between its parts: as sysctl(8) has it, the first separator decides.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']).and_then(|place| name.get(place..)) {
        Some(rest) if rest.starts_with('/') => name.chars().map(|c| if c == '/' { '.' } else { c }).collect(),
        _ => name.to_owned(),
    }
}

/// Whether a process whose namespace is joined has the daemon's own.
fn is_the_host_s(pid: u32, kind: &str) -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
    of(&pid.to_string()) == of("self")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(name: &str, change: fn(&mut HostConfig), shared: &Shared) -> Result<(), String> {
        let mut host =
            HostConfig { sysctls: Some([(name.to_owned(), "1".to_owned())].into()), ..HostConfig::default() };
        change(&mut host);
        of(&host, shared).map(|_| ()).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn with_its_own_network_any_port_is_free() {
        let set = |change: fn(&mut HostConfig)| {
            let mut host = HostConfig::default();
            change(&mut host);
            of(&host, &Shared::default()).expect("fine")
        };
        let own = set(|_| ());
        assert_eq!(own.get("net.ipv4.ip_unprivileged_port_start").map(String::as_str), Some("0"));
        assert_eq!(own.get("net.ipv4.ping_group_range").map(String::as_str), Some("0 2147483647"));
        assert!(set(|host| host.network_mode = "host".to_owned()).is_empty());
        assert!(set(|host| host.network_mode = "container:x".to_owned()).is_empty());
        let asked = set(|host| {
            host.sysctls = Some([("net.ipv4.ip_unprivileged_port_start".to_owned(), "80".to_owned())].into());
        });
        assert_eq!(asked.get("net.ipv4.ip_unprivileged_port_start").map(String::as_str), Some("80"));
    }

    #[test]
    fn what_is_the_host_s_stays_so() {
        let (none, own) = (Shared::default(), |_: &mut HostConfig| ());
        for name in [
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.7/forwarding",
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "kernel.domainname",
        ] {
            assert_eq!(asks(name, own, &none), Ok(()), "{name}");
        }
        for name in
            ["vm.swappiness", "kernel.panic", "kernel.hostname", "kernel/panic", "net", "", "fs.mqueue"]
        {
            assert!(asks(name, own, &none).is_err(), "{name}");
        }
        let network: fn(&mut HostConfig) = |host| host.network_mode = "host".to_owned();
        assert!(asks("net.core.somaxconn", network, &none).is_err());
        assert!(asks("net/core/somaxconn", network, &none).is_err());
        assert!(asks("kernel.shmmax", |host| host.ipc_mode = "host".to_owned(), &none).is_err());
        assert!(asks("kernel.domainname", |host| host.uts_mode = "host".to_owned(), &none).is_err());
        // A container that has joined the host's passes it on.
        let ours = Some(std::process::id());
        let joined = Shared { network: ours, ipc: ours, ..Shared::default() };
        assert!(asks("net.core.somaxconn", own, &joined).is_err());
        assert!(asks("kernel.shmmax", own, &joined).is_err());
    }
}
