//! `glassdock completion SHELL`: a script that completes commands and flags, made
//! from the same tables that read them.

use clap::{Arg, ArgAction, Command, Parser};
use clap_complete::{Shell, generate};

use super::read;
use crate::failure::Failure;
use crate::show::output::Output;
use crate::words::{Flag, Kind, NO, Spec, glass, help, tree};

/// Print a completion script for a shell.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  glassdock completion bash > /etc/bash_completion.d/glassdock")]
struct Words {
    /// Which shell: bash, zsh, fish, …
    shell: Shell,
}

pub(super) fn run(words: &[String]) -> Result<(), Failure> {
    let Words { shell } = read("completion", words)?;
    let mut script = Vec::new();
    generate(shell, &mut program(), "glassdock", &mut script);
    let mut out = Output::default();
    out.bytes(&script)?;
    out.flush()
}

/// The tables as clap sees commands.
fn program() -> Command {
    let mut program = Command::new("glassdock").args(tree::ROOT.flags.iter().map(arg));
    for (name, about) in tree::OWN {
        program = program.subcommand(Command::new(*name).about(*about));
    }
    for group in tree::GROUPS {
        let members = tree::members(group.name).filter_map(|(name, _)| {
            let found = tree::find(&[group.name.to_owned(), name.to_owned()])?;
            Some(command(name, found.spec))
        });
        program = program.subcommand(Command::new(group.name).about(group.about).subcommands(members));
    }
    let top = tree::specs().flat_map(|spec| {
        spec.names.iter().filter(|name| !name.contains(' ')).map(move |name| command(name, spec))
    });
    program.subcommands(top)
}

fn command(name: &'static str, spec: &'static Spec) -> Command {
    Command::new(name)
        .about(help::about(spec))
        .disable_help_flag(true)
        .args(spec.flags.iter().chain(glass::FLAGS).filter(|flag| !flag.help.is_empty()).map(arg))
}

fn arg(flag: &Flag) -> Arg {
    let mut arg = Arg::new(flag.long).long(flag.long).help(flag.help.lines().next().unwrap_or_default());
    if flag.short != NO {
        arg = arg.short(flag.short);
    }
    if flag.kind == Kind::Bool || flag.kind == Kind::Maybe {
        arg.action(ArgAction::SetTrue)
    } else {
        arg.action(ArgAction::Append)
    }
}
