//! `check`: lessons without a student.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use glassdock_lesson::read::Lesson;
use glassdock_lesson::report::{self, Manner};
use glassdock_lesson::run::{self, Outcome};
use glassdock_lesson::tools::Tools;
use glassdock_lesson::{prove, snapshot};

use super::{chinese, chosen, fail, lessons, say, say_whole, status, watch};

#[derive(Debug, Args)]
pub(crate) struct Check {
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

/// Checks, and says how it went.
pub(crate) async fn checked(named: Option<PathBuf>, check: Check) -> ExitCode {
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
        Err(message) => return fail(message, status::USAGE),
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
    if let Err(message) = watch(&tools.interrupt) {
        eprintln!("glassdock lesson: {message}");
        return (outcomes, true);
    }
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
            let proof = Box::pin(prove::lesson(lesson, tools)).await;
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
