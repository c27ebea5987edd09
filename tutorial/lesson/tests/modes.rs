//! The ways for people, by the binary itself: played by keys, recorded, replayed without an
//! engine, learnt in a shell; and what their exit statuses say.

#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says what it lacks")]

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use glassdock_lesson::leftovers;
use glassdock_lesson::need::Need;

const LESSON: &str = "format: 1
id: 01-short
chapter: 1
minutes: 1
title: {en: Short, zh: 短}
about: {en: A short one., zh: 很短的一课。}
needs: [root, overlayfs]
images: [hello-world]
steps:
  - id: pull
    say: {en: Pull it., zh: 拉取它。}
    predict:
      ask: {en: How many layers?, zh: 几层？}
      trace: {kind: layer.unpack}
      answer: 1
    do: docker pull -q hello-world
    check:
      - engine: {image: hello-world, state: present}
    wrong: [docker images]
    hints:
      - after: 1
        say: {en: It is pull., zh: 用 pull。}
      - reveal: true
  - id: list
    say: {en: List it., zh: 列出它。}
    files: {notes/list.txt: take note}
    do: test -s notes/list.txt && docker images
    check:
      - command: {exit: 0, says: [hello-world]}
    wrong: ['true']
    learned: {en: Now you know., zh: 现在你知道了。}
    notes: {en: Smile., zh: 微笑。}
";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A folder with one lesson, and one for temporary files, so that this meets no other test.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("scenarios")).expect("a folder");
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder");
        std::fs::write(folder.path().join("scenarios/01-short.yaml"), LESSON).expect("a file");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glassdock-lesson"));
        command.args(arguments).arg("--scenarios").arg(self.path("scenarios"));
        command.env("TMPDIR", self.path("tmp")).env("LANG", "C.UTF-8").env_remove("LC_ALL");
        command.current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str], keys: &str) -> (i32, String) {
        typed(self.command(arguments), keys)
    }

    fn left(&self) -> Vec<String> {
        leftovers::find(&self.path("tmp"), "no-bridge", &[])
    }
}

/// Runs a command with this as its input; its status, and both outputs.
fn typed(mut command: Command, keys: &str) -> (i32, String) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(keys.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "");
    (status.code().unwrap_or(-1), text(&stdout) + &text(&stderr))
}

fn can_run() -> bool {
    let beside = Path::new(env!("CARGO_BIN_EXE_glassdock-lesson")).with_file_name("glassdock");
    if let Some(missing) = Need::ALL.iter().find_map(|need| need.probe().err()) {
        eprintln!("skipped: {missing}");
        return false;
    }
    if !beside.is_file() {
        eprintln!("skipped: there is no {}", beside.display());
    }
    beside.is_file()
}

#[test]
fn a_key_runs_a_command() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let (status, screen) = place.run(&["play", "01-short"], "2 ");
    assert_eq!(status, 0, "{screen}");
    for words in [
        "Pull it.",
        "$ docker pull -q hello-world",
        "  docker.io/library/hello-world:latest",
        "layer.unpack",
        "The trace has 1; you said 2.",
        "\n  notes/list.txt\n  │ take note\n",
        "Now you know.",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    assert!(!screen.contains("Smile."), "notes are the teacher's: {screen}");

    let (status, screen) = place.run(&["play", "01-short", "--lang", "zh"], " q");
    assert_eq!(status, 1, "{screen}");
    assert!(screen.contains("轨迹里有 1") && screen.contains("没有到最后就离开了"), "{screen}");
    assert!(!screen.contains("现在你知道了"), "{screen}");
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn a_demo_has_two_columns_and_notes() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let mut demo = place.command(&["demo", "01-short"]);
    demo.env("COLUMNS", "120");
    let (status, screen) = typed(demo, "  ");
    assert_eq!(status, 0, "{screen}");
    let beside =
        |line: &str| line.starts_with("docker.io/library/hello-world:latest") && line.contains("│ operation");
    assert!(screen.lines().any(beside), "{screen}");
    assert!(screen.contains("Smile."), "{screen}");
}

#[test]
fn what_was_recorded_replays_without_an_engine_and_without_privileges() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let (status, said) = place.run(&["record", "01-short", "--output", "short.jsonl"], "");
    assert_eq!((status, said.as_str()), (0, "short.jsonl\n"));
    assert_eq!(place.left(), Vec::<String>::new());

    // As nobody, from a place without scenarios, with no engine to be found.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.folder.path(), open).expect("it is ours");
    let binary = place.path("runner");
    std::fs::copy(env!("CARGO_BIN_EXE_glassdock-lesson"), &binary).expect("a copy");
    let replay = |arguments: &[&str], keys: &str| {
        let mut command = Command::new(&binary);
        command.arg("replay").args(arguments).current_dir("/").env_clear().env("LANG", "C.UTF-8");
        typed(std::mem::replace(command.uid(65534).gid(65534), Command::new("true")), keys)
    };
    let file = place.path("short.jsonl").to_string_lossy().into_owned();
    let (status, screen) = replay(&[&file, "--speed", "0"], "1 ");
    assert_eq!(status, 0, "{screen}");
    for words in [
        "$ docker pull -q hello-world",
        "layer.unpack",
        "The trace has 1. You knew.",
        "│ take note",
        "Now you know.",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    let (status, screen) = replay(&[&file, "--speed", "0", "--auto", "--demo"], "");
    assert_eq!(status, 0, "{screen}");
    assert!(screen.contains("Smile."), "{screen}");
    let (status, said) = replay(&["/etc/hostname"], "");
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("line 1 is none of a recording"), "{said}");
}

#[test]
fn a_lesson_is_learnt_in_a_shell() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let lines = "guess 1\ndocker images\nhint\nIMAGE=hello-world\ndocker pull -q $IMAGE\ntest -s notes/list.txt && docker images\n";
    let (status, screen) = place.run(&["learn", "01-short"], lines);
    assert_eq!(status, 0, "{screen}");
    let after = |words: &str, before: &str| {
        let (first, second) = (screen.find(before), screen.rfind(words));
        assert!(first.is_some() && first < second, "{before} … {words}: {screen}");
    };
    after("FAIL engine:", "Pull it.");
    after("Hint: It is pull.", "FAIL engine:");
    after("$ docker pull -q hello-world", "Hint: It is pull.");
    after("ok   engine:", "docker.io/library/hello-world:latest");
    after("The trace has 1. You knew.", "ok   engine:");
    after("Now you know.", "│ take note");
    after("the lesson is solved", "Now you know.");

    let (status, screen) = place.run(&["learn", "01-short"], "docker images\n");
    assert_eq!(status, 1, "it was not solved: {screen}");
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn statuses_tell_whose_fault_it_is() {
    let place = Place::new();
    assert_eq!(place.run(&["play", "09-nothing"], "").0, 2);
    assert_eq!(place.run(&["replay", "nothing.jsonl"], "").0, 3);
    let (status, list) = place.run(&["list", "--json"], "");
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!((status, &list[0]["id"], &list[0]["minutes"]), (0, &"01-short".into(), &1.into()));
    std::fs::write(place.path("scenarios/02-bad.yaml"), "format: 1\n").expect("a file");
    assert_eq!(place.run(&["learn", "01-short"], "").0, 3);
}
