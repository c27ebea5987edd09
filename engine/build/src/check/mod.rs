//! # Checks: what is not wrong, but will be a surprise
//!
//! The rules are those that people know from Docker's build checks, by the same names
//! and in the same words. A file can switch them off: `# check=skip=RULE,…`.
//!
//! Reading order: [`style`] (how it is written), [`stages`] (FROM and stages), and
//! [`variables`] (ARG, ENV and their use). A check here knows no images: a variable
//! that a base image may have set is not called undefined.

pub mod stages;

pub mod style;

pub mod variables;

use std::fmt;

use crate::ignore::Ignore;
use crate::language::{File, Kind, Position, flags};

/// The rules' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are Docker's, and say what they are")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    RedundantTargetPlatform,
    FromPlatformFlagConstDisallowed,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    ExposeProtoCasing,
    ExposeInvalidFormat,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
}

impl Rule {
    /// Whether it is reported only if the file asks for it.
    fn is_experimental(self) -> bool {
        matches!(self, Self::InvalidDefinitionDescription)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Where.
    pub at: Position,
    /// What.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.at, self.rule, self.message)
    }
}

/// Checks a file that was read; `ignore` is the context's `.dockerignore`, if it is known.
#[must_use]
pub fn check(file: &File, ignore: Option<&Ignore>) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    style::check(file, &mut findings);
    stages::check(file, &mut findings);
    variables::check(file, &mut findings);
    if let Some(ignore) = ignore {
        ignored(file, ignore, &mut findings);
    }
    let said = &file.directives.check;
    let named = |list: &[String], rule: Rule| {
        let name = rule.to_string();
        list.iter().any(|one| one.eq_ignore_ascii_case("all") || one.eq_ignore_ascii_case(&name))
    };
    let skipped = |finding: &Finding| {
        let asked = !finding.rule.is_experimental() || named(&said.experimental, finding.rule);
        !asked || named(&said.skip, finding.rule)
    };
    let mut findings: Vec<Finding> = findings.0.into_iter().filter(|finding| !skipped(finding)).collect();
    findings.sort_by_key(|finding| (finding.at, finding.rule));
    findings
}

/// Where the rules put what they find.
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, rule: Rule, at: Position, message: impl Into<String>) {
        self.0.push(Finding { rule, at, message: message.into() });
    }
}

/// Files that COPY or ADD names, but the context doesn't have.
fn ignored(file: &File, ignore: &Ignore, findings: &mut Findings) {
    for instruction in &file.instructions {
        let (Kind::Copy(copy) | Kind::Add(copy)) = &instruction.kind else { continue };
        if flags::value(&instruction.flags, "from").is_some() {
            continue;
        }
        for source in &copy.sources {
            let path = source.text.trim_start_matches("./").trim_matches('/');
            let plain = !path.is_empty() && path != "." && !path.contains(['*', '?', '[', '$', ':']);
            if plain && ignore.ignores(path) {
                let message = format!(
                    "Attempting to {} file {:?} that is excluded by .dockerignore",
                    instruction.kind.name(),
                    source.text
                );
                findings.add(Rule::CopyIgnoredFile, source.at, message);
            }
        }
    }
}
