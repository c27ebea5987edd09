//! The plan: a file's stages, what each stands on, and which are needed.
//!
//! ```text
//!   FROM golang AS build ─────┐
//!   FROM build AS test        │ (not needed for the last one: not built)
//!   FROM scratch              │
//!   COPY --from=build /x /x ◄─┘
//! ```
//!
//! Planning knows no images: what is not a stage is left as a name.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::language::expand::{Rules, expand};
use crate::language::instruction::From;
use crate::language::mount::Mount;
use crate::language::{Error, File, Instruction, Kind, Position, Problem, Word, flags, nearest};

/// Arguments that may be given without being declared, those of proxies.
pub const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that tell the platforms; known before FROM, and in a stage that declares them.
pub const PLATFORM: [&str; 8] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A word makes no sense.
    #[error("{0}")]
    Word(#[from] Error),
    /// The image's name is empty once its variables are known.
    #[error("{at}: base name ({written}) should not be blank")]
    Blank {
        /// Where it stands.
        at: Position,
        /// As it is written.
        written: String,
    },
    /// The wanted stage isn't there.
    #[error("target stage {name:?} could not be found{}", near.as_ref().map_or_else(String::new, |near| format!(" (did you mean {near}?)")))]
    Target {
        /// The name that was asked for.
        name: String,
        /// A stage whose name is nearly that.
        near: Option<String>,
    },
}

/// What a stage or a copy stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// Nothing at all.
    Scratch,
    /// Another stage, by its place.
    Stage(usize),
    /// An image.
    Image(String),
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name in lower case, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it stands on.
    pub base: Base,
    /// For which platform, if one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The FROM that begins it, by its place in the file.
    pub from: usize,
    /// Its other instructions: the places from here to before there.
    pub instructions: (usize, usize),
    /// The stages that it needs, its base among them.
    pub needs: Vec<usize>,
    /// Whether the target needs it.
    pub needed: bool,
}

/// The plan of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The values of the arguments before the first FROM.
    pub arguments: BTreeMap<String, String>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The stage that becomes the image.
    pub target: usize,
    /// The stages that are built, each after those that it needs.
    pub order: Vec<usize>,
}

/// What a plan depends on beside the file.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// `--build-arg`
    pub arguments: BTreeMap<String, String>,
    /// `--target`; empty for the last stage.
    pub target: &'a str,
    /// The values of [`PLATFORM`].
    pub platform: BTreeMap<String, String>,
}

/// The values of [`PLATFORM`] for a platform, which is both where it is built and what for.
#[must_use]
pub fn platform_arguments(target: (&str, &str, &str), own: (&str, &str, &str)) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (prefix, (os, architecture, variant)) in [("TARGET", target), ("BUILD", own)] {
        let mut whole = format!("{os}/{architecture}");
        if !variant.is_empty() {
            whole.push('/');
            whole.push_str(variant);
        }
        found.insert(format!("{prefix}PLATFORM"), whole);
        found.insert(format!("{prefix}OS"), os.to_owned());
        found.insert(format!("{prefix}ARCH"), architecture.to_owned());
        found.insert(format!("{prefix}VARIANT"), variant.to_owned());
    }
    found
}

impl Plan {
    /// Plans a file that was read without mistakes.
    ///
    /// # Errors
    ///
    /// See [`PlanError`].
    pub fn of(file: &File, wish: &Wish<'_>) -> Result<Self, PlanError> {
        let escape = file.directives.escape;
        let mut scope = wish.platform.clone();
        let mut arguments = BTreeMap::new();
        let mut stages: Vec<Stage> = Vec::new();
        for (index, instruction) in file.instructions.iter().enumerate() {
            match &instruction.kind {
                Kind::Arg(args) if stages.is_empty() => {
                    for arg in args {
                        let name = &arg.name.text;
                        let value = match (wish.arguments.get(name), &arg.value) {
                            (Some(given), _) => Some(given.clone()),
                            (None, Some(word)) => Some(text(word, escape, &scope)?),
                            (None, None) => None,
                        };
                        if let Some(value) = value {
                            arguments.insert(name.clone(), value.clone());
                            scope.insert(name.clone(), value);
                        }
                    }
                }
                Kind::From(from) => {
                    let stage = stage(index, from, &stages, escape, &scope)?;
                    stages.push(stage);
                }
                _ => {
                    if let Some(stage) = stages.last_mut() {
                        stage.instructions.1 = index + 1;
                    }
                }
            }
        }
        for index in 0..stages.len() {
            let (first, end) = stages[index].instructions;
            let mut needs: Vec<usize> = match stages[index].base {
                Base::Stage(base) => vec![base],
                _ => Vec::new(),
            };
            for instruction in file.instructions.get(first..end).unwrap_or_default() {
                needs.extend(sources(instruction).iter().filter_map(|name| find(&stages[..index], name)));
            }
            needs.sort_unstable();
            needs.dedup();
            stages[index].needs = needs;
        }
        let target = target(&stages, wish.target)?;
        let mut plan = Self { arguments, stages, target, order: Vec::new() };
        plan.need(target);
        plan.order = (0..plan.stages.len()).filter(|index| plan.stages[*index].needed).collect();
        Ok(plan)
    }

    /// A stage needs only stages before it, so this ends.
    fn need(&mut self, index: usize) {
        let mut wanted = vec![index];
        while let Some(index) = wanted.pop() {
            if !std::mem::replace(&mut self.stages[index].needed, true) {
                wanted.extend(self.stages[index].needs.iter().copied());
            }
        }
    }

    /// The stage of a name or number, among those before a stage: what `--from` means there.
    #[must_use]
    pub fn find(&self, name: &str, before: usize) -> Option<usize> {
        find(self.stages.get(..before).unwrap_or(&self.stages), name)
    }
}

fn stage(
    index: usize,
    from: &From,
    before: &[Stage],
    escape: char,
    scope: &BTreeMap<String, String>,
) -> Result<Stage, PlanError> {
    let image = text(&from.image, escape, scope)?;
    if image.trim().is_empty() {
        return Err(PlanError::Blank { at: from.image.at, written: from.image.text.clone() });
    }
    let named = before.iter().rposition(|stage| stage.name.as_deref() == Some(&image.to_lowercase()));
    let base = match named {
        Some(stage) => Base::Stage(stage),
        None if image == "scratch" => Base::Scratch,
        None => Base::Image(image),
    };
    let platform = from.platform.as_ref().map(|word| text(word, escape, scope)).transpose()?;
    Ok(Stage {
        name: from.name.as_ref().map(|name| name.text.to_lowercase()),
        base,
        platform: platform.filter(|platform| !platform.is_empty()),
        from: index,
        instructions: (index + 1, index + 1),
        needs: Vec::new(),
        needed: false,
    })
}

fn target(stages: &[Stage], name: &str) -> Result<usize, PlanError> {
    if name.is_empty() {
        return stages
            .len()
            .checked_sub(1)
            .ok_or_else(|| PlanError::Word(Error::new(Position { line: 1, column: 1 }, Problem::NoStage)));
    }
    find(stages, name).ok_or_else(|| {
        let names = stages.iter().filter_map(|stage| stage.name.as_deref());
        let far = |known: &&str| nearest::distance(known, name);
        let near = names.min_by_key(far).filter(|known| far(known) <= 2);
        PlanError::Target { name: name.to_owned(), near: near.map(str::to_owned) }
    })
}

/// A stage by its name (the last one of that name) or number.
fn find(stages: &[Stage], name: &str) -> Option<usize> {
    let lower = name.to_lowercase();
    let named = stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
    named.or_else(|| name.parse().ok().filter(|index| *index < stages.len()))
}

/// What an instruction takes files from: `--from` of COPY, `from=` of RUN's mounts.
fn sources(instruction: &Instruction) -> Vec<String> {
    let instruction = match &instruction.kind {
        Kind::Onbuild(_) => return Vec::new(),
        _ => instruction,
    };
    let mut found: Vec<String> =
        flags::values(&instruction.flags, "from").into_iter().map(|word| word.text).collect();
    for mount in flags::values(&instruction.flags, "mount") {
        // One with variables in it may still name its stage; what it means is known later.
        found.extend(Mount::parse(&mount.text).ok().and_then(|mount| mount.from().map(str::to_owned)));
    }
    found
}

fn text(word: &Word, escape: char, scope: &BTreeMap<String, String>) -> Result<String, Error> {
    let expanded = expand(&word.text, Rules::new(escape), &|name| scope.get(name).cloned());
    expanded.map(|expanded| expanded.text).map_err(|error| Error::new(word.at, error.into()))
}
