//! Processes: born, joined, signalled, collected, become another program.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use glassdock_kernel::Error;
use glassdock_kernel::namespace::{Kind, Set, join_process, set_names, unshare};
use glassdock_kernel::process::{
    Child, Exit, Process, Program, Signal, SignalFd, Spawn, clone_child, exec, reap_any, spawn,
};
use glassdock_trace::Trace;

use crate::{Case, case, recorded};

pub(crate) const CASES: &[Case] = &[
    case("clone: new namespaces, and pid 1 in them", &[], clone_in_namespaces),
    case("clone: several threads are refused", &[], threads_are_refused),
    case("clone: a panic ends the child alone", &[], panic_in_child),
    case("signal: by pidfd, and a stranger is safe", &[], signals),
    case("reap: orphans fall to the subreaper", &[], orphans),
    case("signalfd: a child's end can be polled", &[], signal_descriptor),
    case("signalfd: real-time signals arrive too", &[], real_time_signal),
    case("join: all namespaces of a process", &[], join),
    case("join: a pid namespace, time and again, for children", &[], bear_elsewhere),
    case("unshare: a namespace without a process", &[], unshare_cgroup),
    case("spawn: only the named descriptors", &[], spawn_program),
    case("exec: what can't be executed says why", &[], exec_errors),
    case("exec: signals are as a new program expects", &[], exec_signals),
];

/// What a container gets.
fn all() -> Set {
    [Kind::Mount, Kind::Pid, Kind::Network, Kind::Uts, Kind::Ipc, Kind::Cgroup].into_iter().collect()
}

fn run(child: &Child<'_>, body: impl FnOnce() -> u8) -> Exit {
    clone_child(&Trace::off(), child, body).unwrap().wait(&Trace::off()).unwrap()
}

fn clone_in_namespaces() {
    let (trace, events) = recorded();
    let child = Child { role: "init", namespaces: all(), ..Child::default() };
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let process = clone_child(&trace, &child, || {
        set_names(&Trace::off(), Some("otter"), None).unwrap();
        // The host's /proc is still there, and knows this process by its number outside.
        let outside = glassdock_kernel::files::host_pid();
        // As an init does, it lives on while it is looked at.
        std::thread::sleep(Duration::from_millis(100));
        u8::from(std::process::id() != 1 || outside == 1)
    })
    .unwrap();
    assert_eq!(process.wait(&trace).unwrap(), Exit::Status(0));
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    assert_eq!(events.kinds(), ["namespace.create", "process.exit", "process.reap"]);
    let links = events.evidence("namespace.create");
    assert_eq!(links.len(), 6, "{links:?}");
    for link in links {
        let (kind, there) = link.split_once(" -> ").unwrap();
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(own.to_str().unwrap(), there, "{kind} must be a new one");
    }
}

fn threads_are_refused() {
    let (open, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let refused = clone_child(&Trace::off(), &Child::default(), || 0).unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    drop(open);
    let _ = thread.join();
    assert_eq!(run(&Child::default(), || 7), Exit::Status(7));
}

fn panic_in_child() {
    std::panic::set_hook(Box::new(|_| {}));
    assert_eq!(run(&Child::default(), || panic!("on purpose")), Exit::Status(101));
}

fn sleeper() -> Process {
    clone_child(&Trace::off(), &Child::default(), || {
        std::thread::sleep(Duration::from_secs(60));
        0
    })
    .unwrap()
}

fn signals() {
    let (trace, events) = recorded();
    let process = sleeper();
    assert!(!process.has_ended().unwrap());
    assert_eq!(process.try_wait(&trace).unwrap(), None);
    process.signal(&trace, Signal::TERM).unwrap();
    let exit = process.wait(&trace).unwrap();
    assert_eq!(exit, Exit::Signal { signal: Signal::TERM, core: false });
    assert_eq!(exit.code(), 143);
    assert!(process.has_ended().unwrap());
    assert_eq!(process.signal(&trace, Signal::KILL).unwrap_err().errno(), Some(libc::ESRCH));
    assert_eq!(events.kinds(), ["process.signal", "process.exit", "process.reap", "process.signal!"]);
    assert_eq!(Process::open(4_000_000).unwrap_err().errno(), Some(libc::ESRCH));
}

fn orphans() {
    glassdock_kernel::process::set_subreaper().unwrap();
    // The middle one ends at once, and leaves one that ends a little later with 5.
    let exit = run(&Child::default(), || {
        clone_child(&Trace::off(), &Child::default(), || {
            std::thread::sleep(Duration::from_millis(20));
            5
        })
        .unwrap();
        0
    });
    assert_eq!(exit, Exit::Status(0));
    assert!(reap_any(&Trace::off()).unwrap().is_none(), "it still sleeps");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(reap_any(&Trace::off()).unwrap().unwrap().1, Exit::Status(5));
    assert!(reap_any(&Trace::off()).unwrap().is_none());
}

fn signal_descriptor() {
    let signals = SignalFd::new(&[Signal::CHLD]).unwrap();
    assert_eq!(signals.take().unwrap(), None);
    let process = clone_child(&Trace::off(), &Child::default(), || 0).unwrap();
    let mut fds = [rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 1);
    assert_eq!(signals.take().unwrap(), Some(Signal::CHLD));
    assert!(process.try_wait(&Trace::off()).unwrap().is_some());
}

fn real_time_signal() {
    let signal = Signal::parse("RTMIN+3").unwrap();
    let signals = SignalFd::new(&[signal, Signal::TERM]).unwrap();
    Process::open(std::process::id()).unwrap().signal(&Trace::off(), signal).unwrap();
    assert_eq!(signals.take().unwrap(), Some(signal));
    assert_eq!(signals.take().unwrap(), None);
}

fn join() {
    let child = Child { role: "init", namespaces: all(), ..Child::default() };
    let init = clone_child(&Trace::off(), &child, || {
        set_names(&Trace::off(), Some("otter"), None).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        0
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let exit = run(&Child::default(), || {
        let (trace, events) = recorded();
        join_process(&trace, init.as_fd(), init.pid(), all()).unwrap();
        assert_eq!(events.kinds(), ["namespace.join"]);
        assert_eq!(rustix::system::uname().nodename().to_bytes(), b"otter");
        // The pid namespace counts for children.
        let inner = run(&Child::default(), || u8::from(std::process::id() > 10));
        u8::from(inner != Exit::Status(0))
    });
    init.signal(&Trace::off(), Signal::KILL).unwrap();
    init.wait(&Trace::off()).unwrap();
    assert_eq!(exit, Exit::Status(0));
}

fn bear_elsewhere() {
    let own = || fs::read_link("/proc/self/ns/pid").unwrap();
    let (outside, pid) = (own(), Set::EMPTY.with(Kind::Pid));
    let there = clone_child(&Trace::off(), &Child { namespaces: pid, ..Child::default() }, || {
        std::thread::sleep(Duration::from_secs(60));
        0
    })
    .unwrap();
    for number in [2, 3] {
        join_process(&Trace::off(), there.as_fd(), there.pid(), pid).unwrap();
        let exit = run(&Child::default(), || u8::from(std::process::id() != number || own() == outside));
        assert_eq!(exit, Exit::Status(0), "it is there, and our child all the same");
    }
    assert_eq!(own(), outside, "who joined stays where it was");
    there.signal(&Trace::off(), Signal::KILL).unwrap();
    there.wait(&Trace::off()).unwrap();
    let gone = join_process(&Trace::off(), there.as_fd(), there.pid(), pid).unwrap_err();
    assert_eq!(gone.errno(), Some(libc::ESRCH), "nothing is born where nobody is");
}

fn unshare_cgroup() {
    let (trace, events) = recorded();
    let before = fs::read_link("/proc/self/ns/cgroup").unwrap();
    unshare(&trace, Set::EMPTY.with(Kind::Cgroup)).unwrap();
    assert_ne!(fs::read_link("/proc/self/ns/cgroup").unwrap(), before);
    assert_eq!(events.evidence("namespace.create").len(), 1);
}

fn spawn_program() {
    let output = tempfile::tempfile().unwrap();
    let (trace, events) = recorded();
    let script = "echo three >&3; echo \"$WORD\" >&3; ls /proc/self/fd | wc -l >&3; exit 9";
    let program = Spawn {
        role: "shim",
        path: "/bin/sh".into(),
        argv: ["sh", "-c", script].map(Into::into).to_vec(),
        env: vec!["WORD=otter".into(), "PATH=/bin:/usr/bin".into()],
        descriptors: vec![(output.as_fd(), 3)],
        session: true,
    };
    let exit = spawn(&trace, &program).unwrap().wait(&trace).unwrap();
    assert_eq!(exit, Exit::Status(9));
    let mut output = &output;
    output.rewind().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    // 0, 1, 2, 3, and the one that ls reads the folder with.
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["three", "otter", "5"]);
    assert_eq!(events.kinds(), ["process.spawn", "process.exit", "process.reap"]);

    let missing = Spawn { path: "/no/such/program".into(), argv: vec!["x".into()], ..program };
    assert_eq!(spawn(&trace, &missing).unwrap_err().errno(), Some(libc::ENOENT));
}

fn exec_errors() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "no program").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (trace, events) = recorded();
    let attempt = |path: &Path, directory: &Path| {
        let program = Program { path: path.to_owned(), argv: vec!["x".into()], env: Vec::new() };
        exec(&trace, &program, directory).errno()
    };
    let top = Path::new("/");
    assert_eq!(attempt(&script, top), Some(libc::ENOEXEC));
    assert_eq!(attempt(Path::new("/no/such"), top), Some(libc::ENOENT));
    assert_eq!(attempt(Path::new("/etc/passwd"), top), Some(libc::EACCES));
    assert_eq!(attempt(Path::new("/bin/true"), Path::new("/no/such")), Some(libc::ENOENT));
    assert_eq!(events.kinds(), ["process.exec!"; 4]);
    let found = Program::find(vec!["true".into()], vec!["PATH=/bin".into()]).unwrap();
    let exit = run(&Child::default(), || {
        exec(&Trace::off(), &found, top);
        1
    });
    assert_eq!(exit, Exit::Status(0));
}

fn exec_signals() {
    let output = tempfile::NamedTempFile::new().unwrap();
    let _blocked = SignalFd::new(&[Signal::CHLD, Signal::TERM]).unwrap();
    let script = format!("grep -E 'Sig(Blk|Ign)' /proc/self/status > {}", output.path().display());
    let program =
        Program::find(["/bin/sh", "-c", &script].map(Into::into).to_vec(), vec!["PATH=/bin:/usr/bin".into()])
            .unwrap();
    let exit = run(&Child::default(), || {
        exec(&Trace::off(), &program, Path::new(""));
        1
    });
    assert_eq!(exit, Exit::Status(0));
    let mut text = String::new();
    File::open(output.path()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("0000000000000000").count(), 2, "{text}");
}
