//! How a file is written: cases of letters, forms of commands, old spellings.

use std::collections::BTreeMap;

use super::{BaseImage, Findings, Rule};
use crate::language::instruction::Command;
use crate::language::{File, Instruction, Kind, Position, Word};

pub(super) fn check(file: &File, bases: &BTreeMap<usize, BaseImage>, findings: &mut Findings) {
    casing(file, findings);
    // Whether each named stage, and the one that is read, says which shell its commands are for.
    let mut shells: BTreeMap<String, bool> = BTreeMap::new();
    let (mut name, mut shell_given) = (None, false);
    for (index, instruction) in file.instructions.iter().enumerate() {
        if let Some(line) = instruction.empty_line {
            findings.add(Rule::NoEmptyContinuation, Position { line, column: 1 }, "Empty continuation line");
        }
        description(instruction, findings);
        match &instruction.kind {
            Kind::From(from) => {
                if let Some(name) = name.take() {
                    shells.insert(name, shell_given);
                }
                let below = shells.get(&from.image.text.to_lowercase()).copied();
                let base = bases.get(&index).map(|base| base.has_shell);
                shell_given = base.or(below).unwrap_or(false);
                name = from.name.as_ref().map(|name| name.text.to_lowercase());
            }
            Kind::Shell(_) => shell_given = true,
            Kind::Maintainer(_) => findings.add(
                Rule::MaintainerDeprecated,
                instruction.at(),
                "Maintainer instruction is deprecated in favor of using label",
            ),
            Kind::Cmd(Command::Shell(text)) | Kind::Entrypoint(Command::Shell(text))
                if !shell_given && !text.is_empty() =>
            {
                json_recommended(instruction, findings);
            }
            Kind::Env(pairs) | Kind::Label(pairs) if pairs.old => {
                let name = instruction.kind.name();
                let message = format!(
                    "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
                );
                findings.add(Rule::LegacyKeyValueFormat, instruction.at(), message);
            }
            Kind::Expose(ports) => ports.iter().for_each(|port| expose(port, findings)),
            _ => {}
        }
    }
}

/// The comment right before a stage or an argument begins with its name, if it is to describe it.
fn description(instruction: &Instruction, findings: &mut Findings) {
    let names: Vec<&str> = match &instruction.kind {
        Kind::From(from) => from.name.iter().map(|name| name.text.as_str()).collect(),
        Kind::Arg(args) => args.iter().map(|arg| arg.name.text.as_str()).collect(),
        _ => return,
    };
    let (Some(comment), Some(first)) = (instruction.comments.last(), names.first()) else { return };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let example = if names.len() > 1 { "<arg_key>" } else { first };
    let message = format!(
        "Comment for {} should follow the format: `# {example} <description>`",
        instruction.kind.name()
    );
    findings.add(Rule::InvalidDefinitionDescription, instruction.at(), message);
}

fn json_recommended(instruction: &Instruction, findings: &mut Findings) {
    let message = format!(
        "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
        instruction.kind.name()
    );
    findings.add(Rule::JSONArgsRecommended, instruction.at(), message);
}

/// All keywords in capitals or all in small letters: which of them, the majority decides.
fn casing(file: &File, findings: &mut Findings) {
    let keywords: Vec<&Word> = file.instructions.iter().map(|instruction| &instruction.keyword).collect();
    let is_lower = |word: &Word| word.text.chars().all(|letter| letter.is_ascii_lowercase());
    let is_upper = |word: &Word| word.text.chars().all(|letter| letter.is_ascii_uppercase());
    let lower = keywords.iter().filter(|word| is_lower(word)).count();
    let upper = keywords.iter().filter(|word| is_upper(word)).count();
    let (wanted, fits): (&str, &dyn Fn(&Word) -> bool) =
        if lower > upper { ("lowercase", &is_lower) } else { ("uppercase", &is_upper) };
    for word in keywords.into_iter().filter(|word| !fits(word)) {
        let message =
            format!("Command '{}' should match the case of the command majority ({wanted})", word.text);
        findings.add(Rule::ConsistentInstructionCasing, word.at, message);
    }
}

fn expose(port: &Word, findings: &mut Findings) {
    if port.text.contains('$') {
        return;
    }
    if port.text.contains(':') {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
            port.text
        );
        findings.add(Rule::ExposeInvalidFormat, port.at, message);
    }
    if let Some((_, protocol)) = port.text.split_once('/')
        && protocol.chars().any(char::is_uppercase)
    {
        let message = format!("Defined protocol '{}' in EXPOSE instruction should be lowercase", port.text);
        findings.add(Rule::ExposeProtoCasing, port.at, message);
    }
}
