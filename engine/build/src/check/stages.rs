//! Stages: their names, their platforms, and what only counts once in each.

use std::collections::{BTreeMap, BTreeSet};

use super::{BaseImage, Findings, Rule};
use crate::language::instruction::From;
use crate::language::{File, Instruction, Kind};

/// Names that mean something else.
const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn check(file: &File, bases: &BTreeMap<usize, BaseImage>, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    let mut stage: Vec<&Instruction> = Vec::new();
    for (index, instruction) in file.instructions.iter().enumerate() {
        if let Kind::From(from) = &instruction.kind {
            self::from(instruction, from, &mut names, findings);
            if let Some(base) = bases.get(&index) {
                platform(from, base, findings);
            }
            repeated(&std::mem::take(&mut stage), findings);
        }
        stage.push(instruction);
    }
    repeated(&stage, findings);
}

/// An image that is for another machine than the build.
fn platform(from: &From, base: &BaseImage, findings: &mut Findings) {
    let machine = |platform: &str| platform.split('/').take(2).map(str::to_owned).collect::<Vec<_>>();
    if machine(&base.platform) != machine(&base.wanted) {
        let message = format!(
            "Base image {} was pulled with platform {:?}, expected {:?} for current build",
            base.name, base.platform, base.wanted
        );
        findings.add(Rule::InvalidBaseImagePlatform, from.image.at, message);
    }
}

/// What only counts once: all but the last one do nothing.
fn repeated(stage: &[&Instruction], findings: &mut Findings) {
    for name in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
        let mut given: Vec<_> = stage.iter().filter(|instruction| instruction.kind.name() == name).collect();
        given.pop();
        for instruction in given {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            findings.add(Rule::MultipleInstructionsDisallowed, instruction.at(), message);
        }
    }
}

fn from(instruction: &Instruction, from: &From, names: &mut BTreeSet<String>, findings: &mut Findings) {
    if let Some(platform) = &from.platform
        && !platform.text.contains('$')
        && !is_told(&platform.text, from.name.as_ref().map_or("", |name| &name.text))
    {
        let message = format!("FROM --platform flag should not use constant value {:?}", platform.text);
        findings.add(Rule::FromPlatformFlagConstDisallowed, platform.at, message);
    }
    let (Some(r#as), Some(name)) = (&from.r#as, &from.name) else { return };
    let keyword = &instruction.keyword.text;
    let lower = |text: &str| text.chars().all(|letter| letter.is_ascii_lowercase());
    let upper = |text: &str| text.chars().all(|letter| letter.is_ascii_uppercase());
    if (lower(keyword) && !lower(&r#as.text)) || (upper(keyword) && !upper(&r#as.text)) {
        let message = format!("'{}' and '{keyword}' keywords' casing do not match", r#as.text);
        findings.add(Rule::FromAsCasing, r#as.at, message);
    }
    if name.text.chars().any(char::is_uppercase) {
        let message = format!("Stage name '{}' should be lowercase", name.text);
        findings.add(Rule::StageNameCasing, name.at, message);
    }
    let lower = name.text.to_lowercase();
    if RESERVED.contains(&lower.as_str()) {
        let message = format!("Stage name should not use the same name as reserved stage {lower:?}");
        findings.add(Rule::ReservedStageName, name.at, message);
    }
    if !names.insert(lower.clone()) {
        let message = format!("Duplicate stage name {lower:?}, stage names should be unique");
        findings.add(Rule::DuplicateStageName, name.at, message);
    }
}

/// Whether a stage's name says which platform it is for, so that the constant is meant.
fn is_told(platform: &str, stage: &str) -> bool {
    let stage = stage.to_lowercase();
    platform.to_lowercase().split('/').take(2).any(|part| !part.is_empty() && stage.contains(part))
}
