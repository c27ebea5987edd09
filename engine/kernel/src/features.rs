//! What this machine's kernel can do: for the headers of traces, `info` and `lesson doctor`.
//!
//! Each fact is asked for in the way that the engine will use the thing later, where that is
//! possible without doing it: a file system by its name in `/proc/filesystems`, a kind of
//! namespace by its link in `/proc/self/ns`, nf_tables by listing its tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::capability;
use crate::cgroup::{Hierarchy, hierarchy};
use crate::namespace::Kind;
use crate::nft::Nft;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// Whether this process is root, with CAP_SYS_ADMIN, in the first user namespace.
    pub root: bool,
    /// Whether overlayfs is there.
    pub overlayfs: bool,
    /// The kinds of namespaces that the kernel has.
    pub namespaces: Vec<Kind>,
    /// How it has its control groups.
    pub cgroups: Hierarchy,
    /// Whether seccomp filters are there.
    pub seccomp: bool,
    /// Whether nf_tables is there.
    pub nftables: bool,
    /// Whether users without privilege may make user namespaces.
    pub user_namespaces: bool,
    /// Whether this process may raise hard resource limits.
    pub cap_sys_resource: bool,
}

impl Facts {
    /// Looks. Nothing is changed but that the kernel may load a module that it is asked about;
    /// takes well under a millisecond otherwise.
    #[must_use]
    pub fn probe() -> Self {
        let uname = rustix::system::uname();
        let effective = capability::current().map(|sets| sets.effective).unwrap_or_default();
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
            root: effective.contains("SYS_ADMIN") && in_first_user_namespace(),
            overlayfs: has_filesystem("overlay"),
            namespaces: Kind::ALL
                .into_iter()
                .filter(|kind| Path::new("/proc/self/ns").join(kind.link()).exists())
                .collect(),
            cgroups: hierarchy(),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            nftables: has_nftables(),
            user_namespaces: unprivileged_user_namespaces(),
            cap_sys_resource: effective.contains("SYS_RESOURCE"),
        }
    }

    /// As words, for [`glassdock_trace::Header::host`].
    #[must_use]
    pub fn host(&self) -> BTreeMap<String, String> {
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let kinds: Vec<_> = self.namespaces.iter().map(|kind| kind.oci()).collect();
        let cgroups = match &self.cgroups {
            Hierarchy::V2 { .. } => "v2",
            Hierarchy::V1(_) => "v1",
            Hierarchy::None(_) => "none",
        };
        let pairs = [
            ("machine", self.machine.clone()),
            ("root", word(self.root)),
            ("overlayfs", word(self.overlayfs)),
            ("namespaces", kinds.join(" ")),
            ("cgroups", cgroups.to_owned()),
            ("cgroup_controllers", self.cgroups.controllers().join(" ")),
            ("seccomp", word(self.seccomp)),
            ("nftables", word(self.nftables)),
            ("user_namespaces", word(self.user_namespaces)),
            ("cap_sys_resource", word(self.cap_sys_resource)),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The first user namespace maps every id to itself; user_namespaces(7).
fn in_first_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether the kernel has a file system, or can load it.
fn has_filesystem(name: &str) -> bool {
    let listed = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    listed.lines().any(|line| line.split_whitespace().last() == Some(name))
        // Asking for it loads its module, if there is one.
        || crate::mount::knows_filesystem(name)
}

fn has_nftables() -> bool {
    match Nft::here().and_then(|mut nft| nft.tables()) {
        Ok(_) => true,
        // Who may not ask can still see whether it is there.
        Err(error) if error.errno() == Some(libc::EPERM) => Path::new("/sys/module/nf_tables").exists(),
        Err(_) => false,
    }
}

/// Debian and others have a switch beside the kernel's own count; both must allow it.
fn unprivileged_user_namespaces() -> bool {
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    Path::new("/proc/self/ns/user").exists()
        && number("/proc/sys/user/max_user_namespaces").unwrap_or(0) > 0
        && number("/proc/sys/kernel/unprivileged_userns_clone").unwrap_or(1) > 0
        && number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_this_machine() {
        let facts = Facts::probe();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("every Linux has it");
        assert_eq!(facts.kernel, release.trim());
        assert!(facts.namespaces.contains(&Kind::Mount));
        assert_eq!(facts.host()["machine"], facts.machine);
        assert!(!has_filesystem("no-such-filesystem"));
        assert!(has_filesystem("proc"));
    }
}
