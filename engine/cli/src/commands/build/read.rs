//! `build --check` and `build --print`: Dockerfiles are read. No daemon is needed; a check asks it, if it is there, for the
//! images that stages begin with ([`bases`]).

mod bases;

use std::io::Read;

use glassdock_build::File;
use glassdock_build::check::{self, Known};
use glassdock_build::ignore::Ignore;
use glassdock_build::language::LARGEST_FILE;
use glassdock_build::language::directive::Check;
use glassdock_build::plan::{Plan, PlanError, Wish, platform_arguments};
use glassdock_image::Platform;

use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::show::output::complain;
use crate::words::Args;

/// Whether the command only reads: then it needs no daemon.
pub(crate) fn is_asked(args: &Args) -> bool {
    args.spec.name() == "build" && (args.is("check") || args.changed("print"))
}

/// Checks or prints the named files; a folder means the Dockerfile in it.
pub(crate) async fn read(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let what = args.text("print");
    if !matches!(what, "" | "ast" | "plan") {
        return Err(Failure::say(format!("invalid value \"{what}\" of --print: expected ast or plan")));
    }
    let mut files: Vec<String> = args.operands.iter().map(|operand| path(operand)).collect();
    if args.changed("file") {
        files = vec![args.text("file").to_owned()];
    } else if files.is_empty() {
        files.push("Dockerfile".to_owned());
    }
    let (mut sound, instead) = (true, instead(args)?);
    for name in &files {
        let bytes = bytes(name)?;
        let (file, errors) = glassdock_build::read(&bytes);
        for error in &errors {
            complain(format!("{name}:{error}"));
        }
        sound &= errors.is_empty();
        if args.is("check") {
            let bases = bases::of(cx, args, &file).await?;
            let known = Known { ignore: ignore(name), bases, said: instead.clone() };
            let findings = check::check(&file, &known);
            for finding in &findings {
                complain(format!("{name}:{}: warning: {}: {}", finding.at, finding.rule, finding.message));
            }
            sound &= findings.is_empty();
        }
        if errors.is_empty() && !what.is_empty() {
            sound &= print(cx, args, name, &file, what)?;
        }
    }
    if sound { Ok(()) } else { Err(Failure::quiet(1)) }
}

/// What `--build-arg BUILDKIT_DOCKERFILE_CHECK=…` says in place of the directive.
fn instead(args: &Args) -> Result<Option<Check>, Failure> {
    let given = args.all("build-arg").filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = given.filter(|(name, _)| *name == check::ARGUMENT).last() else { return Ok(None) };
    let (check, wrong) = Check::read(text);
    match wrong.first() {
        None => Ok(Some(check)),
        Some(part) => Err(Failure::say(format!("invalid check option {part:?} in {}", check::ARGUMENT))),
    }
}

fn print(cx: &mut Context, args: &Args, name: &str, file: &File, what: &str) -> Result<bool, Failure> {
    let json = if what == "ast" {
        serde_json::to_string_pretty(file)
    } else {
        match plan(args, file) {
            Ok(plan) => serde_json::to_string_pretty(&plan),
            Err(error) => {
                complain(format!("{name}:{error}"));
                return Ok(false);
            }
        }
    };
    cx.out.line(json.map_err(|error| Failure::say(format!("{name}: {error}")))?);
    Ok(true)
}

/// The stages, as the flags have them.
fn plan(args: &Args, file: &File) -> Result<Plan, PlanError> {
    let host = Platform::host();
    let own = (host.os.as_str(), host.architecture.as_str(), "");
    let arguments = args.all("build-arg").filter_map(|pair| pair.split_once('='));
    let wish = Wish {
        arguments: arguments.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        target: args.text("target"),
        platform: platform_arguments(own, own),
    };
    Plan::of(file, &wish)
}

fn path(operand: &str) -> String {
    if operand != "-" && std::path::Path::new(operand).is_dir() {
        format!("{}/Dockerfile", operand.trim_end_matches('/'))
    } else {
        operand.to_owned()
    }
}

/// A file's bytes, or standard input's; a little more than is allowed at most, so that reading it says so.
fn bytes(name: &str) -> Result<Vec<u8>, Failure> {
    let input: Box<dyn Read> = if name == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(name).map_err(|error| file_failure("open", name, &error))?)
    };
    let mut bytes = Vec::new();
    let read = input.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| file_failure("read", name, &error))?;
    Ok(bytes)
}

/// The `.dockerignore` that is the file's: its own, or the folder's.
fn ignore(name: &str) -> Option<Ignore> {
    let folder = std::path::Path::new(name).parent()?;
    let own = format!("{name}.dockerignore");
    let bytes = std::fs::read(own).or_else(|_| std::fs::read(folder.join(".dockerignore"))).ok()?;
    Ignore::read(&bytes).ok()
}
