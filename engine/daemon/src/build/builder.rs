//! A build, stage by stage and step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use glassdock_build::language::expand::{Rules, expand};
use glassdock_build::language::{self, Instruction, Kind as Word_, Word};
use glassdock_build::plan::{Base, PREDEFINED, Plan, Wish as PlanWish, platform_arguments};
use glassdock_build::{File, change};
use glassdock_image::config::Config;
use glassdock_image::images::Lease;
use glassdock_image::{Platform, Reference};
use glassdock_registry::client::Credentials;
use glassdock_trace::{Body, Trace};
use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::request::Wish;
use super::stage::Stage;
use super::words::{Words, short};
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::images::{progress, tell};
use crate::operations::Use;

/// A build that was asked for.
#[derive(Debug)]
pub struct Builder {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The place in the trace.
    pub trace: Trace,
    /// The build's operation.
    pub part: Arc<Use>,
    /// What was asked for.
    pub wish: Wish,
    /// Who asks registries, by their names.
    pub auth: BTreeMap<String, Credentials>,
    /// Whom all is told.
    pub told: UnboundedSender<Bytes>,
    /// The files.
    pub context: Context,
}

/// What all steps of a build share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    pub(super) part: Arc<Use>,
    pub(super) wish: Wish,
    pub(super) words: Words,
    pub(super) context: Arc<Context>,
    pub(super) lease: Arc<Lease>,
    pub(super) file: File,
    pub(super) plan: Plan,
    pub(super) platform: BTreeMap<String, String>,
    pub(super) auth: BTreeMap<String, Credentials>,
    told: UnboundedSender<Bytes>,
}

/// Where a build stands: how many steps it has, and which is next.
struct Count {
    next: usize,
    all: usize,
}

impl Builder {
    /// Builds.
    ///
    /// # Errors
    ///
    /// Invalid, for a Dockerfile with mistakes; and whatever a step says. A command that
    /// fails is told to the client, and is no error here.
    pub async fn build(self) -> Result<(), Error> {
        let (file, errors) = glassdock_build::read(&self.context.dockerfile);
        if let Some(error) = errors.first() {
            let message = format!("dockerfile parse error on line {}: {}", error.at.line, error.problem);
            return Err(Error::invalid(message));
        }
        let own = Platform::host();
        let triple = |platform: &Platform| {
            (platform.os.clone(), platform.architecture.clone(), platform.variant.clone().unwrap_or_default())
        };
        let (target, host) = (triple(&self.wish.platform), triple(&own));
        let platform = platform_arguments((&target.0, &target.1, &target.2), (&host.0, &host.1, &host.2));
        let arguments = self.wish.arguments.iter();
        let given = arguments.filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        let wish =
            PlanWish { arguments: given.collect(), target: &self.wish.target, platform: platform.clone() };
        let plan = Plan::of(&file, &wish).map_err(|error| Error::invalid(error.to_string()))?;
        let shared = Shared {
            lease: Arc::new(self.engine.images.lease()),
            engine: self.engine,
            part: self.part,
            words: Words::new(self.told.clone(), self.wish.quiet),
            told: self.told,
            wish: self.wish,
            context: Arc::new(self.context),
            auth: self.auth,
            file,
            plan,
            platform,
        };
        shared.build(&self.trace).await
    }
}

impl Shared {
    async fn build(&self, trace: &Trace) -> Result<(), Error> {
        let first = self.file.instructions.iter().take_while(|one| matches!(one.kind, Word_::Arg(_))).count();
        let stages = self.plan.order.iter().map(|index| {
            let (begin, end) = self.plan.stages[*index].instructions;
            1 + end - begin
        });
        let labels = usize::from(!self.wish.labels.is_empty());
        let mut count = Count { next: 1, all: first + stages.sum::<usize>() + labels };
        let mut consumed: BTreeSet<String> = BTreeSet::new();
        for instruction in &self.file.instructions[..first] {
            self.announce(&mut count, &instruction.source);
            if let Word_::Arg(args) = &instruction.kind {
                consumed.extend(args.iter().map(|arg| arg.name.text.clone()));
            }
        }
        let mut done: BTreeMap<usize, Stage> = BTreeMap::new();
        for index in self.plan.order.clone() {
            let Some(stage) = self.stage(trace, index, &mut done, &mut count, &mut consumed).await? else {
                self.part.set_status(1);
                return Ok(());
            };
            done.insert(index, stage);
        }
        let mut last =
            done.remove(&self.plan.target).ok_or_else(|| Error::internal("the target is not built"))?;
        if labels > 0 {
            let pairs: Vec<String> =
                self.wish.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.announce(&mut count, &format!("LABEL {}", pairs.join(" ")));
            last.label(self, trace).await?;
            self.words.text(&format!(" ---> {}\n", short(&last.id()?)));
        }
        self.finish(trace, &last, &consumed).await
    }

    /// Builds one stage; `None` if a command failed, which the client was told.
    async fn stage(
        &self,
        trace: &Trace,
        index: usize,
        done: &mut BTreeMap<usize, Stage>,
        count: &mut Count,
        consumed: &mut BTreeSet<String>,
    ) -> Result<Option<Stage>, Error> {
        let planned = &self.plan.stages[index];
        let from = &self.file.instructions[planned.from];
        self.announce(count, &from.source);
        let mut span = trace.begin_async(self.told_of(from, planned.name.as_deref())).await?;
        let inside = span.trace().clone();
        let begun = self.begin(&inside, index, done).await;
        if let (Body::BuildInstruction { image, .. }, Ok(stage)) = (span.body_mut(), &begun) {
            *image = stage.untouched().map(ToString::to_string);
        }
        let mut stage = match begun {
            Ok(stage) => span.finish(Ok::<_, Error>(stage))?,
            Err(error) => return span.finish(Err(error)),
        };
        let triggers = std::mem::take(&mut stage.config.config.on_build);
        if !triggers.is_empty() {
            let s = if triggers.len() > 1 { "s" } else { "" };
            self.words.text(&format!("# Executing {} build trigger{s}\n", triggers.len()));
        }
        for trigger in triggers {
            let read = language::read_instructions(&trigger);
            let read = read.map_err(|errors| {
                let message = errors.first().map(|error| error.problem.to_string()).unwrap_or_default();
                Error::invalid(format!("the ONBUILD trigger {trigger:?} of the base image: {message}"))
            })?;
            for instruction in read {
                if !self.step(trace, &mut stage, &instruction, index, done, consumed).await? {
                    return Ok(None);
                }
            }
        }
        let id = if stage.is_empty() { String::new() } else { stage.id()? };
        self.words.text(&format!(" ---> {}\n", short(&id)));
        let (begin, end) = planned.instructions;
        for instruction in &self.file.instructions[begin..end] {
            self.announce(count, &instruction.source);
            if !self.step(trace, &mut stage, instruction, index, done, consumed).await? {
                return Ok(None);
            }
            self.words.text(&format!(" ---> {}\n", short(&stage.id()?)));
        }
        Ok(Some(stage))
    }

    /// Carries out one instruction; false if its command failed.
    async fn step(
        &self,
        trace: &Trace,
        stage: &mut Stage,
        instruction: &Instruction,
        index: usize,
        done: &mut BTreeMap<usize, Stage>,
        consumed: &mut BTreeSet<String>,
    ) -> Result<bool, Error> {
        if let Word_::Arg(args) = &instruction.kind {
            consumed.extend(args.iter().map(|arg| arg.name.text.clone()));
        }
        let mut others = BTreeMap::new();
        for name in instruction.flag_values("from") {
            let name = stage.text(&name, self.file.directives.escape)?;
            let other = match self.plan.find(&name, index) {
                Some(other) => done.get(&other).cloned(),
                None => None,
            };
            let other = match other {
                Some(other) => other,
                None => self.image(trace, &name, None).await?,
            };
            others.insert(name, other);
        }
        let body = self.told_of(instruction, self.plan.stages[index].name.as_deref());
        let mut span = trace.begin_async(body).await?;
        let inside = span.trace().clone();
        let result = Box::pin(stage.step(self, &inside, instruction, &others)).await;
        if let (Body::BuildInstruction { image, .. }, Ok(true)) = (span.body_mut(), &result) {
            *image = Some(stage.id()?);
        }
        span.finish(result)
    }

    fn told_of(&self, instruction: &Instruction, stage: Option<&str>) -> Body {
        Body::BuildInstruction {
            instruction: instruction.source.chars().take(200).collect(),
            line: u64::from(instruction.at().line),
            stage: stage.map(str::to_owned),
            image: None,
        }
    }

    fn announce(&self, count: &mut Count, source: &str) {
        self.words.text(&format!("Step {}/{} : {source}\n", count.next, count.all));
        count.next += 1;
    }

    /// What a stage begins with.
    async fn begin(
        &self,
        trace: &Trace,
        index: usize,
        done: &BTreeMap<usize, Stage>,
    ) -> Result<Stage, Error> {
        let planned = &self.plan.stages[index];
        match &planned.base {
            Base::Scratch => Ok(Stage::scratch(&self.wish.platform)),
            Base::Stage(base) => {
                let stage = done.get(base).ok_or_else(|| Error::internal("a stage's base is not built"))?;
                Ok(stage.as_base())
            }
            Base::Image(name) => self.image(trace, name, planned.platform.as_deref()).await,
        }
    }

    /// An image, pulled if it isn't here.
    async fn image(&self, trace: &Trace, name: &str, platform: Option<&str>) -> Result<Stage, Error> {
        let platform = match platform {
            None => self.wish.platform.clone(),
            Some(text) => Platform::parse(text)
                .ok_or_else(|| Error::invalid(format!("{text:?} is an invalid platform")))?,
        };
        let here = self.engine.images.resolve(name).ok().filter(|image| {
            image.config.os == platform.os && image.config.architecture == platform.architecture
        });
        let image = match here.filter(|_| !self.wish.pull) {
            Some(image) => image,
            None => self.pull(trace, name, &platform).await?,
        };
        for layer in &image.layers {
            self.lease.hold(&layer.chain.0);
            self.lease.hold(&layer.blob.digest);
        }
        self.lease.hold(&image.id);
        Ok(Stage::of(&image))
    }

    async fn pull(
        &self,
        trace: &Trace,
        name: &str,
        platform: &Platform,
    ) -> Result<Arc<glassdock_image::images::Image>, Error> {
        let reference = Reference::parse(name)
            .map_err(|_| {
                Error::invalid(format!("failed to parse image name \"{name}\": invalid reference format"))
            })?
            .with_default_tag();
        let credentials = self.auth.get(reference.domain()).cloned();
        let here = self.engine.images.list();
        let here =
            here.iter().flat_map(|image| &image.layers).map(|layer| layer.blob.digest.clone()).collect();
        let tag = reference.tag().unwrap_or_default().to_owned();
        let first = progress::status(Some(&tag), &format!("Pulling from {}", reference.path()));
        let quiet = self.wish.quiet;
        let (sender, _nobody) = tokio::sync::mpsc::unbounded_channel();
        let sender = if quiet { sender } else { self.told.clone() };
        let lines = Arc::new(progress::Lines::new(sender, progress::Layers::Pull(here), first));
        let shown: Arc<dyn glassdock_registry::client::Progress> = Arc::clone(&lines) as _;
        let (registry, images) = (&self.engine.registry, &self.engine.images);
        let pulled = registry.pull(trace, &reference, platform, credentials.as_ref(), images, shown).await?;
        lines.begin();
        lines.send(progress::status(None, &format!("Digest: {}", pulled.digest)));
        let outcome =
            if pulled.up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
        lines.send(progress::status(None, &format!("Status: {outcome} {}", reference.familiar())));
        Ok(pulled.image)
    }

    /// The image is made and named, and its id told.
    async fn finish(&self, trace: &Trace, last: &Stage, consumed: &BTreeSet<String>) -> Result<(), Error> {
        if last.is_empty() {
            return Err(Error::internal("No image was generated. Is your Dockerfile empty?"));
        }
        let unused: Vec<&str> = self
            .wish
            .arguments
            .keys()
            .map(String::as_str)
            .filter(|name| {
                !consumed.contains(*name) && !PREDEFINED.contains(name) && *name != "SOURCE_DATE_EPOCH"
            })
            .collect();
        if !unused.is_empty() {
            self.words.text(&format!(
                "[Warning] One or more build-args [{}] were not consumed\n",
                unused.join(" ")
            ));
        }
        let bytes = serde_json::to_vec(&last.config).map_err(|error| Error::of(Kind::Internal, &error))?;
        let (trace, layers) = (trace.clone(), last.layers.clone());
        let (tags, lease) = (self.wish.tags.clone(), Arc::clone(&self.lease));
        let untouched = last.untouched().cloned();
        let image = self
            .engine
            .blocking(move |engine| {
                let image = match untouched {
                    // FROM alone: the image is there, and gets names.
                    Some(id) => {
                        tags.iter().try_for_each(|tag| engine.images.tag(&trace, &id, tag))?;
                        engine.images.resolve(&id.to_string())?
                    }
                    None => engine.images.assemble(&trace, &lease, &bytes, layers, &tags)?,
                };
                for tag in &tags {
                    tell(engine, "tag", &image.id, &tag.familiar(), &image.config.config.labels);
                }
                Ok::<_, Error>(image)
            })
            .await?;
        let id = image.id.to_string();
        self.words.id(&id);
        if self.wish.quiet {
            self.words.last(&format!("{id}\n"));
            return Ok(());
        }
        self.words.text(&format!("Successfully built {}\n", short(&id)));
        for tag in &self.wish.tags {
            self.words.text(&format!("Successfully tagged {}\n", tag.familiar()));
        }
        Ok(())
    }
}

/// Expands a word of an instruction.
pub(super) fn expanded(
    word: &Word,
    escape: char,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    let text = expand(&word.text, Rules::new(escape), get).map(|expanded| expanded.text);
    text.map_err(|error| Error::invalid(format!("dockerfile line {}: {error}", word.at.line)))
}

/// The value of a variable: the environment's goes before the arguments'.
pub(super) fn variable(config: &Config, arguments: &BTreeMap<String, String>, name: &str) -> Option<String> {
    change::variable(&config.config.env, name).or_else(|| arguments.get(name).cloned())
}
