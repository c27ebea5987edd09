//! What a lesson needs of the machine, and whether it is there.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use glassdock_kernel::cgroup::Hierarchy;
use glassdock_kernel::features::Facts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that a lesson can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// To be root, with the right to mount.
    Root,
    /// The overlay file system.
    Overlayfs,
    /// New mount, pid, net, uts, ipc and cgroup namespaces.
    Namespaces,
    /// Control groups of either version, that can be written.
    Cgroups,
    /// Bridges and veth pairs.
    Network,
    /// A static BusyBox: the userland of the lessons' images.
    Busybox,
    /// That nobody listens at TCP port 5000, which is the one of registries.
    #[serde(rename = "port-5000")]
    Port5000,
}

impl Need {
    /// All needs, for `doctor`.
    pub const ALL: &[Self] = &[
        Self::Root,
        Self::Overlayfs,
        Self::Namespaces,
        Self::Cgroups,
        Self::Network,
        Self::Busybox,
        Self::Port5000,
    ];

    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Overlayfs => "overlayfs",
            Self::Namespaces => "namespaces",
            Self::Cgroups => "cgroups",
            Self::Network => "network",
            Self::Busybox => "busybox",
            Self::Port5000 => "port-5000",
        }
    }

    /// Looks whether the machine has it: `Ok` with what was found, `Err` with what
    /// is missing and what to do about it.
    ///
    /// # Errors
    ///
    /// What is missing, in words.
    pub fn probe(self) -> Result<String, String> {
        let facts = Facts::probe();
        match self {
            Self::Root => root(&facts),
            Self::Overlayfs => overlayfs(&facts),
            Self::Namespaces => namespaces(&facts),
            Self::Cgroups => cgroups(&facts),
            Self::Network => network(&facts),
            Self::Busybox => busybox(),
            Self::Port5000 => port(5000),
        }
    }
}

fn root(facts: &Facts) -> Result<String, String> {
    if facts.root {
        return Ok("root, with the right to mount".to_owned());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1));
    match user {
        Some("0") => {
            Err("root here has no CAP_SYS_ADMIN: start the container around it with --privileged".to_owned())
        }
        user => {
            Err(format!("you are user {}, and the engine needs root: use sudo", user.unwrap_or("unknown")))
        }
    }
}

fn overlayfs(facts: &Facts) -> Result<String, String> {
    if facts.overlayfs {
        Ok(format!("the file system overlay of Linux {}", facts.kernel))
    } else {
        Err("the kernel has no file system overlay: modprobe overlay".to_owned())
    }
}

fn namespaces(facts: &Facts) -> Result<String, String> {
    let has = |kind: &&str| facts.namespaces.iter().any(|known| known.oci() == *kind);
    let (there, missing): (Vec<_>, Vec<_>) =
        ["mount", "pid", "network", "uts", "ipc", "cgroup"].into_iter().partition(has);
    if missing.is_empty() {
        Ok(there.join(", "))
    } else {
        Err(format!(
            "the kernel has no namespaces for {}; a distribution's own kernel has",
            missing.join(", ")
        ))
    }
}

fn cgroups(facts: &Facts) -> Result<String, String> {
    match &facts.cgroups {
        Hierarchy::None(reason) => Err(format!("{reason}: mount -t cgroup2 none /sys/fs/cgroup")),
        Hierarchy::V2 { .. } => Ok(format!("version 2 with {}", facts.cgroups.controllers().join(" "))),
        Hierarchy::V1(_) => Ok(format!("version 1 with {}", facts.cgroups.controllers().join(" "))),
    }
}

fn network(facts: &Facts) -> Result<String, String> {
    // Without root the kernel does not say; that root is missing is told on its own.
    if facts.root && !facts.nftables {
        return Err(
            "the kernel has no nf_tables, which lead packets in and out: modprobe nf_tables".to_owned()
        );
    }
    if !Path::new("/proc/sys/net/ipv4/ip_forward").exists() {
        return Err("there is no /proc/sys/net/ipv4: the kernel has no IPv4".to_owned());
    }
    Ok("IPv4 forwarding and nf_tables".to_owned())
}

fn port(number: u16) -> Result<String, String> {
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)) {
        Ok(_) => Ok(format!("TCP port {number} is free")),
        Err(error) => Err(format!(
            "TCP port {number} can't be used ({error}); `ss -ltnp sport = :{number}` shows who has it"
        )),
    }
}

/// Where distributions put BusyBox, and the package that brings the static one.
const BUSYBOX: [&str; 4] = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/local/bin/busybox"];

fn busybox() -> Result<String, String> {
    let place = BUSYBOX.iter().find(|place| Path::new(place).is_file());
    let install = install_command().map_or_else(String::new, |command| format!(": {command}"));
    let Some(place) = place else {
        return Err(format!("there is no static BusyBox, the userland of the lessons' images{install}"));
    };
    match fs::read(place).map(|bytes| is_static(&bytes)) {
        Ok(true) => Ok(format!("{place}, static")),
        Ok(false) => Err(format!("{place} needs shared libraries, and the images have none{install}")),
        Err(error) => Err(format!("cannot read {place}: {error}")),
    }
}

/// The command that installs a static BusyBox here, if the package manager is known.
#[must_use]
pub fn install_command() -> Option<&'static str> {
    [
        ("/usr/bin/apt-get", "apt-get install -y busybox-static"),
        ("/usr/bin/dnf", "dnf install -y busybox"),
        ("/sbin/apk", "apk add busybox-static"),
        ("/usr/bin/zypper", "zypper install -y busybox-static"),
        ("/usr/bin/pacman", "pacman -S --noconfirm busybox"),
    ]
    .into_iter()
    .find(|(manager, _)| Path::new(manager).exists())
    .map(|(_, command)| command)
}

/// Whether an ELF file names no interpreter (program header `PT_INTERP`): elf(5).
fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        bytes
            .iter()
            .rev()
            .try_fold(0_usize, |value, byte| value.checked_mul(256)?.checked_add(usize::from(*byte)))
    };
    // 64-bit, little-endian; the others are not machines that the engine runs on.
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    (0..count).all(|index| {
        let kind = index.checked_mul(size).and_then(|at| at.checked_add(table)).and_then(|at| number(at, 4));
        kind.is_some_and(|kind| kind != 3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_format() {
        for need in Need::ALL {
            assert_eq!(serde_json::to_value(need).expect("plain data"), need.name());
        }
    }

    #[test]
    fn static_and_dynamic_programs() {
        let own = fs::read("/proc/self/exe").expect("the test can read itself");
        assert!(!is_static(&own), "tests are linked dynamically");
        assert!(!is_static(b"#!/bin/sh"));
        assert!(!is_static(own.get(..60).expect("longer")), "cut off");
    }
}
