//! Help, laid out as the docker client lays it out: flags in a column, their
//! text beside it, wrapped at the terminal's width.

use super::{Flag, NO, Spec, glass, tree};
use crate::term;

/// The help of one command, called by `name`.
pub(crate) fn command(spec: &Spec, program: &str, name: &str, examples: &[&str]) -> String {
    let mut text = format!("Usage:  {}\n", spec.use_line(program, name));
    text.push_str(&format!("\n{}\n", spec.about));
    if !spec.aliases.is_empty() {
        let aliases: Vec<String> = spec
            .aliases
            .split("docker ")
            .filter(|part| !part.is_empty())
            .map(|part| format!("{program} {part}"))
            .collect();
        text.push_str(&format!("\nAliases:\n  {}\n", aliases.concat()));
    }
    if spec.flags.iter().any(|flag| !flag.help.is_empty()) {
        text.push_str(&format!("\nOptions:\n{}", flags(spec.flags)));
    }
    if program != "docker" {
        text.push_str(&format!("\nTo look behind the glass:\n{}", flags(glass::FLAGS)));
        if !examples.is_empty() {
            text.push_str("\nExamples:\n");
            for example in examples {
                text.push_str(&format!("  {program} {example}\n"));
            }
        }
    }
    text
}

/// The help of a group such as `container`.
pub(crate) fn group(group: &tree::Group, program: &str) -> String {
    let mut text = format!("Usage:  {program} {} COMMAND\n\n{}\n\nCommands:\n", group.name, group.about);
    let mut commands: Vec<_> = tree::members(group.name).collect();
    commands.sort_unstable_by_key(|(name, _)| *name);
    text.push_str(&columns(&commands));
    text.push_str(&format!(
        "\nRun '{program} {} COMMAND --help' for more information on a command.\n",
        group.name
    ));
    text
}

/// The help of the program itself.
pub(crate) fn root(program: &str) -> String {
    let mut text = if program == "docker" {
        "Usage:  docker [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n".to_owned()
    } else {
        format!("Usage:  {program} [OPTIONS] COMMAND\n\nA container engine with glass walls\n")
    };
    if program != "docker" {
        text.push_str("\nThe Engine And Its Glass:\n");
        text.push_str(&columns(tree::OWN));
    }
    text.push_str("\nCommon Commands:\n");
    let common: Vec<_> = tree::COMMON
        .iter()
        .filter_map(|name| tree::find(&[(*name).to_owned()]).map(|found| (*name, about(found.spec))))
        .collect();
    text.push_str(&columns(&common));
    text.push_str("\nManagement Commands:\n");
    let groups = |of_swarm| -> Vec<_> {
        let groups = tree::GROUPS.iter().filter(|group| group.of_swarm == of_swarm);
        groups.map(|group| (group.name, group.about)).collect()
    };
    text.push_str(&columns(&groups(false)));
    text.push_str("\nSwarm Commands:\n");
    text.push_str(&columns(&groups(true)));
    text.push_str("\nCommands:\n");
    let mut rest: Vec<_> = tree::specs()
        .flat_map(|spec| {
            spec.names.iter().filter(|name| !name.contains(' ')).take(1).map(|name| (*name, about(spec)))
        })
        .filter(|(name, _)| !tree::COMMON.contains(name))
        .collect();
    rest.sort_unstable_by_key(|(name, _)| *name);
    text.push_str(&columns(&rest));
    text.push_str(&format!("\nGlobal Options:\n{}", flags(tree::ROOT.flags)));
    if program != "docker" {
        text.push_str(&flags(glass::FLAGS));
    }
    text.push_str(&format!("\nRun '{program} COMMAND --help' for more information on a command.\n"));
    text
}

pub(crate) fn about(spec: &Spec) -> &'static str {
    spec.about.split(". ").next().unwrap_or_default().lines().next().unwrap_or_default().trim_end_matches('.')
}

/// Names and what they do, in two columns.
fn columns(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    rows.iter().map(|(name, about)| format!("  {name:width$} {about}\n")).collect()
}

/// Flags and their help, as wide as the terminal.
pub(crate) fn flags(flags: &[Flag]) -> String {
    let columns = usize::from(term::width_of_stdin().unwrap_or(80)).saturating_sub(1);
    let shown: Vec<_> =
        flags.iter().filter(|flag| !flag.help.is_empty()).map(|flag| (left(flag), flag.help)).collect();
    let width = shown.iter().map(|(left, _)| left.len() + 1).max().unwrap_or(0);
    let mut text = String::new();
    for (left, help) in shown {
        text.push_str(&format!("{left:width$}  {}\n", wrap(width + 2, columns, help)));
    }
    text
}

fn left(flag: &Flag) -> String {
    let mut text = if flag.short == NO {
        format!("      --{}", flag.long)
    } else {
        format!("  -{}, --{}", flag.short, flag.long)
    };
    let value = flag.kind.shown();
    if !value.is_empty() {
        text.push(' ');
        text.push_str(value);
    }
    text
}

/// Wraps a text that begins at column `indent`, as the docker client's library does.
fn wrap(indent: usize, columns: usize, text: &str) -> String {
    const SLOP: usize = 5;
    let mut indent = indent;
    let mut wrapped = String::new();
    let mut room = columns.saturating_sub(indent);
    if room < 24 {
        indent = 16;
        room = columns.saturating_sub(indent);
        wrapped.push_str(&format!("\n{:indent$}", ""));
    }
    if room < 24 {
        return text.replace('\n', &wrapped);
    }
    let newline = format!("\n{:indent$}", "");
    let mut rest = text;
    let mut first = true;
    while first || !rest.is_empty() {
        let (line, after) = cut(room - SLOP, SLOP, rest);
        if !first {
            wrapped.push_str(&newline);
        }
        wrapped.push_str(&line.replace('\n', &newline));
        rest = after;
        first = false;
    }
    wrapped
}

/// Splits a line off, at white space.
fn cut(room: usize, slop: usize, text: &str) -> (&str, &str) {
    if room + slop > text.len() {
        return (text, "");
    }
    let Some(head) = text.get(..room) else { return (text, "") };
    let Some(space) = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0) else { return (text, "") };
    let at = head.rfind('\n').filter(|at| *at > 0 && *at < space).unwrap_or(space);
    (&text[..at], &text[at + 1..])
}
