//! Instructions of a Dockerfile that `commit --change` and `import --change` take: those
//! that change an image's config and nothing else.
//!
//! See Docker's Dockerfile reference; the list of what is taken is Docker's.

use glassdock_image::config::Process;
use serde_json::json;

use crate::containers::mounts::clean;
use crate::error::Error;

/// The shell of the shell form.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies instructions, one a text or several in lines, to a config.
///
/// # Errors
///
/// Invalid, in Docker's words: an instruction that isn't one, or that does more than change the config.
pub(super) fn apply<'a>(changes: impl Iterator<Item = &'a str>, config: &mut Process) -> Result<(), Error> {
    let mut command_given = false;
    for line in changes.flat_map(str::lines).map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        one(&word.to_ascii_uppercase(), rest.trim(), config, &mut command_given)?;
    }
    Ok(())
}

fn one(word: &str, rest: &str, config: &mut Process, command_given: &mut bool) -> Result<(), Error> {
    if !matches!(
        word,
        "CMD"
            | "ENTRYPOINT"
            | "HEALTHCHECK"
            | "ENV"
            | "EXPOSE"
            | "LABEL"
            | "ONBUILD"
            | "STOPSIGNAL"
            | "USER"
            | "VOLUME"
            | "WORKDIR"
    ) {
        return Err(Error::invalid(format!("{} is not a valid change command", word.to_lowercase())));
    }
    if rest.is_empty() && !matches!(word, "CMD" | "ENTRYPOINT") {
        return Err(Error::invalid(format!("{word} requires at least one argument")));
    }
    let environment = config.env.clone();
    let expand = |text: &str| expand(text, &environment);
    match word {
        "CMD" => {
            config.cmd = Some(command(rest, config));
            *command_given = true;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest, config)).filter(|words| !words.is_empty());
            if !*command_given {
                config.cmd = None;
            }
        }
        "ENV" => {
            for (name, value) in pairs(word, rest, &expand)? {
                config.env.retain(|entry| entry.split('=').next() != Some(&name));
                config.env.push(format!("{name}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(word, rest, &expand)?),
        "EXPOSE" => {
            for port in rest.split_whitespace().map(expand) {
                let ports = ports(&port);
                let ports = ports.ok_or_else(|| Error::invalid(format!("invalid containerPort: {port}")))?;
                config.exposed_ports.extend(ports.into_iter().map(|port| (port, json!({}))));
            }
        }
        "VOLUME" => {
            let places = list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            config.volumes.extend(places.iter().map(|place| (expand(place), json!({}))));
        }
        "USER" => config.user = expand(rest),
        "WORKDIR" => {
            let to = expand(rest);
            let whole = if to.starts_with('/') { to } else { format!("{}/{to}", config.working_dir) };
            config.working_dir = clean(&whole);
        }
        "STOPSIGNAL" => config.stop_signal = Some(expand(rest)),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        _ => config.healthcheck = Some(health(rest)?),
    }
    Ok(())
}

/// The exec form, `["a", "b"]`; `None` if it is none.
fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}

/// A command in its exec form or its shell form.
fn command(text: &str, config: &Process) -> Vec<String> {
    list(text).unwrap_or_else(|| {
        let shell = config.shell.clone().unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
        shell.into_iter().chain([text.to_owned()]).collect()
    })
}

/// `NAME=value …` with quotes, or the older `NAME value`.
fn pairs(word: &str, text: &str, expand: &dyn Fn(&str) -> String) -> Result<Vec<(String, String)>, Error> {
    let words = words(text);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if value.is_empty() {
            return Err(Error::invalid(format!("{word} must have two arguments")));
        }
        return Ok(vec![(expand(name), unquote(value.trim(), expand))]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let name = unquote(name, expand);
        (!name.is_empty()).then(|| (name, unquote(value, expand)))
    };
    let found: Option<Vec<_>> = words.iter().map(pair).collect();
    found.ok_or_else(|| Error::invalid(format!("{word} names can not be blank")))
}

/// Words apart by spaces that are in no quotes; the quotes stay.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => {
                word.push(letter);
                word.extend(letters.next());
                continue;
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => quote = Some(letter),
            (letter, None) if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(letter);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and backslashes away, and puts variables in where no single quote keeps them out.
fn unquote(text: &str, expand: &dyn Fn(&str) -> String) -> String {
    let (mut plain, mut part, mut quote) = (String::new(), String::new(), None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                // What is escaped is no variable.
                plain.push_str(&expand(&std::mem::take(&mut part)));
                plain.extend(letters.next());
            }
            ('\'', Some('\'')) => {
                plain.push_str(&std::mem::take(&mut part));
                quote = None;
            }
            ('\'', None) => {
                plain.push_str(&expand(&std::mem::take(&mut part)));
                quote = Some('\'');
            }
            ('"', Some('"')) => quote = None,
            ('"', None) => quote = Some('"'),
            (letter, _) => part.push(letter),
        }
    }
    if quote == Some('\'') { plain + &part } else { plain + &expand(&part) }
}

/// Puts in the values of `$NAME` and `${NAME}`.
fn expand(text: &str, environment: &[String]) -> String {
    let value = |name: &str| {
        let found = environment.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            out.push_str(&value(name));
            rest = after;
            continue;
        }
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&value(name));
        }
        rest = after;
    }
    out + rest
}

/// `80`, `80/udp`, `8000-8010`.
fn ports(text: &str) -> Option<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let known = matches!(protocol.as_str(), "tcp" | "udp" | "sctp");
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (known && first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `NONE`, or options and a command.
fn health(text: &str) -> Result<serde_json::Value, Error> {
    if text.eq_ignore_ascii_case("NONE") {
        return Ok(json!({ "Test": ["NONE"] }));
    }
    let mut health = json!({});
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let invalid =
            || Error::invalid(format!("invalid value {value:?} of the flag --{name} of HEALTHCHECK"));
        let field = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => "Retries",
            _ => return Err(Error::invalid(format!("unknown flag: {name}"))),
        };
        health[field] = if name == "retries" {
            json!(value.parse::<u32>().map_err(|_| invalid())?)
        } else {
            let span = crate::system::span(value).ok_or_else(invalid)?;
            json!(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
        };
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !kind.eq_ignore_ascii_case("CMD") {
        return Err(Error::invalid(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)")));
    }
    let command = command.trim();
    health["Test"] = match list(command) {
        Some(words) => json!(["CMD".to_owned()].into_iter().chain(words).collect::<Vec<_>>()),
        None => json!(["CMD-SHELL", command]),
    };
    Ok(health)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(texts: &[&str]) -> Result<Process, Error> {
        let mut config = Process { cmd: Some(vec!["sh".into()]), ..Process::default() };
        apply(texts.iter().copied(), &mut config)?;
        Ok(config)
    }

    #[test]
    fn changes_of_a_commit() {
        let config = applied(&[
            "ENV A=1 B=\"two words\" D='$A' E=\\$A",
            "ENV C old way",
            "env A=$A${A}",
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
        assert_eq!(config.env, ["B=two words", "D=$A", "E=$A", "C=old way", "A=11"]);
        assert_eq!(config.working_dir, "/a/c");
        let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "90/tcp", "91/tcp"]);
        assert_eq!((config.user.as_str(), config.labels["x"].as_str()), ("daemon", "two words"));
        assert_eq!((config.cmd, config.entrypoint), (None, Some(vec!["/bin/x".into()])));
        assert_eq!(config.on_build, ["RUN echo hi"]);
        let health = json!({"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64, "Retries": 3});
        assert_eq!(config.healthcheck, Some(health));
    }

    #[test]
    fn a_shell_stands_before_what_is_no_list() {
        let config = applied(&["CMD echo $HOME", "ENTRYPOINT [\"a\"]"]).expect("applied");
        assert_eq!(config.cmd.expect("a command"), ["/bin/sh", "-c", "echo $HOME"]);
        assert_eq!(config.entrypoint.expect("words"), ["a"]);
    }

    #[test]
    fn changes_that_are_none() {
        for (text, message) in [
            ("RUN x", "run is not a valid change command"),
            ("COPY . .", "copy is not a valid change command"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV =x", "ENV names can not be blank"),
            ("USER", "USER requires at least one argument"),
        ] {
            assert_eq!(applied(&[text]).expect_err(text).message(), message);
        }
    }
}
