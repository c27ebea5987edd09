//! Variables: used without being set, empty where an image's name should be, secret; and what their
//! values decide.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::{BaseImage, Findings, Rule};
use crate::language::expand::{Expanded, Rules, expand};
use crate::language::instruction::From;
use crate::language::nearest::distance;
use crate::language::{File, Instruction, Kind, Word, flags};
use crate::plan::{PLATFORM, PREDEFINED};

/// Names, and their values where they are known.
type Values = BTreeMap<String, Option<String>>;

/// What a stage knows.
#[derive(Clone, Default)]
struct Scope {
    /// Whether the environment is known whole: nothing comes from an image that nobody looked at.
    whole: bool,
    values: Values,
    /// Whether the working directory was said.
    placed: bool,
}

impl Scope {
    /// That of a stage that begins with an image, or with nothing at all.
    fn of(image: Option<&BaseImage>, is_scratch: bool) -> Self {
        let env = image.iter().flat_map(|image| &image.env);
        let mut values: Values = env
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
            .collect();
        values.entry("PATH".to_owned()).or_default();
        Self { whole: is_scratch || image.is_some(), values, placed: false }
    }

    /// A word with the variables that are known, and whether it is known whole.
    fn expand(&self, word: &Word, escape: char) -> Option<(Expanded, bool)> {
        let whole = Cell::new(true);
        let get = |name: &str| {
            let value = self.values.get(name)?;
            whole.set(whole.get() && value.is_some());
            Some(value.clone().unwrap_or_else(|| "x".to_owned()))
        };
        let expanded = expand(&word.text, Rules::new(escape), &get).ok()?;
        let whole = whole.get() && expanded.unset.is_empty();
        Some((expanded, whole))
    }

    fn value(&self, word: &Word, escape: char) -> Option<String> {
        self.expand(word, escape).filter(|(_, whole)| *whole).map(|(expanded, _)| expanded.text)
    }
}

pub(super) fn check(file: &File, bases: &BTreeMap<usize, BaseImage>, findings: &mut Findings) {
    let escape = file.directives.escape;
    // The arguments before FROM: a value, or none.
    let mut globals = Values::new();
    let mut stages: BTreeMap<String, Scope> = BTreeMap::new();
    let mut scope: Option<Scope> = None;
    let mut name = None;
    for (index, instruction) in file.instructions.iter().enumerate() {
        if let Kind::From(from) = &instruction.kind {
            if let (Some(name), Some(scope)) = (name.take(), scope.take()) {
                stages.insert(name, scope);
            }
            let image = read(&from.image, escape, &globals).map_or(String::new(), |image| image.text);
            let below = stages.get(&image.to_lowercase()).cloned();
            base(from, &globals, escape, below.is_some(), findings);
            scope = Some(below.unwrap_or_else(|| Scope::of(bases.get(&index), image == "scratch")));
            name = from.name.as_ref().map(|name| name.text.to_lowercase());
            continue;
        }
        secrets(instruction, findings);
        match (&instruction.kind, &mut scope) {
            (Kind::Arg(args), None) => {
                for arg in args {
                    let value =
                        arg.value.as_ref().and_then(|word| read(word, escape, &globals)).map(|e| e.text);
                    globals.insert(arg.name.text.clone(), value);
                }
            }
            (_, Some(scope)) => within(instruction, scope, &globals, escape, findings),
            _ => {}
        }
    }
}

/// What stands for the platform here: it is only held against itself.
const SOME_PLATFORM: &str = "linux/amd64";

fn read(word: &Word, escape: char, values: &Values) -> Option<Expanded> {
    let get = |name: &str| match values.get(name) {
        Some(value) => value.clone(),
        None => PLATFORM.contains(&name).then(|| SOME_PLATFORM.to_owned()),
    };
    expand(&word.text, Rules::new(escape), &get).ok()
}

/// The variables of a FROM.
fn base(from: &From, globals: &Values, escape: char, is_stage: bool, findings: &mut Findings) {
    for word in [Some(&from.image), from.platform.as_ref()].into_iter().flatten() {
        let Some(expanded) = read(word, escape, globals) else { continue };
        for unset in expanded.unset.iter().filter(|name| !globals.contains_key(*name)) {
            let known = globals.keys().map(String::as_str).chain(PLATFORM);
            let message = format!("FROM argument '{unset}' is not declared{}", meant(unset, known, ""));
            findings.add(Rule::UndefinedArgInFrom, word.at, message);
        }
    }
    if let Some(platform) = &from.platform
        && let Some(expanded) = read(platform, escape, globals)
        && expanded.unset.is_empty()
        && expanded.used.iter().eq(["TARGETPLATFORM"])
        && expanded.text == SOME_PLATFORM
    {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            platform.text
        );
        findings.add(Rule::RedundantTargetPlatform, platform.at, message);
    }
    let Some(expanded) = read(&from.image, escape, globals) else { return };
    if !is_stage && !is_image(&expanded.text) {
        let message =
            format!("Default value for ARG {} results in empty or invalid base image name", from.image.text);
        findings.add(Rule::InvalidDefaultArgInFrom, from.image.at, message);
    }
}

fn is_image(name: &str) -> bool {
    glassdock_image::Reference::parse(name).is_ok()
}

/// The variables of an instruction in a stage.
fn within(
    instruction: &Instruction,
    scope: &mut Scope,
    globals: &Values,
    escape: char,
    findings: &mut Findings,
) {
    for word in words(instruction) {
        let Some((expanded, _)) = scope.expand(&word, escape) else { continue };
        for unset in expanded.unset.iter().filter(|name| !may_be_unset(&word.text, name)) {
            let near = meant(unset, scope.values.keys().map(String::as_str), "$");
            // An image may have set it, unless it looks like a slip.
            let slip = !near.is_empty() && unset.len() > 2;
            if (scope.whole || slip) && !PREDEFINED.contains(&unset.as_str()) {
                let message = format!("Usage of undefined variable '${unset}'{near}");
                findings.add(Rule::UndefinedVar, word.at, message);
            }
        }
    }
    match &instruction.kind {
        Kind::Env(pairs) => {
            // All of one instruction are read before any is set.
            let values =
                pairs.pairs.iter().map(|(name, value)| (name.text.clone(), scope.value(value, escape)));
            let values: Vec<_> = values.collect();
            scope.values.extend(values);
        }
        Kind::Arg(args) => {
            for arg in args {
                let value = match &arg.value {
                    Some(word) => scope.value(word, escape),
                    None => globals.get(&arg.name.text).cloned().flatten(),
                };
                // What an image or ENV set stays, in Docker too.
                scope.values.entry(arg.name.text.clone()).or_insert(value);
            }
        }
        Kind::Workdir(folder) if !std::mem::replace(&mut scope.placed, true) => {
            if let Some(path) = scope.value(folder, escape).filter(|path| !path.starts_with('/')) {
                let message = format!(
                    "Relative workdir {path:?} can have unexpected results if the base image changes"
                );
                findings.add(Rule::WorkdirRelativePath, folder.at, message);
            }
        }
        _ => {}
    }
}

/// The words of an instruction that variables are looked for in.
fn words(instruction: &Instruction) -> Vec<Word> {
    match &instruction.kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect()
        }
        Kind::Arg(args) => args.iter().filter_map(|arg| arg.value.clone()).collect(),
        Kind::Copy(copy) | Kind::Add(copy) => {
            let flags = ["chown", "chmod", "from"].map(|name| flags::value(&instruction.flags, name));
            let paths = copy.sources.iter().chain([&copy.destination]).cloned();
            paths.chain(flags.into_iter().flatten()).collect()
        }
        Kind::Expose(list) | Kind::Volume(list) => list.clone(),
        Kind::User(word) | Kind::Workdir(word) | Kind::Stopsignal(word) => vec![word.clone()],
        _ => Vec::new(),
    }
}

/// Whether the author says what to do when it is unset.
fn may_be_unset(text: &str, name: &str) -> bool {
    ["-", ":-", "+", ":+", "?", ":?"].iter().any(|modifier| text.contains(&format!("${{{name}{modifier}")))
}

fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>, mark: &str) -> String {
    let near = known.map(|known| (distance(name, known), known)).min();
    match near.filter(|(far, _)| *far <= 2) {
        Some((_, near)) => format!(" (did you mean {mark}{near}?)"),
        None => String::new(),
    }
}

/// Names that promise a secret.
fn secrets(instruction: &Instruction, findings: &mut Findings) {
    let names: Vec<&Word> = match &instruction.kind {
        Kind::Env(pairs) => pairs.pairs.iter().map(|(name, _)| name).collect(),
        Kind::Arg(args) => args.iter().map(|arg| &arg.name).collect(),
        _ => return,
    };
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    // With such a word it is no secret itself.
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    for name in names {
        let lower = name.text.to_lowercase();
        let mut parts = lower.split('_');
        if parts.clone().any(|part| SECRET.contains(&part)) && !parts.any(|part| HARMLESS.contains(&part)) {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({} {:?})",
                instruction.kind.name(),
                name.text
            );
            findings.add(Rule::SecretsUsedInArgOrEnv, name.at, message);
        }
    }
}
