//! A run that is interrupted, or killed, leaves nothing behind for long.

#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says what it lacks")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use glassdock_lesson::leftovers;
use glassdock_lesson::need::Need;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

const LESSON: &str = "format: 1
id: 01-long
chapter: 1
minutes: 1
title: {en: Long, zh: 长}
about: {en: Long, zh: 长}
needs: [root]
images: []
steps:
  - id: sleep
    say: {en: Long, zh: 长}
    do: sleep 300
    timeout: 400
    check: [{script: 'false'}]
    wrong: ['true']
";

/// A folder for temporary folders, so that a run of this test meets no other's.
struct Place {
    _keep: tempfile::TempDir,
    temporary: PathBuf,
    scenarios: PathBuf,
}

fn place() -> Place {
    let keep = tempfile::tempdir().expect("a folder");
    let (temporary, scenarios) = (keep.path().join("tmp"), keep.path().join("scenarios"));
    std::fs::create_dir(&temporary).expect("a folder");
    std::fs::create_dir(&scenarios).expect("a folder");
    std::fs::write(scenarios.join("01-long.yaml"), LESSON).expect("a file");
    Place { _keep: keep, temporary, scenarios }
}

fn start(place: &Place) -> Child {
    Command::new(env!("CARGO_BIN_EXE_glassdock-lesson"))
        .args(["check", "--scenarios"])
        .arg(&place.scenarios)
        .env("TMPDIR", &place.temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the runner starts")
}

fn can_run() -> bool {
    let beside = Path::new(env!("CARGO_BIN_EXE_glassdock-lesson")).with_file_name("glassdock");
    let missing = Need::ALL.iter().find_map(|need| need.probe().err());
    if let Some(missing) = missing {
        eprintln!("skipped: {missing}");
        return false;
    }
    if !beside.is_file() {
        eprintln!("skipped: there is no {}", beside.display());
    }
    beside.is_file()
}

/// Waits until the lab's daemon listens.
fn wait_for_lab(place: &Place, run: &mut Child) {
    let began = Instant::now();
    loop {
        let labs = std::fs::read_dir(&place.temporary).expect("the folder").flatten();
        if labs.map(|lab| lab.path().join("run/glassdock.sock")).any(|socket| socket.exists()) {
            return;
        }
        if began.elapsed() > Duration::from_secs(60) {
            // Before the test fails, the run must be over: nobody else would end it.
            let _ = run.kill();
            panic!("no lab came up");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
    pidfd_send_signal(&descriptor, signal).expect("a signal can be sent");
}

fn left(place: &Place) -> Vec<String> {
    leftovers::find(&place.temporary, "no-bridge", &[])
}

#[test]
fn an_interrupted_run_takes_its_lab_down() {
    if !can_run() {
        return;
    }
    let place = place();
    let mut run = start(&place);
    wait_for_lab(&place, &mut run);
    send(&run, Signal::INT);
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    assert_eq!(left(&place), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(&place.temporary).expect("the folder").count(), 0);
}

#[test]
fn what_a_killed_run_left_the_next_one_clears() {
    if !can_run() {
        return;
    }
    let place = place();
    let mut killed = start(&place);
    wait_for_lab(&place, &mut killed);
    let lab =
        || std::fs::read_dir(&place.temporary).expect("the folder").flatten().next().map(|lab| lab.path());
    let first = lab().expect("a lab");
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    assert!(!left(&place).is_empty(), "the daemon lives on");

    // The slot is free again; only a run that claims the same one clears it. Another
    // test may hold it for a while.
    for _ in 0..20 {
        let mut next = start(&place);
        wait_for_lab(&place, &mut next);
        std::thread::sleep(Duration::from_millis(500));
        send(&next, Signal::TERM);
        next.wait().expect("it ends");
        if !first.exists() {
            break;
        }
    }
    assert!(!first.exists(), "the dead run's folder is still there");
    assert_eq!(left(&place), Vec::<String>::new());
}
