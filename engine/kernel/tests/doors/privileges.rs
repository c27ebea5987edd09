//! Privileges: capabilities, users, system calls, resource limits.

use std::fs;

use glassdock_kernel::capability::{Set, Sets, current, drop_to};
use glassdock_kernel::process::{Child, Exit, Signal, clone_child};
use glassdock_kernel::rlimit::{self, Resource};
use glassdock_kernel::seccomp::{Action, Profile, Rule};
use glassdock_kernel::user::User;
use glassdock_trace::Trace;

use crate::{Case, case, recorded};

pub(crate) const CASES: &[Case] = &[
    case("capabilities: fourteen for root", &[], root_with_fourteen),
    case("capabilities: none for another user, or ambient ones", &[], another_user),
    case("capabilities: what is gone stays gone", &[], gone_for_good),
    case("seccomp: Docker's filter at work", &[], dockers_filter),
    case("seccomp: a killing filter kills", &[], killing_filter),
    case("seccomp: without privilege it takes no_new_privs", &[], filter_without_privilege),
    case("rlimit: raising the hard limit warns", &[], limits),
];

fn sets(capabilities: Set) -> Sets {
    Sets { bounding: capabilities, effective: capabilities, permitted: capabilities, ..Sets::default() }
}

fn root_with_fourteen() {
    let (trace, events) = recorded();
    drop_to(&trace, &sets(Set::docker_default()), &User { groups: vec![1, 2], ..User::default() }).unwrap();
    let now = current().unwrap();
    assert_eq!(now, sets(Set::docker_default()));
    assert_eq!(events.kinds(), ["user.set", "capability.set"]);
    let evidence = events.evidence("capability.set");
    assert!(evidence.contains(&"CapBnd:\t00000000a80425fb".to_owned()), "{evidence:?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains("Groups:\t1 2 \n"), "{status}");
    let lines: Vec<_> = status.lines().filter(|line| line.starts_with("Cap")).collect();
    assert_eq!(evidence, lines);
}

fn another_user() {
    let ambient = Set::parse(["NET_BIND_SERVICE"]).unwrap();
    let wanted = Sets { inheritable: ambient, ambient, ..sets(Set::docker_default()) };
    let user = User { uid: 1000, gid: 1001, groups: Vec::new() };
    drop_to(&Trace::off(), &wanted, &user).unwrap();
    assert_eq!(current().unwrap(), wanted);
    let ids = (rustix::process::getuid().as_raw(), rustix::process::getegid().as_raw());
    assert_eq!(ids, (1000, 1001));
    // What the next program has, by the rules of execve(2): only the ambient one.
    let status = std::process::Command::new("grep").args(["CapEff", "/proc/self/status"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&status.stdout), "CapEff:\t0000000000000400\n");
}

fn gone_for_good() {
    drop_to(&Trace::off(), &sets(Set::EMPTY), &User::default()).unwrap();
    drop_to(&Trace::off(), &sets(Set::all()), &User::default()).unwrap_err();
    let now = current().unwrap();
    assert!(now.bounding.is_empty() && now.effective.is_empty());
    let refused = glassdock_kernel::namespace::set_names(&Trace::off(), Some("x"), None).unwrap_err();
    assert_eq!(refused.errno(), Some(libc::EPERM));
    assert_eq!(refused.kind(), glassdock_kernel::ErrorKind::Denied);
}

fn dockers_filter() {
    let (trace, events) = recorded();
    let filter = Profile::docker_default(Set::docker_default()).compile().unwrap();
    filter.load(&trace, false).unwrap();
    assert_eq!(events.kinds(), ["seccomp.load"]);
    let refused = glassdock_kernel::mount::make_private(&trace).unwrap_err();
    // mount_setattr is not in the list; and that is told, under the filter.
    assert_eq!(refused.errno(), Some(libc::EPERM));
    let clone = clone_child(&trace, &Child::default(), || 0).unwrap_err();
    assert_eq!(clone.errno(), Some(libc::ENOSYS));
    assert!(std::process::Command::new("true").status().unwrap().success(), "clone(2) is allowed");
    assert!(std::thread::spawn(|| true).join().unwrap());
}

fn killing_filter() {
    let rule = Rule { names: vec!["getppid".into()], action: Action::KillProcess, conditions: Vec::new() };
    let profile = Profile { default_action: Action::Allow, rules: vec![rule], compat: true };
    let child = clone_child(&Trace::off(), &Child::default(), || {
        profile.compile().unwrap().load(&Trace::off(), true).unwrap();
        let _ = rustix::process::getpid();
        let _ = rustix::process::getppid();
        0
    });
    let exit = child.unwrap().wait(&Trace::off()).unwrap();
    assert!(matches!(exit, Exit::Signal { signal, .. } if Some(signal) == Signal::parse("SYS")), "{exit:?}");
}

fn filter_without_privilege() {
    drop_to(&Trace::off(), &sets(Set::EMPTY), &User { uid: 1000, gid: 1000, groups: Vec::new() }).unwrap();
    let filter = Profile::docker_default(Set::EMPTY).compile().unwrap();
    assert_eq!(filter.load(&Trace::off(), false).unwrap_err().errno(), Some(libc::EACCES));
    filter.load(&Trace::off(), true).unwrap();
}

fn limits() {
    let files = Resource::parse("nofile").unwrap();
    let (trace, events) = recorded();
    // Without CAP_SYS_RESOURCE, wherever this runs.
    let fewer = Set::all().without(Set::parse(["SYS_RESOURCE"]).unwrap());
    drop_to(&Trace::off(), &sets(fewer), &User::default()).unwrap();
    assert_eq!(rlimit::set(&trace, files, 100, 200).unwrap(), None);
    let warning = rlimit::set(&trace, files, 300, 400).unwrap().unwrap();
    assert!(warning.to_string().contains("CAP_SYS_RESOURCE"), "{warning}");
    let now = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!((now.current, now.maximum), (Some(200), Some(200)));
    assert_eq!(events.kinds(), ["rlimit.set", "rlimit.set"]);
}
