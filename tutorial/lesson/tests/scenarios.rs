//! Runs every lesson on a real engine, and holds what it printed and traced against
//! `snapshots/`. `cargo insta test --review -p glassdock-lesson` shows and accepts changes.

#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says what it lacks")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use glassdock_lesson::lab::Lab;
use glassdock_lesson::need::Need;
use glassdock_lesson::read::{self, Lesson};
use glassdock_lesson::run::{self, Outcome};
use glassdock_lesson::tools::{Interrupt, Tools};
use glassdock_lesson::{prove, scenario, shell, snapshot};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project's folder")
}

fn lessons() -> Vec<Lesson> {
    read::folder(&project().join("scenarios")).unwrap_or_else(|error| panic!("{error}"))
}

/// The engine's binaries, built with the profile of this test: a lesson must not
/// be held against an engine of yesterday.
fn tools() -> Tools {
    let mut cargo = Command::new(env!("CARGO"));
    // Of the whole workspace: a part of it would have other features, and be built again.
    cargo.args(["build", "--quiet", "--workspace", "--bins"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(
        cargo.current_dir(project()).status().expect("cargo runs").success(),
        "the engine does not build"
    );
    let bin = Path::new(env!("CARGO_BIN_EXE_glassdock-lesson")).parent().expect("a folder").to_owned();
    Tools {
        glassdock: bin.join("glassdock"),
        scenarios: project().join("scenarios"),
        snapshots: project().join("snapshots"),
        interrupt: Interrupt::default(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn the_schema_for_editors_is_current() {
    let path = project().join("scenarios/schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, scenario::schema_text()).expect("the schema can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == scenario::schema_text(),
        "scenarios/schema.json is out of date: UPDATE_SCHEMA=1 cargo test -p glassdock-lesson schema"
    );
}

#[test]
fn no_snapshot_is_an_orphan() {
    let lessons = lessons();
    let ids: Vec<_> = lessons.iter().map(|lesson| lesson.scenario.id.as_str()).collect();
    assert_eq!(snapshot::orphans(&project().join("snapshots"), &ids), Vec::<String>::new());
}

#[test]
fn lessons_print_and_trace_what_their_snapshots_say() {
    let tools = tools();
    let mut failures = Vec::new();
    for lesson in lessons() {
        let outcome = block_on(run::lesson(&lesson, &tools, &mut |_, _| {}));
        if let Some(why) = &outcome.skipped {
            eprintln!("skipped {}: {why}", outcome.id);
            continue;
        }
        failures.extend(outcome.complaints().iter().map(|complaint| format!("{}: {complaint}", outcome.id)));
        if outcome.passed() {
            assert_snapshots(&lesson, &outcome);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn assert_snapshots(lesson: &Lesson, outcome: &Outcome) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(project().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, text) in snapshot::of(outcome) {
        settings.set_description(format!("{}: {name}", lesson.scenario.title.en));
        settings.bind(|| insta::assert_snapshot!(format!("{}.{name}", outcome.id), text));
    }
}

#[test]
fn wrong_answers_do_not_pass() {
    let tools = tools();
    let mut wrong = Vec::new();
    for lesson in lessons() {
        if lesson.scenario.needs.iter().any(|need| need.probe().is_err()) {
            eprintln!("skipped {}", lesson.scenario.id);
            continue;
        }
        let proof = block_on(prove::lesson(&lesson, &tools));
        let all = proof.author.iter().chain(&proof.failures);
        wrong.extend(all.map(|what| format!("{}: {what}", lesson.scenario.id)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_labs_side_by_side_never_meet_and_their_traces_are_as_the_schema_says() {
    if let Some(missing) = Need::ALL.iter().find_map(|need| need.probe().err()) {
        eprintln!("skipped: {missing}");
        return;
    }
    let tools = tools();
    block_on(async {
        let (one, two) = tokio::join!(Lab::open(&tools), Lab::open(&tools));
        let (one, two) = (one.expect("a lab"), two.expect("another lab"));
        let command = "docker run --name same -d busybox sleep 100 && docker ps -q | wc -l && docker exec same hostname -i";
        let (surroundings, limit) = ([one.surroundings(), two.surroundings()], Duration::from_secs(60));
        let (mut no, mut nor) = (|_, _: &[u8]| {}, |_, _: &[u8]| {});
        let ran = tokio::join!(
            shell::run(command, &surroundings[0], limit, &mut no),
            shell::run(command, &surroundings[1], limit, &mut nor)
        );
        let lines = [one.root(), two.root()].map(|root| recorded(&root));
        let left = [one.close().await, two.close().await];

        let (first, second) = (ran.0.expect("sh is there"), ran.1.expect("sh is there"));
        assert_eq!((first.status, second.status), (0, 0), "{first:?} {second:?}");
        let counted = |stdout: &str| stdout.lines().nth(1).map(str::trim).map(str::to_owned);
        assert_eq!([counted(&first.stdout), counted(&second.stdout)], [Some("1".into()), Some("1".into())]);
        assert_ne!(first.stdout.lines().last(), second.stdout.lines().last(), "each has its own subnet");
        assert_eq!(left, [Vec::<String>::new(), Vec::new()]);

        // A test of the trace holds this file against the types.
        let schema = include_str!("../../../engine/trace/schema.json");
        let schema = serde_json::from_str(schema).expect("JSON");
        let schema = jsonschema::validator_for(&schema).expect("a schema");
        for line in lines.iter().flatten() {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let wrong: Vec<_> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{line}: {wrong:?}");
        }
        assert!(lines.iter().all(|lines| lines.len() > 100), "a run has many events");
    });
}

/// Every line of every recording.
fn recorded(root: &Path) -> Vec<String> {
    let files = std::fs::read_dir(root.join("traces")).expect("the recordings").flatten();
    let texts = files.map(|file| std::fs::read_to_string(file.path()).expect("a recording"));
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}
