//! Parser directives: the comments at the very top of a file that mean something.
//!
//! `# escape=`, `# syntax=` and `# check=`, each at most once, before everything
//! else; the first line that is something else ends them, also a comment or a blank line.
//! See "Parser directives" in Docker's Dockerfile reference.

use serde::Serialize;

use super::error::{Error, Problem};
use super::text::Position;

/// What the directives of a file say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Directives {
    /// The character that continues a line and takes the meaning of the next one: `\` or `` ` ``.
    pub escape: char,
    /// The frontend that the author wishes. This engine has one, and reads on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syntax: Option<String>,
    /// Which checks are skipped, and whether findings are errors.
    pub check: Check,
    /// How many lines they take.
    #[serde(skip)]
    pub(crate) lines: usize,
}

/// `# check=skip=RULE,RULE;error=true;experimental=RULE`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Rules that are not to be reported; `all` is all of them.
    pub skip: Vec<String>,
    /// Whether a finding fails the build.
    pub error: bool,
    /// Which rules are reported that are not unless they are asked for; `all` is all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub experimental: Vec<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { escape: '\\', syntax: None, check: Check::default(), lines: 0 }
    }
}

/// Reads the directives at the start of a file.
pub(crate) fn read(lines: &[&str], errors: &mut Vec<Error>) -> Directives {
    let mut found = Directives::default();
    let (mut seen, mut shebang) = (Vec::new(), false);
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim_end_matches(['\r', '\n']);
        if index == 0 && line.starts_with("#!") {
            shebang = true;
            found.lines = 1;
            continue;
        }
        let Some((name, value)) = parse(line) else { break };
        let known = ["escape", "syntax", "check"].into_iter().find(|known| name.eq_ignore_ascii_case(known));
        let Some(known) = known else { break };
        let column = line.chars().take_while(|character| !character.is_ascii_alphabetic()).count() + 1;
        let at = Position {
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        };
        if shebang && known == "escape" {
            // Docker looks past the `#!` for the other two only.
            continue;
        }
        if seen.contains(&known) {
            errors.push(Error::new(at, Problem::DirectiveTwice(known)));
            continue;
        }
        seen.push(known);
        found.lines = index + 1;
        match known {
            "escape" if matches!(value, "\\" | "`") => found.escape = if value == "`" { '`' } else { '\\' },
            "escape" => errors.push(Error::new(at, Problem::Escape(value.to_owned()))),
            "syntax" => found.syntax = Some(value.to_owned()),
            _ => {
                let (check, wrong) = Check::read(value);
                found.check = check;
                errors.extend(wrong.into_iter().map(|part| Error::new(at, Problem::CheckOption(part))));
            }
        }
    }
    found
}

/// `# name = value`
fn parse(line: &str) -> Option<(&str, &str)> {
    let space = |next: char| matches!(next, ' ' | '\t' | '\r' | '\x0c');
    let line = line.trim_start().strip_prefix('#')?;
    let (name, written) = line.trim_start_matches(space).split_once('=')?;
    let (name, value) = (name.trim_end_matches(space), written.trim_matches(space));
    let plain = name.chars().all(|character| character.is_ascii_alphanumeric())
        && name.starts_with(|first: char| first.is_ascii_alphabetic());
    // White space alone is a value too, and for an escape character a wrong one.
    let value = if value.is_empty() { written } else { value };
    (plain && !value.is_empty()).then_some((name, value))
}

impl Check {
    /// Reads what a directive or the build argument says: `skip=RULE,RULE;error=true`.
    ///
    /// # Errors
    ///
    /// The parts that make no sense, beside what the others say.
    pub fn read(value: &str) -> (Self, Vec<String>) {
        let (mut check, mut wrong) = (Self::default(), Vec::new());
        for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let rules = |rules: &str| rules.split(',').map(|rule| rule.trim().to_owned()).collect::<Vec<_>>();
            match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some(("skip", skip)) => check.skip.extend(rules(skip)),
                Some(("error", "true" | "1" | "t" | "T" | "TRUE" | "True")) => check.error = true,
                Some(("error", "false" | "0" | "f" | "F" | "FALSE" | "False")) => check.error = false,
                Some(("experimental", asked)) => check.experimental.extend(rules(asked)),
                _ => wrong.push(part.to_owned()),
            }
        }
        (check, wrong)
    }
}
