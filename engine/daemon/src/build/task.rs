//! One stage on its way: it waits for those that it needs, and carries out its instructions.

use std::collections::BTreeMap;
use std::sync::Arc;

use glassdock_build::language::{self, Instruction, Kind as Word_};
use glassdock_trace::{Body, Trace};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::announce::Announced;
use super::builder::Shared;
use super::mounts;
use super::stage::Stage;
use super::words::{Words, short};
use crate::error::Error;

/// Waits for stages; false as soon as the command of one failed.
pub(super) async fn all_well(tasks: &mut JoinSet<Result<bool, Error>>) -> Result<bool, Error> {
    while let Some(ended) = tasks.join_next().await {
        if !ended?? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A stage that is to be built.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) trace: Trace,
    pub(super) words: Words,
    pub(super) index: usize,
    /// The number of its first step.
    pub(super) number: usize,
    /// The stages that it needs, when they are there.
    pub(super) needs: Vec<(usize, watch::Receiver<Option<Stage>>)>,
}

/// How an instruction was carried out.
enum Carried {
    /// Well; with the id of the image so far, if it is told.
    Out { told: Option<String> },
    /// Its command failed, which the client was told.
    Failed,
}

impl Task {
    /// Builds the stage; `None` if a command failed, which the client was told.
    pub(super) async fn build(mut self) -> Result<Option<Stage>, Error> {
        let mut done = BTreeMap::new();
        for (index, built) in &mut self.needs {
            // If it failed, so does the whole build, and this task with it.
            let stage = built.wait_for(Option::is_some).await.map(|stage| stage.clone());
            let Ok(Some(stage)) = stage else { return std::future::pending().await };
            done.insert(*index, stage);
        }
        let built = self.stage(&done).await;
        match &built {
            Ok(Some(_)) => self.words.over(),
            _ => self.words.interrupt(),
        }
        built
    }

    async fn stage(&self, done: &BTreeMap<usize, Stage>) -> Result<Option<Stage>, Error> {
        let (shared, trace, index) = (&self.shared, &self.trace, self.index);
        let planned = &shared.plan.stages[index];
        let from = &shared.file.instructions[planned.from];
        let mut number = self.number;
        let (of, several) = (shared.count(), shared.plan.order.len() > 1);
        let (begin, end) = planned.instructions;
        let step = |number: usize, trigger: Option<usize>, instruction: &Instruction| {
            let name = planned.name.clone().or_else(|| several.then(|| format!("stage-{index}")));
            let stage = Some((name, number + 1 - self.number, 1 + end - begin));
            // A trigger is in no line of this file but FROM's.
            let line = if trigger.is_some() { from.at().line } else { instruction.at().line };
            self.words.begin(&Announced { number, of, trigger, stage, line, source: &instruction.source });
        };
        step(number, None, from);
        let mut span = trace.begin_async(shared.told_of(from, planned.name.as_deref())).await?;
        let inside = span.trace().clone();
        let begun = shared.begin(&inside, index, done, &self.words).await;
        if let (Body::BuildInstruction { image, .. }, Ok(stage)) = (span.body_mut(), &begun) {
            *image = stage.untouched().map(ToString::to_string);
        }
        let mut stage = match begun {
            Ok(stage) => span.finish(Ok::<_, Error>(stage))?,
            Err(error) => return span.finish(Err(self.stopped(from, error))),
        };
        let triggers = std::mem::take(&mut stage.config.config.on_build);
        if !triggers.is_empty() {
            let s = if triggers.len() > 1 { "s" } else { "" };
            self.words.text(&format!("# Executing {} build trigger{s}\n", triggers.len()));
        }
        let id = if stage.is_empty() { String::new() } else { stage.id()? };
        if triggers.is_empty() {
            self.words.done(Some(&id));
        } else {
            self.words.done(None);
            let mut last = Some(id);
            for (index, trigger) in triggers.iter().enumerate() {
                let read = language::read_instructions(trigger).map_err(|errors| {
                    let message = errors.first().map(|error| error.problem.to_string()).unwrap_or_default();
                    self.stopped(from, of_trigger(trigger, &message))
                })?;
                for instruction in &read {
                    step(number, Some(index + 1), instruction);
                    match self.step(&mut stage, instruction, done).await {
                        Ok(Carried::Out { told }) => last = told,
                        Ok(Carried::Failed) => {
                            self.words.stopped(&shared.wish.dockerfile, &shared.context.dockerfile, from);
                            return Ok(None);
                        }
                        Err(error) => {
                            let error =
                                Error::new(error.kind(), of_trigger(trigger, error.message()).message());
                            return Err(self.stopped(from, error));
                        }
                    }
                    self.words.done(None);
                }
            }
            if let Some(last) = last {
                self.words.text(&format!(" ---> {}\n", short(&last)));
            }
        }
        for instruction in &shared.file.instructions[begin..end] {
            number += 1;
            self.words.room().await;
            step(number, None, instruction);
            let done = self.step(&mut stage, instruction, done).await;
            match done.map_err(|error| self.stopped(instruction, error))? {
                Carried::Out { told } => self.words.done(told.as_deref()),
                Carried::Failed => {
                    self.words.stopped(&shared.wish.dockerfile, &shared.context.dockerfile, instruction);
                    return Ok(None);
                }
            }
        }
        Ok(Some(stage))
    }

    /// An error with the place of the instruction that failed; who has a view of its own is shown its lines.
    fn stopped(&self, instruction: &Instruction, error: Error) -> Error {
        let shared = &self.shared;
        self.words.stopped(&shared.wish.dockerfile, &shared.context.dockerfile, instruction);
        Error::new(error.kind(), self.words.placed(error.message()))
    }

    /// Carries out one instruction.
    async fn step(
        &self,
        stage: &mut Stage,
        instruction: &Instruction,
        done: &BTreeMap<usize, Stage>,
    ) -> Result<Carried, Error> {
        let (shared, trace, index) = (&self.shared, &self.trace, self.index);
        // As many steps at once as the machine can do; a stage that waits for another holds up none. Who has the
        // turn never waits: the others may, for the turn, with more words than are held back.
        let _place = tokio::select! {
            biased;
            place = shared.steps.acquire() => Some(place),
            () = self.words.has_turn() => None,
        };
        if let Word_::Arg(args) = &instruction.kind {
            shared.consume(args.iter().map(|arg| arg.name.text.as_str()));
        }
        let mut names = Vec::new();
        for name in instruction.flag_values("from") {
            names.push(stage.text(&name, shared.file.directives.escape)?);
        }
        if matches!(instruction.kind, Word_::Run(_)) {
            let mounts = mounts::read(stage, shared, instruction)?;
            names.extend(mounts.iter().filter_map(|(_, mount)| mount.from().map(str::to_owned)));
        }
        let mut others = BTreeMap::new();
        for name in names {
            let other = match shared.plan.find(&name, index) {
                Some(other) => done.get(&other).cloned(),
                None => None,
            };
            let other = match other {
                Some(other) => other,
                None => shared.image(trace, &name, None, &self.words).await?,
            };
            others.insert(name, other);
        }
        let body = shared.told_of(instruction, shared.plan.stages[index].name.as_deref());
        let mut span = trace.begin_async(body).await?;
        let inside = span.trace().clone();
        let result = Box::pin(stage.step(shared, &inside, instruction, &others)).await;
        // The id is the digest of the whole config: it is made once a step.
        let result = result.and_then(|well| {
            Ok(if well { Carried::Out { told: stage.told_id()? } } else { Carried::Failed })
        });
        if let (Body::BuildInstruction { image, .. }, Ok(Carried::Out { told })) = (span.body_mut(), &result)
        {
            image.clone_from(told);
        }
        span.finish(result)
    }
}

fn of_trigger(trigger: &str, message: &str) -> Error {
    Error::invalid(format!("the ONBUILD trigger {trigger:?} of the base image: {message}"))
}
