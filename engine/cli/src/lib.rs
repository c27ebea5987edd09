//! # The command line: `glassdock`
//!
//! The engine's client with Docker's words, and the front door of everything else:
//! the daemon, the registry, the lessons, the traces.
//!
//! ```text
//!   argv ─► words (tables, parser) ─► commands (a file a family) ─► client ─► daemon's socket
//!                                        │                            ▲
//!                                        ▼                            │ X-Glassdock-Operation
//!                                      show (tables, templates)     own (trace, step)
//! ```
//!
//! It is a library for two binaries: `glassdock` is the client alone, which starts quickly, and becomes
//! `glassdock-engine`, which has all rooms inside, for what needs them ([`rooms`]).
//!
//! Called by the name `docker` (a link to this binary), it is a client with
//! Docker's own words and complaints, letter by letter, and nothing else; the real
//! docker client is the judge (`tests/compare`).
//!
//! Reading order: [`words`] (what can be typed), [`commands`] (what it does),
//! [`mod@client`] (the way to the daemon), [`show`] (what is printed), [`term`], [`own`]
//! (what Docker does not have).
//!
//! Invariants: one exit status, decided here. Nothing but [`show::output`] writes to
//! standard output. No request is sent that the command does not need: a
//! whole `run` is five (create, attach, wait, start, and the word that it is over).

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "whoever reads this reads the modules too; nothing of them is public"
)]

mod words;

mod commands;

mod client;

mod show;

mod term;

mod config;

mod context;

mod failure;

mod own;

mod rooms;

use std::ffi::OsString;

use client::{Client, Host};
use config::Config;
use context::Context;
use failure::Failure;
use rooms::Rooms;
use show::output::{self, Output};
use words::parse::{Parsed, parse, parse_global};
use words::{Args, help, tree};

/// The client: does what the words of a command line say, the program's name being the first, and gives
/// the exit status. What needs the rooms below (the daemon, a registry) is done by `glassdock-engine`,
/// which this process becomes then.
///
/// Whoever calls this ends the process afterwards: a thread may wait for a key press.
pub fn client(words: impl Iterator<Item = OsString>) -> i32 {
    run(words, None)
}

/// The whole program: as [`client`], with the rooms inside.
pub fn whole(words: impl Iterator<Item = OsString>) -> i32 {
    run(words, Some(&rooms::INSIDE))
}

fn run(words: impl Iterator<Item = OsString>, rooms: Rooms) -> i32 {
    let mut argv = words.map(|word| word.to_string_lossy().into_owned());
    let called = argv.next().unwrap_or_default();
    let program = if called.rsplit('/').next() == Some("docker") { "docker" } else { "glassdock" };
    let argv: Vec<String> = argv.collect();
    match start(program, &argv, rooms) {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::complain(&failure.message);
            }
            failure.status
        }
    }
}

/// Reads the words, and does the command that they name.
fn start(program: &'static str, argv: &[String], rooms: Rooms) -> Result<(), Failure> {
    let (global, used) = match parse_global(&tree::ROOT, program, argv)? {
        (Parsed::Command(args), used) => (args, used),
        (Parsed::Help { deprecated }, _) => {
            warn_of_h(deprecated);
            return print(help::root(program));
        }
    };
    if global.is("version") {
        return print(format!("{}\n", own::version_line(program)));
    }
    let rest = argv.get(used..).unwrap_or_default();
    let Some(first) = rest.first() else { return print(help::root(program)) };
    // The client looks up no names, see [`rooms`]. A host that makes no sense is told where it is needed.
    if rooms.is_none() && Host::choose(global.last("host"), program).is_ok_and(|host| host.is_named()) {
        return own::engine();
    }
    if program == "glassdock" && tree::OWN.iter().any(|(name, _)| name == first) {
        return own::run(&global, rest, rooms);
    }
    if first == "help" {
        return print(help_on(program, rest.get(1..).unwrap_or_default())?);
    }
    let Some(found) = tree::find(rest) else { return unknown(program, rest) };
    let name = found.name.clone();
    let words = rest.get(found.words..).unwrap_or_default();
    match parse(found.spec, program, &name, words)? {
        Parsed::Help { deprecated } => {
            warn_of_h(deprecated);
            print(help::command(found.spec, program, &name, own::examples(found.spec.name())))
        }
        Parsed::Command(args) if commands::build::read::is_asked(&args) => {
            own::live::with_runtime(read(program, &global, &args))
        }
        // Before an operation is opened, which would not be ended.
        Parsed::Command(_) if rooms.is_none() && found.spec.name() == rooms::ASKS_REGISTRIES => own::engine(),
        Parsed::Command(args) => own::live::with_runtime(perform(program, argv, rooms, &global, &args)),
    }
}

/// Does a command of the daemon's.
async fn perform(
    program: &'static str,
    argv: &[String],
    rooms: Rooms,
    global: &Args,
    args: &Args,
) -> Result<(), Failure> {
    let context = global.text("context");
    if !matches!(context, "" | "default") {
        return Err(Failure::say(format!(
            "Failed to initialize: unable to resolve docker endpoint: context {}: context not found",
            words::check::quote(context)
        )));
    }
    let host = Host::choose(global.last("host"), program)?;
    let operation = own::operation::Operation::new(program, argv, own::live::is_off(global, args));
    let mut cx = at_hand(program, global, host, operation.headers());
    let watch = own::live::Watch::begin(&cx.client, &operation, global, args).await?;
    cx.watched = watch.is_open();
    let result = match rooms {
        Some(inside) if args.spec.name() == rooms::ASKS_REGISTRIES => {
            (inside.inspect_manifest)(&mut cx, args).await
        }
        _ => commands::run(&mut cx, args).await,
    };
    let flushed = cx.out.flush();
    let result = result.and(flushed);
    let status = result.as_ref().map_or_else(|failure| failure.status, |()| 0);
    operation.end(&mut cx.client, status, watch.is_open()).await;
    watch.end().await;
    result
}

/// Reads Dockerfiles, which is no operation of the daemon's.
async fn read(program: &'static str, global: &Args, args: &Args) -> Result<(), Failure> {
    let host = Host::choose(global.last("host"), program)?;
    let mut cx = at_hand(program, global, host, Vec::new());
    let result = commands::build::read::read(&mut cx, args).await;
    let flushed = cx.out.flush();
    result.and(flushed)
}

fn at_hand(
    program: &'static str,
    global: &Args,
    host: Host,
    headers: Vec<(&'static str, String)>,
) -> Context {
    let client = Client::new(host, program, headers);
    Context { client, out: Output::default(), config: Config::new(global.text("config")), watched: false }
}

fn unknown(program: &'static str, words: &[String]) -> Result<(), Failure> {
    let first = words.first().map_or("", String::as_str);
    let Some(group) = tree::GROUPS.iter().find(|group| group.name == first) else {
        return Err(Failure::say(format!(
            "{program}: unknown command: {program} {first}\n\nRun '{program} --help' for more information"
        )));
    };
    match words.get(1) {
        None => {
            output::error_bytes(help::group(group, program).as_bytes());
            Ok(())
        }
        Some(flag) if flag == "--help" => print(help::group(group, program)),
        Some(flag) if flag == "-h" => {
            warn_of_h(true);
            print(help::group(group, program))
        }
        Some(word) => Err(Failure::say(format!(
            "{program}: unknown command: {program} {first} {word}\n\nUsage:  {program} {first}\n\nRun '{program} {first} --help' for more information"
        ))),
    }
}

fn help_on(program: &'static str, words: &[String]) -> Result<String, Failure> {
    let Some(first) = words.first() else { return Ok(help::root(program)) };
    if let Some(found) = tree::find(words) {
        return Ok(help::command(found.spec, program, &found.name, own::examples(found.spec.name())));
    }
    match tree::GROUPS.iter().find(|group| group.name == first) {
        Some(group) => Ok(help::group(group, program)),
        None => Err(Failure::say(format!("unknown help topic: {}", words.join(" ")))),
    }
}

fn warn_of_h(deprecated: bool) {
    if deprecated {
        // On standard output, as the docker client has it.
        let _ = print("Flag shorthand -h has been deprecated, use --help\n");
    }
}

fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = Output::default();
    out.text(text);
    out.flush()
}
