//! The doors, opened for real: each case runs in a process of its own, most of them in new
//! namespaces, as root. Without root they are skipped, and say so; with
//! `GLASSDOCK_TEST_STRICT=1` that is a failure.
//!
//! There is no libtest here: it runs tests in threads, and a process with threads can't be cloned.
//! `cargo test -p glassdock-kernel --test doors -- WORD` runs the cases whose names have the word.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test program reports on its output")]

mod cgroups;

mod mounts;

mod privileges;

mod processes;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use glassdock_kernel::namespace::{Kind, Set};
use glassdock_kernel::process::{Child, Exit, clone_child};
use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Event, OpId, Sink, Trace};

/// A case: its name, the namespaces that it needs, and what it does. It panics to fail.
struct Case {
    name: &'static str,
    namespaces: &'static [Kind],
    run: fn(),
}

const fn case(name: &'static str, namespaces: &'static [Kind], run: fn()) -> Case {
    Case { name, namespaces, run }
}

fn main() -> ExitCode {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let strict = std::env::var_os("GLASSDOCK_TEST_STRICT").is_some_and(|value| value == "1");
    let cases = [processes::CASES, mounts::CASES, privileges::CASES, cgroups::CASES].concat_cases();
    if !glassdock_kernel::features::Facts::probe().root {
        println!("skipped {} cases: they take root in the first user namespace", cases.len());
        return if strict { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let before = left_behind();
    let mut failed = 0;
    for case in cases.iter().filter(|case| case.name.contains(&word)) {
        let namespaces: Set = case.namespaces.iter().copied().collect();
        let child = Child { role: case.name, namespaces, ..Child::default() };
        let exit = clone_child(&Trace::off(), &child, || {
            (case.run)();
            0
        })
        .and_then(|process| process.wait(&Trace::off()));
        let passed = matches!(exit, Ok(Exit::Status(0)));
        failed += usize::from(!passed);
        println!("{} {}{}", if passed { "ok    " } else { "FAILED" }, case.name, exit_text(passed, &exit));
    }
    let after = left_behind();
    if before != after {
        println!("FAILED something was left behind:\n  before {before:?}\n  after  {after:?}");
        failed += 1;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn exit_text(passed: bool, exit: &dyn std::fmt::Debug) -> String {
    if passed { String::new() } else { format!(" ({exit:?})") }
}

trait Concat {
    fn concat_cases(&self) -> Vec<&'static Case>;
}

impl Concat for [&'static [Case]; 4] {
    fn concat_cases(&self) -> Vec<&'static Case> {
        self.iter().flat_map(|cases| cases.iter()).collect()
    }
}

/// What no case may change: the host's mounts below the cases' workplace, and the groups of this test in every
/// tree. (Other mounts may come and go meanwhile.)
fn left_behind() -> (Vec<String>, Vec<std::path::PathBuf>) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = table.lines().filter(|line| line.contains(" /mnt ") || line.contains("/mnt/layer"));
    (mounts.map(str::to_owned).collect(), cgroups::directories())
}

/// A trace that is kept, and what it recorded.
fn recorded() -> (Trace, Arc<Events>) {
    let events = Arc::new(Events::default());
    let sink: Arc<dyn Sink> = events.clone();
    (Trace::root(OpId::new(), Actor::Init, Origin::now(), sink, Hold::Never), events)
}

#[derive(Default)]
struct Events(Mutex<Vec<Event>>);

impl Sink for Events {
    fn record(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    /// The dotted kinds in order of their ends, points and skips, with a `!` where something failed.
    fn kinds(&self) -> Vec<String> {
        let ended = |event: &&Event| event.phase != glassdock_trace::Phase::Begin;
        let name = |event: &Event| {
            let failed = event.result.as_ref().is_some_and(|result| !result.ok);
            format!("{}{}", event.body.kind().name(), if failed { "!" } else { "" })
        };
        self.0.lock().unwrap().iter().filter(ended).map(name).collect()
    }

    /// All lines of evidence for a kind.
    fn evidence(&self, kind: &str) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let events = events.iter().filter(|event| event.body.kind().name() == kind);
        events.flat_map(|event| &event.evidence).flat_map(|evidence| evidence.lines.clone()).collect()
    }
}
