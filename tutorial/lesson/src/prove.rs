//! The proof that a lesson's checks work: they fail for the wrong answers.
//!
//! For each wrong answer a new lab is led up to its step, the answer typed, and
//! the step's checks judged. An answer for which all of them hold would be
//! accepted from a student; a check that holds for every wrong answer and before
//! the step would never stop anybody. Both are the author's to mend. Two answers are tried at
//! a time: labs never meet.

use glassdock_trace::Tree;

use crate::checks::{self, Done};
use crate::lab::Lab;
use crate::observe;
use crate::read::Lesson;
use crate::run::{self, chain, observed, prepare};
use crate::scenario::Step;
use crate::tools::Tools;

/// What the proof found wrong.
#[derive(Debug, Default)]
pub struct Proof {
    /// How many wrong answers were tried.
    pub tried: usize,
    /// For the author.
    pub author: Vec<String>,
    /// For the engine's makers.
    pub failures: Vec<String>,
}

/// Tries all wrong answers of a lesson.
pub async fn lesson(lesson: &Lesson, tools: &Tools) -> Proof {
    let mut proof = Proof::default();
    for (number, step) in lesson.scenario.steps.iter().enumerate() {
        let mut has_failed = vec![false; step.check.len()];
        // A port of the host is one lab's at a time.
        let at_a_time = if lesson.scenario.needs.contains(&crate::need::Need::Port5000) { 1 } else { 2 };
        for pair in step.wrong.chunks(at_a_time) {
            let tried = match pair {
                [one, other] => {
                    let try_it = |wrong| Box::pin(attempt(lesson, number, wrong, tools));
                    let (one, other) = tokio::join!(try_it(one), try_it(other));
                    vec![one, other]
                }
                _ => match pair.first() {
                    Some(one) => vec![Box::pin(attempt(lesson, number, one, tools)).await],
                    None => Vec::new(),
                },
            };
            for (wrong, tried) in pair.iter().zip(tried) {
                proof
                    .failures
                    .extend(tried.left.into_iter().map(|what| format!("{wrong}: left behind: {what}")));
                match tried.failed {
                    Ok(failed) => judge(step, wrong, &failed, &mut has_failed, &mut proof),
                    Err(failure) => proof.failures.push(format!("{}: {failure}", step.id)),
                }
            }
        }
        if !proof.failures.is_empty() {
            return proof;
        }
        for (check, failed) in step.check.iter().zip(&has_failed) {
            if !failed {
                let check = serde_json::to_string(check).unwrap_or_default();
                proof.author.push(format!("{}: no wrong answer fails this check: {check}", step.id));
            }
        }
    }
    proof
}

/// What came of one wrong answer.
struct Attempt {
    /// Of each check, whether it fails; or why nobody knows.
    failed: Result<Vec<bool>, String>,
    /// What the lab left behind.
    left: Vec<String>,
}

/// Types one wrong answer, in a lab of its own.
async fn attempt(lesson: &Lesson, number: usize, wrong: &str, tools: &Tools) -> Attempt {
    let _turn = match tools.interrupt.or(run::turn(lesson)).await {
        Some(Ok(turn)) => turn,
        Some(Err(error)) => return Attempt { failed: Err(error.to_string()), left: Vec::new() },
        None => return Attempt { failed: Err("interrupted".to_owned()), left: Vec::new() },
    };
    match Lab::open(tools).await {
        Ok(lab) => {
            let tried = tools.interrupt.or(answer(lesson, number, wrong, &lab)).await;
            let failed = tried.unwrap_or_else(|| Err("interrupted".to_owned()));
            Attempt { failed, left: lab.close().await }
        }
        Err(error) => Attempt { failed: Err(chain(&error)), left: Vec::new() },
    }
}

fn judge(step: &Step, wrong: &str, failed: &[bool], has_failed: &mut [bool], proof: &mut Proof) {
    proof.tried += 1;
    if !failed.contains(&true) {
        proof.author.push(format!("{}: the wrong answer \"{wrong}\" passes every check", step.id));
    }
    for (ever, now) in has_failed.iter_mut().zip(failed) {
        *ever |= *now;
    }
}

/// Leads a lab up to a step, types a wrong answer, and says which checks fail.
async fn answer(lesson: &Lesson, number: usize, wrong: &str, lab: &Lab) -> Result<Vec<bool>, String> {
    prepare(lesson, lab).await?;
    let (mut ran, mut tree) = (None, Tree::default());
    let steps = &lesson.scenario.steps;
    for step in steps.iter().take(number) {
        lab.write(&step.files).map_err(|error| error.to_string())?;
        observed(&step.command, step.timeout, lab, &mut |_, _| {})
            .await
            .map_err(|error| error.to_string())?;
    }
    let Some(step) = steps.get(number) else { return Ok(Vec::new()) };
    lab.write(&step.files).map_err(|error| error.to_string())?;
    if !wrong.is_empty() {
        let did = observed(wrong, step.timeout, lab, &mut |_, _| {}).await;
        let (typed, operations) = did.map_err(|error| error.to_string())?;
        (ran, tree) = (Some(typed), observe::tree(&operations));
    }
    let verdicts = checks::all(&step.check, lab, Done { ran: ran.as_ref(), tree: &tree }).await;
    Ok(verdicts.iter().map(|verdict| !verdict.ok()).collect())
}
