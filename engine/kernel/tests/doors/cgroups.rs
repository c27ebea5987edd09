//! Control groups, in whichever version the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glassdock_kernel::cgroup::{Cgroup, DeviceRule, Hierarchy, Limits, hierarchy};
use glassdock_kernel::process::{Child, Exit, Process, clone_child};
use glassdock_trace::Trace;

use crate::{Case, case, recorded};

pub(crate) const CASES: &[Case] = &[
    case("cgroup: limits, enter, stats, remove", &[], life),
    case("cgroup: a bound on processes holds", &[], pids),
    case("cgroup: out of memory is told", &[], out_of_memory),
    case("cgroup: freeze, thaw, kill", &[], freeze),
    case("cgroup: only the allowed devices open", &[], devices),
    case("cgroup: a refused value leaves nothing", &[], refused),
    case("cgroup: groups below go too, and gone is fine", &[], below),
    case("cgroup: attach from outside, update", &[], attach),
];

/// The folder of this test run in every tree.
fn parent() -> String {
    format!("glassdock-test-{}", rustix::process::getpgrp().as_raw_nonzero())
}

/// The groups of this test, wherever they are.
pub(crate) fn directories() -> Vec<PathBuf> {
    let mounts: Vec<_> = match hierarchy() {
        Hierarchy::V1(trees) => trees.into_values().collect(),
        Hierarchy::V2 { mount, .. } => vec![mount],
        Hierarchy::None(_) => Vec::new(),
    };
    mounts.into_iter().map(|mount| mount.join(parent())).filter(|folder| folder.exists()).collect()
}

/// A group that is gone after the case, also if that fails half-way.
struct Guard(Cgroup);

impl std::ops::Deref for Guard {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let off = Trace::off();
            let _ = self.0.thaw(&off).and_then(|()| self.0.kill(&off)).and_then(|()| self.0.remove(&off));
        }
    }
}

fn make(name: &str, limits: &Limits) -> Option<Guard> {
    if let Hierarchy::None(reason) = hierarchy() {
        std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {reason}\n").as_bytes()).unwrap();
        return None;
    }
    let (group, warnings) = Cgroup::create(&Trace::off(), &format!("{}/{name}", parent()), limits).unwrap();
    let swap =
        |warning: &&glassdock_kernel::Warning| warning.0.contains("memsw") || warning.0.contains("swap");
    assert_eq!(warnings.iter().filter(|warning| !swap(warning)).count(), 0, "{warnings:?}");
    Some(Guard(group))
}

/// A child in the group, in the way that the version has.
fn inside(group: &Cgroup, body: impl FnOnce() -> u8) -> Process {
    let child = Child { role: "init", cgroup: group.birthplace(), ..Child::default() };
    let born = group.birthplace().is_some();
    clone_child(&Trace::off(), &child, || {
        if !born {
            group.enter(&Trace::off()).unwrap();
        }
        body()
    })
    .unwrap()
}

fn sleep() -> u8 {
    std::thread::sleep(Duration::from_secs(60));
    0
}

fn until(what: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < patience, "it took too long");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn life() {
    if matches!(hierarchy(), Hierarchy::None(_)) {
        return;
    }
    let (trace, events) = recorded();
    let limits = Limits {
        memory: Some(64 << 20),
        cpu_shares: Some(512),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        pids: Some(10),
        devices: DeviceRule::defaults(),
        ..Limits::default()
    };
    let (group, warnings) = Cgroup::create(&trace, &format!("{}/life", parent()), &limits).unwrap();
    assert_eq!(warnings, []);
    let process = inside(&group, || {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            std::hint::black_box(0);
        }
        sleep()
    });
    until(|| group.stats().unwrap().cpu_total_ns > 1_000_000);
    let stats = group.stats().unwrap();
    assert_eq!((stats.memory_limit, stats.pids, stats.pids_limit), (Some(64 << 20), 1, Some(10)));
    assert!(stats.memory > 0, "{stats:?}");
    assert_eq!(group.list_processes(&trace).unwrap(), [process.pid()]);
    let line = fs::read_to_string(format!("/proc/{}/cgroup", process.pid())).unwrap();
    assert!(line.contains(group.name()), "{line}");
    // Busy as long as it has a process.
    let opened = Cgroup::open(group.name()).unwrap();
    opened.kill(&trace).unwrap();
    assert_eq!(process.wait(&trace).unwrap().code(), 137);
    opened.remove(&trace).unwrap();
    assert_eq!(directories(), Vec::<PathBuf>::new());
    let kinds = events.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "cgroup.create").count(), 1);
    assert!(kinds.iter().filter(|kind| *kind == "cgroup.set").count() >= 5, "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind == "cgroup.read"), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("cgroup.remove"));
    assert_eq!(Cgroup::open(group.name()).unwrap_err().errno(), Some(libc::ENOENT));
}

fn pids() {
    let Some(group) = make("pids", &Limits { pids: Some(3), ..Limits::default() }) else { return };
    let process = inside(&group, || {
        // Itself and two more.
        let fork = || clone_child(&Trace::off(), &Child::default(), sleep);
        let more: Vec<_> = (0..2).map(|_| fork().unwrap()).collect();
        let refused = fork().err().and_then(|error| error.errno());
        for child in more {
            child.signal(&Trace::off(), glassdock_kernel::process::Signal::KILL).unwrap();
            child.wait(&Trace::off()).unwrap();
        }
        u8::from(refused != Some(libc::EAGAIN))
    });
    assert_eq!(process.wait(&Trace::off()).unwrap(), Exit::Status(0));
    group.remove(&Trace::off()).unwrap();
}

fn out_of_memory() {
    let limits = Limits { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Limits::default() };
    let Some(group) = make("oom", &limits) else { return };
    let Some(mut watch) = group.watch_oom().unwrap() else {
        panic!("memory is limited, so it can be watched")
    };
    assert_eq!(watch.killed().unwrap(), 0);
    let process = inside(&group, || {
        let mut hoard = Vec::new();
        for _ in 0..256 {
            hoard.push(vec![1_u8; 1 << 20]);
        }
        std::hint::black_box(hoard).len() as u8
    });
    let mut fds = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 1, "the watch is told");
    assert_eq!(process.wait(&Trace::off()).unwrap().code(), 137);
    assert_eq!(watch.killed().unwrap(), 1);
    assert_eq!(watch.killed().unwrap(), 0, "each is told once");
    group.remove(&Trace::off()).unwrap();
}

fn freeze() {
    let Some(group) = make("freeze", &Limits::default()) else { return };
    let process = inside(&group, || {
        loop {
            std::hint::black_box(0);
        }
    });
    // It has entered the tree of the freezer once it runs in the loop.
    until(|| group.stats().unwrap().cpu_total_ns > 5_000_000);
    group.freeze(&Trace::off()).unwrap();
    let before = group.stats().unwrap().cpu_total_ns;
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(group.stats().unwrap().cpu_total_ns, before, "it stands still");
    group.thaw(&Trace::off()).unwrap();
    until(|| group.stats().unwrap().cpu_total_ns > before);
    group.freeze(&Trace::off()).unwrap();
    group.kill(&Trace::off()).unwrap();
    assert_eq!(process.wait(&Trace::off()).unwrap().code(), 137);
    group.remove(&Trace::off()).unwrap();
}

fn devices() {
    let Some(group) = make("devices", &Limits { devices: DeviceRule::defaults(), ..Limits::default() })
    else {
        return;
    };
    let process = inside(&group, || {
        let open = |path: &str| fs::File::open(path).map_err(|error| error.raw_os_error());
        assert!(open("/dev/null").is_ok() && open("/dev/urandom").is_ok());
        let refused = if Path::new("/dev/kmsg").exists() { open("/dev/kmsg").err() } else { Some(Some(1)) };
        u8::from(refused != Some(Some(libc::EPERM)))
    });
    assert_eq!(process.wait(&Trace::off()).unwrap(), Exit::Status(0));
    group.remove(&Trace::off()).unwrap();
}

fn refused() {
    if matches!(hierarchy(), Hierarchy::None(_)) {
        return;
    }
    let (trace, events) = recorded();
    let limits = Limits { cpuset_cpus: Some("9999".into()), ..Limits::default() };
    let error = Cgroup::create(&trace, &format!("{}/refused", parent()), &limits).unwrap_err();
    assert!(error.to_string().contains("cpuset.cpus") && error.to_string().contains("9999"), "{error}");
    assert_eq!(events.kinds(), ["cgroup.set!", "cgroup.create!"]);
    assert_eq!(directories(), Vec::<PathBuf>::new());
}

fn below() {
    let Some(group) = make("below", &Limits::default()) else { return };
    for folder in directories() {
        fs::create_dir_all(folder.join("below/one/two")).unwrap();
    }
    group.remove(&Trace::off()).unwrap();
    group.remove(&Trace::off()).unwrap();
    assert_eq!(directories(), Vec::<PathBuf>::new());
}

fn attach() {
    let Some(group) = make("attach", &Limits { memory: Some(32 << 20), ..Limits::default() }) else { return };
    let process = clone_child(&Trace::off(), &Child::default(), sleep).unwrap();
    group.attach(&Trace::off(), process.pid()).unwrap();
    assert_eq!(group.processes().unwrap(), [process.pid()]);
    group.update(&Trace::off(), &Limits { memory: Some(48 << 20), ..Limits::default() }).unwrap();
    assert_eq!(group.stats().unwrap().memory_limit, Some(48 << 20));
    group.kill(&Trace::off()).unwrap();
    process.wait(&Trace::off()).unwrap();
    assert_eq!(group.attach(&Trace::off(), 4_000_000).unwrap_err().errno(), Some(libc::ESRCH));
    group.remove(&Trace::off()).unwrap();
}
