//! The ways for people: `play`, `demo`, `learn`; `record` and `replay`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use glassdock_lesson::keys::Keys;
use glassdock_lesson::learn;
use glassdock_lesson::play::{self, End, Watcher};
use glassdock_lesson::read::Lesson;
use glassdock_lesson::recording::{self, Pace, Recorder, Recording};
use glassdock_lesson::report::Manner;
use glassdock_lesson::run;
use glassdock_lesson::stage::{self, Look, Stage};
use glassdock_lesson::tools::{Interrupt, Tools};

use super::{chinese, chosen, fail, lessons, say, status, watch};

/// How a lesson is shown.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Explain each step of the trace.
    #[arg(long)]
    narrate: bool,
    /// Show the evidence under the steps of the trace, too.
    #[arg(long)]
    evidence: bool,
    /// The language: en or zh; that of the environment without it.
    #[arg(long, value_name = "LANGUAGE", value_parser = ["en", "zh"])]
    lang: Option<String>,
}

impl Show {
    fn look(&self) -> Look {
        let manner = Manner {
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            chinese: self.lang.as_deref().map_or_else(chinese, |lang| lang == "zh"),
            evidence: self.evidence,
            quiet: false,
        };
        let width = stage::width();
        Look { manner, width, beside: false, notes: false, narrate: self.narrate, raw: false }
    }
}

/// `play` and `demo`.
#[derive(Debug, Args)]
pub(crate) struct Play {
    /// The lesson's id.
    id: String,
    /// If the machine lacks something for it, replay this recording instead.
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    #[command(flatten)]
    show: Show,
}

/// `learn`.
#[derive(Debug, Args)]
pub(crate) struct Learn {
    /// The lesson's id.
    id: String,
    #[command(flatten)]
    show: Show,
}

/// `record`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The lesson's id.
    id: String,
    /// Where the recording goes; ID.jsonl without it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The recording.
    file: PathBuf,
    /// Wait for no keys between the steps.
    #[arg(long)]
    auto: bool,
    /// How many times as fast as it was; 0 waits for nothing.
    #[arg(long, default_value_t = 1.0, value_name = "N", value_parser = speed)]
    speed: f64,
    /// As a demo: the trace beside the commands, and the teacher's notes.
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    show: Show,
}

fn speed(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "write a number".to_owned())?;
    if (0.0..=1000.0).contains(&number) {
        Ok(number)
    } else {
        Err("write a number from 0 to 1000".to_owned())
    }
}

/// The one lesson of an id, and what it is run with.
fn one(named: Option<PathBuf>, id: &str) -> Result<(Lesson, Tools), ExitCode> {
    let mut found =
        chosen(lessons(named.clone())?, &[id.to_owned()]).map_err(|message| fail(message, status::USAGE))?;
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|lesson| lesson.scenario.id.as_str()).collect();
        return Err(fail(format!("\"{id}\" is more than one lesson: {}", ids.join(", ")), status::USAGE));
    }
    let lesson = found.pop().ok_or_else(|| fail(format!("no lesson is called \"{id}\""), status::USAGE))?;
    let tools = Tools::find(named).map_err(|error| fail(error, status::SKIPPED))?;
    watch(&tools.interrupt).map_err(|message| fail(message, status::FAILED))?;
    Ok((lesson, tools))
}

/// The status of a performance's end; what failed is said.
fn ended(end: End, stage: &mut Stage<'_>) -> ExitCode {
    match end {
        End::Over => ExitCode::SUCCESS,
        End::Left => {
            stage.note("left before the end", "没有到最后就离开了");
            ExitCode::from(status::FAILED)
        }
        End::Failed(complaints) => {
            for complaint in &complaints {
                stage.wrong(complaint);
            }
            ExitCode::from(status::FAILED)
        }
        End::Interrupted => ExitCode::from(status::INTERRUPTED),
    }
}

/// Plays a lesson, for students or, as a demo, for a class.
pub(crate) async fn play(named: Option<PathBuf>, play: Play, demo: bool) -> ExitCode {
    let (lesson, tools) = match one(named, &play.id) {
        Ok(found) => found,
        Err(code) => return code,
    };
    let mut out = io::stdout();
    let look = Look { beside: demo, notes: demo, ..play.show.look() };
    let mut stage = Stage::new(look, &mut out);
    if let Some(missing) = run::missing(&lesson) {
        let Some(file) = &play.recording else { return lacks(&lesson, &missing) };
        stage.note(
            "This machine can't run the lesson; this is a recording of it.",
            "这台机器无法运行本课；下面是它的录像。",
        );
        return replayed(file, &mut stage, Pace { speed: 1.0, auto: false }, &tools.interrupt).await;
    }
    stage.opening(&lesson.scenario.id, &lesson.scenario.title, &lesson.scenario.about);
    let mut keys = Keys::of_stdin();
    let end = play::perform(&lesson, &tools, &mut Watcher::new(&mut stage, &mut keys)).await;
    ended(end, &mut stage)
}

fn lacks(lesson: &Lesson, missing: &str) -> ExitCode {
    let id = &lesson.scenario.id;
    fail(
        format!(
            "this machine can't run {id}: {missing}; a recording of it replays anywhere: glassdock lesson replay FILE"
        ),
        status::SKIPPED,
    )
}

/// Teaches a lesson in a shell.
pub(crate) async fn learn(named: Option<PathBuf>, learn: Learn) -> ExitCode {
    let (lesson, tools) = match one(named, &learn.id) {
        Ok(found) => found,
        Err(code) => return code,
    };
    if let Some(missing) = run::missing(&lesson) {
        return lacks(&lesson, &missing);
    }
    let mut out = io::stdout();
    let raw = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut stage = Stage::new(Look { raw, ..learn.show.look() }, &mut out);
    let end = learn::learn(&lesson, &tools, &mut stage).await;
    ended(end, &mut stage)
}

/// Records a lesson that passes.
pub(crate) async fn record(named: Option<PathBuf>, record: Record) -> ExitCode {
    let (lesson, tools) = match one(named, &record.id) {
        Ok(found) => found,
        Err(code) => return code,
    };
    if let Some(missing) = run::missing(&lesson) {
        return lacks(&lesson, &missing);
    }
    let path = record.output.unwrap_or_else(|| PathBuf::from(format!("{}.jsonl", lesson.scenario.id)));
    let mut recorder = Recorder::of(&lesson);
    let end = play::perform(&lesson, &tools, &mut recorder).await;
    if end != End::Over {
        let mut out = io::stderr();
        let look = Show { narrate: false, evidence: false, lang: None }.look();
        return ended(end, &mut Stage::new(look, &mut out));
    }
    let written = recorder.into_recording().to_text().map_err(io::Error::other);
    match written.and_then(|text| std::fs::write(&path, text)) {
        Ok(()) => {
            say!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => fail(format!("cannot write {}: {error}", path.display()), status::FAILED),
    }
}

/// Replays a recording.
pub(crate) async fn replay(replay: Replay) -> ExitCode {
    let interrupt = Interrupt::default();
    if let Err(message) = watch(&interrupt) {
        return fail(message, status::FAILED);
    }
    let mut out = io::stdout();
    let look = Look { beside: replay.demo, notes: replay.demo, ..replay.show.look() };
    let pace = Pace { speed: replay.speed, auto: replay.auto };
    replayed(&replay.file, &mut Stage::new(look, &mut out), pace, &interrupt).await
}

async fn replayed(file: &Path, stage: &mut Stage<'_>, pace: Pace, interrupt: &Interrupt) -> ExitCode {
    let recording = match Recording::read(file) {
        Ok(recording) => recording,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            return fail(format!("{}: {error}{cause}", file.display()), status::AUTHOR);
        }
    };
    let mut keys = if pace.auto { Keys::these(b"") } else { Keys::of_stdin() };
    let end = recording::replay(&recording, stage, &mut keys, pace, interrupt).await;
    ended(end, stage)
}
