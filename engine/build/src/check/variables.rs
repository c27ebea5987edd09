//! Variables: used without being set, empty where an image's name should be, secret.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Rule};
use crate::language::expand::{Expanded, Rules, expand};
use crate::language::instruction::From;
use crate::language::nearest::distance;
use crate::language::{File, Instruction, Kind, Word, flags};
use crate::plan::{PLATFORM, PREDEFINED};

/// What a stage knows.
#[derive(Clone, Default)]
struct Scope {
    /// Whether the environment is known whole: nothing comes from an image.
    whole: bool,
    names: BTreeSet<String>,
}

pub(super) fn check(file: &File, findings: &mut Findings) {
    let escape = file.directives.escape;
    // The arguments before FROM: a value, or none.
    let mut globals: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut stages: BTreeMap<String, Scope> = BTreeMap::new();
    let mut scope: Option<Scope> = None;
    let mut name = None;
    for instruction in &file.instructions {
        if let Kind::From(from) = &instruction.kind {
            if let (Some(name), Some(scope)) = (name.take(), scope.take()) {
                stages.insert(name, scope);
            }
            base(from, &globals, escape, findings);
            let whole = from.image.text == "scratch";
            let below = stages.get(&from.image.text.to_lowercase()).cloned();
            scope = Some(below.unwrap_or(Scope { whole, names: BTreeSet::from(["PATH".to_owned()]) }));
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
            (_, Some(scope)) => within(instruction, scope, escape, findings),
            _ => {}
        }
    }
}

fn read(word: &Word, escape: char, values: &BTreeMap<String, Option<String>>) -> Option<Expanded> {
    let get = |name: &str| match values.get(name) {
        Some(value) => value.clone(),
        None => PLATFORM.contains(&name).then(|| "linux/amd64".to_owned()),
    };
    expand(&word.text, Rules::new(escape), &get).ok()
}

/// The variables of a FROM.
fn base(from: &From, globals: &BTreeMap<String, Option<String>>, escape: char, findings: &mut Findings) {
    for word in [Some(&from.image), from.platform.as_ref()].into_iter().flatten() {
        let Some(expanded) = read(word, escape, globals) else { continue };
        for unset in expanded.unset.iter().filter(|name| !globals.contains_key(*name)) {
            let known = globals.keys().map(String::as_str).chain(PLATFORM);
            let message = format!("FROM argument '{unset}' is not declared{}", meant(unset, known, ""));
            findings.add(Rule::UndefinedArgInFrom, word.at, message);
        }
    }
    let Some(expanded) = read(&from.image, escape, globals) else { return };
    let declared = expanded.unset.iter().any(|name| globals.contains_key(name));
    if declared && !is_image(&expanded.text) {
        let message =
            format!("Default value for ARG {} results in empty or invalid base image name", from.image.text);
        findings.add(Rule::InvalidDefaultArgInFrom, from.image.at, message);
    }
}

fn is_image(name: &str) -> bool {
    glassdock_image::Reference::parse(name).is_ok()
}

/// The variables of an instruction in a stage.
fn within(instruction: &Instruction, scope: &mut Scope, escape: char, findings: &mut Findings) {
    let mut words: Vec<&Word> = Vec::new();
    let mut set = Vec::new();
    let chown = ["chown", "chmod", "from"].map(|name| flags::value(&instruction.flags, name));
    match &instruction.kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            words.extend(pairs.pairs.iter().flat_map(|(name, value)| [name, value]));
            if matches!(instruction.kind, Kind::Env(_)) {
                set.extend(pairs.pairs.iter().map(|(name, _)| name.text.clone()));
            }
        }
        Kind::Arg(args) => {
            words.extend(args.iter().filter_map(|arg| arg.value.as_ref()));
            set.extend(args.iter().map(|arg| arg.name.text.clone()));
        }
        Kind::Copy(copy) | Kind::Add(copy) => {
            words.extend(&copy.sources);
            words.push(&copy.destination);
            words.extend(chown.iter().flatten());
        }
        Kind::Expose(list) | Kind::Volume(list) => words.extend(list),
        Kind::User(word) | Kind::Workdir(word) | Kind::Stopsignal(word) => words.push(word),
        _ => {}
    }
    for word in words {
        let get = |name: &str| scope.names.contains(name).then(|| "x".to_owned());
        let Ok(expanded) = expand(&word.text, Rules::new(escape), &get) else { continue };
        for unset in expanded.unset.iter().filter(|name| !may_be_unset(&word.text, name)) {
            let near = meant(unset, scope.names.iter().map(String::as_str), "$");
            // An image may have set it, unless it looks like a slip.
            if (scope.whole || !near.is_empty()) && !PREDEFINED.contains(&unset.as_str()) {
                let message = format!("Usage of undefined variable '${unset}'{near}");
                findings.add(Rule::UndefinedVar, word.at, message);
            }
        }
    }
    scope.names.extend(set);
}

/// Whether the author says what to do when it is unset.
fn may_be_unset(text: &str, name: &str) -> bool {
    ["-", ":-", "+", ":+", "?", ":?"].iter().any(|modifier| text.contains(&format!("${{{name}{modifier}")))
}

fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>, mark: &str) -> String {
    let near = known.map(|known| (distance(name, known), known)).min();
    match near.filter(|(far, _)| *far <= 2 && name.len() > 2) {
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
    const SECRET: [&str; 11] = [
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
        "secrets",
    ];
    for name in names {
        let lower = name.text.to_lowercase();
        let mut parts = lower.split('_');
        if parts.clone().any(|part| SECRET.contains(&part)) && !parts.any(|part| part == "public") {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({} {:?})",
                instruction.kind.name(),
                name.text
            );
            findings.add(Rule::SecretsUsedInArgOrEnv, name.at, message);
        }
    }
}
