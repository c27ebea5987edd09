//! What a Dockerfile says: its instructions, each with the place of every word.

use serde::Serialize;

use super::heredoc::Heredoc;
use super::text::{Position, Word};

/// The instructions' names.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// Its first word, as it is written.
    pub keyword: Word,
    /// The last line that belongs to it, heredocs included.
    pub last_line: u32,
    /// The logical line, as it is written: what a build shows as its step.
    pub source: String,
    /// Its flags, without their quotes: `--chown=me`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Word>,
    /// The comments right before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<String>,
    /// The heredocs after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heredocs: Vec<Heredoc>,
    /// What it says.
    pub kind: Kind,
    /// The first empty line within it, which will be an error one day.
    #[serde(skip)]
    pub empty_line: Option<u32>,
}

impl Instruction {
    /// Where it begins.
    #[must_use]
    pub fn at(&self) -> Position {
        self.keyword.at
    }

    /// The value of a flag, with its place.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<Word> {
        super::flags::value(&self.flags, name)
    }

    /// All values of a flag that may be repeated.
    #[must_use]
    pub fn flag_values(&self, name: &str) -> Vec<Word> {
        super::flags::values(&self.flags, name)
    }

    /// Whether a flag that is yes or no says yes.
    #[must_use]
    pub fn flag_is_set(&self, name: &str) -> bool {
        super::flags::truth(&self.flags, name)
    }
}

/// What an instruction says. Variables are not expanded: a build does that, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A new stage.
    From(From),
    /// Who made it; LABEL's forerunner.
    Maintainer(Word),
    /// A command that is run now, and makes a layer.
    Run(Run),
    /// What a container runs.
    Cmd(Command),
    /// What a container runs before its command's words.
    Entrypoint(Command),
    /// Ports that are listened on.
    Expose(Vec<Word>),
    /// Environment variables.
    Env(Pairs),
    /// Notes.
    Label(Pairs),
    /// Files of the context, of another stage or image.
    Copy(Copy),
    /// As COPY, also from URLs, and archives are unpacked.
    Add(Copy),
    /// Places that become volumes.
    Volume(Vec<Word>),
    /// Who runs what follows.
    User(Word),
    /// Where what follows is run.
    Workdir(Word),
    /// An instruction for the builds on top of this image.
    Onbuild(Box<Instruction>),
    /// Variables that a build may be given.
    Arg(Vec<Arg>),
    /// What `stop` sends.
    Stopsignal(Word),
    /// The shell of the shell form.
    Shell(Vec<String>),
    /// How the container's health is found out.
    Healthcheck(Healthcheck),
}

impl Kind {
    /// The instruction's name, in capitals.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::From(_) => "FROM",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Run(_) => "RUN",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Expose(_) => "EXPOSE",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Copy(_) => "COPY",
            Self::Add(_) => "ADD",
            Self::Volume(_) => "VOLUME",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::Onbuild(_) => "ONBUILD",
            Self::Arg(_) => "ARG",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::Shell(_) => "SHELL",
            Self::Healthcheck(_) => "HEALTHCHECK",
        }
    }
}

/// `FROM [--platform=P] IMAGE [AS NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct From {
    /// The image, or a stage before.
    pub image: Word,
    /// For which platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Word>,
    /// The word AS, as it is written.
    #[serde(skip)]
    pub r#as: Option<Word>,
    /// The stage's name, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Word>,
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// A JSON array: executed as it is.
    Exec(Vec<String>),
    /// Text for the shell.
    Shell(String),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The command.
    pub command: Command,
}

/// Names with values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// Name and value, quotes and all.
    pub pairs: Vec<(Word, Word)>,
    /// Whether it is the old spelling: one name, a space, and the rest of the line.
    pub old: bool,
}

/// `COPY` and `ADD`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// What is copied; heredocs are not among it.
    pub sources: Vec<Word>,
    /// The heredocs that are copied, by their place in [`Instruction::heredocs`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heredocs: Vec<usize>,
    /// Whereto.
    pub destination: Word,
}

/// One variable of ARG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arg {
    /// Its name.
    pub name: Word,
    /// What it is if the build isn't given any; quotes and all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Word>,
}

/// `HEALTHCHECK`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Healthcheck {
    /// The image's check is switched off.
    None,
    /// A command that tells.
    Test {
        /// The command.
        command: Command,
        /// Durations in nanoseconds, 0 where none is given.
        interval: i64,
        /// How long one test may take.
        timeout: i64,
        /// How long failures don't count after the start.
        start_period: i64,
        /// How often it is tested in that time.
        start_interval: i64,
        /// How many failures make it unhealthy.
        retries: i64,
    },
}
