//! A lesson run from beginning to end, in a lab, and what came of it.
//!
//! ```text
//!   lab ─► setup ─► for each step:
//!                     a check must fail (it is not solved yet)
//!                     the command
//!                     expected exit status and words
//!                     checks hold, the prediction's answer is right
//!          close: nothing is left
//!   then, each in a lab of its own: the wrong answers (see `prove`)
//! ```

use std::time::{Duration, Instant};

use glassdock_trace::normalise::normalise;
use glassdock_trace::redact::Names;
use glassdock_trace::{Event, Tree};

use crate::checks::{self, Done, Verdict};
use crate::lab::{self, Lab};
use crate::need::Need;
use crate::observe;
use crate::read::Lesson;
use crate::scenario::{Step, Words};
use crate::shell::{self, Hear, Ran};
use crate::slot::Turn;
use crate::tools::Tools;

/// What a command that prepares a lesson may take.
const SETUP_LIMIT: Duration = Duration::from_secs(60);

/// How a lesson came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The lesson's id.
    pub id: String,
    /// Its chapter.
    pub chapter: u32,
    /// Its title in English and Chinese.
    pub title: (String, String),
    /// Why it could not run here; nothing else is filled in then.
    pub skipped: Option<String>,
    /// The steps that were run.
    pub steps: Vec<StepOutcome>,
    /// What failed outside of a step: the lab, the snapshots, what was left behind.
    pub failures: Vec<String>,
    /// What the scenario's author must mend: a check that can't fail, a step solved before it began.
    pub author: Vec<String>,
    /// What the commands printed, normalised.
    pub transcript: String,
    /// What the engine did, normalised.
    pub trace: String,
    /// How long it all took.
    pub took: Duration,
}

/// How a step came out.
#[derive(Debug)]
pub struct StepOutcome {
    /// The step's id.
    pub id: String,
    /// What the command did.
    pub ran: Ran,
    /// What the engine did, each operation's events.
    pub operations: Vec<Vec<Event>>,
    /// The same as steps.
    pub tree: Tree,
    /// The checks.
    pub checks: Vec<Verdict>,
    /// What was expected and is not so.
    pub unexpected: Vec<String>,
}

impl StepOutcome {
    /// Whether the step went as its author says.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.unexpected.is_empty() && self.checks.iter().all(Verdict::ok)
    }

    /// Everything that is wrong with it, in words.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let failed = self.checks.iter().filter_map(|check| Some((check, check.why.as_ref()?)));
        let failed = failed.map(|(check, why)| format!("{}: {}: {why}", self.id, check.what));
        failed.chain(self.unexpected.iter().map(|what| format!("{}: {what}", self.id))).collect()
    }
}

impl Outcome {
    /// Whether the lesson was skipped, has failed, or passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.skipped.is_none()
            && self.failures.is_empty()
            && self.author.is_empty()
            && self.steps.iter().all(StepOutcome::passed)
    }

    /// Everything that is wrong, in words.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(self.steps.iter().flat_map(StepOutcome::complaints));
        all.extend(self.failures.iter().cloned());
        all.extend(self.author.iter().cloned());
        all
    }
}

/// Runs a lesson's own commands. `told` hears of each step when it is over.
pub async fn lesson(lesson: &Lesson, tools: &Tools, told: &mut dyn FnMut(&Step, &StepOutcome)) -> Outcome {
    let scenario = &lesson.scenario;
    // Before anything is looked at: who has the port now may be another lesson.
    let turn = tools.interrupt.or(turn(lesson)).await;
    let began = Instant::now();
    let mut outcome = Outcome {
        id: scenario.id.clone(),
        chapter: scenario.chapter,
        title: (scenario.title.en.clone(), scenario.title.zh.clone()),
        skipped: missing(lesson),
        ..Outcome::default()
    };
    if outcome.skipped.is_some() {
        return outcome;
    }
    match &turn {
        Some(Ok(_)) => {}
        Some(Err(error)) => outcome.failures.push(error.to_string()),
        None => outcome.failures.push("interrupted".to_owned()),
    }
    if !outcome.failures.is_empty() {
        return outcome;
    }
    match Lab::open(tools).await {
        Ok(lab) => {
            if tools.interrupt.or(steps(lesson, &lab, &mut outcome, told)).await.is_none() {
                outcome.failures.push("interrupted".to_owned());
            }
            let left = lab.close().await;
            outcome.failures.extend(left.into_iter().map(|what| format!("left behind: {what}")));
        }
        Err(error) => outcome.failures.push(chain(&error)),
    }
    outcome.took = began.elapsed();
    outcome
}

/// The lesson's turn at the port that it needs of the host, if it needs one.
///
/// # Errors
///
/// If it never comes.
pub async fn turn(lesson: &Lesson) -> std::io::Result<Option<Turn>> {
    if lesson.scenario.needs.contains(&Need::Port5000) {
        return Turn::wait(5000).await.map(Some);
    }
    Ok(None)
}

/// What the lesson needs and the machine has not, in words; `None` if all is there.
#[must_use]
pub fn missing(lesson: &Lesson) -> Option<String> {
    let missing: Vec<_> = lesson.scenario.needs.iter().filter_map(|need| need.probe().err()).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

async fn steps(lesson: &Lesson, lab: &Lab, outcome: &mut Outcome, told: &mut dyn FnMut(&Step, &StepOutcome)) {
    if let Err(failure) = prepare(lesson, lab).await {
        outcome.failures.push(failure);
        return;
    }
    let mut names = lab.names();
    lab.name_objects(&mut names).await;
    for step in &lesson.scenario.steps {
        let before = checks::all(&step.check, lab, Done { ran: None, tree: &Tree::default() }).await;
        if before.iter().all(Verdict::ok) {
            outcome.author.push(format!(
                "{}: all checks hold before the command is typed: add one that only the command can make hold",
                step.id
            ));
        }
        let done = match one(step, lab, &mut |_, _| {}).await {
            Ok(done) => done,
            Err(error) => {
                outcome.failures.push(format!("{}: {error}", step.id));
                return;
            }
        };
        if step.expect.snapshot {
            add_to_snapshots(step, &done, outcome, &mut names);
        }
        told(step, &done);
        let go_on = done.passed();
        outcome.steps.push(done);
        if !go_on {
            // What follows stands on this step, and would only fail for its failure.
            return;
        }
    }
}

/// Seeds the images that not every lab has, and runs the commands that prepare a lesson.
///
/// # Errors
///
/// What the command that failed said.
pub async fn prepare(lesson: &Lesson, lab: &Lab) -> Result<(), String> {
    let is_there = |image: &&String| image.split(':').next().is_some_and(|name| lab::SEED.contains(&name));
    let more: Vec<&String> = lesson.scenario.images.iter().filter(|image| !is_there(image)).collect();
    if !more.is_empty() {
        Box::pin(lab.seed(&more)).await.map_err(|error| chain(&error))?;
    }
    for command in &lesson.scenario.setup {
        let ran = shell::run(command, &lab.surroundings(), SETUP_LIMIT, &mut |_, _| {})
            .await
            .map_err(|error| error.to_string())?;
        if ran.status != 0 {
            return Err(format!("setup: {command} exited with {}: {}{}", ran.status, ran.stdout, ran.stderr));
        }
    }
    Ok(())
}

/// Does one step: its files, its command, with what is expected and checked.
///
/// # Errors
///
/// If a file can't be written, or there is no shell.
pub async fn one(step: &Step, lab: &Lab, hear: Hear<'_>) -> std::io::Result<StepOutcome> {
    lab.write(&step.files)?;
    let (ran, operations) = observed(&step.command, step.timeout, lab, hear).await?;
    let tree = observe::tree(&operations);
    let mut unexpected = Vec::new();
    if ran.status != step.expect.exit {
        unexpected.push(format!("exit status {}, expected {}", ran.status, step.expect.exit));
    }
    for (name, text, words) in
        [("stdout", &ran.stdout, &step.expect.stdout), ("stderr", &ran.stderr, &step.expect.stderr)]
    {
        unexpected.extend(words.iter().flat_map(|words| misses(name, text, words)));
    }
    if let Some(predict) = &step.predict {
        let found = predict.trace.find(&tree).len();
        if found != predict.answer {
            unexpected
                .push(format!("the prediction's answer is {}, and the trace has {found}", predict.answer));
        }
    }
    let checks = checks::all(&step.check, lab, Done { ran: Some(&ran), tree: &tree }).await;
    Ok(StepOutcome { id: step.id.clone(), ran, operations, tree, checks, unexpected })
}

/// Runs a command and collects what the engine did for it.
///
/// # Errors
///
/// If there is no shell.
pub async fn observed(
    command: &str,
    seconds: u64,
    lab: &Lab,
    hear: Hear<'_>,
) -> std::io::Result<(Ran, Vec<Vec<Event>>)> {
    let moment = observe::now(&lab.root());
    let ran = shell::run(command, &lab.surroundings(), Duration::from_secs(seconds), hear).await?;
    let operations = observe::since(&lab.root(), &moment).await;
    Ok((ran, operations))
}

fn misses(name: &str, text: &str, words: &Words) -> Vec<String> {
    let missing = words.contains.iter().filter(|words| !text.contains(words.as_str()));
    let there = words.lacks.iter().filter(|words| text.contains(words.as_str()));
    missing
        .map(|words| format!("{name} does not say \"{words}\""))
        .chain(there.map(|words| format!("{name} says \"{words}\"")))
        .collect()
}

fn add_to_snapshots(step: &Step, done: &StepOutcome, outcome: &mut Outcome, names: &mut Names) {
    // The trace first: it knows which digest is an image's and which a layer's.
    let trace = normalise(&done.tree, names);
    outcome.trace.push_str(&format!("# {}: {}\n{trace}\n", step.id, step.command.trim()));
    let mut text = format!("# {}\n$ {}\n", step.id, step.command.trim());
    for line in names.text(&done.ran.stdout).lines() {
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    for line in names.text(&done.ran.stderr).lines() {
        text.push_str(&format!("stderr: {}\n", line.trim_end()));
    }
    if done.ran.status != 0 {
        text.push_str(&format!("(exit status {})\n", done.ran.status));
    }
    outcome.transcript.push_str(&text);
    outcome.transcript.push('\n');
}

/// An error with all that caused it.
#[must_use]
pub fn chain(error: &lab::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
