//! What can be wrong with a Dockerfile, and where.

use std::fmt;

use super::text::Position;

/// A mistake and its place. Shown as `LINE:COLUMN: message`; who knows the file's name puts it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub at: Position,
    /// What.
    pub problem: Problem,
}

impl Error {
    pub(crate) fn new(at: Position, problem: Problem) -> Self {
        Self { at, problem }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)
    }
}

impl std::error::Error for Error {}

/// What is wrong. The words are Docker's where Docker has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each one's message says what it is")]
pub enum Problem {
    #[error("file with no instructions")]
    Empty,
    #[error("the file is larger than {0} bytes, the most that a Dockerfile may have")]
    TooLarge(usize),
    #[error("dockerfile line greater than maximum allowed size of {}", super::lines::LONGEST_LINE)]
    LongLine,
    #[error("this is not UTF-8 text; only comments may have other bytes")]
    NotText,
    #[error("a zero byte: no word, name or variable can have one")]
    ZeroByte,
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(&'static str),
    #[error("invalid escape token '{0}' does not match ` or \\")]
    Escape(String),
    #[error("invalid check option {0:?}: expected skip=RULE,… or error=true")]
    CheckOption(String),
    #[error("unterminated heredoc: no line is just {0:?}")]
    Unterminated(String),
    #[error("unknown instruction: {written}{}", meant(nearest))]
    Unknown { written: String, nearest: Option<&'static str> },
    #[error("{before} is followed by the character U+{:04X}: expected a space or a tab", u32::from(*space))]
    OddSpace { before: String, space: char },
    #[error("no instruction: nothing follows the line that is to be continued")]
    Nothing,
    #[error("no build stage in current context: the first instruction must be FROM, or ARG before it")]
    NoStage,
    #[error("unknown flag: --{written}{}", meant(nearest))]
    UnknownFlag { written: String, nearest: Option<&'static str> },
    #[error("duplicate flag specified: {0}")]
    FlagTwice(String),
    #[error("missing a value on flag: {0}")]
    NoFlagValue(String),
    #[error("expecting boolean value for flag {flag}, not: {value}")]
    NoTruth { flag: String, value: String },
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be determined."
    )]
    NoDestination(&'static str),
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    NoEquals(String),
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    #[error("invalid name for build stage: {0:?}, name can't start with a number or contain symbols")]
    StageName(String),
    #[error("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(String),
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellJson,
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    #[error("missing command after HEALTHCHECK CMD")]
    HealthCommand,
    #[error("unknown type {0:?} in HEALTHCHECK (try CMD)")]
    HealthType(String),
    #[error("invalid duration {0:?}: expected something like 30s, 1m30s or 500ms")]
    Duration(String),
    #[error("{name} {value:?} cannot be less than 1ms")]
    ShortDuration { name: &'static str, value: String },
    #[error("invalid number of retries {0:?}: expected a number that is not negative")]
    Retries(String),
    #[error("invalid containerPort: {0}")]
    Port(String),
    #[error("invalid value {value:?} of --{flag}: {expected}")]
    FlagValue { flag: &'static str, value: String, expected: String },
    #[error("RUN --mount: {0}")]
    Mount(String),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("{0}")]
    Expand(#[from] super::expand::Error),
}

/// ` (did you mean FROM?)`
fn meant(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}
