//! A stage on its way: a config and layers, which each step turns into the next ones.

use std::collections::BTreeMap;

use glassdock_build::cache::Step;
use glassdock_build::change;
use glassdock_build::language::{Instruction, Kind as Says, Word};
use glassdock_image::config::Config;
use glassdock_image::images::{Image, ImageLayer};
use glassdock_image::{ChainId, Descriptor, Digest, Platform};
use glassdock_trace::Trace;

use super::builder::{Shared, expanded, variable};
use super::copy::Below;
use super::words::Words;
use crate::error::{Error, Kind};

/// All variables, labels and lines of history have at most so many bytes: more than any program can be given,
/// few enough that a file of short lines can't take the daemon's memory, and the config can still be read.
const LARGEST_CONFIG: usize = 7 << 20;

/// So much of configs is hashed only to tell the ids of steps in between, in bytes. Each id is the digest of the
/// whole config, which grows with each step: for thousands of long ones that would be most of a build's time.
const MOST_TOLD: usize = 64 << 20;

/// A stage, as far as it is built.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The config, which becomes the image's.
    pub config: Config,
    /// The layers' blobs, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The image that it began with, and how long its history was.
    base: Option<(Digest, usize)>,
    /// The cache's key of all so far.
    pub(super) key: String,
    /// The build's arguments that are declared here.
    pub(super) arguments: BTreeMap<String, String>,
    state: change::State,
    /// The last step's command, as history has it.
    pub(super) command: Vec<String>,
    /// How much was hashed to tell the ids of steps.
    hashed: usize,
    /// Whether a step was not known: then no later one is either.
    pub(super) missed: bool,
    /// Whom its steps are told.
    pub(super) words: Words,
}

impl Stage {
    /// Nothing at all.
    #[must_use]
    pub fn scratch(platform: &Platform, words: Words) -> Self {
        let config = Config {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: glassdock_image::config::RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            ..Config::default()
        };
        Self::new(config, Vec::new(), "scratch".to_owned(), words)
    }

    /// An image.
    #[must_use]
    pub fn of(image: &Image, words: Words) -> Self {
        let layers = image.layers.iter().map(|layer| layer.blob.clone()).collect();
        let mut config = (*image.config).clone();
        config.docker_version = None;
        let base = Some((image.id.clone(), config.history.len()));
        Self { base, ..Self::new(config, layers, image.id.to_string(), words) }
    }

    fn new(config: Config, layers: Vec<Descriptor>, key: String, words: Words) -> Self {
        let state = change::State::default();
        let (arguments, command) = (BTreeMap::new(), Vec::new());
        Self { config, layers, base: None, key, arguments, state, command, hashed: 0, missed: false, words }
    }

    /// The same as what another stage stands on: arguments end with their stage.
    #[must_use]
    pub fn as_base(&self, words: Words) -> Self {
        Self { arguments: BTreeMap::new(), state: change::State::default(), words, ..self.clone() }
    }

    /// Whether nothing was done yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.config.history.is_empty() && self.layers.is_empty()
    }

    /// The image that it is still, if no instruction was carried out since FROM. Its config is
    /// that image's own, down to the byte, where one that is written anew would have another digest.
    #[must_use]
    pub fn untouched(&self) -> Option<&Digest> {
        let (id, length) = self.base.as_ref()?;
        (self.config.history.len() == *length).then_some(id)
    }

    /// The id of the image that the stage is now.
    ///
    /// # Errors
    ///
    /// None that can come: configs are JSON.
    pub fn id(&self) -> Result<String, Error> {
        if let Some(id) = self.untouched() {
            return Ok(id.to_string());
        }
        let bytes = serde_json::to_vec(&self.config).map_err(|error| Error::of(Kind::Internal, &error))?;
        Ok(Digest::of(&bytes).to_string())
    }

    /// The id after a step, to tell it; `None` once telling it takes too much.
    ///
    /// # Errors
    ///
    /// As [`Stage::id`].
    pub(super) fn told_id(&mut self) -> Result<Option<String>, Error> {
        if self.hashed > MOST_TOLD {
            return Ok(None);
        }
        if let Some(id) = self.untouched() {
            return Ok(Some(id.to_string()));
        }
        let bytes = serde_json::to_vec(&self.config).map_err(|error| Error::of(Kind::Internal, &error))?;
        self.hashed += bytes.len();
        Ok(Some(Digest::of(&bytes).to_string()))
    }

    /// What steps stand on: its files are there.
    pub(super) async fn below(&self, shared: &Shared, trace: &Trace) -> Result<Below, Error> {
        let diff_ids = self.config.rootfs.diff_ids.clone();
        let (chains, known) = (ChainId::chain(&diff_ids), shared.engine.images.layers());
        let lower = known.stack(&chains);
        if chains.iter().any(|chain| !known.has(chain)) {
            let parts = diff_ids.iter().cloned().zip(chains).zip(self.layers.iter().cloned());
            let layers: Vec<ImageLayer> =
                parts.map(|((diff_id, chain), blob)| ImageLayer { diff_id, chain, blob }).collect();
            let trace = trace.clone();
            shared.engine.blocking(move |engine| engine.images.ready(&trace, &layers)).await?;
        }
        Ok(Below { lower, diff_ids })
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        variable(&self.config, &self.arguments, name)
    }

    /// A word with its variables known.
    ///
    /// # Errors
    ///
    /// Invalid, for one that can't be expanded.
    pub(super) fn text(&self, word: &Word, escape: char) -> Result<String, Error> {
        expanded(word, escape, &|name| self.get(name))
    }

    /// Carries out an instruction; false if its command failed, which the client was told.
    pub(super) async fn step(
        &mut self,
        shared: &Shared,
        trace: &Trace,
        instruction: &Instruction,
        others: &BTreeMap<String, Stage>,
    ) -> Result<bool, Error> {
        let escape = shared.file.directives.escape;
        match &instruction.kind {
            Says::Run(run) => return self.run(shared, trace, instruction, run, others).await,
            Says::Copy(copy) | Says::Add(copy) => {
                self.copy(shared, trace, instruction, copy, others).await?;
            }
            Says::Workdir(_) => {
                self.apply(instruction, escape)?;
                self.workdir(shared, trace).await?;
            }
            Says::Arg(args) => {
                let mut shown = Vec::new();
                for arg in args {
                    let name = &arg.name.text;
                    let value = match (shared.wish.arguments.get(name), &arg.value) {
                        (Some(given), _) => given.clone(),
                        (None, Some(word)) => Some(self.text(word, escape)?),
                        (None, None) => {
                            let global = shared.plan.arguments.get(name);
                            global.or_else(|| shared.platform.get(name)).cloned()
                        }
                    };
                    shown.push(match &value {
                        Some(value) => format!("{name}={value}"),
                        None => name.clone(),
                    });
                    if let Some(value) = value {
                        self.arguments.insert(name.clone(), value);
                    }
                }
                // What an argument is matters to the steps that use it, not to this one.
                let named: Vec<&str> = args.iter().map(|arg| arg.name.text.as_str()).collect();
                self.note(
                    shared,
                    trace,
                    &format!("ARG {}", named.join(" ")),
                    &format!("ARG {}", shown.join(" ")),
                )
                .await?;
            }
            Says::Maintainer(name) => {
                self.config.author = Some(name.text.clone());
                let shown = format!("MAINTAINER {}", name.text);
                self.note(shared, trace, &shown, &shown).await?;
            }
            _ => {
                self.apply(instruction, escape)?;
                let shown = self.shown(instruction, escape)?;
                self.note(shared, trace, &shown, &shown).await?;
            }
        }
        Ok(true)
    }

    /// The labels of the request, as a last step.
    ///
    /// # Errors
    ///
    /// The cache's.
    pub(super) async fn label(&mut self, shared: &Shared, trace: &Trace) -> Result<(), Error> {
        let labels = &shared.wish.labels;
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.config.config.labels.extend(labels.clone());
        let shown = format!("LABEL {}", pairs.join(" "));
        self.note(shared, trace, &shown, &shown).await
    }

    fn apply(&mut self, instruction: &Instruction, escape: char) -> Result<(), Error> {
        let arguments = &self.arguments;
        let get = |name: &str| arguments.get(name).cloned();
        change::apply(instruction, &mut self.config.config, &mut self.state, escape, &get)
            .map(drop)
            .map_err(|error| Error::invalid(error.problem.to_string()))?;
        let process = &self.config.config;
        let labels = process.labels.iter().map(|(name, value)| name.len() + value.len());
        let past = self.config.history.iter().filter_map(|line| line.created_by.as_ref()).map(String::len);
        let size = process.env.iter().map(String::len).chain(labels).chain(past).sum::<usize>();
        if size > LARGEST_CONFIG {
            return Err(Error::invalid(format!(
                "the environment, the labels and the history are larger than {LARGEST_CONFIG} bytes: an image's \
                 config can't be so large; set fewer or shorter variables"
            )));
        }
        Ok(())
    }

    async fn note(&mut self, shared: &Shared, trace: &Trace, keyed: &str, shown: &str) -> Result<(), Error> {
        let step = Step { parent: self.key.clone(), instruction: keyed.to_owned(), ..Step::default() };
        let by = self.no_operation(["#(nop) ".to_owned(), shown.to_owned()]);
        let (known, key) = self.ask(shared, trace, &step, &by.join(" "))?;
        self.settle(shared, step, key, known, by, None).await
    }

    /// The command of a step that runs nothing, in Docker's words for it.
    pub(super) fn no_operation<const N: usize>(&self, words: [String; N]) -> Vec<String> {
        change::shell(&self.config.config).into_iter().chain(words).collect()
    }
}
