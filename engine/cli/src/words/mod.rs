//! The words of the command line, as data: each command with its names, its
//! flags and its help, in the docker client's own words.
//!
//! Docker's client reads its arguments by rules of its own (flags after
//! arguments, `--all=false`, `-aq`, and none of a flag behind `run`'s image), and
//! says so in its own sentences. A student who types `docker ps –a` with an en
//! dash must get exactly Docker's answer. So this is a small parser of those
//! rules over tables; glassdock's own commands, where nobody has rules yet, use clap.
//!
//! ```text
//!   argv ──tree::find──► Spec ──parse──► Args ──commands::…──► requests
//! ```
//!
//! The tables are `const`: finding a command costs a few comparisons of
//! strings, and nothing is built that is not used.

pub(crate) mod parse;

pub(crate) mod check;

pub(crate) mod tree;

pub(crate) mod help;

pub(crate) mod run;

pub(crate) mod container;

pub(crate) mod image;

pub(crate) mod build;

pub(crate) mod network;

pub(crate) mod volume;

pub(crate) mod swarm;

pub(crate) mod system;

pub(crate) mod glass;

pub(crate) use parse::Args;

/// One command.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Every way to call it, the usual one first: `ps`, `container ls`.
    pub names: &'static [&'static str],
    /// What comes after the name in the usage line.
    pub usage: &'static str,
    /// What it does. The first line alone in the list of commands.
    pub about: &'static str,
    /// The line under "Aliases:", or nothing.
    pub aliases: &'static str,
    /// How many arguments it takes.
    pub arity: Arity,
    /// Whether flags may stand behind the first argument. Not so in `run IMAGE ls -l`.
    pub interspersed: bool,
    /// Its flags, in the help's order.
    pub flags: &'static [Flag],
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    Any,
    None,
    Exact(usize),
    Min(usize),
    Max(usize),
    Range(usize, usize),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// The letter behind one dash, or [`NO`].
    pub short: char,
    /// The name behind two dashes.
    pub long: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its help; empty hides it.
    pub help: &'static str,
}

/// What a flag's value is: how it is checked, and what the help calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Text,
    /// Text that may be given several times.
    List,
    /// As [`Kind::List`], and each may hold several with commas between.
    Commas,
    Map,
    Int,
    Uint16,
    Uint,
    /// A size such as `64m`.
    Bytes,
    /// As [`Kind::Bytes`], or -1 for no limit.
    BytesOrNone,
    Decimal,
    Duration,
    Filter,
    Ulimit,
    Network,
    Mount,
    Gpus,
    Env,
    Label,
    Attach,
    AddHost,
    Ip,
    Link,
    Sysctl,
    /// A device and a number of bytes a second.
    RateBytes,
    /// A device and a plain number.
    RateNumber,
    /// glassdock's own: a flag whose value, if any, stands behind `=`.
    Maybe,
}

impl Kind {
    /// What the help calls the value.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Bool | Self::Maybe => "",
            Self::Text => "string",
            Self::List
            | Self::Env
            | Self::Label
            | Self::Attach
            | Self::AddHost
            | Self::Ip
            | Self::Link
            | Self::RateBytes
            | Self::RateNumber => "list",
            Self::Commas => "strings",
            Self::Map | Self::Sysctl => "map",
            Self::Int => "int",
            Self::Uint16 => "uint16",
            Self::Uint => "uint",
            Self::Bytes | Self::BytesOrNone => "bytes",
            Self::Decimal => "decimal",
            Self::Duration => "duration",
            Self::Filter => "filter",
            Self::Ulimit => "ulimit",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Gpus => "gpu-request",
        }
    }

    /// What stands for a flag that is given without a value, if it may be.
    pub(crate) fn bare(self) -> Option<&'static str> {
        matches!(self, Self::Bool | Self::Maybe).then_some("true")
    }
}

/// No short letter.
pub(crate) const NO: char = '\0';

/// A flag of a table.
pub(crate) const fn flag(short: char, long: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { short, long, kind, help }
}

/// The help of `--format` where there is a table.
pub(crate) const FORMAT_TABLE: &str = "\
Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// The help of `--format` where there is none.
pub(crate) const FORMAT: &str = "\
Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

impl Spec {
    /// The usage line without its "Usage:", under the name that it was called by.
    pub(crate) fn use_line(&self, program: &str, name: &str) -> String {
        if self.usage.is_empty() {
            format!("{program} {name}")
        } else {
            format!("{program} {name} {}", self.usage)
        }
    }

    /// The usual name.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}
