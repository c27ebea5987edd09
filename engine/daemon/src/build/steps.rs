//! The instructions that make a layer: RUN, COPY, ADD and WORKDIR.
//!
//! Each one asks the cache first, with all that its result depends on, and does only what isn't known.

use std::collections::BTreeMap;
use std::sync::Arc;

use glassdock_build::cache::Step;
use glassdock_build::change;
use glassdock_build::language::expand::{Rules, expand};
use glassdock_build::language::heredoc::Heredoc;
use glassdock_build::language::instruction::{Command, Copy, Run};
use glassdock_build::language::{Instruction, Kind as Says};
use glassdock_build::mode::Mode;
use glassdock_build::plan::PREDEFINED;
use glassdock_build::remote::Remote;
use glassdock_image::Digest;
use glassdock_trace::Trace;

use super::builder::Shared;
use super::copy::{self, Below, Copying};
use super::mounts::{self, Ready};
use super::remember::{LINK, epoch, seconds_now};
use super::remote::{self, How};
use super::run::{Ended, Running};
use super::stage::Stage;
use super::tree::Tree;
use super::words::quoted;
use crate::containers::model::ContainerConfig;
use crate::error::{Error, Kind};

impl Stage {
    pub(super) async fn run(
        &mut self,
        shared: &Shared,
        trace: &Trace,
        instruction: &Instruction,
        run: &Run,
        others: &BTreeMap<String, Stage>,
    ) -> Result<bool, Error> {
        let process = &self.config.config;
        let argv = match &run.command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let mut words = change::shell(process);
                words.push(match own_interpreter(text, instruction) {
                    Some(doc) => format!("{SCRIPTS}/{}", doc.name),
                    None => script(text, instruction),
                });
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
        for flag in instruction.flags.iter().filter(|flag| !flag.text.starts_with("--mount=")) {
            inputs.insert(flag.text.clone(), String::new());
        }
        let host = mounts::host(shared, instruction)?;
        let mounts = mounts::read(self, shared, instruction)?;
        let mut stages: BTreeMap<String, Below> = BTreeMap::new();
        for (name, other) in others {
            stages.insert(name.clone(), other.below(shared, trace).await?);
        }
        let others = stages;
        let mut files = BTreeMap::new();
        let script = match &run.command {
            Command::Shell(text) => own_interpreter(text, instruction),
            Command::Exec(_) => None,
        };
        if let Some(script) = script {
            files
                .insert(format!("<<{}", script.name), Digest::of(script.content.as_bytes()).hex().to_owned());
        }
        if !mounts.is_empty() {
            let (context, words, others) = (Arc::clone(&shared.context), mounts.clone(), others.clone());
            let found = shared.engine.blocking(move |_| mounts::inputs(&words, &others, &context)).await?;
            inputs.extend(found.0);
            files.extend(found.1);
        }
        let mut by = Vec::new();
        if !used.is_empty() {
            by.push(format!("|{}", used.len()));
            by.extend(used.iter().map(|(name, value)| format!("{name}={value}")));
        }
        by.extend(argv.iter().cloned());
        if let Some(script) = script {
            by.push(format!("<<{}\n{}", script.name, script.content));
        }
        let step =
            Step { parent: self.key.clone(), instruction: format!("RUN {}", quoted(&argv)), inputs, files };
        // The files of mounts are in no line of history: no image tells that they were the same.
        let told = if step.files.keys().all(|path| path.starts_with("<<"))
            && !mounts.iter().any(|(_, mount)| mount.from().is_some())
        {
            by.join(" ")
        } else {
            String::new()
        };
        let (known, key) = self.ask(shared, trace, &step, &told)?;
        if known.is_some() {
            return self.settle(shared, step, key, known, by, None).await.map(|()| true);
        }
        let below = self.below(shared, trace).await?;
        if below.lower.is_empty() {
            return Err(Error::invalid(
                "RUN needs a base image: nothing can be run in scratch without files",
            ));
        }
        let mut config: ContainerConfig = serde_json::to_value(&self.config.config)
            .and_then(serde_json::from_value)
            .map_err(|error| Error::of(Kind::Internal, &error))?;
        (config.cmd, config.entrypoint, config.healthcheck, config.on_build) = (None, None, None, None);
        let working_dir = self.config.config.working_dir.clone();
        let mut ready = Ready::of(mounts, &others, &working_dir, shared, trace).await?;
        if let Some(script) = script {
            ready.script(&format!("{SCRIPTS}/{}", script.name), &script.content, &shared.context)?;
        }
        env.extend(ready.env.iter().cloned());
        let running = Running {
            engine: &shared.engine,
            trace,
            part: &shared.part,
            words: &self.words,
            lease: &shared.lease,
            below: &below,
            image: self.id()?,
            config,
            host,
            ready: &ready,
            latest: epoch(shared).and_then(|epoch| i64::try_from(epoch).ok()),
            remove: (shared.wish.remove, shared.wish.always_remove),
        };
        match running.run(argv.clone(), env).await? {
            Ended::Well(made) => {
                self.settle(shared, step, key, None, by, made.map(|made| *made)).await?;
                Ok(true)
            }
            Ended::Failed(code) => {
                // A client that hears of it leaves, and its build ends with that.
                let written = shared.write_down().await;
                let words = format!("The command '{}' returned a non-zero code: {code}", argv.join(" "));
                self.words.failed(code, &words);
                written.map(|()| false)
            }
        }
    }

    pub(super) async fn workdir(&mut self, shared: &Shared, trace: &Trace) -> Result<(), Error> {
        let folder = self.config.config.working_dir.clone();
        let shown = format!("WORKDIR {folder}");
        let step = Step { parent: self.key.clone(), instruction: shown.clone(), ..Step::default() };
        let by = self.no_operation([format!("#(nop) {shown}")]);
        let (known, key) = self.ask(shared, trace, &step, &by.join(" "))?;
        let made = match known {
            Some(_) => None,
            None => {
                let (below, trace) = (self.below(shared, trace).await?, trace.clone());
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

    pub(super) async fn copy(
        &mut self,
        shared: &Shared,
        trace: &Trace,
        instruction: &Instruction,
        copy: &Copy,
        others: &BTreeMap<String, Stage>,
    ) -> Result<(), Error> {
        let escape = shared.file.directives.escape;
        let mut copying = self.copying(shared, instruction, copy, escape)?;
        self.fetch(shared, trace, instruction, &mut copying).await?;
        let other = match instruction.flag("from") {
            Some(word) => match others.get(&self.text(&word, escape)?) {
                Some(other) => Some(other.below(shared, trace).await?),
                None => None,
            },
            None => None,
        };
        let (context, wanted, place) = (Arc::clone(&shared.context), copying.clone(), trace.clone());
        let gathered = shared.engine.blocking(move |_| match other {
            Some(other) if other.lower.is_empty() => {
                Err(Error::invalid(format!("{} failed: the stage has no files", wanted.name)))
            }
            Some(other) => {
                let (mount, root) = copy::mounted(&place, &other)?;
                copy::gather(&wanted, Some(mount), &Tree::Folder(root), &context)
            }
            None => copy::gather(&wanted, None, &context.tree()?, &context),
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
            // A layer that knows nothing of those below it is the same on any of them.
            parent: if copying.link { LINK.to_owned() } else { self.key.clone() },
            instruction: format!("{} {} {}", copying.name, copying.sources.join(" "), copying.destination),
            inputs,
            files: gathered.files.clone(),
        };
        let written = self.text(&copy.destination, escape)?;
        let by = self.no_operation([format!("#(nop) {} {} in {written} ", copying.name, gathered.shown)]);
        let (known, key) = self.ask(shared, trace, &step, &by.join(" "))?;
        let made = match known {
            Some(_) => None,
            None => {
                let (below, trace) = (self.below(shared, trace).await?, trace.clone());
                let (context, lease) = (Arc::clone(&shared.context), Arc::clone(&shared.lease));
                let work = shared.engine.blocking(move |engine| {
                    copy::put(engine, &trace, &lease, &context, &below, &copying, &gathered)
                });
                work.await?
            }
        };
        self.settle(shared, step, key, known, by, made).await
    }

    /// Fetches the sources of ADD that lie elsewhere.
    async fn fetch(
        &self,
        shared: &Shared,
        trace: &Trace,
        instruction: &Instruction,
        copying: &mut Copying,
    ) -> Result<(), Error> {
        if !matches!(instruction.kind, Says::Add(_)) {
            return Ok(());
        }
        let escape = shared.file.directives.escape;
        let checksum = instruction.flag("checksum").map(|word| self.text(&word, escape)).transpose()?;
        let how = How {
            checksum: checksum.unwrap_or_default(),
            keep_git: instruction.flag_is_set("keep-git-dir"),
            into_folder: copying.destination.ends_with('/') || copying.sources.len() > 1,
        };
        for source in copying.sources.clone() {
            match Remote::of_source(&source) {
                Some(remote) => {
                    let folder = shared.context.scratch()?;
                    let fetched = remote::source(&shared.engine, trace, &remote, &how, folder).await?;
                    copying.fetched.insert(source, fetched);
                }
                None if !how.checksum.is_empty() => {
                    return Err(Error::invalid(format!(
                        "checksum can't be specified for local sources: {source} is one of the context"
                    )));
                }
                None => {}
            }
        }
        Ok(())
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
        let written = self.text(&copy.destination, escape)?;
        let mut destination = change::workdir(&self.config.config.working_dir, &written);
        if (written.ends_with('/') || written.ends_with("/.") || written == ".") && destination != "/" {
            destination.push('/');
        }
        let mode = flag("chmod")?.map(|text| {
            Mode::parse(&text).ok_or_else(|| {
                Error::invalid(format!(
                    "invalid chmod parameter: '{text}'. it should be an octal number between 0 and 07777, or as chmod(1) takes it: u=rwX,go=rX"
                ))
            })
        });
        let documents =
            copy.heredocs.iter().filter_map(|index| instruction.heredocs.get(*index)).map(|doc| {
                let rules = Rules { no_quotes: true, ..Rules::new(escape) };
                let content = if doc.expand {
                    let text = expand(&doc.content, rules, &|name| self.get(name));
                    text.map_err(|error| Error::invalid(error.to_string()))?.text
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
            unpack: match instruction.flags.iter().any(|flag| flag.text.starts_with("--unpack")) {
                _ if !add => Some(false),
                true => Some(instruction.flag_is_set("unpack")),
                false => None,
            },
            link: instruction.flag_is_set("link"),
            fetched: BTreeMap::new(),
            foreign: instruction.flag("from").is_some(),
            latest: epoch(shared),
        })
    }
}

/// Where scripts lie that name their own interpreter, while they run.
const SCRIPTS: &str = "/dev/pipes";

/// A lone heredoc that begins with `#!`: it is executed itself, as in BuildKit.
fn own_interpreter<'a>(text: &str, instruction: &'a Instruction) -> Option<&'a Heredoc> {
    match instruction.heredocs.as_slice() {
        [only] if !text.contains(char::is_whitespace) && only.content.starts_with("#!") => Some(only),
        _ => None,
    }
}

/// A shell command with its heredocs: a lone one is the script itself, others go on to the shell.
fn script(text: &str, instruction: &Instruction) -> String {
    match instruction.heredocs.as_slice() {
        [only] if !text.contains(char::is_whitespace) => only.content.clone(),
        docs => docs.iter().fold(text.to_owned(), |text, doc| format!("{text}\n{}{}", doc.content, doc.name)),
    }
}
