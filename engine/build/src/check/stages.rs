//! Stages: their names, their platforms, and what only counts once in each.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Rule};
use crate::language::instruction::From;
use crate::language::{File, Instruction, Kind};

/// Names that mean something else.
const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn check(file: &File, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    let mut stage: Vec<&Instruction> = Vec::new();
    // Whether each named stage, and the one that is read, says its folder from `/` on.
    let mut folders: BTreeMap<String, bool> = BTreeMap::new();
    let (mut name, mut absolute) = (None, false);
    for instruction in &file.instructions {
        match &instruction.kind {
            Kind::From(from) => {
                if let Some(name) = name.take() {
                    folders.insert(name, absolute);
                }
                self::from(instruction, from, &mut names, findings);
                repeated(&std::mem::take(&mut stage), findings);
                absolute = folders.get(&from.image.text.to_lowercase()).copied().unwrap_or(false);
                name = from.name.as_ref().map(|name| name.text.to_lowercase());
            }
            Kind::Workdir(folder) => {
                if !absolute && !folder.text.starts_with(['/', '$']) {
                    let message = format!(
                        "Relative workdir {:?} can have unexpected results if the base image changes",
                        folder.text
                    );
                    findings.add(Rule::WorkdirRelativePath, folder.at, message);
                }
                absolute |= folder.text.starts_with('/');
            }
            _ => {}
        }
        stage.push(instruction);
    }
    repeated(&stage, findings);
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
    if let Some(platform) = &from.platform {
        let name = platform.text.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
        if platform.text.starts_with('$') && name == "TARGETPLATFORM" {
            let message = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                platform.text
            );
            findings.add(Rule::RedundantTargetPlatform, platform.at, message);
        }
        if !platform.text.contains('$') {
            let message = format!("FROM --platform flag should not use constant value {:?}", platform.text);
            findings.add(Rule::FromPlatformFlagConstDisallowed, platform.at, message);
        }
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
        let message = format!("Stage name should not use the same name as reserved stage {:?}", name.text);
        findings.add(Rule::ReservedStageName, name.at, message);
    }
    if !names.insert(lower) {
        let message = format!("Duplicate stage name {:?}, stage names should be unique", name.text);
        findings.add(Rule::DuplicateStageName, name.at, message);
    }
}
