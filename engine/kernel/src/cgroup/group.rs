//! One control group: a directory in each tree.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glassdock_trace::{Body, Evidence, Span, Trace};
use rustix::fs::{CWD, Mode, OFlags};

use super::directories::{
    check_name, collect_processes, enable_controllers, inherit_cpuset, make_directory, read, remove_tree,
    write,
};
use super::hierarchy::{Hierarchy, hierarchy};
use super::limits::Limits;
use super::oom::OomWatch;
use super::stats::Stats;
use crate::process::{Process, Signal};
use crate::{Error, Result, Warning, files};

/// How long a removal waits for processes that are just ending.
const REMOVE_PATIENCE: Duration = Duration::from_secs(2);

/// How often the processes of a group are told to end, while they make new ones.
const KILL_ROUNDS: u32 = 100;

/// A control group that the engine made. Dropping it leaves the group alone: it belongs to the
/// container, and [`Cgroup::remove`] ends it.
#[derive(Debug)]
pub struct Cgroup {
    /// Its path below the trees' roots, `glassdock/4f2e…`.
    pub(super) name: String,
    pub(super) hierarchy: Hierarchy,
    /// The v2 directory, for births in it.
    directory: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes a group with its limits. `name` is its path below the trees' roots, `glassdock/ID`. Limits that this
    /// machine can't enforce become warnings. One that is there already (from a crash) is taken over.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that is no relative path; those of mkdir(2), and of write(2) for a value that the
    /// kernel refuses. Nothing is left behind then.
    pub fn create(trace: &Trace, name: &str, limits: &Limits) -> Result<(Self, Vec<Warning>)> {
        Self::create_in(hierarchy(), trace, name, limits)
    }

    fn create_in(
        hierarchy: Hierarchy,
        trace: &Trace,
        name: &str,
        limits: &Limits,
    ) -> Result<(Self, Vec<Warning>)> {
        check_name(name)?;
        let mut group = Self { name: name.to_owned(), hierarchy, directory: None };
        let body = Body::CgroupCreate {
            path: name.to_owned(),
            version: group.hierarchy.version(),
            controllers: group.hierarchy.controllers(),
        };
        if let Hierarchy::None(reason) = &group.hierarchy {
            trace.skip(body, reason.clone());
            let warnings = group.apply(trace, limits)?;
            return Ok((group, warnings));
        }
        let warnings = trace.step(body, |span| {
            let made = group.make().and_then(|()| group.apply(span.trace(), limits));
            if made.is_err() {
                // The first error is the one to tell; what can't be removed now is taken over next time.
                let _ = group.remove_directories(Duration::ZERO);
            }
            made
        })?;
        Ok((group, warnings))
    }

    /// A group that was made before, perhaps by another process.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is gone.
    pub fn open(name: &str) -> Result<Self> {
        check_name(name)?;
        let mut group = Self { name: name.to_owned(), hierarchy: hierarchy(), directory: None };
        if let Some(folder) = group.folders().first() {
            fs::metadata(folder).map_err(|error| Error::call("stat", folder.display().to_string(), error))?;
        }
        group.open_directory()?;
        Ok(group)
    }

    /// Its path below the trees' roots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the machine has it.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// The directory that a child can be born in ([`crate::process::Child::cgroup`]); only with v2. With v1
    /// the child [enters](Cgroup::enter) it.
    #[must_use]
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// Puts this process, which must have one thread, under the group. With v1 that is much cheaper than
    /// [`Cgroup::attach`] from outside: a thread that moves itself needs no lock on all others.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    pub fn enter(&self, trace: &Trace) -> Result<()> {
        let pid = if trace.is_on() { files::traced_tid(trace) } else { 0 };
        self.put(trace, self.own_file(), "0", pid, |span| span.evidence(|| groups_of(pid)))
    }

    /// As [`Cgroup::enter`]. Where the trace takes it later, another process is to read the evidence
    /// ([`Unproven`](crate::unproven::Unproven)), for the step whose number is given.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    pub fn enter_unproven(&self, trace: &Trace) -> Result<Option<u64>> {
        if !trace.takes_proofs() {
            return self.enter(trace).map(|()| None);
        }
        let mut step = None;
        self.put(trace, self.own_file(), "0", files::traced_tid(trace), |span| {
            step = Some(span.trace().span());
        })?;
        Ok(step)
    }

    /// Where a thread writes itself.
    fn own_file(&self) -> &'static str {
        if self.hierarchy.version() == 1 { "tasks" } else { "cgroup.procs" }
    }

    /// Puts a process under the group, in every tree. With v1 that can take 10 ms: the kernel waits until no process
    /// of the machine is in the middle of fork(2) or exit(2). A process that was born in the group needs none of it.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the process is gone.
    pub fn attach(&self, trace: &Trace, pid: u32) -> Result<()> {
        self.put(trace, "cgroup.procs", &pid.to_string(), pid, |span| span.evidence(|| groups_of(pid)))
    }

    fn put(
        &self,
        trace: &Trace,
        file: &str,
        value: &str,
        pid: u32,
        prove: impl FnOnce(&mut Span),
    ) -> Result<()> {
        let body = Body::CgroupAttach { path: self.name.clone(), pid };
        if let Hierarchy::None(reason) = &self.hierarchy {
            trace.skip(body, reason.clone());
            return Ok(());
        }
        trace.step(body, |span| {
            for folder in self.folders() {
                write(&folder.join(file), value)?;
            }
            prove(span);
            Ok(())
        })
    }

    /// Changes limits; those that are `None` stay. Rules for devices can't be changed with v2.
    ///
    /// # Errors
    ///
    /// Those of write(2) for a value that the kernel refuses.
    pub fn update(&self, trace: &Trace, limits: &Limits) -> Result<Vec<Warning>> {
        self.apply(trace, limits)
    }

    /// The processes in it and in groups below it, in this process's numbering.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut all = BTreeSet::new();
        if let Some(folder) = self.folders().first() {
            collect_processes(folder, &mut all)?;
        }
        Ok(all.into_iter().collect())
    }

    /// As [`Cgroup::processes`], told in a trace, with the files' own lines as evidence.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn list_processes(&self, trace: &Trace) -> Result<Vec<u32>> {
        trace.step(Body::CgroupRead { path: self.name.clone(), pids: Vec::new() }, |span| {
            let found = self.processes()?;
            if let Body::CgroupRead { pids, .. } = span.body_mut() {
                pids.clone_from(&found);
            }
            if let Some(folder) = self.folders().first() {
                let source = || folder.join("cgroup.procs").display().to_string();
                span.evidence(|| Evidence::new(source(), found.iter().map(ToString::to_string)));
            }
            Ok(found)
        })
    }

    /// Ends all its processes: `cgroup.kill` with v2, a signal for each with v1.
    ///
    /// # Errors
    ///
    /// Those of write(2) and pidfd_send_signal(2).
    pub fn kill(&self, trace: &Trace) -> Result<()> {
        if self.hierarchy.version() == 2
            && let Some(folder) = self.folder("unified")
            && folder.join("cgroup.kill").exists()
        {
            let body = Body::CgroupSet {
                path: self.name.clone(),
                file: "cgroup.kill".to_owned(),
                value: "1".to_owned(),
            };
            return trace.step(body, |_| write(&folder.join("cgroup.kill"), "1"));
        }
        for _ in 0..KILL_ROUNDS {
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                match Process::open(pid).and_then(|process| process.signal(trace, Signal::KILL)) {
                    Err(error) if error.errno() == Some(libc::ESRCH) => {}
                    result => result?,
                }
            }
            // A process that is stopped by the freezer takes its signal once it is thawed.
            if self.folder("freezer").is_some() {
                self.set_frozen(&Trace::off(), false)?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What it uses now.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is gone; a file that this kernel lacks is just 0.
    pub fn stats(&self) -> Result<Stats> {
        if let Some(folder) = self.folders().first() {
            fs::metadata(folder).map_err(|error| Error::call("stat", folder.display().to_string(), error))?;
        }
        Ok(match self.hierarchy {
            Hierarchy::V1(_) => Stats::v1(|controller| self.folder(controller)),
            Hierarchy::V2 { .. } => {
                self.folder("unified").map(|folder| Stats::v2(&folder)).unwrap_or_default()
            }
            Hierarchy::None(_) => Stats::default(),
        })
    }

    /// Tells when it is out of memory; `None` where the machine can't.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2), inotify(7).
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match &self.hierarchy {
            Hierarchy::V1(_) => self.folder("memory").map(|folder| OomWatch::v1(&folder)).transpose(),
            Hierarchy::V2 { controllers, .. } if controllers.iter().any(|name| name == "memory") => {
                self.folder("unified").map(|folder| OomWatch::v2(&folder)).transpose()
            }
            _ => Ok(None),
        }
    }

    /// Removes it, and groups that the container made below it. It must have no processes; one that is just ending is
    /// waited for, up to two seconds. Gone already is fine.
    ///
    /// # Errors
    ///
    /// `EBUSY` if processes stay.
    pub fn remove(&self, trace: &Trace) -> Result<()> {
        let body = Body::CgroupRemove { path: self.name.clone() };
        if let Hierarchy::None(reason) = &self.hierarchy {
            trace.skip(body, reason.clone());
            return Ok(());
        }
        trace.step(body, |_| self.remove_directories(REMOVE_PATIENCE))
    }

    fn remove_directories(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut first_error = Ok(());
        for folder in self.folders() {
            let removed = remove_tree(&folder, until);
            if first_error.is_ok() {
                first_error = removed;
            }
            // The engine's own directory goes with its last group. If another is in it, it stays.
            let depth = Path::new(&self.name).components().count();
            for parent in folder.ancestors().skip(1).take(depth - 1) {
                if fs::remove_dir(parent).is_err() {
                    break;
                }
            }
        }
        first_error
    }

    /// Its directory in every tree.
    fn folders(&self) -> Vec<PathBuf> {
        self.mounts().into_iter().map(|mount| mount.join(&self.name)).collect()
    }

    fn mounts(&self) -> BTreeSet<PathBuf> {
        match &self.hierarchy {
            Hierarchy::V2 { mount, .. } => BTreeSet::from([mount.clone()]),
            // A tree with several controllers counts once.
            Hierarchy::V1(trees) => trees.values().cloned().collect(),
            Hierarchy::None(_) => BTreeSet::new(),
        }
    }

    /// Its directory in the tree of a controller; with v2 they all are in one.
    pub(super) fn folder(&self, controller: &str) -> Option<PathBuf> {
        match &self.hierarchy {
            Hierarchy::V2 { mount, .. } => Some(mount.join(&self.name)),
            Hierarchy::V1(trees) => trees.get(controller).map(|mount| mount.join(&self.name)),
            Hierarchy::None(_) => None,
        }
    }

    fn make(&mut self) -> Result<()> {
        if let Hierarchy::V2 { mount, controllers } = &self.hierarchy {
            enable_controllers(mount, &self.name, controllers)?;
        }
        for mount in self.mounts() {
            make_directory(&mount, &self.name)?;
        }
        if let Hierarchy::V1(trees) = &self.hierarchy
            && let Some(mount) = trees.get("cpuset")
        {
            inherit_cpuset(mount, &self.name)?;
        }
        if let Some(folder) = self.folder("unified")
            && let Hierarchy::V2 { controllers, .. } = &mut self.hierarchy
        {
            // What is really there: a tree whose root is not the machine's may give less.
            *controllers =
                read(&folder.join("cgroup.controllers"))?.split_whitespace().map(str::to_owned).collect();
        }
        self.open_directory()
    }

    fn open_directory(&mut self) -> Result<()> {
        if let Hierarchy::V2 { mount, .. } = &self.hierarchy {
            let folder = mount.join(&self.name);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(CWD, &folder, flags, Mode::empty());
            self.directory =
                Some(opened.map_err(|error| Error::call("open", folder.display().to_string(), error))?);
        }
        Ok(())
    }
}

/// Which groups a process is in.
fn groups_of(pid: u32) -> Evidence {
    let source = format!("/proc/{pid}/cgroup");
    let lines = files::words(source.as_ref());
    Evidence::new(source, lines.lines().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_trees() {
        for name in ["", "/", "/etc", "..", "a/../../b", "./a", "a//b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("glassdock/4f2e").expect("a name");
    }

    #[test]
    fn without_control_groups_limits_become_warnings() {
        let limits = Limits { memory: Some(1 << 20), pids: Some(5), ..Limits::default() };
        let none = Hierarchy::None("none are mounted".to_owned());
        let (group, warnings) = Cgroup::create_in(none, &Trace::off(), "glassdock/x", &limits).expect("made");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        group.enter(&Trace::off()).expect("nothing to do");
        assert!(matches!(group.freeze(&Trace::off()), Err(Error::Unsupported { .. })));
        assert!(group.watch_oom().expect("nothing to watch").is_none());
        group.remove(&Trace::off()).expect("nothing to do");
    }
}
