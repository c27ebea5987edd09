//! Output, input, the log, terminals, and clients that stall.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use glassdock_runtime::Streams;
use glassdock_runtime::bundle::Stdin;
use glassdock_runtime::log::{Query, Reader};

use crate::support::{Fixture, exit_of, frames, requires_root_and_busybox, rest};

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };
const OUT: Streams = Streams { stdin: false, stdout: true, stderr: true };

#[test]
fn both_outputs_are_told_apart_and_logged() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("echo out; sleep 0.05; echo err >&2; sleep 0.05; printf unfinished");
    let ran = container.run().unwrap();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nunfinished", "err\n"));
    let query = Query { stdout: true, stderr: true, ..Query::default() };
    let mut reader = Reader::open(&container.bundle().path("container.log"), 1, &query).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push((entry.stream, entry.log));
    }
    let expected = [("stdout", "out\n"), ("stderr", "err\n"), ("stdout", "unfinished")];
    assert_eq!(entries, expected.map(|(stream, log)| (stream.to_owned(), log.to_owned())));
}

#[test]
fn input_with_an_end() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::new(&["cat"]);
    container.extras.stdin = Stdin::Once;
    let running = container.create().unwrap();
    let mut attached = running.shim.attach(ALL).unwrap();
    let watch = running.shim.watch().unwrap();
    running.shim.start().unwrap();
    let sent = "line\n".repeat(100_000);
    let reader = attached.try_clone().unwrap();
    let reader = std::thread::spawn(move || frames(reader));
    attached.write_all(sent.as_bytes()).unwrap();
    attached.shutdown(Shutdown::Write).unwrap();
    let (stdout, _) = reader.join().unwrap();
    assert!(stdout == sent, "{} bytes of {}", stdout.len(), sent.len());
    assert_eq!(exit_of(watch).status, 0);
    running.ends();
}

#[test]
fn open_input_survives_its_clients() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("read a; read b; echo $a $b");
    container.extras.stdin = Stdin::Open;
    let running = container.create().unwrap();
    let watch = running.shim.watch().unwrap();
    running.shim.start().unwrap();
    for word in ["one\n", "two\n"] {
        let mut attached = running.shim.attach(ALL).unwrap();
        attached.write_all(word.as_bytes()).unwrap();
        attached.shutdown(Shutdown::Write).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    exit_of(watch);
    running.ends();
    let log = std::fs::read_to_string(container.bundle().path("container.log")).unwrap();
    assert!(log.contains("one two"), "{log}");
}

#[test]
fn no_input_is_the_null_device() {
    if !requires_root_and_busybox() {
        return;
    }
    let ran = Fixture::shell("readlink /proc/self/fd/0; cat").run().unwrap();
    assert_eq!(ran.stdout, "/dev/null\n");
}

#[test]
fn a_client_that_half_closed_still_gets_output() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("sleep 0.2; echo late");
    let running = container.create().unwrap();
    let attached = running.shim.attach(OUT).unwrap();
    attached.shutdown(Shutdown::Write).unwrap();
    running.shim.start().unwrap();
    assert_eq!(frames(attached).0, "late\n");
    running.ends();
}

#[test]
fn a_stalled_client_holds_nobody_up_for_long() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("seq 1 300000");
    let running = container.create().unwrap();
    let stalled = running.shim.attach(OUT).unwrap();
    let good = running.shim.attach(OUT).unwrap();
    let watch = running.shim.watch().unwrap();
    let begin = Instant::now();
    running.shim.start().unwrap();
    let (stdout, _) = frames(good);
    assert_eq!(stdout.lines().count(), 300_000);
    assert_eq!(exit_of(watch).status, 0);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    drop(stalled);
    running.ends();
    let log = std::fs::read_to_string(container.bundle().path("container.log")).unwrap();
    assert_eq!(log.lines().count(), 300_000);
}

#[test]
fn a_terminal_left_can_be_come_back_to() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("read line; echo got $line");
    container.process().terminal = true;
    container.extras.stdin = Stdin::Once;
    let running = container.create().unwrap();
    let first = running.shim.attach(ALL).unwrap();
    running.shim.start().unwrap();
    drop(first);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut second = running.shim.attach(ALL).unwrap();
    second.write_all(b"hello\n").unwrap();
    assert!(rest(second).contains("got hello\r\n"));
    running.ends();
}

#[test]
fn a_terminal() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell(
        "tty; stty size; test -c /dev/console && echo console; read line; stty size; echo got $line",
    );
    container.process().terminal = true;
    container.process().console_size = Some(glassdock_runtime::oci::ConsoleSize { height: 24, width: 80 });
    container.extras.stdin = Stdin::Open;
    let running = container.create().unwrap();
    let mut attached = running.shim.attach(ALL).unwrap();
    running.shim.start().unwrap();
    let mut seen = String::new();
    let mut chunk = [0_u8; 1024];
    while !seen.contains("console") {
        let length = attached.read(&mut chunk).unwrap();
        assert_ne!(length, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    running.shim.resize(None, 50, 132).unwrap();
    attached.write_all(b"hello\n").unwrap();
    seen.push_str(&rest(attached));
    running.ends();
    for expected in ["/dev/pts/0\r\n", "24 80\r\n", "50 132\r\n", "got hello\r\n"] {
        assert!(seen.contains(expected), "{expected:?} is not in {seen:?}");
    }
}
