//! From create to the end, and what is left: nothing.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use glassdock_runtime::{Error, Shim, Status};
use glassdock_trace::Trace;

use crate::support::{Fixture, eventually, exit_of, requires_root_and_busybox};

#[test]
fn exit_statuses() {
    if !requires_root_and_busybox() {
        return;
    }
    for status in [0, 1, 42, 255] {
        let mut container = Fixture::shell(&format!("exit {status}"));
        let ran = container.run().unwrap();
        assert_eq!(ran.exit.status, status);
        assert_eq!(container.bundle().exit().unwrap(), Some(ran.exit));
    }
}

#[test]
fn signals() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container =
        Fixture::shell("trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    let running = container.create().unwrap();
    let mut attached = running
        .shim
        .attach(glassdock_runtime::Streams { stdin: false, stdout: true, stderr: false })
        .unwrap();
    let watch = running.shim.watch().unwrap();
    running.shim.start().unwrap();
    // As `ps` shows it.
    let name = fs::read_to_string(format!("/proc/{}/comm", running.shim.state().unwrap().shim_pid)).unwrap();
    assert_eq!(name, "glassdock-shim\n");
    attached.read_exact(&mut [0; 14]).unwrap();
    running.shim.kill(15, false, &Trace::off()).unwrap();
    assert_eq!(exit_of(watch).status, 7);
    running.ends();

    let mut container = Fixture::new(&["sleep", "100"]);
    let running = container.create().unwrap();
    let watch = running.shim.watch().unwrap();
    running.shim.start().unwrap();
    // The first process of a pid namespace ignores what it does not handle, but not this.
    running.shim.kill(9, true, &Trace::off()).unwrap();
    let exit = exit_of(watch);
    assert_eq!((exit.status, exit.signal), (137, Some(9)));
    running.ends();
    assert!(running.shim.kill(65, false, &Trace::off()).is_err());
}

#[test]
fn what_can_not_be_executed() {
    if !requires_root_and_busybox() {
        return;
    }
    let cases = [
        ("foo", 127, r#"exec: "foo": executable file not found in $PATH"#),
        ("/bin/foo", 127, r#"exec: "/bin/foo": stat /bin/foo: no such file or directory"#),
        ("/etc/passwd", 126, r#"exec: "/etc/passwd": permission denied"#),
        ("/etc", 126, r#"exec: "/etc": is a directory"#),
        ("/bin/sh/x", 126, r#"exec: "/bin/sh/x": stat /bin/sh/x: not a directory"#),
    ];
    for (program, status, message) in cases {
        let mut container = Fixture::new(&[program]);
        match container.run() {
            Err(Error::Step(failed)) => {
                assert_eq!(
                    (failed.step.as_str(), failed.status, failed.message.as_str()),
                    ("exec", status, message)
                );
            }
            other => panic!("{program}: {other:?}"),
        }
        assert_nothing_left(&container);
        assert_eq!(container.bundle().exit().unwrap(), None);
    }
}

#[test]
fn what_the_kernel_does_not_take_for_a_program_says_so_and_ends() {
    if !requires_root_and_busybox() {
        return;
    }
    for (name, content, reason) in [
        ("garbage", "\x01\x02garbage", "exec format error"),
        ("empty", "", "exec format error"),
        ("lost", "#!/no/pe\n", "no such file or directory"),
    ] {
        let mut container = Fixture::new(&[&format!("/bin/{name}")]);
        let file = container.folder.path().join("lower/bin").join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let ran = container.run().unwrap();
        assert_eq!((ran.stderr, ran.exit.status), (format!("exec /bin/{name}: {reason}\n"), 1));
        assert_nothing_left(&container);
    }
}

#[test]
fn a_shim_whose_folder_is_removed_before_the_start_ends() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("true");
    let running = container.create().unwrap();
    running.shim.ready().unwrap();
    fs::remove_dir_all(container.bundle().folder()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        running.ends();
        let _ = sender.send(());
    });
    receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("the shim ends by itself");
    assert_nothing_left(&container);
}

#[test]
fn a_step_that_fails_leaves_nothing() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("true");
    container.spec.mounts.push(glassdock_runtime::oci::Mount {
        destination: "/x".into(),
        kind: Some("bind".into()),
        source: Some("/does/not/exist".into()),
        options: Vec::new(),
    });
    match container.run() {
        Err(Error::Step(failed)) => {
            assert_eq!(failed.step, "mounts");
            assert!(failed.message.contains("/does/not/exist"), "{failed:?}");
            assert_eq!(failed.errno, Some(2));
        }
        other => panic!("{other:?}"),
    }
    assert_nothing_left(&container);
}

#[test]
fn bundles_that_can_not_be_right() {
    if !requires_root_and_busybox() {
        return;
    }
    type Spoil = (&'static str, fn(&mut Fixture));
    let spoil: [Spoil; 6] = [
        ("no process", |container| container.spec.process = None),
        ("no args", |container| container.process().args.clear()),
        ("unknown namespace", |container| container.linux().namespaces[0].kind = "moon".into()),
        ("namespace twice", |container| {
            let again = container.linux().namespaces[0].clone();
            container.linux().namespaces.push(again);
        }),
        ("unknown action", |container| {
            container.linux().seccomp.as_mut().unwrap().default_action = "SCMP_ACT_SING".into();
        }),
        ("unknown capability", |container| {
            container.process().capabilities.as_mut().unwrap().bounding.push("CAP_FLY".into());
        }),
    ];
    for (name, spoil) in spoil {
        let mut container = Fixture::shell("true");
        spoil(&mut container);
        assert!(matches!(container.create(), Err(Error::Step(_))), "{name}");
        assert_nothing_left(&container);
    }
    let mut container = Fixture::shell("true");
    container.extras.user = Some("nobody-here".into());
    match container.run() {
        Err(Error::Step(failed)) => {
            assert!(failed.message.contains("unable to find user nobody-here"), "{failed:?}")
        }
        other => panic!("{other:?}"),
    }
    assert_nothing_left(&container);
    for text in ["", "{", "[]", "{\"ociVersion\":1}", "null"] {
        let container = Fixture::shell("true");
        fs::write(container.bundle().path("config.json"), text).unwrap();
        assert!(container.bundle().spec().is_err(), "{text:?}");
    }
}

#[test]
fn the_daemon_dies_and_comes_back() {
    if !requires_root_and_busybox() {
        return;
    }
    // The daemon here is a process of its own: this test's binary, asked for one test only.
    let bundle = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut daemon = std::process::Command::new(program)
        .args(["--exact", "life::as_a_daemon_that_dies", "--nocapture"])
        .env("GLASSDOCK_TEST_DAEMON", bundle.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = bundle.path().join("told");
    eventually("the container runs", || told.exists());
    let folder = fs::read_to_string(&told).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let bundle = glassdock_runtime::Bundle::new(&folder);
    let shim = Shim::connect(&bundle).unwrap();
    assert_eq!(shim.state().unwrap().status, Status::Running);
    let watch = shim.watch().unwrap();
    let mut attached =
        shim.attach(glassdock_runtime::Streams { stdin: true, stdout: true, stderr: true }).unwrap();
    attached.write_all(b"5\n").unwrap();
    assert_eq!(exit_of(watch).status, 5);
    assert_eq!(bundle.exit().unwrap().map(|exit| exit.status), Some(5));
    let log = fs::read_to_string(bundle.path("container.log")).unwrap();
    assert!(log.contains("got 5"), "{log}");
    eventually("the socket is gone", || !bundle.path("shim.sock").exists());
    fs::remove_dir_all(Path::new(&folder).parent().unwrap()).unwrap();
}

/// Not a test of its own: the daemon of the test above.
#[test]
fn as_a_daemon_that_dies() {
    let Some(told) = std::env::var_os("GLASSDOCK_TEST_DAEMON") else { return };
    let mut container = Fixture::shell("read status; echo got $status; exit $status");
    container.extras.stdin = glassdock_runtime::bundle::Stdin::Open;
    let running = container.create().unwrap();
    running.shim.start().unwrap();
    let folder = container.bundle().folder().display().to_string();
    fs::write(Path::new(&told).join("told.new"), folder).unwrap();
    fs::rename(Path::new(&told).join("told.new"), Path::new(&told).join("told")).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn pause_and_unpause() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("while :; do echo tick; sleep 0.02; done");
    let running = container.create().unwrap();
    running.shim.start().unwrap();
    let log = container.bundle().path("container.log");
    let size = || fs::metadata(&log).map_or(0, |meta| meta.len());
    eventually("it ticks", || size() > 0);
    if let Err(error) = running.shim.pause(&Trace::off()) {
        eprintln!("skipped: {error}");
        running.kill();
        return;
    }
    assert_eq!(running.shim.state().unwrap().status, Status::Paused);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let frozen = size();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(size(), frozen);
    running.shim.unpause(&Trace::off()).unwrap();
    eventually("it ticks again", || size() > frozen);
    // A kill reaches a frozen container too.
    running.shim.pause(&Trace::off()).unwrap();
    running.kill();
    assert_nothing_left(&container);
}

#[test]
fn out_of_memory_is_noticed() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("dd if=/dev/zero of=/dev/null bs=200M count=1; tail /dev/zero");
    container.linux().resources = Some(glassdock_runtime::oci::Resources {
        memory: Some(glassdock_runtime::oci::Memory {
            limit: Some(16 << 20),
            swap: Some(16 << 20),
            ..Default::default()
        }),
        ..Default::default()
    });
    let ran = container.run().unwrap();
    assert!(ran.exit.oom_killed, "{ran:?}");
}

#[test]
fn a_start_twice_and_a_kill_before_it() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::new(&["sleep", "100"]);
    let running = container.create().unwrap();
    running.shim.ready().unwrap();
    assert_eq!(running.shim.state().unwrap().status, Status::Created);
    running.kill();
    assert_eq!(container.bundle().exit().unwrap().map(|exit| exit.status), Some(137));
    assert_nothing_left(&container);
    assert!(matches!(running.shim.start(), Err(Error::Gone { .. })));
}

#[test]
fn a_deep_root() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("echo deep");
    let deep = container.folder.path().join("d".repeat(90)).join("e".repeat(90)).join("bundle");
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    fs::rename(container.folder.path().join("bundle"), &deep).unwrap();
    std::os::unix::fs::symlink(&deep, container.folder.path().join("bundle")).unwrap();
    assert_eq!(container.run().unwrap().stdout, "deep\n");
}

#[test]
fn nothing_is_left_behind() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("sleep 100 & sleep 200 & echo started");
    let ran = container.run().unwrap();
    assert_eq!(ran.stdout, "started\n");
    assert_nothing_left(&container);
}

/// No mount, no control group, no process, no socket.
pub(crate) fn assert_nothing_left(container: &Fixture) {
    let folder = container.folder.path().to_string_lossy().into_owned();
    eventually("the socket is gone", || !container.bundle().path("shim.sock").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&folder), "a mount is left");
    let groups = || {
        let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        trees
            .map(|tree| tree.path().join("glassdock-tests").join(&container.extras.id))
            .filter(|path| path.exists())
            .count()
    };
    eventually("the control groups are gone", || groups() == 0);
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        assert!(!command.contains(&folder), "a process is left: {command}");
    }
}
