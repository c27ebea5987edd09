//! What each command does, a file a family. A command reads its [`Args`], sends its
//! requests, and prints; nothing else happens here.

mod archive;

mod attach;

pub(crate) mod build;

mod copy;

mod disk;

mod events;

mod exec;

mod history;

mod images;
mod images_tree;

mod info;

mod inspect;

mod lifecycle;

mod login;

mod logs;

pub(crate) mod manifest;

mod networks;

mod ports;

mod prune;

mod ps;

mod pull;

pub(crate) mod reference;

pub(crate) mod run;

mod search;

mod stats;

pub(crate) mod stream;

mod top;

mod update;

mod version;

mod volumes;

mod swarm;

use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;
use crate::show::output;
use crate::words::Args;

/// Does a command. Each future is boxed: only the one in use takes room.
pub(crate) async fn run(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    match args.spec.name() {
        "run" => Box::pin(run::run(cx, args)).await,
        "create" => Box::pin(run::create(cx, args)).await,
        "start" => Box::pin(attach::start(cx, args)).await,
        "attach" => Box::pin(attach::attach(cx, args)).await,
        "exec" => Box::pin(exec::exec(cx, args)).await,
        "stop" | "restart" | "kill" | "pause" | "unpause" | "wait" | "rm" => {
            Box::pin(lifecycle::each(cx, args)).await
        }
        "rename" => Box::pin(lifecycle::rename(cx, args)).await,
        "update" => Box::pin(update::update(cx, args)).await,
        "ps" => Box::pin(ps::ps(cx, args)).await,
        "logs" => Box::pin(logs::logs(cx, args)).await,
        "top" => Box::pin(top::top(cx, args)).await,
        "diff" => Box::pin(top::diff(cx, args)).await,
        "port" => Box::pin(ports::port(cx, args)).await,
        "cp" => Box::pin(copy::cp(cx, args)).await,
        "commit" => Box::pin(archive::commit(cx, args)).await,
        "export" => Box::pin(archive::export(cx, args)).await,
        "import" => Box::pin(archive::import(cx, args)).await,
        "save" => Box::pin(archive::save(cx, args)).await,
        "load" => Box::pin(archive::load(cx, args)).await,
        "stats" => Box::pin(stats::stats(cx, args)).await,
        "images" => Box::pin(images::images(cx, args)).await,
        "rmi" => Box::pin(images::rmi(cx, args)).await,
        "tag" => Box::pin(images::tag(cx, args)).await,
        "history" => Box::pin(history::history(cx, args)).await,
        "pull" => Box::pin(pull::pull(cx, args)).await,
        "build" => Box::pin(build::build(cx, args)).await,
        "push" => Box::pin(pull::push(cx, args)).await,
        "search" => Box::pin(search::search(cx, args)).await,
        "inspect" | "container inspect" | "image inspect" | "network inspect" | "volume inspect" => {
            Box::pin(inspect::inspect(cx, args)).await
        }
        "builder prune" | "container prune" | "image prune" | "network prune" | "volume prune"
        | "system prune" => Box::pin(prune::prune(cx, args)).await,
        "system df" => Box::pin(disk::df(cx, args)).await,
        "version" => Box::pin(version::version(cx, args)).await,
        "info" => Box::pin(info::info(cx, args)).await,
        "events" => Box::pin(events::events(cx, args)).await,
        "login" => Box::pin(login::login(cx, args)).await,
        "logout" => login::logout(cx, args),
        "network create" => Box::pin(networks::create(cx, args)).await,
        "network connect" => Box::pin(networks::connect(cx, args)).await,
        "network disconnect" => Box::pin(networks::disconnect(cx, args)).await,
        "network ls" => Box::pin(networks::ls(cx, args)).await,
        "network rm" => Box::pin(networks::rm(cx, args)).await,
        "volume create" => Box::pin(volumes::create(cx, args)).await,
        "volume ls" => Box::pin(volumes::ls(cx, args)).await,
        "volume rm" => Box::pin(volumes::rm(cx, args)).await,
        "volume update" => Box::pin(volumes::update(cx, args)).await,
        name if swarm::has(name) => Box::pin(swarm::run(cx, args)).await,
        other => Err(Failure::say(format!("{other} is in the tables and has no code"))),
    }
}

/// A text of a JSON object; empty where it is missing.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number of a JSON object; 0 where it is missing.
pub(crate) fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// The items of a JSON list; none where it is missing.
pub(crate) fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Several failures as one: each line on standard error, status 1.
pub(crate) fn gather(failures: Vec<String>) -> Result<(), Failure> {
    if failures.is_empty() { Ok(()) } else { Err(Failure::say(failures.join("\n"))) }
}

/// The daemon's warnings about a request that it did.
pub(crate) fn warn(answer: &Value) {
    for warning in items(answer, "Warnings").filter_map(Value::as_str) {
        output::complain(format!("WARNING: {warning}"));
    }
}

/// Asks before something is deleted; anything but `y` is no.
pub(crate) fn confirm(cx: &mut Context, question: &str) -> Result<bool, Failure> {
    cx.out.text(format!("{question} [y/N] "));
    cx.out.flush()?;
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).unwrap_or(0);
    if read == 0 {
        cx.out.text("");
    }
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

/// A container's name for a path of the API.
pub(crate) fn container_path(name: &str, rest: &str) -> Result<String, Failure> {
    let trimmed = name.trim();
    if trimmed.is_empty() {
        return Err(Failure::say("invalid container name or ID: value is empty"));
    }
    Ok(format!("/containers/{}{rest}", crate::client::encode(trimmed.trim_start_matches('/'))))
}
