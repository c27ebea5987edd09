//! `run` and `create`.
//!
//! ```text
//!   create ─(no such image)─► pull, create
//!     └► attach ─► wait (begun, answered later) ─► start ─► carry bytes ─► the wait's status
//! ```
//!
//! Attaching and waiting come before the start, so that not a byte and not the
//! status of a process that ends at once is lost.

pub(crate) mod config;

pub(crate) mod env;

pub(crate) mod mounts;

pub(crate) mod network;

pub(crate) mod ports;

pub(crate) mod resources;

pub(crate) mod security;

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::reference::Reference;
use super::stream::{self, End, Wires};
use super::{pull, text, warn};
use crate::client::with_query;
use crate::context::Context;
use crate::failure::{Failure, file_failure, os_text};
use crate::show::output::complain;
use crate::term;
use crate::words::Args;
use config::Spec;

/// A complaint of `run`: Docker's form, and 125 unless it says otherwise.
fn complaint(args: &Args, message: &str, status: i32) -> Failure {
    let program = args.program;
    let name = &args.name;
    Failure::new(
        status,
        format!("{program}: {message}\n\nRun '{program} {name} --help' for more information"),
    )
}

/// 127 for a program that isn't there, 126 for one that can't be run, else 125.
fn start_status(message: &str) -> i32 {
    if message.contains("executable file not found")
        || message.contains("no such file or directory")
        || message.contains("system cannot find the file specified")
    {
        127
    } else if message.contains("permission denied") || message.contains("is a directory") {
        126
    } else {
        125
    }
}

pub(crate) async fn create(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    check_pull_option(args)?;
    let spec = config::read(args, false).map_err(|message| complaint(args, &message, 125))?;
    let id = create_container(cx, args, &spec).await?;
    cx.out.line(id);
    Ok(())
}

pub(crate) async fn run(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let detach = args.is("detach");
    check_pull_option(args)?;
    let mut spec = config::read(args, true).map_err(|message| complaint(args, &message, 125))?;
    if detach {
        if args.changed("attach") {
            return Err(Failure::say("conflicting options: cannot specify both --attach and --detach"));
        }
        spec.detach();
    } else {
        stream::check_tty(spec.tty, spec.attach_stdin)?;
    }
    let keys = stream::keys(args.text("detach-keys"))?;
    let id = create_container(cx, args, &spec)
        .await
        .map_err(|failure| complaint(args, &failure.message, start_status_of_create(&failure)))?;
    let wires = Wires {
        tty: spec.tty,
        stdin: spec.attach_stdin,
        stdout: spec.attach_stdout,
        stderr: spec.attach_stderr,
        keys,
    };
    let attaches = wires.stdin || wires.stdout || wires.stderr;
    if !wires.stdout && !wires.stderr {
        cx.out.line(&id);
        cx.out.flush()?;
    }
    if !attaches {
        start(cx, &id)
            .await
            .map_err(|failure| complaint(args, &failure.message, start_status(&failure.message)))?;
        return Ok(());
    }
    let proxy = (args.is_or("sig-proxy", true) && !spec.tty)
        .then(|| stream::proxy_signals(cx.client.another(), id.clone()));
    let path = stream::attach_path(&id, &wires, args.text("detach-keys"), false);
    let connection = cx
        .client
        .another()
        .upgrade(&path, None)
        .await
        .map_err(|failure| complaint(args, &failure.message, 125))?;
    let condition = if spec.remove { "removed" } else { "next-exit" };
    let status = stream::wait(cx.client.another(), &id, condition);
    // The wait's request goes out before the start's.
    tokio::task::yield_now().await;
    if let Err(failure) = start(cx, &id).await {
        if spec.remove {
            let _ = status.await;
        }
        return Err(complaint(args, &failure.message, start_status(&failure.message)));
    }
    let sizes = (spec.tty && term::stdout_is_terminal())
        .then(|| stream::follow_size(cx.client.another(), format!("/containers/{id}")));
    let end = stream::carry(connection, wires).await;
    if let Some(sizes) = sizes {
        sizes.abort();
    }
    if end? == End::Detached {
        return Ok(());
    }
    let status = status.await.map_err(|error| Failure::new(125, error.to_string()))??;
    if let Some(proxy) = proxy {
        proxy.abort();
    }
    if status == 0 { Ok(()) } else { Err(Failure::quiet(status)) }
}

/// A create that fails is the engine's failure: 125, whatever its words are.
fn start_status_of_create(failure: &Failure) -> i32 {
    if failure.status == 1 { 125 } else { failure.status }
}

async fn start(cx: &mut Context, id: &str) -> Result<(), Failure> {
    cx.client.post(&format!("/containers/{id}/start"), None).await.map(|_| ())
}

fn check_pull_option(args: &Args) -> Result<(), Failure> {
    match args.last("pull") {
        None | Some("always" | "missing" | "never" | "") => Ok(()),
        Some(other) => Err(complaint(
            args,
            &format!("invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""),
            125,
        )),
    }
}

/// Makes the container, with a pull before if need be; returns its id.
async fn create_container(cx: &mut Context, args: &Args, spec: &Spec) -> Result<String, Failure> {
    let image = args.operand(0);
    let reference = reference_of(image)?;
    let cidfile = CidFile::claim(args.text("cidfile"))?;
    let platform = args.text("platform");
    pull::check_platform(platform)?;
    let quiet = args.is("quiet");
    let when = args.last("pull").filter(|when| !when.is_empty()).unwrap_or("missing");
    if when == "always"
        && let Some(reference) = &reference
    {
        pull::pull_for_run(cx, reference, platform, quiet).await?;
    }
    let path = with_query("/containers/create", &[("name", args.text("name")), ("platform", platform)]);
    let mut answer = cx.client.post_json(&path, Some(&spec.body)).await;
    if let (Err(failure), Some(reference)) = (&answer, &reference)
        && failure.is_not_found()
        && when == "missing"
    {
        if !quiet {
            complain(format!("Unable to find image '{}' locally", reference.familiar()));
        }
        pull::pull_for_run(cx, reference, platform, quiet).await?;
        answer = cx.client.post_json(&path, Some(&spec.body)).await;
    }
    let answer: Value = answer?;
    warn(&answer);
    let id = text(&answer, "Id").to_owned();
    cidfile.write(&id)?;
    Ok(id)
}

/// The image's name as a reference, unless it is an id.
fn reference_of(image: &str) -> Result<Option<Reference>, Failure> {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if image.strip_prefix("sha256:").is_some_and(hex) || (image.len() == 64 && hex(image)) {
        return Ok(None);
    }
    Ok(Some(super::reference::parse(image)?.or_latest()))
}

/// The file of `--cidfile`: claimed before the container is made.
#[derive(Debug)]
struct CidFile(Option<fs::File>, String);

impl CidFile {
    fn claim(path: &str) -> Result<Self, Failure> {
        if path.is_empty() {
            return Ok(Self(None, String::new()));
        }
        if Path::new(path).exists() {
            return Err(Failure::say(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file = fs::File::create(path).map_err(|error| {
            Failure::say(format!("failed to create the container ID file: open {path}: {}", os_text(&error)))
        })?;
        Ok(Self(Some(file), path.to_owned()))
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        if let Some(file) = self.0.as_mut() {
            file.write_all(id.as_bytes()).map_err(|error| file_failure("write", &self.1, &error))?;
            self.1.clear();
        }
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        // No container, no file.
        if self.0.is_some() && !self.1.is_empty() {
            let _ = fs::remove_file(&self.1);
        }
    }
}
