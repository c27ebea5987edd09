//! Instructions that change nothing but an image's config: ENV, CMD, USER and their like.
//!
//! A build applies them one after the other ([`apply`]); `docker commit --change` applies
//! a few of them at once ([`parse`], [`changes`]).

use glassdock_image::config::Process;
use serde_json::json;

use crate::language::expand::{Rules, expand};
use crate::language::instruction::{Command, Healthcheck};
use crate::language::{self, Error, Instruction, Kind, Problem, Word};

/// The shell of the shell form, where no SHELL says another.
pub const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Why changes can't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Some text is no instruction.
    #[error("{0}")]
    Syntax(Error),
    /// An instruction that does more than change the config.
    #[error("{0} is not a valid change command")]
    Refused(String),
}

impl From<Error> for ChangeError {
    fn from(error: Error) -> Self {
        Self::Syntax(error)
    }
}

/// Reads a list of changes, as `docker commit --change` and the API's `changes` give them:
/// each text is an instruction (or several lines of them).
///
/// # Errors
///
/// The first mistake, or [`ChangeError::Refused`] for RUN, COPY and others that make layers.
pub fn parse<'a>(changes: impl IntoIterator<Item = &'a str>) -> Result<Vec<Instruction>, ChangeError> {
    let mut found = Vec::new();
    for text in changes {
        let read = language::read_instructions(text);
        found.extend(
            read.map_err(|errors| errors.into_iter().next().map(ChangeError::Syntax))
                .map_err(|error| error.unwrap_or_else(|| ChangeError::Refused(text.to_owned())))?,
        );
    }
    for instruction in &found {
        let refused = matches!(
            instruction.kind,
            Kind::From(_)
                | Kind::Maintainer(_)
                | Kind::Run(_)
                | Kind::Copy(_)
                | Kind::Add(_)
                | Kind::Arg(_)
                | Kind::Shell(_)
        );
        if refused {
            return Err(ChangeError::Refused(instruction.kind.name().to_ascii_lowercase()));
        }
    }
    Ok(found)
}

/// Applies a list of changes to a config. Variables in them are those of the config's environment.
///
/// # Errors
///
/// The first change that makes no sense (a port that is none, a variable that is required).
pub fn changes(instructions: &[Instruction], config: &mut Process) -> Result<(), ChangeError> {
    let mut state = State::default();
    for instruction in instructions {
        apply(instruction, config, &mut state, '\\', &|_| None)?;
    }
    Ok(())
}

/// What applying needs to remember from one instruction to the next.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether CMD was given here: then ENTRYPOINT leaves it.
    pub command_given: bool,
}

/// Applies an instruction to a config, if it is one of those that change it; whether it is.
/// `args` tells the values of the build's arguments, which the environment goes before.
///
/// # Errors
///
/// With the place of the word that makes no sense.
pub fn apply(
    instruction: &Instruction,
    config: &mut Process,
    state: &mut State,
    escape: char,
    args: &dyn Fn(&str) -> Option<String>,
) -> Result<bool, Error> {
    let environment = config.env.clone();
    let get = |name: &str| variable(&environment, name).or_else(|| args(name));
    let text = |word: &Word| -> Result<String, Error> {
        let expanded = expand(&word.text, Rules::new(escape), &get);
        expanded.map(|expanded| expanded.text).map_err(|error| Error::new(word.at, error.into()))
    };
    match &instruction.kind {
        Kind::Env(pairs) => {
            for (name, value) in &pairs.pairs {
                let (name_text, value) = (text(name)?, text(value)?);
                if name_text.is_empty() {
                    return Err(Error::new(name.at, Problem::BlankName("ENV")));
                }
                set_variable(&mut config.env, &name_text, &value);
            }
        }
        Kind::Label(pairs) => {
            for (name, value) in &pairs.pairs {
                let (name_text, value) = (text(name)?, text(value)?);
                if name_text.is_empty() {
                    return Err(Error::new(name.at, Problem::BlankName("LABEL")));
                }
                config.labels.insert(name_text, value);
            }
        }
        Kind::Expose(ports) => {
            for word in ports {
                let expanded = expand(&word.text, Rules::new(escape), &get);
                let words = expanded.map_err(|error| Error::new(word.at, error.into()))?.words;
                for port in words {
                    let exposed = ports_of(&port);
                    let invalid = || Error::new(word.at, Problem::Port(port.clone()));
                    let exposed = exposed.ok_or_else(invalid)?;
                    config.exposed_ports.extend(exposed.into_iter().map(|port| (port, json!({}))));
                }
            }
        }
        Kind::Cmd(command) => {
            config.cmd = Some(words(command, config));
            config.args_escaped = false;
            state.command_given = true;
        }
        Kind::Entrypoint(command) => {
            let words = words(command, config);
            config.entrypoint = (!words.is_empty()).then_some(words);
            if !state.command_given {
                config.cmd = None;
            }
        }
        Kind::Volume(volumes) => {
            for volume in volumes {
                let path = text(volume)?;
                if path.trim().is_empty() {
                    return Err(Error::new(volume.at, Problem::EmptyVolume));
                }
                config.volumes.insert(path, json!({}));
            }
        }
        Kind::User(user) => config.user = text(user)?,
        Kind::Workdir(folder) => config.working_dir = workdir(&config.working_dir, &text(folder)?),
        Kind::Stopsignal(signal) => config.stop_signal = Some(text(signal)?),
        Kind::Shell(shell) => config.shell = Some(shell.clone()),
        Kind::Healthcheck(check) => config.healthcheck = Some(health(check)),
        Kind::Onbuild(trigger) => config.on_build.push(trigger.source.clone()),
        Kind::From(_) | Kind::Maintainer(_) | Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Arg(_) => {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The value of a variable in a list of `NAME=value`.
#[must_use]
pub fn variable(environment: &[String], name: &str) -> Option<String> {
    let value = |entry: &String| {
        let (known, value) = entry.split_once('=').unwrap_or((entry, ""));
        (known == name).then(|| value.to_owned())
    };
    environment.iter().rev().find_map(value)
}

/// Sets a variable in a list of `NAME=value`, in its place if it is there.
pub fn set_variable(environment: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let named = |known: &&mut String| known.split('=').next() == Some(name);
    match environment.iter_mut().find(named) {
        Some(known) => *known = entry,
        None => environment.push(entry),
    }
}

/// A command's words: the exec form's own, or the shell's with the text.
#[must_use]
pub fn words(command: &Command, config: &Process) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => {
            let mut words = shell(config);
            words.push(text.clone());
            words
        }
    }
}

/// The shell that a config asks for.
#[must_use]
pub fn shell(config: &Process) -> Vec<String> {
    config.shell.clone().unwrap_or_else(|| SHELL.map(str::to_owned).to_vec())
}

/// Where WORKDIR leads from a folder.
#[must_use]
pub fn workdir(from: &str, to: &str) -> String {
    let joined = if to.starts_with('/') { to.to_owned() } else { format!("/{from}/{to}") };
    clean(&joined)
}

/// An absolute path without `.`, `..` and doubled slashes.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The ports of one word of EXPOSE: `80`, `80/udp`, `8000-8010`, and (as Docker takes them, and the
/// checks complain of) `IP:HOST:CONTAINER`.
fn ports_of(text: &str) -> Option<Vec<String>> {
    let container = text.rsplit(':').next()?;
    let (range, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last): (u16, u16) = (number(first)?, number(last)?);
    (first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn health(check: &Healthcheck) -> serde_json::Value {
    let Healthcheck::Test { command, interval, timeout, start_period, start_interval, retries } = check
    else {
        return json!({"Test": ["NONE"]});
    };
    let mut test = match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => vec![text.clone()],
    };
    let kind = if matches!(command, Command::Exec(_)) { "CMD" } else { "CMD-SHELL" };
    test.insert(0, kind.to_owned());
    let mut value = json!({ "Test": test });
    let numbers = [
        ("Interval", interval),
        ("Timeout", timeout),
        ("StartPeriod", start_period),
        ("StartInterval", start_interval),
        ("Retries", retries),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| **number != 0) {
        value[name] = json!(number);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(texts: &[&str]) -> Result<Process, ChangeError> {
        let mut config = Process { cmd: Some(vec!["sh".into()]), ..Process::default() };
        changes(&parse(texts.iter().copied())?, &mut config)?;
        Ok(config)
    }

    #[test]
    fn changes_of_a_commit() {
        let config = applied(&[
            "ENV A=1 B=\"two words\"",
            "ENV C old way",
            "env A=$A$A",
            "WORKDIR /a\nWORKDIR b/../c",
            "EXPOSE 80 53/udp 90-91",
            "USER daemon",
            "LABEL x=$B",
            "VOLUME [\"/data\"]",
            "ENTRYPOINT [\"/bin/x\"]",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --retries=3 --interval=5s CMD true",
            "ONBUILD RUN echo hi",
        ])
        .expect("applied");
        assert_eq!(config.env, ["A=11", "B=two words", "C=old way"]);
        assert_eq!(config.working_dir, "/a/c");
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp", "90/tcp", "91/tcp"]);
        assert_eq!((config.user.as_str(), config.labels["x"].as_str()), ("daemon", "two words"));
        assert_eq!((config.cmd, config.entrypoint), (None, Some(vec!["/bin/x".into()])));
        assert_eq!(config.on_build, ["RUN echo hi"]);
        assert_eq!(
            config.healthcheck,
            Some(json!({"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64, "Retries": 3}))
        );
    }

    #[test]
    fn changes_that_are_none() {
        let message = |text| applied(&[text]).expect_err(text).to_string();
        assert_eq!(message("RUN x"), "run is not a valid change command");
        assert_eq!(message("ENVV A=1"), "1:1: unknown instruction: ENVV (did you mean ENV?)");
        assert_eq!(message("EXPOSE x"), "1:8: invalid containerPort: x");
        assert_eq!(message("ENV A=${B:?no}"), "1:7: B: no");
    }
}
