//! A stage on its way: a config and layers, which each step turns into the next ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use glassdock_build::cache::Step;
use glassdock_build::change;
use glassdock_build::language::expand::{Rules, expand};
use glassdock_build::language::instruction::{Command, Copy, Run};
use glassdock_build::language::{Instruction, Kind as Says, Word};
use glassdock_build::plan::PREDEFINED;
use glassdock_image::config::{Config, History};
use glassdock_image::images::{Image, Made};
use glassdock_image::{ChainId, Descriptor, DiffId, Digest, Platform};
use glassdock_trace::{Body, Trace};
use serde::{Deserialize, Serialize};

use super::builder::{Shared, expanded, variable};
use super::copy::{self, Below, Copying};
use super::run::{Ended, Running};
use super::words::quoted;
use crate::containers::model::ContainerConfig;
use crate::error::{Error, Kind};

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
    key: String,
    /// The build's arguments that are declared here.
    arguments: BTreeMap<String, String>,
    state: change::State,
    /// Whether a step was not known: then no later one is either.
    missed: bool,
}

/// What the cache knows of a step.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    /// When the step was done.
    created: String,
    /// Its layer, if it made one.
    layer: Option<(DiffId, Descriptor)>,
}

impl Stage {
    /// Nothing at all.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        let config = Config {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: glassdock_image::config::RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            ..Config::default()
        };
        Self::new(config, Vec::new(), "scratch".to_owned())
    }

    /// An image.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let layers = image.layers.iter().map(|layer| layer.blob.clone()).collect();
        let mut config = (*image.config).clone();
        config.docker_version = None;
        let base = Some((image.id.clone(), config.history.len()));
        Self { base, ..Self::new(config, layers, image.id.to_string()) }
    }

    fn new(config: Config, layers: Vec<Descriptor>, key: String) -> Self {
        let state = change::State::default();
        Self { config, layers, base: None, key, arguments: BTreeMap::new(), state, missed: false }
    }

    /// The same as what another stage stands on: arguments end with their stage.
    #[must_use]
    pub fn as_base(&self) -> Self {
        Self { arguments: BTreeMap::new(), state: change::State::default(), ..self.clone() }
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

    /// What steps stand on.
    pub(super) fn below(&self, shared: &Shared) -> Below {
        let diff_ids = self.config.rootfs.diff_ids.clone();
        let lower = shared.engine.images.layers().stack(&ChainId::chain(&diff_ids));
        Below { lower, diff_ids }
    }

    fn get(&self, name: &str) -> Option<String> {
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
            Says::Run(run) => return self.run(shared, trace, instruction, run).await,
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
        let arguments = self.arguments.clone();
        let get = |name: &str| arguments.get(name).cloned();
        change::apply(instruction, &mut self.config.config, &mut self.state, escape, &get)
            .map(drop)
            .map_err(|error| Error::invalid(format!("dockerfile line {}: {}", error.at.line, error.problem)))
    }

    /// An instruction as Docker's history has it, variables known.
    fn shown(&self, instruction: &Instruction, escape: char) -> Result<String, Error> {
        let process = &self.config.config;
        let name = instruction.kind.name();
        let text = |word: &Word| self.text(word, escape);
        Ok(match &instruction.kind {
            Says::Env(pairs) | Says::Label(pairs) => {
                let mut shown = name.to_owned();
                for (key, value) in &pairs.pairs {
                    let key = text(key)?;
                    // Known now, from where they went.
                    let known = if name == "ENV" {
                        change::variable(&process.env, &key)
                    } else {
                        process.labels.get(&key).cloned()
                    };
                    let value = known.map_or_else(|| text(value), Ok)?;
                    shown.push_str(&format!(" {key}={value}"));
                }
                shown
            }
            Says::Cmd(_) => format!("CMD {}", quoted(process.cmd.as_deref().unwrap_or_default())),
            Says::Entrypoint(_) => {
                format!("ENTRYPOINT {}", quoted(process.entrypoint.as_deref().unwrap_or_default()))
            }
            Says::Volume(list) => {
                let list = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                format!("VOLUME [{}]", list.join(" "))
            }
            Says::Expose(list) => {
                let mut list = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                list.sort_unstable();
                format!("EXPOSE {}", list.join(" "))
            }
            Says::Shell(words) => format!("SHELL [{}]", words.join(" ")),
            Says::User(_) => format!("USER {}", process.user),
            Says::Stopsignal(_) => {
                format!("STOPSIGNAL {}", process.stop_signal.as_deref().unwrap_or_default())
            }
            _ => instruction.source.clone(),
        })
    }

    // ---- steps that make no layer ----

    async fn note(&mut self, shared: &Shared, trace: &Trace, keyed: &str, shown: &str) -> Result<(), Error> {
        let step = Step { parent: self.key.clone(), instruction: keyed.to_owned(), ..Step::default() };
        let (known, key) = self.ask(shared, trace, &step)?;
        let shell = change::shell(&self.config.config).join(" ");
        let by = format!("{shell} #(nop)  {shown}");
        self.settle(shared, step, key, known, by, None).await
    }

    // ---- steps that make one ----

    async fn run(
        &mut self,
        shared: &Shared,
        trace: &Trace,
        instruction: &Instruction,
        run: &Run,
    ) -> Result<bool, Error> {
        let process = &self.config.config;
        let argv = match &run.command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let mut words = change::shell(process);
                words.push(script(text, instruction));
                words
            }
        };
        let mut env = process.env.clone();
        let mut used = BTreeMap::new();
        for (name, value) in &self.arguments {
            used.insert(name.clone(), value.clone());
        }
        for (name, value) in &shared.wish.arguments {
            if let Some(value) = value.as_ref().filter(|_| PREDEFINED.contains(&name.as_str()))
                && !used.contains_key(name)
            {
                // A proxy is known to the command, but is no part of the result.
                env.push(format!("{name}={value}"));
            }
        }
        used.retain(|name, _| change::variable(&process.env, name).is_none());
        env.extend(used.iter().map(|(name, value)| format!("{name}={value}")));
        let mut inputs = used.clone();
        for flag in &instruction.flags {
            inputs.insert(flag.text.clone(), String::new());
        }
        let host = super::mounts::host(self, shared, instruction)?;
        let line = argv.join(" ");
        let pairs: Vec<String> = used.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let by = if pairs.is_empty() { line } else { format!("|{} {} {line}", pairs.len(), pairs.join(" ")) };
        let step = Step {
            parent: self.key.clone(),
            instruction: format!("RUN {}", quoted(&argv)),
            inputs,
            files: BTreeMap::new(),
        };
        let (known, key) = self.ask(shared, trace, &step)?;
        if known.is_some() {
            return self.settle(shared, step, key, known, by, None).await.map(|()| true);
        }
        let below = self.below(shared);
        if below.lower.is_empty() {
            return Err(Error::invalid(
                "RUN needs a base image: nothing can be run in scratch without files",
            ));
        }
        let mut config: ContainerConfig = serde_json::to_value(&self.config.config)
            .and_then(serde_json::from_value)
            .map_err(|error| Error::of(Kind::Internal, &error))?;
        (config.cmd, config.entrypoint, config.healthcheck, config.on_build) = (None, None, None, None);
        let running = Running {
            engine: &shared.engine,
            trace,
            part: &shared.part,
            words: &shared.words,
            lease: &shared.lease,
            below: &below,
            image: self.id()?,
            config,
            host,
            latest: epoch(shared).and_then(|epoch| i64::try_from(epoch).ok()),
            remove: (shared.wish.remove, shared.wish.always_remove),
        };
        match running.run(argv.clone(), env).await? {
            Ended::Well(made) => {
                self.settle(shared, step, key, None, by, made.map(|made| *made)).await?;
                Ok(true)
            }
            Ended::Failed(code) => {
                let words = format!("The command '{}' returned a non-zero code: {code}", argv.join(" "));
                shared.words.failed(code, &words);
                Ok(false)
            }
        }
    }

    async fn workdir(&mut self, shared: &Shared, trace: &Trace) -> Result<(), Error> {
        let folder = self.config.config.working_dir.clone();
        let shown = format!("WORKDIR {folder}");
        let step = Step { parent: self.key.clone(), instruction: shown.clone(), ..Step::default() };
        let (known, key) = self.ask(shared, trace, &step)?;
        let shell = change::shell(&self.config.config).join(" ");
        let by = format!("{shell} #(nop) {shown}");
        let made = match known {
            Some(_) => None,
            None => {
                let (below, trace) = (self.below(shared), trace.clone());
                let (context, lease) = (Arc::clone(&shared.context), Arc::clone(&shared.lease));
                let stamp = epoch(shared).unwrap_or_else(seconds_now);
                let work = shared.engine.blocking(move |engine| {
                    copy::make_folder(engine, &trace, &lease, &context, &below, &folder, stamp)
                });
                work.await?
            }
        };
        self.settle(shared, step, key, known, by, made).await
    }

    async fn copy(
        &mut self,
        shared: &Shared,
        trace: &Trace,
        instruction: &Instruction,
        copy: &Copy,
        others: &BTreeMap<String, Stage>,
    ) -> Result<(), Error> {
        let escape = shared.file.directives.escape;
        let copying = self.copying(shared, instruction, copy, escape)?;
        let other = match instruction.flag("from") {
            Some(word) => others.get(&self.text(&word, escape)?).map(|other| other.below(shared)),
            None => None,
        };
        let (context, wanted, place) = (Arc::clone(&shared.context), copying.clone(), trace.clone());
        let gathered = shared.engine.blocking(move |_| match other {
            Some(other) if other.lower.is_empty() => {
                Err(Error::invalid(format!("{} failed: the stage has no files", wanted.name)))
            }
            Some(other) => {
                let (mount, root) = copy::mounted(&place, &other)?;
                copy::gather(&wanted, Some(mount), &root, &context)
            }
            None => copy::gather(&wanted, None, &context.root()?, &context),
        });
        let gathered = gathered.await?;
        let mut inputs = BTreeMap::from([
            ("destination".to_owned(), copying.destination.clone()),
            ("sources".to_owned(), copying.sources.join("\n")),
        ]);
        for flag in &instruction.flags {
            if !flag.text.starts_with("--from=") {
                inputs.insert(flag.text.clone(), String::new());
            }
        }
        inputs.insert("owner".to_owned(), copying.owner.clone());
        if let Some(epoch) = copying.latest {
            inputs.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string());
        }
        let step = Step {
            parent: self.key.clone(),
            instruction: format!("{} {} {}", copying.name, copying.sources.join(" "), copying.destination),
            inputs,
            files: gathered.files.clone(),
        };
        let (known, key) = self.ask(shared, trace, &step)?;
        let shell = change::shell(&self.config.config).join(" ");
        let written = self.text(&copy.destination, escape)?;
        let by = format!("{shell} #(nop) {} {} in {written} ", copying.name, gathered.shown);
        let made = match known {
            Some(_) => None,
            None => {
                let (below, trace) = (self.below(shared), trace.clone());
                let (context, lease) = (Arc::clone(&shared.context), Arc::clone(&shared.lease));
                let work = shared.engine.blocking(move |engine| {
                    copy::put(engine, &trace, &lease, &context, &below, &copying, &gathered)
                });
                work.await?
            }
        };
        self.settle(shared, step, key, known, by, made).await
    }

    fn copying(
        &self,
        shared: &Shared,
        instruction: &Instruction,
        copy: &Copy,
        escape: char,
    ) -> Result<Copying, Error> {
        let flag = |name: &str| instruction.flag(name).map(|word| self.text(&word, escape)).transpose();
        let add = matches!(instruction.kind, Says::Add(_));
        if flag("checksum")?.is_some() {
            return Err(Error::unsupported("ADD --checksum is for URLs, which this engine does not add"));
        }
        let written = self.text(&copy.destination, escape)?;
        let mut destination = change::workdir(&self.config.config.working_dir, &written);
        if (written.ends_with('/') || written.ends_with("/.") || written == ".") && destination != "/" {
            destination.push('/');
        }
        let mode = flag("chmod")?.map(|text| {
            u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
                Error::invalid(format!(
                    "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
                ))
            })
        });
        let documents =
            copy.heredocs.iter().filter_map(|index| instruction.heredocs.get(*index)).map(|doc| {
                let rules = Rules { no_quotes: true, ..Rules::new(escape) };
                let content = if doc.expand {
                    let text = expand(&doc.content, rules, &|name| self.get(name));
                    text.map_err(|error| Error::invalid(format!("dockerfile line {}: {error}", doc.at.line)))?
                        .text
                } else {
                    doc.content.clone()
                };
                Ok((doc.name.clone(), content))
            });
        Ok(Copying {
            name: instruction.kind.name(),
            sources: copy.sources.iter().map(|word| self.text(word, escape)).collect::<Result<_, _>>()?,
            documents: documents.collect::<Result<_, Error>>()?,
            destination,
            owner: flag("chown")?.unwrap_or_default(),
            mode: mode.transpose()?,
            exclude: instruction
                .flag_values("exclude")
                .iter()
                .map(|word| self.text(word, escape))
                .collect::<Result<_, _>>()?,
            parents: instruction.flag_is_set("parents"),
            unpack: add && (instruction.flag("unpack").is_none() || instruction.flag_is_set("unpack")),
            foreign: instruction.flag("from").is_some(),
            latest: epoch(shared),
        })
    }

    // ---- the cache ----

    /// Asks the cache for a step; tells the client and the trace what it says.
    fn ask(&mut self, shared: &Shared, trace: &Trace, step: &Step) -> Result<(Option<Known>, String), Error> {
        let key = step.key();
        let state = shared.engine.images.state();
        let miss = |reason: String| trace.point(Body::CacheMiss { key: key.clone(), reason });
        if !shared.wish.cache {
            miss("the cache is not to be used".to_owned());
            return Ok((None, key));
        }
        let known = state.get("build-cache", &key)?;
        let known = known.and_then(|document| serde_json::from_str::<Known>(&document.json).ok());
        let Some(known) = known else {
            let before = state.get("build-last", &step.parent)?;
            let before = before.and_then(|document| serde_json::from_str::<Step>(&document.json).ok());
            let reason = match (&before, self.missed) {
                (Some(before), _) => step.differs(before),
                (None, true) => Some("the parent is new".to_owned()),
                (None, false) => None,
            };
            miss(reason.unwrap_or_else(|| "no step was done on this parent yet".to_owned()));
            self.missed = true;
            return Ok((None, key));
        };
        if let Some((diff_id, blob)) = &known.layer {
            let mut stack = self.config.rootfs.diff_ids.clone();
            stack.push(diff_id.clone());
            let chain = ChainId::chain(&stack).pop();
            let images = &shared.engine.images;
            shared.lease.hold(&blob.digest);
            if let Some(chain) = &chain {
                shared.lease.hold(&chain.0);
            }
            let here = chain.is_some_and(|chain| images.layers().has(&chain))
                && images.store().has(&blob.digest).is_some();
            if !here {
                miss("its layer was removed".to_owned());
                self.missed = true;
                return Ok((None, key));
            }
        }
        let layer = known.layer.as_ref().map(|(diff_id, _)| diff_id.to_string());
        trace.point(Body::CacheHit { key: key.clone(), layer });
        shared.words.text(" ---> Using cache\n");
        Ok((Some(known), key))
    }

    /// Takes a step's result in: a layer, if there is one, and a line of history. What was not known is
    /// remembered.
    async fn settle(
        &mut self,
        shared: &Shared,
        step: Step,
        key: String,
        known: Option<Known>,
        by: String,
        made: Option<Made>,
    ) -> Result<(), Error> {
        let fresh = known.is_none();
        let known = known.unwrap_or_else(|| Known {
            created: created(shared),
            layer: made.map(|made| (made.diff_id, made.blob)),
        });
        self.config.created = Some(known.created.clone());
        self.config.history.push(History {
            created: Some(known.created.clone()),
            created_by: Some(by),
            author: self.config.author.clone(),
            comment: None,
            empty_layer: known.layer.is_none(),
        });
        if let Some((diff_id, blob)) = &known.layer {
            self.config.rootfs.diff_ids.push(diff_id.clone());
            self.layers.push(blob.clone());
        }
        self.key.clone_from(&key);
        if fresh {
            let failed = |error: serde_json::Error| Error::of(Kind::Internal, &error);
            let (known, last) = (
                serde_json::to_string(&known).map_err(failed)?,
                serde_json::to_string(&step).map_err(failed)?,
            );
            let remember = shared.engine.blocking(move |engine| {
                let state = engine.images.state();
                state.put("build-cache", &key, None, &known)?;
                state.put("build-last", &step.parent, None, &last)
            });
            remember.await?;
        }
        Ok(())
    }
}

/// A shell command with its heredocs: a lone one is the script itself, others go on to the shell.
fn script(text: &str, instruction: &Instruction) -> String {
    match instruction.heredocs.as_slice() {
        [only] if !text.contains(char::is_whitespace) => only.content.clone(),
        docs => docs.iter().fold(text.to_owned(), |text, doc| format!("{text}\n{}{}", doc.content, doc.name)),
    }
}

/// `SOURCE_DATE_EPOCH`, if the build was given it.
pub(super) fn epoch(shared: &Shared) -> Option<u64> {
    shared.wish.arguments.get("SOURCE_DATE_EPOCH")?.as_ref()?.parse().ok()
}

fn seconds_now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

fn created(shared: &Shared) -> String {
    let fixed =
        epoch(shared).and_then(|seconds| jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    fixed.map_or_else(crate::containers::create::now, |time| format!("{time:.9}"))
}
