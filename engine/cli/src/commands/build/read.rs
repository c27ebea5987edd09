//! `build --check` and `build --print`: Dockerfiles are read, and no daemon is asked.

use std::io::Read;

use glassdock_build::ignore::Ignore;
use glassdock_build::language::LARGEST_FILE;
use glassdock_build::plan::{Plan, Wish, platform_arguments};
use glassdock_build::{File, check};

use crate::failure::{Failure, file_failure};
use crate::show::output::{Output, complain};
use crate::words::Args;

/// Whether the command only reads: then it needs no daemon.
pub(crate) fn is_asked(args: &Args) -> bool {
    args.spec.name() == "build" && (args.is("check") || args.changed("print"))
}

/// Checks or prints the named files; a folder means the Dockerfile in it.
pub(crate) fn read(args: &Args) -> Result<(), Failure> {
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
    let mut out = Output::default();
    let mut sound = true;
    for name in &files {
        let bytes = bytes(name)?;
        let (file, errors) = glassdock_build::read(&bytes);
        for error in &errors {
            complain(format!("{name}:{error}"));
        }
        sound &= errors.is_empty();
        if args.is("check") {
            let findings = check::check(&file, ignore(name).as_ref());
            for finding in &findings {
                complain(format!("{name}:{}: warning: {}: {}", finding.at, finding.rule, finding.message));
            }
            sound &= findings.is_empty();
        }
        if errors.is_empty() && !what.is_empty() {
            sound &= print(&mut out, args, name, &file, what)?;
        }
    }
    out.flush()?;
    if sound { Ok(()) } else { Err(Failure::quiet(1)) }
}

fn print(out: &mut Output, args: &Args, name: &str, file: &File, what: &str) -> Result<bool, Failure> {
    let json = if what == "ast" {
        serde_json::to_string_pretty(file)
    } else {
        let own = ("linux", architecture(), "");
        let arguments = args.all("build-arg").filter_map(|pair| pair.split_once('='));
        let wish = Wish {
            arguments: arguments.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            target: args.text("target"),
            platform: platform_arguments(own, own),
        };
        match Plan::of(file, &wish) {
            Ok(plan) => serde_json::to_string_pretty(&plan),
            Err(error) => {
                complain(format!("{name}:{error}"));
                return Ok(false);
            }
        }
    };
    out.line(json.map_err(|error| Failure::say(format!("{name}: {error}")))?);
    Ok(true)
}

/// The machine's processor, in OCI's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
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
