//! A build: its stages side by side, each of them step by step.
//!
//! What the client hears is as if they were built one after the other ([`super::words`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_build::language::expand::{Rules, expand};
use glassdock_build::language::{Instruction, Kind as Word_, Word};
use glassdock_build::plan::{Base, PREDEFINED, Plan, PlanError, Wish as PlanWish, platform_arguments};
use glassdock_build::{File, change, check};
use glassdock_image::config::Config;
use glassdock_image::images::{Image, Lease};
use glassdock_image::{Platform, Reference};
use glassdock_registry::client::Credentials;
use glassdock_trace::{Body, Trace};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::announce::Announced;
use super::checks;
use super::context::Context;
use super::remember::Unwritten;
use super::request::{KEEP_GIT, Wish};
use super::session::Taken;
use super::stage::Stage;
use super::task::{Task, all_well};
use super::words::{Words, short};
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::images::origin::Origin;
use crate::images::{progress, tell};
use crate::operations::Use;

/// Arguments that the builder heeds itself, beside those that a Dockerfile may ask for.
const OWN: [&str; 3] = ["SOURCE_DATE_EPOCH", KEEP_GIT, check::ARGUMENT];

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
    /// The words for the client.
    pub words: Words,
    /// The files.
    pub context: Context,
    /// What the client lends beside them.
    pub lent: Taken,
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
    pub(super) lent: Taken,
    /// The images of `--cache-from` that are here.
    pub(super) cache_from: Vec<Arc<Image>>,
    /// What the cache is to remember, and is not written yet.
    pub(super) unwritten: Mutex<Unwritten>,
    /// One pull of an image at a time, by its name: the others find it.
    pulls: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The build's arguments that some ARG declared.
    consumed: Mutex<BTreeSet<String>>,
    /// How many steps may be done at once.
    pub(super) steps: Semaphore,
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
        let plan = Plan::of(&file, &wish).map_err(|error| {
            Error::invalid(match &error {
                PlanError::Word(word) => format!("dockerfile line {}: {}", word.at.line, word.problem),
                PlanError::Blank { .. } => format!("dockerfile line {error}"),
                PlanError::Target { .. } => error.to_string(),
            })
        })?;
        checks::heed(&file, &plan, &self.wish, &self.engine.images, &self.words)?;
        let lease = Arc::new(self.engine.images.lease());
        // As in Docker, one that isn't here has nothing.
        let cache_from = self.wish.cache_from.iter().filter_map(|name| self.engine.images.resolve(name).ok());
        let cache_from: Vec<_> = cache_from.collect();
        for image in &cache_from {
            hold(&lease, image);
        }
        let shared = Shared {
            lease,
            cache_from,
            unwritten: Mutex::default(),
            pulls: Mutex::default(),
            engine: self.engine,
            part: self.part,
            words: self.words,
            lent: self.lent,
            consumed: Mutex::default(),
            steps: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from).max(2)),
            wish: self.wish,
            context: Arc::new(self.context),
            auth: self.auth,
            file,
            plan,
            platform,
        };
        let shared = Arc::new(shared);
        let built = Arc::clone(&shared).build(&self.trace).await;
        // What steps without a layer gave is remembered of a build that failed, too.
        let written = shared.write_down().await;
        built.and(written)
    }
}

impl Shared {
    /// Builds the stages side by side, each as soon as those that it needs are there.
    async fn build(self: Arc<Self>, trace: &Trace) -> Result<(), Error> {
        let first = self.file.instructions.iter().take_while(|one| matches!(one.kind, Word_::Arg(_))).count();
        let labels = usize::from(!self.wish.labels.is_empty());
        let mut number = 1;
        for instruction in &self.file.instructions[..first] {
            let (line, source) = (instruction.at().line, instruction.source.as_str());
            self.words.begin(&Announced {
                number,
                of: self.count(),
                trigger: None,
                stage: None,
                line,
                source,
            });
            self.words.done(None);
            number += 1;
            if let Word_::Arg(args) = &instruction.kind {
                self.consume(args.iter().map(|arg| arg.name.text.as_str()));
            }
        }
        let mut done: BTreeMap<usize, watch::Receiver<Option<Stage>>> = BTreeMap::new();
        // When this future is dropped, because the client left or a stage failed, all of them end.
        let mut tasks: JoinSet<Result<bool, Error>> = JoinSet::new();
        for (turn, index) in self.plan.order.iter().copied().enumerate() {
            let (give, built) = watch::channel(None);
            let needs = self.plan.stages[index]
                .needs
                .iter()
                .filter_map(|need| Some((*need, done.get(need)?.clone())));
            let task = Task {
                shared: Arc::clone(&self),
                trace: trace.clone(),
                words: self.words.at(turn),
                index,
                number,
                needs: needs.collect(),
            };
            let (begin, end) = self.plan.stages[index].instructions;
            number += 1 + end - begin;
            done.insert(index, built);
            tasks.spawn(Box::pin(async move {
                let stage = task.build().await?;
                let well = stage.is_some();
                // Whoever needs it may be gone.
                let _ = give.send(stage);
                Ok(well)
            }));
            // Who steps through the build sees one stage after the other.
            if self.part.operation().gate().is_some() && !all_well(&mut tasks).await? {
                self.part.set_status(1);
                return Ok(());
            }
        }
        if !all_well(&mut tasks).await? {
            self.part.set_status(1);
            return Ok(());
        }
        let last = done.get(&self.plan.target).and_then(|built| built.borrow().clone());
        let mut last = last.ok_or_else(|| Error::internal("the target is not built"))?;
        if labels > 0 {
            last.words = self.words.at(self.plan.order.len());
            let pairs: Vec<String> =
                self.wish.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let source = format!("LABEL {}", pairs.join(" "));
            let of = self.count();
            last.words.begin(&Announced { number, of, trigger: None, stage: None, line: 0, source: &source });
            last.label(&self, trace).await?;
            last.words.done(Some(&last.id()?));
        }
        if self.wish.stages {
            let inner = self.plan.order.iter().filter(|index| **index != self.plan.target);
            let inner = inner.filter_map(|index| done.get(index)?.borrow().clone()).collect();
            self.keep_inner(trace, inner, &last).await?;
        }
        self.finish(trace, &last).await
    }

    pub(super) fn consume<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut consumed = self.consumed.lock().unwrap_or_else(PoisonError::into_inner);
        consumed.extend(names.map(str::to_owned));
    }

    /// How many steps there are.
    pub(super) fn count(&self) -> usize {
        let first = self.file.instructions.iter().take_while(|one| matches!(one.kind, Word_::Arg(_))).count();
        let stages = self.plan.order.iter().map(|index| {
            let (begin, end) = self.plan.stages[*index].instructions;
            1 + end - begin
        });
        first + stages.sum::<usize>() + usize::from(!self.wish.labels.is_empty())
    }
}

impl Shared {
    pub(super) fn told_of(&self, instruction: &Instruction, stage: Option<&str>) -> Body {
        Body::BuildInstruction {
            instruction: instruction.source.chars().take(200).collect(),
            line: u64::from(instruction.at().line),
            stage: stage.map(str::to_owned),
            image: None,
        }
    }

    /// What a stage begins with.
    pub(super) async fn begin(
        &self,
        trace: &Trace,
        index: usize,
        done: &BTreeMap<usize, Stage>,
        words: &Words,
    ) -> Result<Stage, Error> {
        let planned = &self.plan.stages[index];
        match &planned.base {
            Base::Scratch => Ok(Stage::scratch(&self.wish.platform, words.clone())),
            Base::Stage(base) => {
                let stage = done.get(base).ok_or_else(|| Error::internal("a stage's base is not built"))?;
                Ok(stage.as_base(words.clone()))
            }
            Base::Image(name) => self.image(trace, name, planned.platform.as_deref(), words).await,
        }
    }

    /// An image, pulled if it isn't here.
    pub(super) async fn image(
        &self,
        trace: &Trace,
        name: &str,
        platform: Option<&str>,
        words: &Words,
    ) -> Result<Stage, Error> {
        let platform = match platform {
            None => self.wish.platform.clone(),
            Some(text) => Platform::parse(text)
                .ok_or_else(|| Error::invalid(format!("{text:?} is an invalid platform")))?,
        };
        let pulls = || self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(pulls().entry(name.to_owned()).or_default());
        let _alone = lock.lock().await;
        let here = self.engine.images.resolve(name).ok().filter(|image| {
            image.config.os == platform.os && image.config.architecture == platform.architecture
        });
        let image = match here.filter(|_| !self.wish.pull) {
            Some(image) => image,
            None => self.pull(trace, name, &platform, words).await?,
        };
        hold(&self.lease, &image);
        Ok(Stage::of(&image, words.clone()))
    }

    async fn pull(
        &self,
        trace: &Trace,
        name: &str,
        platform: &Platform,
        words: &Words,
    ) -> Result<Arc<Image>, Error> {
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
        let (sender, passing) = words.passing();
        let lines = Arc::new(progress::Lines::new(sender, progress::Layers::Pull(here), first));
        let shown: Arc<dyn glassdock_registry::client::Progress> = Arc::clone(&lines) as _;
        let (registry, images) = (&self.engine.registry, &self.engine.images);
        let work = async {
            let pulled =
                registry.pull(trace, &reference, platform, credentials.as_ref(), images, shown).await?;
            lines.begin();
            lines.send(progress::status(None, &format!("Digest: {}", pulled.digest)));
            let outcome =
                if pulled.up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
            lines.send(progress::status(None, &format!("Status: {outcome} {}", reference.familiar())));
            Ok::<_, Error>(pulled.image)
        };
        Box::pin(passing.during(work)).await
    }

    /// The image is made and named, and its id told.
    async fn finish(&self, trace: &Trace, last: &Stage) -> Result<(), Error> {
        let words = self.words.at(self.plan.order.len());
        if last.is_empty() {
            return Err(Error::internal("No image was generated. Is your Dockerfile empty?"));
        }
        let consumed = self.consumed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unused: Vec<&str> = self
            .wish
            .arguments
            .keys()
            .map(String::as_str)
            .filter(|name| !consumed.contains(*name) && !PREDEFINED.contains(name) && !OWN.contains(name))
            .collect();
        if !unused.is_empty() {
            words.note(&format!(
                "[Warning] One or more build-args [{}] were not consumed\n",
                unused.join(" ")
            ));
        }
        let bytes = serde_json::to_vec(&last.config).map_err(|error| Error::of(Kind::Internal, &error))?;
        let (trace, layers) = (trace.clone(), last.layers.clone());
        let (tags, lease) = (self.wish.tags.clone(), Arc::clone(&self.lease));
        let untouched = last.untouched().cloned();
        let origin = Origin::of_step(&last.config.config, last.command.clone())?;
        let image = self
            .engine
            .blocking(move |engine| {
                let image = match untouched {
                    // FROM alone: the image is there, and gets names.
                    Some(id) => {
                        tags.iter().try_for_each(|tag| engine.images.tag(&trace, &id, tag))?;
                        engine.images.resolve(&id.to_string())?
                    }
                    None => {
                        let image = engine.images.assemble(&trace, &lease, &bytes, layers, &tags)?;
                        origin.remember(&engine.images, &image.id)?;
                        image
                    }
                };
                for tag in &tags {
                    tell(engine, "tag", &image.id, &tag.familiar(), &image.config.config.labels);
                }
                Ok::<_, Error>(image)
            })
            .await?;
        let id = image.id.to_string();
        words.id(&id);
        if self.wish.quiet {
            words.last(&format!("{id}\n"));
            return Ok(());
        }
        words.note(&format!("Successfully built {}\n", short(&id)));
        for tag in &self.wish.tags {
            words.note(&format!("Successfully tagged {}\n", tag.familiar()));
        }
        Ok(())
    }
}

/// Keeps an image's parts as long as the build goes on.
fn hold(lease: &Lease, image: &Image) {
    for layer in &image.layers {
        lease.hold(&layer.chain.0);
        lease.hold(&layer.blob.digest);
    }
    lease.hold(&image.id);
}

/// Expands a word of an instruction.
pub(super) fn expanded(
    word: &Word,
    escape: char,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    let text = expand(&word.text, Rules::new(escape), get).map(|expanded| expanded.text);
    text.map_err(|error| Error::invalid(error.to_string()))
}

/// The value of a variable: the environment's goes before the arguments'.
pub(super) fn variable(config: &Config, arguments: &BTreeMap<String, String>, name: &str) -> Option<String> {
    change::variable(&config.config.env, name).or_else(|| arguments.get(name).cloned())
}
