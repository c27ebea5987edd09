//! From logical lines to instructions. Each mistake is reported; what is sound is still read.

use super::error::{Error, Problem};
use super::instruction::{Arg, Command, Copy, From, Healthcheck, Instruction, KEYWORDS, Kind, Pairs, Run};
use super::lines::Line;
use super::mount::Mount;
use super::nearest::nearest;
use super::text::{Position, Text, Word};
use super::{flags, health, heredoc, words};

/// Reads one instruction.
pub(crate) fn instruction(line: Line, escape: char) -> Result<Instruction, Error> {
    let Line { text, last, comments, empty, heredocs } = line;
    let text = text.trimmed();
    let split = text.as_str().find(words::blank).unwrap_or(text.as_str().len());
    let keyword = text.until(split).word();
    if keyword.text.is_empty() {
        return Err(Error::new(Position { line: last, column: 1 }, Problem::Nothing));
    }
    if let Some(byte) = text.as_str().find('\0') {
        return Err(Error::new(text.at(byte), Problem::ZeroByte));
    }
    let rest = text.from(split);
    let upper = keyword.text.to_ascii_uppercase();
    let Some(name) = KEYWORDS.into_iter().find(|known| *known == upper) else {
        if let Some((byte, space)) = keyword.text.char_indices().find(|(_, next)| next.is_whitespace()) {
            let before = keyword.text[..byte].to_owned();
            return Err(Error::new(text.at(byte), Problem::OddSpace { before, space }));
        }
        let nearest = nearest(&keyword.text, &KEYWORDS);
        return Err(Error::new(keyword.at, Problem::Unknown { written: keyword.text, nearest }));
    };
    let mut made = Instruction {
        keyword,
        last_line: last,
        source: text.as_str().to_owned(),
        flags: Vec::new(),
        comments,
        heredocs,
        kind: Kind::Shell(Vec::new()),
        empty_line: empty,
    };
    if name == "ONBUILD" {
        made.kind = onbuild(&made, rest.trimmed(), escape)?;
        return Ok(made);
    }
    let (given, rest) = words::flags(&rest);
    let rest = rest.trimmed();
    flags::check(name, &given)?;
    made.flags = given;
    made.kind = kind(name, &made, &rest, escape)?;
    Ok(made)
}

fn kind(name: &'static str, made: &Instruction, rest: &Text, escape: char) -> Result<Kind, Error> {
    let end = rest.at(rest.as_str().len());
    let at_least_one = || Error::new(end, Problem::AtLeastOne(name));
    Ok(match name {
        "FROM" => from(made, rest)?,
        "MAINTAINER" => Kind::Maintainer(one(name, rest)?),
        "USER" => Kind::User(one(name, rest)?),
        "WORKDIR" => Kind::Workdir(one(name, rest)?),
        "STOPSIGNAL" => Kind::Stopsignal(one(name, rest)?),
        "RUN" => {
            for mount in flags::values(&made.flags, "mount") {
                // Variables are known only when it is built; then it is read again.
                if !mount.text.contains('$')
                    && let Err(problem) = Mount::parse(&mount.text)
                {
                    return Err(Error::new(mount.at, Problem::Mount(problem)));
                }
            }
            Kind::Run(Run { command: command(rest)?.ok_or_else(at_least_one)? })
        }
        "CMD" => Kind::Cmd(command(rest)?.unwrap_or(Command::Shell(String::new()))),
        "ENTRYPOINT" => Kind::Entrypoint(command(rest)?.unwrap_or(Command::Shell(String::new()))),
        "EXPOSE" => Kind::Expose(some(words::plain(rest), at_least_one)?),
        "VOLUME" => volume(rest, at_least_one)?,
        "ENV" => Kind::Env(pairs(name, rest, escape)?),
        "LABEL" => Kind::Label(pairs(name, rest, escape)?),
        "ARG" => arg(rest, escape)?,
        "COPY" => Kind::Copy(copy(name, made, rest)?),
        "ADD" => Kind::Add(copy(name, made, rest)?),
        "SHELL" => match words::json(rest)? {
            Some(shell) if shell.is_empty() => return Err(at_least_one()),
            Some(shell) => Kind::Shell(shell),
            None if rest.as_str().is_empty() => return Err(at_least_one()),
            None => return Err(Error::new(rest.at(0), Problem::ShellJson)),
        },
        _ => Kind::Healthcheck(healthcheck(made, rest)?),
    })
}

/// An argument that is the whole rest of the line.
fn one(name: &'static str, rest: &Text) -> Result<Word, Error> {
    if rest.as_str().is_empty() {
        return Err(Error::new(rest.at(0), Problem::ExactlyOne(name)));
    }
    Ok(rest.word())
}

fn some(words: Vec<Word>, error: impl Fn() -> Error) -> Result<Vec<Word>, Error> {
    if words.is_empty() { Err(error()) } else { Ok(words) }
}

/// A command in either form; `None` if there is none.
fn command(rest: &Text) -> Result<Option<Command>, Error> {
    if rest.as_str().is_empty() {
        return Ok(None);
    }
    let exec = words::json(rest)?.map(Command::Exec);
    Ok(Some(exec.unwrap_or_else(|| Command::Shell(rest.as_str().to_owned()))))
}

fn from(made: &Instruction, rest: &Text) -> Result<Kind, Error> {
    let mut words = words::plain(rest).into_iter();
    let arguments = || Error::new(rest.at(0), Problem::FromArguments);
    let (image, r#as, name) = (words.next(), words.next(), words.next());
    let image = image.ok_or_else(arguments)?;
    if words.next().is_some() || r#as.is_some() != name.is_some() {
        return Err(arguments());
    }
    if let (Some(r#as), Some(name)) = (&r#as, &name) {
        if !r#as.text.eq_ignore_ascii_case("AS") {
            return Err(arguments());
        }
        let lower = name.text.to_lowercase();
        let sound = lower.starts_with(|first: char| first.is_ascii_lowercase())
            && lower.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.'));
        if !sound {
            return Err(Error::new(name.at, Problem::StageName(name.text.clone())));
        }
    }
    let platform = flags::value(&made.flags, "platform");
    Ok(Kind::From(From { image, platform, r#as, name }))
}

fn volume(rest: &Text, none: impl Fn() -> Error) -> Result<Kind, Error> {
    let volumes = list(rest)?;
    if let Some(empty) = volumes.iter().find(|volume| volume.text.trim().is_empty()) {
        return Err(Error::new(empty.at, Problem::EmptyVolume));
    }
    Ok(Kind::Volume(some(volumes, none)?))
}

/// Words in a JSON array, or just words.
fn list(rest: &Text) -> Result<Vec<Word>, Error> {
    Ok(match words::json(rest)? {
        Some(strings) => strings.into_iter().map(|text| Word::new(text, rest.at(0))).collect(),
        None => words::plain(rest),
    })
}

fn pairs(name: &'static str, rest: &Text, escape: char) -> Result<Pairs, Error> {
    let words = words::quoted(rest, escape);
    let first = words.first().ok_or_else(|| Error::new(rest.at(0), Problem::AtLeastOne(name)))?;
    if !first.text.contains('=') {
        let whole = rest.as_str();
        let Some(split) = whole.find(words::blank) else {
            return Err(Error::new(rest.at(whole.len()), Problem::TwoArguments(name)));
        };
        let pair = (rest.until(split).word(), words::skip(&rest.from(split)).word());
        return Ok(Pairs { pairs: vec![pair], old: true });
    }
    let pairs = words.into_iter().map(|word| {
        let Some((key, value)) = word.text.split_once('=') else {
            return Err(Error::new(word.at, Problem::NoEquals(word.text.clone())));
        };
        if key.is_empty() {
            return Err(Error::new(word.at, Problem::BlankName(name)));
        }
        let mut after = word.at;
        after.column += u32::try_from(key.chars().count() + 1).unwrap_or_default();
        Ok((Word::new(key, word.at), Word::new(value, after)))
    });
    Ok(Pairs { pairs: pairs.collect::<Result<_, _>>()?, old: false })
}

fn arg(rest: &Text, escape: char) -> Result<Kind, Error> {
    let words = words::quoted(rest, escape);
    if words.is_empty() {
        return Err(Error::new(rest.at(0), Problem::AtLeastOne("ARG")));
    }
    let args = words.into_iter().map(|word| {
        let (name, value) = match word.text.split_once('=') {
            Some(("", _)) => return Err(Error::new(word.at, Problem::BlankName("ARG"))),
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.text.clone(), None),
        };
        let mut after = word.at;
        after.column += u32::try_from(name.chars().count() + 1).unwrap_or_default();
        Ok(Arg { name: Word::new(name, word.at), value: value.map(|value| Word::new(value, after)) })
    });
    Ok(Kind::Arg(args.collect::<Result<_, _>>()?))
}

fn copy(name: &'static str, made: &Instruction, rest: &Text) -> Result<Copy, Error> {
    let end = rest.at(rest.as_str().len());
    let mut words = list(rest)?;
    let destination = words.pop().ok_or_else(|| Error::new(end, Problem::AtLeastOne(name)))?;
    if words.is_empty() {
        return Err(Error::new(end, Problem::NoDestination(name)));
    }
    let mut copy = Copy { sources: Vec::new(), heredocs: Vec::new(), destination };
    for word in words {
        let doc = heredoc::parse(&word.text).ok().flatten();
        let known = doc.and_then(|doc| made.heredocs.iter().position(|known| known.name == doc.name));
        match known {
            Some(index) => copy.heredocs.push(index),
            None => copy.sources.push(word),
        }
    }
    Ok(copy)
}

fn onbuild(made: &Instruction, rest: Text, escape: char) -> Result<Kind, Error> {
    if rest.as_str().is_empty() {
        return Err(Error::new(rest.at(0), Problem::AtLeastOne("ONBUILD")));
    }
    let line = Line { text: rest, last: made.last_line, heredocs: made.heredocs.clone(), ..Line::default() };
    let keyword = line.text.as_str().split(words::blank).next().unwrap_or_default().to_ascii_uppercase();
    let at = line.text.at(0);
    match keyword.as_str() {
        "ONBUILD" => Err(Error::new(at, Problem::OnbuildChain)),
        "FROM" | "MAINTAINER" => Err(Error::new(at, Problem::OnbuildTrigger(keyword))),
        _ => Ok(Kind::Onbuild(Box::new(instruction(line, escape)?))),
    }
}

fn healthcheck(made: &Instruction, rest: &Text) -> Result<Healthcheck, Error> {
    let whole = rest.as_str();
    if whole.is_empty() {
        return Err(Error::new(rest.at(0), Problem::AtLeastOne("HEALTHCHECK")));
    }
    let split = whole.find(words::blank).unwrap_or(whole.len());
    let after = words::skip(&rest.from(split));
    match whole[..split].to_ascii_uppercase().as_str() {
        "NONE" if after.as_str().is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(Error::new(after.at(0), Problem::HealthNone)),
        "CMD" => {
            let missing = || Error::new(after.at(0), Problem::HealthCommand);
            let command = command(&after)?.ok_or_else(missing)?;
            if command == Command::Exec(Vec::new()) {
                return Err(missing());
            }
            health::test(command, &made.flags)
        }
        _ => Err(Error::new(rest.at(0), Problem::HealthType(whole[..split].to_owned()))),
    }
}
