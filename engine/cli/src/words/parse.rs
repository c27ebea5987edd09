//! Arguments into flags and operands, by the rules of the docker client.
//!
//! - `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, `-abc`;
//! - a truth value takes its value behind `=` only;
//! - `--` ends the flags; a lone `-` is an operand;
//! - behind the first operand flags go on, unless the command passes them on.

use super::{Arity, Flag, NO, Spec, check, glass};
use crate::failure::Failure;

/// What was typed for one command.
#[derive(Debug)]
pub(crate) struct Args {
    /// The command.
    pub spec: &'static Spec,
    /// `docker` or `glassdock`, as it was called.
    pub program: &'static str,
    /// The name that the command was called by, such as `container ls`.
    pub name: String,
    /// What is not a flag.
    pub operands: Vec<String>,
    given: Vec<(&'static Flag, String)>,
}

/// What reading the arguments came to.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command to do.
    Command(Args),
    /// Its help was asked for; `true` if by the old `-h`.
    Help { deprecated: bool },
}

impl Args {
    /// Whether a truth value is set.
    pub(crate) fn is(&self, long: &str) -> bool {
        self.last(long).is_some_and(|value| matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True"))
    }

    /// The truth value, or `default` where it was not given.
    pub(crate) fn is_or(&self, long: &str, default: bool) -> bool {
        if self.changed(long) { self.is(long) } else { default }
    }

    /// A text, empty where it was not given.
    pub(crate) fn text(&self, long: &str) -> &str {
        self.last(long).unwrap_or_default()
    }

    /// The last value of a flag.
    pub(crate) fn last(&self, long: &str) -> Option<&str> {
        self.given.iter().rev().find(|(flag, _)| flag.long == long).map(|(_, value)| value.as_str())
    }

    /// Every value of a flag, in the order given.
    pub(crate) fn all<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.given.iter().filter(move |(flag, _)| flag.long == long).map(|(_, value)| value.as_str())
    }

    /// As [`Args::all`], owned.
    pub(crate) fn list(&self, long: &str) -> Vec<String> {
        self.all(long).map(str::to_owned).collect()
    }

    /// Every value, taken apart at commas.
    pub(crate) fn commas(&self, long: &str) -> Vec<String> {
        self.all(long).flat_map(|value| value.split(',')).map(str::to_owned).collect()
    }

    /// A number, checked when it was read.
    pub(crate) fn number(&self, long: &str) -> Option<i64> {
        self.last(long).and_then(check::int)
    }

    /// A size in bytes, checked when it was read.
    pub(crate) fn bytes(&self, long: &str) -> Option<i64> {
        let value = self.last(long)?;
        if value == "-1" { Some(-1) } else { check::bytes(value) }
    }

    /// Whether the flag was given at all.
    pub(crate) fn changed(&self, long: &str) -> bool {
        self.last(long).is_some()
    }

    /// Whether any flag was given.
    pub(crate) fn any_flag(&self) -> bool {
        !self.given.is_empty()
    }

    /// The operand at a place, which the arity has checked.
    pub(crate) fn operand(&self, place: usize) -> &str {
        self.operands.get(place).map_or("", String::as_str)
    }
}

fn flag_error(message: &str, program: &str, name: &str, spec: &Spec) -> Failure {
    let usage = spec.use_line(program, name);
    Failure::new(
        125,
        format!("{message}\n\nUsage:  {usage}\n\nRun '{program} {name} --help' for more information"),
    )
}

/// Reads the arguments of a command.
pub(crate) fn parse(
    spec: &'static Spec,
    program: &'static str,
    name: &str,
    argv: &[String],
) -> Result<Parsed, Failure> {
    let own = if program == "docker" { &[][..] } else { glass::FLAGS };
    let reader = Reader { spec, own };
    let (given, operands) = match reader.read(argv, spec.interspersed) {
        Ok(Read::Flags { given, operands, .. }) => (given, operands),
        Ok(Read::Help { deprecated }) => return Ok(Parsed::Help { deprecated }),
        Err(message) => return Err(flag_error(&message, program, name, spec)),
    };
    let args = Args { spec, program, name: name.to_owned(), operands, given };
    args.check_arity()?;
    Ok(Parsed::Command(args))
}

/// The global flags before a command: their values, and where the command begins.
pub(crate) fn parse_global(
    spec: &'static Spec,
    program: &'static str,
    argv: &[String],
) -> Result<(Parsed, usize), Failure> {
    let own = if program == "docker" { &[][..] } else { glass::FLAGS };
    let reader = Reader { spec, own };
    match reader.read(argv, false) {
        Ok(Read::Flags { given, operands, used }) => {
            Ok((Parsed::Command(Args { spec, program, name: String::new(), operands, given }), used))
        }
        Ok(Read::Help { deprecated }) => Ok((Parsed::Help { deprecated }, argv.len())),
        Err(message) => Err(Failure::new(
            125,
            format!(
                "{message}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
            ),
        )),
    }
}

enum Read {
    Flags { given: Vec<(&'static Flag, String)>, operands: Vec<String>, used: usize },
    Help { deprecated: bool },
}

struct Reader {
    spec: &'static Spec,
    own: &'static [Flag],
}

impl Reader {
    fn read(&self, argv: &[String], interspersed: bool) -> Result<Read, String> {
        let mut given = Vec::new();
        let mut operands = Vec::new();
        let mut at = 0;
        while let Some(word) = argv.get(at) {
            at += 1;
            if word == "--" {
                operands.extend(argv.iter().skip(at).cloned());
                break;
            }
            if let Some(long) = word.strip_prefix("--") {
                let next = argv.get(at);
                match self.long(long, next)? {
                    Some((flag, value, took)) => {
                        at += usize::from(took);
                        given.push((flag, value));
                    }
                    None => return Ok(Read::Help { deprecated: false }),
                }
            } else if word.len() > 1 && word.starts_with('-') {
                match self.shorts(word.trim_start_matches('-'), argv.get(at), &mut given)? {
                    Some(took) => at += usize::from(took),
                    None => return Ok(Read::Help { deprecated: true }),
                }
            } else if interspersed {
                operands.push(word.clone());
            } else {
                at -= 1;
                operands.extend(argv.iter().skip(at).cloned());
                break;
            }
        }
        Ok(Read::Flags { given, operands, used: at })
    }

    /// A flag behind two dashes: `None` is a call for help; the last part says
    /// whether the next word was its value.
    fn long(
        &self,
        text: &str,
        next: Option<&String>,
    ) -> Result<Option<(&'static Flag, String, bool)>, String> {
        if text.is_empty() || text.starts_with('-') || text.starts_with('=') {
            return Err(format!("bad flag syntax: --{text}"));
        }
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if name == "help" {
            return Ok(None);
        }
        let Some(flag) = self.find(|flag| flag.long == name) else {
            return Err(format!("unknown flag: --{name}"));
        };
        let (value, took) = match (value, flag.kind.bare(), next) {
            (Some(value), ..) => (value.to_owned(), false),
            (None, Some(bare), _) => (bare.to_owned(), false),
            (None, None, Some(next)) => (next.clone(), true),
            (None, None, None) => return Err(format!("flag needs an argument: --{name}")),
        };
        check_value(flag, &value)?;
        Ok(Some((flag, value, took)))
    }

    /// Flags behind one dash. `None` is a call for help.
    fn shorts(
        &self,
        text: &str,
        next: Option<&String>,
        given: &mut Vec<(&'static Flag, String)>,
    ) -> Result<Option<bool>, String> {
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let whole = rest;
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            let Some(flag) = self.find(|flag| flag.short == letter && letter != NO) else {
                if letter == 'h' {
                    return Ok(None);
                }
                // As the docker client, by bytes: an en dash is no dash, but a letter behind one may be anything.
                let byte = whole.bytes().next().map_or('?', char::from);
                return Err(format!("unknown shorthand flag: {} in -{whole}", quote_char(byte)));
            };
            let value;
            let mut took = false;
            let mut done = true;
            if let Some(set) = rest.strip_prefix('=').filter(|set| !set.is_empty()) {
                value = set.to_owned();
            } else if let Some(bare) = flag.kind.bare() {
                value = bare.to_owned();
                done = false;
            } else if !rest.is_empty() {
                value = rest.to_owned();
            } else if let Some(next) = next {
                value = next.clone();
                took = true;
            } else {
                return Err(format!("flag needs an argument: {} in -{whole}", quote_char(letter)));
            }
            check_value(flag, &value)?;
            given.push((flag, value));
            if done {
                return Ok(Some(took));
            }
        }
        Ok(Some(false))
    }

    fn find(&self, fits: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.spec.flags.iter().chain(self.own).find(|flag| fits(flag))
    }
}

fn quote_char(letter: char) -> String {
    if letter.is_control() { format!("'\\x{:02x}'", u32::from(letter)) } else { format!("'{letter}'") }
}

fn check_value(flag: &Flag, value: &str) -> Result<(), String> {
    check::check(flag.kind, value).map_err(|reason| {
        let name = if flag.short == NO {
            format!("--{}", flag.long)
        } else {
            format!("-{}, --{}", flag.short, flag.long)
        };
        format!("invalid argument {} for \"{name}\" flag: {reason}", check::quote(value))
    })
}

impl Args {
    fn check_arity(&self) -> Result<(), Failure> {
        let count = self.operands.len();
        let (fits, wants, ending) = match self.spec.arity {
            Arity::Any => return Ok(()),
            Arity::None => (count == 0, "accepts no arguments".to_owned(), "Run"),
            Arity::Exact(n) => (count == n, format!("requires {}", arguments(n)), "Run"),
            Arity::Min(n) => (count >= n, format!("requires at least {}", arguments(n)), "See"),
            // The docker client's own slip of the pen; its output is matched letter by letter.
            Arity::Max(n) => (count <= n, format!("requires at most {}", arguments(n)), "SRun"),
            Arity::Range(from, to) => (
                (from..=to).contains(&count),
                format!("requires at least {from} and at most {}", arguments(to)),
                "Run",
            ),
        };
        if fits {
            return Ok(());
        }
        let (program, name) = (self.program, &self.name);
        let usage = self.spec.use_line(program, name);
        Err(Failure::new(
            1,
            format!(
                "{program}: '{program} {name}' {wants}\n\nUsage:  {usage}\n\n{ending} '{program} {name} --help' for more information"
            ),
        ))
    }
}

fn arguments(count: usize) -> String {
    if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") }
}
