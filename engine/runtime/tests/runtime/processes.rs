//! Further processes in a container.

use std::io::Write;
use std::net::Shutdown;

use glassdock_runtime::oci::Process;
use glassdock_runtime::{Error, ExecSpec, Notice, Streams};
use glassdock_trace::Trace;

use crate::life::assert_nothing_left;
use crate::support::{Fixture, Running, eventually, frames, notices, requires_root_and_busybox, rest};

const OUT: Streams = Streams { stdin: false, stdout: true, stderr: true };

fn spec(id: &str, command: &str) -> ExecSpec {
    ExecSpec {
        id: id.into(),
        process: Process {
            args: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".into(), "WHERE=exec".into()],
            cwd: "/tmp".into(),
            ..Process::default()
        },
        attach: Some(OUT),
        ..ExecSpec::default()
    }
}

fn idle() -> (Fixture, Running) {
    let mut container = Fixture::new(&["sleep", "100"]);
    let running = container.create().unwrap();
    running.shim.start().unwrap();
    (container, running)
}

#[test]
fn in_the_containers_world() {
    if !requires_root_and_busybox() {
        return;
    }
    let (container, running) = idle();
    let script = "for n in mnt pid net uts ipc cgroup; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done; hostname; echo $WHERE; pwd; grep -E 'CapEff|Seccomp:' /proc/self/status; cat /proc/self/cgroup >&2; exit 3";
    let execed = running.shim.exec(&spec("e1", script), &Trace::off(), None).unwrap();
    let (stdout, stderr) = frames(execed.stream.unwrap());
    assert_eq!(stdout, "otter\nexec\n/tmp\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    assert!(stderr.lines().filter(|line| !line.contains("::")).all(|line| line.ends_with(":/")), "{stderr}");
    eventually("the status is known", || running.shim.exec_status("e1").unwrap() == Some(3));
    running.kill();
    assert_nothing_left(&container);
}

#[test]
fn with_input_user_and_notice() {
    if !requires_root_and_busybox() {
        return;
    }
    let (_container, running) = idle();
    let watch = running.shim.watch().unwrap();
    let mut cat = spec("cat", "id -u; cat");
    cat.open_stdin = true;
    cat.user = Some("alice".into());
    cat.attach = Some(Streams { stdin: true, ..OUT });
    let mut stream = running.shim.exec(&cat, &Trace::off(), None).unwrap().stream.unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames(stream).0, "1000\nhello");
    eventually("the status is known", || running.shim.exec_status("cat").unwrap() == Some(0));
    running.kill();
    let notices = notices(watch);
    assert!(notices.contains(&Notice::ExecExited { id: "cat".into(), status: 0 }), "{notices:?}");
}

#[test]
fn with_a_terminal() {
    if !requires_root_and_busybox() {
        return;
    }
    let (_container, running) = idle();
    let mut shell = spec("t", "tty; stty size");
    shell.process.terminal = true;
    shell.process.console_size = Some(glassdock_runtime::oci::ConsoleSize { height: 30, width: 90 });
    let stream = running.shim.exec(&shell, &Trace::off(), None).unwrap().stream.unwrap();
    assert_eq!(rest(stream), "/dev/pts/0\r\n30 90\r\n");
    running.kill();
}

#[test]
fn detached_and_ended_with_the_container() {
    if !requires_root_and_busybox() {
        return;
    }
    let (container, running) = idle();
    let mut detached = spec("d", "sleep 100");
    detached.attach = None;
    assert!(running.shim.exec(&detached, &Trace::off(), None).unwrap().stream.is_none());
    assert_eq!(running.shim.exec_status("d").unwrap(), None);
    assert!(running.shim.exec(&detached, &Trace::off(), None).is_err(), "the id is taken");
    running.kill();
    assert_nothing_left(&container);
}

#[test]
fn what_can_not_be_executed() {
    if !requires_root_and_busybox() {
        return;
    }
    let (_container, running) = idle();
    let mut foo = spec("foo", "");
    foo.process.args = vec!["foo".into()];
    match running.shim.exec(&foo, &Trace::off(), None) {
        Err(Error::Step(failed)) => {
            assert_eq!(failed.message, r#"exec: "foo": executable file not found in $PATH"#);
            assert_eq!(failed.status, 127);
        }
        other => panic!("{other:?}"),
    }
    let mut nowhere = spec("nowhere", "true");
    nowhere.process.cwd = "/does/not/exist".into();
    assert!(running.shim.exec(&nowhere, &Trace::off(), None).is_err());
    let mut nobody = spec("nobody", "true");
    nobody.user = Some("bob".into());
    assert!(running.shim.exec(&nobody, &Trace::off(), None).is_err());
    // And the container goes on.
    assert_eq!(
        frames(running.shim.exec(&spec("ok", "echo ok"), &Trace::off(), None).unwrap().stream.unwrap()).0,
        "ok\n"
    );
    running.kill();
}
