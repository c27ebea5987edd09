//! # Checks: what is not wrong, but will be a surprise
//!
//! The rules are those that people know from Docker's build checks, by the same names
//! and in the same words. A file can switch them off: `# check=skip=RULE,…`.
//!
//! Reading order: [`style`] (how it is written), [`stages`] (FROM and stages), and
//! [`variables`] (ARG, ENV and their use). Nothing here asks for images: who knows what the stages
//! begin with says so ([`Known`]). A variable that an unknown image may have set is not called undefined,
//! unless it looks like a slip.

pub mod stages;

pub mod style;

pub mod variables;

use std::collections::BTreeMap;
use std::fmt;

use crate::ignore::Ignore;
use crate::language::directive::Check;
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
    InvalidBaseImagePlatform,
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

/// What is known beside the file.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The context's `.dockerignore`.
    pub ignore: Option<Ignore>,
    /// What stages begin with, by the place of their FROM among the file's instructions.
    pub bases: BTreeMap<usize, BaseImage>,
    /// What is said of checks instead of the file's directive: the build argument [`ARGUMENT`].
    pub said: Option<Check>,
}

/// The build argument that takes the place of a file's directive `check`.
pub const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// An image that a stage begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseImage {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub env: Vec<String>,
    /// Whether it says which shell commands are for.
    pub has_shell: bool,
    /// Its platform: `linux/amd64`.
    pub platform: String,
    /// The platform that the build wants.
    pub wanted: String,
}

/// Checks a file that was read.
#[must_use]
pub fn check(file: &File, known: &Known) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    style::check(file, &known.bases, &mut findings);
    stages::check(file, &known.bases, &mut findings);
    variables::check(file, &known.bases, &mut findings);
    if let Some(ignore) = &known.ignore {
        ignored(file, ignore, &mut findings);
    }
    let said = said(file, known);
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

/// What holds of checks.
#[must_use]
pub fn said<'a>(file: &'a File, known: &'a Known) -> &'a Check {
    known.said.as_ref().unwrap_or(&file.directives.check)
}

/// What is said where findings are errors, in BuildKit's words.
#[must_use]
pub fn violation(findings: &[Finding]) -> String {
    let rules: std::collections::BTreeSet<String> =
        findings.iter().map(|finding| finding.rule.to_string()).collect();
    format!("lint violation found for rules: {}", rules.into_iter().collect::<Vec<_>>().join(", "))
}

/// Where the rules put what they find.
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, rule: Rule, at: Position, message: impl Into<String>) {
        self.0.push(Finding { rule, at, message: message.into() });
    }
}

/// Files that COPY or ADD names, but the context doesn't have. Rules with exceptions are not judged: of a folder
/// that they leave out something may be there.
fn ignored(file: &File, ignore: &Ignore, findings: &mut Findings) {
    if ignore.has_exceptions() {
        return;
    }
    for instruction in &file.instructions {
        let (name, copy) = match &instruction.kind {
            Kind::Copy(copy) => ("Copy", copy),
            Kind::Add(copy) => ("Add", copy),
            _ => continue,
        };
        if flags::value(&instruction.flags, "from").is_some() {
            continue;
        }
        for source in &copy.sources {
            let parts = source.text.split('/').filter(|part| !matches!(*part, "" | "."));
            let path = parts.collect::<Vec<_>>().join("/");
            let plain = !path.is_empty() && !path.contains(['*', '?', '[', '$', ':']);
            if plain && ignore.ignores(&path) {
                let message = format!("Attempting to {name} file {path:?} that is excluded by .dockerignore");
                findings.add(Rule::CopyIgnoredFile, source.at, message);
            }
        }
    }
}
