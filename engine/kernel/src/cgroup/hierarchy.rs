//! Where a machine has its control groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files;

/// Which version a machine has its controllers in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree, mounted here, with these controllers.
    V2 {
        /// Where it is mounted.
        mount: PathBuf,
        /// What it controls: `cpu`, `memory`, ….
        controllers: Vec<String>,
    },
    /// A tree per controller (or for a few): the controller's name, and where its tree is mounted.
    V1(BTreeMap<String, PathBuf>),
    /// No control groups, and why.
    None(String),
}

impl Hierarchy {
    /// 1 or 2; 0 for none.
    #[must_use]
    pub fn version(&self) -> u8 {
        match self {
            Self::V2 { .. } => 2,
            Self::V1(_) => 1,
            Self::None(_) => 0,
        }
    }

    /// The controllers' names.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        match self {
            Self::V2 { controllers, .. } => controllers.clone(),
            Self::V1(trees) => trees.keys().cloned().collect(),
            Self::None(_) => Vec::new(),
        }
    }

    /// Whether a controller is there.
    pub(super) fn has(&self, controller: &str) -> bool {
        match self {
            Self::V2 { controllers, .. } => controllers.iter().any(|name| name == controller),
            Self::V1(trees) => trees.contains_key(controller),
            Self::None(_) => false,
        }
    }
}

/// The controllers that the engine knows; trees of others, and named ones without any, are left alone.
const KNOWN: [&str; 9] =
    ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "pids"];

/// Reads how this machine has its control groups, from `/proc/self/mountinfo`.
#[must_use]
pub fn hierarchy() -> Hierarchy {
    let table = files::words(Path::new("/proc/self/mountinfo"));
    from_table(&table, |mount| files::words(&mount.join("cgroup.controllers")))
}

fn from_table(table: &str, controllers_of: impl Fn(&PathBuf) -> String) -> Hierarchy {
    let mut trees = BTreeMap::new();
    let mut unified = None;
    for line in table.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let Some(target) = mount.split(' ').nth(4).map(|field| PathBuf::from(files::unescape(field))) else {
            continue;
        };
        let mut fields = filesystem.split(' ');
        match fields.next() {
            Some("cgroup2") if unified.is_none() => unified = Some(target),
            Some("cgroup") => {
                let options = fields.nth(1).unwrap_or_default();
                for controller in options.split(',').filter(|option| KNOWN.contains(option)) {
                    // The first mount counts; another may be a view of a container.
                    trees.entry(controller.to_owned()).or_insert_with(|| target.clone());
                }
            }
            _ => {}
        }
    }
    let controllers: Vec<String> = unified
        .as_ref()
        .map(|mount| controllers_of(mount).split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    match unified {
        // With only the odd controller in v2 (hugetlb, say), the ones that matter are in v1.
        Some(mount)
            if trees.is_empty() || controllers.iter().any(|name| name == "memory" || name == "pids") =>
        {
            Hierarchy::V2 { mount, controllers }
        }
        _ if !trees.is_empty() => Hierarchy::V1(trees),
        _ => Hierarchy::None("no cgroup file system is mounted; see cgroups(7)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/mem\\040ory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
90 31 0:32 / /mnt/second rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn v1_where_v2_controls_nothing() {
        let Hierarchy::V1(trees) = from_table(HYBRID, |_| String::new()) else { panic!("v1") };
        assert_eq!(trees.keys().collect::<Vec<_>>(), ["cpu", "cpuacct", "memory"]);
        assert_eq!(trees["cpu"], trees["cpuacct"]);
        assert_eq!(trees["memory"], PathBuf::from("/sys/fs/cgroup/mem ory"));
    }

    #[test]
    fn v2_where_it_has_the_controllers() {
        let found = from_table(HYBRID, |_| "cpu memory pids\n".to_owned());
        assert_eq!(found.version(), 2);
        assert_eq!(found.controllers(), ["cpu", "memory", "pids"]);
        let Hierarchy::None(reason) = from_table("22 27 0:21 / /proc rw - proc proc rw\n", |_| String::new())
        else {
            panic!("none")
        };
        assert!(reason.contains("cgroup"));
    }
}
