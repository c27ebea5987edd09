//! Does the trace tell the truth? `strace` and the wire are the judges.
//!
//! The daemon runs under strace(1), and behind a proxy that writes down each
//! request to the registry. For a pull and a run, what the kernel saw and what the
//! trace tells must be the same, act for act: no mount, namespace, device or
//! request more, none less.

#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

mod kernel;
mod lab;
mod reading;
mod wire;

use std::collections::BTreeMap;

use kernel::Syscalls;
use lab::Lab;

/// What was done how often.
type Tally = BTreeMap<String, usize>;

#[test]
fn each_act_of_a_run_that_the_kernel_saw_is_in_the_trace_and_nothing_else() {
    let Some(lab) = Lab::start() else { return };
    lab.glassdock(&["pull", "-q", "busybox"]);
    for words in [
        &["run", "--rm", "busybox", "true"][..],
        &[
            "run",
            "--rm",
            "--network",
            "none",
            "--tmpfs",
            "/scratch",
            "-v",
            "/etc:/host:ro",
            "--read-only",
            "busybox",
            "true",
        ],
        &["run", "--rm", "--network", "host", "--uts", "host", "busybox", "true"],
        &["run", "--rm", "--privileged", "busybox", "true"],
    ] {
        let mark = lab.syscalls_so_far();
        let events = lab.traced(words);
        let seen = Syscalls::read(&lab.strace(), mark).tally();
        let told = kernel::told(&events);
        assert_eq!(seen, told, "left: strace, right: the trace, of {words:?}");
        assert!(seen.values().sum::<usize>() > 10, "strace saw a run: {seen:?}");
    }
}

#[test]
fn each_request_of_a_search_that_the_wire_saw_is_in_the_trace_and_nothing_else() {
    let Some(lab) = Lab::start() else { return };
    let events = lab.traced(&["search", "--filter", "stars=3", "--limit", "5", "java"]);
    let (seen, told) = (lab.wire(), wire::told(&events));
    assert_eq!(seen, told, "left: the wire, right: the trace");
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn each_request_of_a_pull_that_the_wire_saw_is_in_the_trace_and_nothing_else() {
    let Some(lab) = Lab::start() else { return };
    let events = lab.traced(&["pull", "busybox"]);
    let (seen, told) = (lab.wire(), wire::told(&events));
    assert_eq!(seen, told, "left: the wire, right: the trace");
    assert!(seen.len() >= 4, "an index, a manifest, a configuration, a layer: {seen:?}");
}

#[test]
fn a_command_that_asks_the_daemon_for_nothing_ends_its_trace_all_the_same() {
    let Some(lab) = Lab::start() else { return };
    let told = lab.refused(&["run", "--trace", "–i", "busybox"]);
    assert!(told.contains("exit status 125") && told.contains("invalid reference format"), "{told}");
}

#[test]
fn an_exec_into_a_container_joins_what_the_trace_says() {
    let Some(lab) = Lab::start() else { return };
    lab.glassdock(&["run", "-d", "--name", "long", "busybox", "sleep", "60"]);
    let mark = lab.syscalls_so_far();
    let events = lab.traced(&["exec", "long", "true"]);
    let seen = Syscalls::read(&lab.strace(), mark).tally();
    assert_eq!(seen, kernel::told(&events), "left: strace, right: the trace");
    assert!(seen.keys().any(|act| act.starts_with("join")), "an exec joins namespaces: {seen:?}");
    lab.glassdock(&["rm", "-f", "long"]);
}
