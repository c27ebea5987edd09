//! `glassdock-lesson`: lists, checks and starts lessons. People call it as `glassdock lesson …`.

#![expect(clippy::print_stderr, reason = "a command line's work is to print")]

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use glassdock_lesson::read::{self, Lesson};
use glassdock_lesson::report::{self, Manner};
use glassdock_lesson::run::{self, Outcome};
use glassdock_lesson::tools::Tools;
use glassdock_lesson::{doctor, prove, snapshot, template};
use tokio::signal::unix::{SignalKind, signal};

/// The lessons of the book: list them, and check that each still works.
#[derive(Debug, Parser)]
#[command(name = "glassdock lesson", version, arg_required_else_help = true)]
struct Line {
    /// The folder of the scenario files.
    #[arg(long, value_name = "DIR", global = true)]
    scenarios: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the lessons.
    List {
        /// As JSON: ids, chapters, needs and minutes.
        #[arg(long)]
        json: bool,
    },
    /// Run lessons without a student, and check them.
    #[command(after_help = "\
Exit status: 0 all that ran passed; 1 a lesson failed; 2 wrong usage; 3 a scenario file is
wrong; 4 this machine lacks what every lesson needs; 130 interrupted.

Examples:
  glassdock lesson check              # all
  glassdock lesson check 3            # those of chapter 3
  glassdock lesson check 03-pull")]
    Check(Check),
    /// Say what this machine has, and what it lacks for the lessons.
    Doctor {
        /// Install what is missing, where a package brings it.
        #[arg(long)]
        install: bool,
    },
    /// Write the beginning of a new scenario file.
    New {
        /// The lesson's id, such as 03-tags; the number is the chapter's.
        id: String,
    },
    /// Print the JSON Schema of scenario files, for editors.
    Schema,
}

#[derive(Debug, Args)]
struct Check {
    /// Chapters or ids; all lessons without one.
    #[arg(value_name = "CHAPTER|ID")]
    which: Vec<String>,
    /// Write a report as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the report as JSON, and nothing else.
    #[arg(long)]
    json: bool,
    /// Print the lessons' names and what is wrong, and nothing else.
    #[arg(long, short)]
    quiet: bool,
    /// Print the evidence under the steps of the trace, too.
    #[arg(long)]
    evidence: bool,
    /// Leave out the proof that wrong answers fail.
    #[arg(long)]
    no_wrong: bool,
    /// Report snapshots that no lesson has.
    #[arg(long)]
    orphans: bool,
}

/// Prints text as it is. Who closes the pipe has seen enough; that is no error of ours.
fn say_whole(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints a line.
macro_rules! say {
    ($($words:tt)*) => { say_whole(&(format!($($words)*) + "\n")) };
}

/// What the exit statuses mean; the help of `check` says the same.
mod status {
    pub(super) const FAILED: u8 = 1;
    pub(super) const AUTHOR: u8 = 3;
    pub(super) const SKIPPED: u8 = 4;
    pub(super) const INTERRUPTED: u8 = 130;
}

fn main() -> ExitCode {
    let line = Line::parse();
    match line.command {
        Command::List { json } => list(line.scenarios, json),
        Command::Check(check) => {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return fail("cannot start an asynchronous runtime", status::FAILED);
            };
            runtime.block_on(checked(line.scenarios, check))
        }
        Command::Doctor { install } => examine(line.scenarios, install),
        Command::New { id } => new(line.scenarios, &id),
        Command::Schema => {
            say_whole(&glassdock_lesson::scenario::schema_text());
            ExitCode::SUCCESS
        }
    }
}

fn fail(message: impl std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("glassdock lesson: {message}");
    ExitCode::from(status)
}

fn lessons(named: Option<PathBuf>) -> Result<Vec<Lesson>, ExitCode> {
    let folder = Tools::scenarios(named).map_err(|error| fail(error, status::AUTHOR))?;
    read::folder(&folder).map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(status::AUTHOR)
    })
}

fn list(named: Option<PathBuf>, json: bool) -> ExitCode {
    let lessons = match lessons(named) {
        Ok(lessons) => lessons,
        Err(code) => return code,
    };
    if json {
        let all: Vec<_> = lessons
            .iter()
            .map(|Lesson { scenario, .. }| {
                serde_json::json!({
                    "id": scenario.id, "chapter": scenario.chapter, "section": scenario.section,
                    "minutes": scenario.minutes, "title": scenario.title, "needs": scenario.needs,
                    "images": scenario.images, "steps": scenario.steps.len(),
                })
            })
            .collect();
        say!("{:#}", serde_json::Value::Array(all));
    } else {
        for Lesson { scenario, .. } in &lessons {
            let title = if chinese() { &scenario.title.zh } else { &scenario.title.en };
            say!("{:<16} {:>3} min  {title}", scenario.id, scenario.minutes);
        }
    }
    ExitCode::SUCCESS
}

fn chinese() -> bool {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .is_some_and(|value| value.starts_with("zh"))
}

/// The lessons that were asked for; the first word that means none of them is the error.
fn chosen(all: Vec<Lesson>, which: &[String]) -> Result<Vec<Lesson>, String> {
    let means = |word: &str, lesson: &Lesson| {
        let scenario = &lesson.scenario;
        scenario.id == word
            || scenario.section.as_deref() == Some(word)
            || word.parse::<u32>().is_ok_and(|chapter| scenario.chapter == chapter)
    };
    if let Some(word) = which.iter().find(|word| !all.iter().any(|lesson| means(word, lesson))) {
        return Err(format!("no lesson or chapter is called \"{word}\"; `glassdock lesson list` shows all"));
    }
    Ok(all
        .into_iter()
        .filter(|lesson| which.is_empty() || which.iter().any(|word| means(word, lesson)))
        .collect())
}

async fn checked(named: Option<PathBuf>, check: Check) -> ExitCode {
    let all = match lessons(named.clone()) {
        Ok(all) => all,
        Err(code) => return code,
    };
    let tools = match Tools::find(named) {
        Ok(tools) => tools,
        Err(error) => return fail(error, status::SKIPPED),
    };
    let orphans = if check.orphans {
        let ids: Vec<_> = all.iter().map(|lesson| lesson.scenario.id.as_str()).collect();
        snapshot::orphans(&tools.snapshots, &ids)
    } else {
        Vec::new()
    };
    let lessons = match chosen(all, &check.which) {
        Ok(lessons) => lessons,
        Err(message) => return fail(message, 2),
    };
    let (outcomes, interrupted) = run_all(&lessons, &tools, &check).await;
    finish(&outcomes, &orphans, interrupted, &check)
}

/// Runs lessons one after the other, until Ctrl-C.
async fn run_all(lessons: &[Lesson], tools: &Tools, check: &Check) -> (Vec<Outcome>, bool) {
    let manner = Manner {
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        chinese: chinese(),
        evidence: check.evidence,
        quiet: check.quiet,
    };
    let mut outcomes = Vec::new();
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!("cannot watch for signals");
        return (outcomes, true);
    };
    let stop = tools.interrupt.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("interrupted; taking the lab down");
        stop.now();
    });
    for lesson in lessons {
        if !check.json {
            say_whole(&manner.lesson(&lesson.scenario));
        }
        let outcome = check_one(lesson, tools, check, manner).await;
        if tools.interrupt.is_set() {
            return (outcomes, true);
        }
        if !check.json {
            say_whole(&manner.outcome(&outcome));
        }
        outcomes.push(outcome);
    }
    (outcomes, false)
}

async fn check_one(lesson: &Lesson, tools: &Tools, check: &Check, manner: Manner) -> Outcome {
    let began = std::time::Instant::now();
    let mut tell = |step: &_, done: &_| {
        if !check.json {
            say_whole(&manner.step(step, done));
        }
    };
    let mut outcome = run::lesson(lesson, tools, &mut tell).await;
    if outcome.skipped.is_none() && outcome.passed() {
        outcome.failures.extend(snapshot::compare(&outcome, &tools.snapshots));
        if !check.no_wrong {
            let proof = prove::lesson(lesson, tools).await;
            if !check.json && !check.quiet {
                say!("  {} wrong answers tried", proof.tried);
            }
            outcome.author.extend(proof.author);
            outcome.failures.extend(proof.failures);
        }
    }
    outcome.took = began.elapsed();
    outcome
}

fn finish(outcomes: &[Outcome], orphans: &[String], interrupted: bool, check: &Check) -> ExitCode {
    if let Some(path) = &check.junit
        && let Err(error) = fs::write(path, report::junit(outcomes))
    {
        return fail(format!("cannot write {}: {error}", path.display()), status::FAILED);
    }
    if check.json {
        say!("{:#}", report::as_json(outcomes));
    }
    for orphan in orphans {
        eprintln!("snapshots/{orphan}: no lesson has this snapshot");
    }
    let (passed, failed, skipped) = report::counts(outcomes);
    if !check.json {
        if interrupted {
            say!("interrupted");
        }
        say!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    let engine_failed = outcomes.iter().any(|outcome| {
        outcome.skipped.is_none()
            && !outcome.passed()
            && (outcome.author.is_empty() || !outcome.failures.is_empty())
    });
    if interrupted {
        ExitCode::from(status::INTERRUPTED)
    } else if engine_failed {
        ExitCode::from(status::FAILED)
    } else if failed > 0 || !orphans.is_empty() {
        ExitCode::from(status::AUTHOR)
    } else if passed == 0 && skipped > 0 {
        ExitCode::from(status::SKIPPED)
    } else {
        ExitCode::SUCCESS
    }
}

fn examine(named: Option<PathBuf>, install: bool) -> ExitCode {
    if install {
        match doctor::install() {
            Ok(words) => say!("{words}"),
            Err(words) => return fail(words, status::FAILED),
        }
    }
    let tools = Tools::find(named);
    let (text, healthy) = doctor::examine(tools.as_ref());
    say_whole(&text);
    if healthy { ExitCode::SUCCESS } else { ExitCode::from(status::SKIPPED) }
}

fn new(named: Option<PathBuf>, id: &str) -> ExitCode {
    let folder = match Tools::scenarios(named) {
        Ok(folder) => folder,
        Err(error) => return fail(error, status::AUTHOR),
    };
    match template::write(&folder, id) {
        Ok(path) => {
            say!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error, status::AUTHOR),
    }
}
