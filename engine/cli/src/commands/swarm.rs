//! `swarm …`, `node …`, `service …`, `stack …`, `secret …`, `config …`, `plugin …`, `checkpoint …`.
//!
//! This engine has none of these, and says so in Docker's words. The commands ask it all the same, so
//! that its answer is what is seen; against an engine that has a swarm or plugins they do what they say.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::run::env;
use super::{gather, inspect, text};
use crate::client::{encode, filters, with_query};
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::show::table::{self, Listing, clean, row};
use crate::words::Args;

/// A secret or config is at most so long, in bytes, as Docker has it.
const LARGEST: u64 = 1000 * 1024;

const NAMED: Listing =
    Listing { type_name: "*formatter.namedContext", columns: &[("ID", "ID"), ("Name", "NAME")] };

const PLUGINS: Listing = Listing {
    type_name: "*formatter.pluginContext",
    columns: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("Enabled", "ENABLED"),
        ("PluginReference", "PLUGIN REFERENCE"),
    ],
};

const STACKS: Listing =
    Listing { type_name: "*formatter.stackContext", columns: &[("Name", "NAME"), ("Services", "SERVICES")] };

const CHECKPOINTS: Listing =
    Listing { type_name: "*checkpoint.checkpointContext", columns: &[("Name", "CHECKPOINT NAME")] };

/// Whether a command is one of these.
pub(crate) fn has(name: &str) -> bool {
    crate::words::swarm::SPECS.iter().any(|spec| spec.name() == name)
}

pub(crate) async fn run(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (group, verb) = args.spec.name().split_once(' ').unwrap_or_default();
    if group == "checkpoint" {
        return checkpoint(cx, args, verb).await;
    }
    match (group, verb) {
        ("swarm", verb) => swarm(cx, args, verb).await,
        (_, "inspect") => inspect::inspect(cx, args).await,
        ("stack", _) => stacks(cx, args).await,
        ("plugin", "ls") => plugins(cx, args).await,
        (_, "ls") => list(cx, args, group).await,
        (_, "rm") => remove(cx, args, group).await,
        ("plugin", verb) => switch(cx, args, verb).await,
        (_, _) => create(cx, args, group).await,
    }
}

async fn swarm(cx: &mut Context, args: &Args, verb: &str) -> Result<(), Failure> {
    match verb {
        "init" => {
            let body = json!({
                "ListenAddr": args.last("listen-addr").unwrap_or("0.0.0.0:2377"),
                "AdvertiseAddr": args.text("advertise-addr"),
                "DataPathAddr": args.text("data-path-addr"),
                "Availability": args.last("availability").unwrap_or("active"),
                "ForceNewCluster": args.is("force-new-cluster"),
                "AutoLockManagers": args.is("autolock"),
                "Spec": {"EncryptionConfig": {"AutoLockManagers": args.is("autolock")}},
            });
            let node = cx.client.post_json("/swarm/init", Some(&body)).await?;
            let node = node.as_str().unwrap_or_default();
            cx.out.line(format!("Swarm initialized: current node ({node}) is now a manager."));
        }
        "join" => {
            let body = json!({
                "ListenAddr": args.last("listen-addr").unwrap_or("0.0.0.0:2377"),
                "AdvertiseAddr": args.text("advertise-addr"),
                "DataPathAddr": args.text("data-path-addr"),
                "Availability": args.last("availability").unwrap_or("active"),
                "RemoteAddrs": [args.operand(0)],
                "JoinToken": args.text("token"),
            });
            cx.client.post("/swarm/join", Some(&body)).await?;
            let info = cx.client.get_json("/info").await?;
            let manages = info.pointer("/Swarm/ControlAvailable").and_then(Value::as_bool).unwrap_or(false);
            let role = if manages { "manager" } else { "worker" };
            cx.out.line(format!("This node joined a swarm as a {role}."));
        }
        "leave" => {
            let force = if args.is("force") { "1" } else { "" };
            cx.client.post(&with_query("/swarm/leave", &[("force", force)]), None).await?;
            cx.out.line("Node left the swarm.");
        }
        "join-token" => {
            let role = match args.operand(0) {
                "worker" => "Worker",
                "manager" => "Manager",
                role => return Err(Failure::say(format!("unknown role {role}"))),
            };
            let swarm = cx.client.get_json("/swarm").await?;
            let token = swarm.pointer(&format!("/JoinTokens/{role}")).and_then(Value::as_str);
            cx.out.line(token.unwrap_or_default());
        }
        "unlock" => unlock(cx).await?,
        "unlock-key" => {
            let key = cx.client.get_json("/swarm/unlockkey").await.map_err(|mut failure| {
                failure.message.insert_str(0, "could not fetch unlock key: ");
                failure
            })?;
            cx.out.line(text(&key, "UnlockKey"));
        }
        _ => {
            let swarm = cx.client.get_json("/swarm").await?;
            let root = swarm.pointer("/TLSInfo/TrustRoot").and_then(Value::as_str).unwrap_or_default();
            cx.out.line(root.trim_end());
        }
    }
    Ok(())
}

async fn unlock(cx: &mut Context) -> Result<(), Failure> {
    let info = cx.client.get_json("/info").await?;
    match info.pointer("/Swarm/LocalNodeState").and_then(Value::as_str) {
        Some("locked") => {}
        Some("inactive") | None => return Err(Failure::say("Error: This node is not part of a swarm")),
        Some(_) => return Err(Failure::say("Error: swarm is not locked")),
    }
    cx.out.text("Enter unlock key: ");
    cx.out.flush()?;
    let mut key = String::new();
    std::io::stdin().read_line(&mut key).map_err(|error| Failure::say(error.to_string()))?;
    cx.client.post("/swarm/unlock", Some(&json!({ "UnlockKey": key.trim() }))).await?;
    Ok(())
}

/// The ids and names of what a swarm has.
async fn list(cx: &mut Context, args: &Args, group: &str) -> Result<(), Failure> {
    let path = with_query(&format!("/{group}s"), &[("filters", &filters(args.all("filter")))]);
    let answer = cx.client.get_json(&path).await?;
    let name = if group == "node" { "/Description/Hostname" } else { "/Spec/Name" };
    let rows: Vec<Map<String, Value>> = answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let name = one.pointer(name).and_then(Value::as_str).unwrap_or_default();
            row([("ID", text(one, "ID").into()), ("Name", clean(name).into())])
        })
        .collect();
    let format = match args.text("format") {
        "" | "table" if args.is("quiet") => "{{.ID}}",
        "" | "table" => "table {{.ID}}\t{{.Name}}",
        other => other,
    };
    table::print(&mut cx.out, &NAMED, format, &rows)
}

async fn plugins(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let path = with_query("/plugins", &[("filters", &filters(args.all("filter")))]);
    let answer = cx.client.get_json(&path).await?;
    let rows: Vec<Map<String, Value>> = answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|plugin| {
            let (whole, short) = (text(plugin, "Id"), !args.is("no-trunc"));
            let id = if short { whole.get(..12).unwrap_or(whole) } else { whole };
            let about = plugin.pointer("/Config/Description").and_then(Value::as_str).unwrap_or_default();
            row([
                ("ID", id.into()),
                ("Name", clean(text(plugin, "Name")).into()),
                ("Description", clean(about).into()),
                ("Enabled", plugin.get("Enabled").and_then(Value::as_bool).unwrap_or(false).into()),
                ("PluginReference", clean(text(plugin, "PluginReference")).into()),
            ])
        })
        .collect();
    let format = match args.text("format") {
        "" | "table" if args.is("quiet") => "{{.ID}}",
        "" | "table" => "table {{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}",
        other => other,
    };
    table::print(&mut cx.out, &PLUGINS, format, &rows)
}

/// Services know the stack that they came with.
async fn stacks(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    const LABEL: &str = "com.docker.stack.namespace";
    let path = with_query("/services", &[("filters", &json!({ "label": { LABEL: true } }).to_string())]);
    let answer = cx.client.get_json(&path).await?;
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for service in answer.as_array().into_iter().flatten() {
        let labels = service.pointer("/Spec/Labels");
        if let Some(stack) = labels.and_then(|labels| labels.get(LABEL)).and_then(Value::as_str) {
            *counts.entry(stack).or_default() += 1;
        }
    }
    let rows: Vec<_> = counts
        .into_iter()
        .map(|(name, count)| row([("Name", clean(name).into()), ("Services", count.to_string().into())]))
        .collect();
    let format = match args.text("format") {
        "" | "table" => "table {{.Name}}\t{{.Services}}",
        other => other,
    };
    table::print(&mut cx.out, &STACKS, format, &rows)
}

async fn remove(cx: &mut Context, args: &Args, group: &str) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for name in &args.operands {
        let force = if args.is("force") { "1" } else { "" };
        let path = with_query(&format!("/{group}s/{}", encode(name)), &[("force", force)]);
        match cx.client.delete(&path).await {
            Ok(_) => cx.out.line(name),
            Err(failure) => failures.push(failure.message),
        }
    }
    gather(failures)
}

/// `plugin enable`, `plugin disable`.
async fn switch(cx: &mut Context, args: &Args, verb: &str) -> Result<(), Failure> {
    let name = args.operand(0);
    let query = match verb {
        "enable" => [("timeout", args.last("timeout").unwrap_or("30"))],
        _ => [("force", if args.is("force") { "1" } else { "" })],
    };
    cx.client.post(&with_query(&format!("/plugins/{}/{verb}", encode(name)), &query), None).await?;
    cx.out.line(name);
    Ok(())
}

/// `secret create`, `config create`.
async fn create(cx: &mut Context, args: &Args, group: &str) -> Result<(), Failure> {
    let data = match args.operands.get(1) {
        Some(file) => Some(STANDARD.encode(content(file).map_err(|mut failure| {
            if group == "config" {
                failure.message.insert_str(0, &format!("Error reading content from {file:?}: "));
            }
            failure
        })?)),
        None => None,
    };
    let mut body = json!({ "Name": args.operand(0), "Labels": env::pairs(args.all("label")) });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(data.map(|data| ("Data".to_owned(), data.into())));
        for (flag, field) in [("driver", "Driver"), ("template-driver", "Templating")] {
            let driver = args.last(flag).map(|name| (field.to_owned(), json!({ "Name": name })));
            fields.extend(driver);
        }
    }
    let made = cx.client.post_json(&format!("/{group}s/create"), Some(&body)).await?;
    cx.out.line(text(&made, "ID"));
    Ok(())
}

/// A file, or standard input; bounded.
fn content(file: &str) -> Result<Vec<u8>, Failure> {
    let shown = if file == "-" { "STDIN" } else { file };
    let refuse = |reason: &str| Failure::say(format!("error reading from {shown}: {reason}"));
    let mut bytes = Vec::new();
    let read = if file == "-" {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        let opened =
            std::fs::File::open(file).map_err(|error| refuse(&file_failure("open", file, &error).message))?;
        opened.take(LARGEST + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| refuse(&file_failure("read", file, &error).message))?;
    match bytes.len() as u64 {
        0 => Err(refuse("data is empty")),
        length if length > LARGEST => Err(refuse(&format!("it is longer than {LARGEST} bytes"))),
        _ => Ok(bytes),
    }
}

/// Only for engines that do what is an experiment: the docker client doesn't ask others.
async fn checkpoint(cx: &mut Context, args: &Args, verb: &str) -> Result<(), Failure> {
    let version = cx.client.get_json("/version").await?;
    if version.get("Experimental").and_then(Value::as_bool) != Some(true) {
        return Err(Failure::say(format!(
            "docker checkpoint {verb} is only supported on a Docker daemon with experimental features enabled"
        )));
    }
    let path = super::container_path(args.operand(0), "/checkpoints")?;
    match verb {
        "ls" => {
            let answer = cx.client.get_json(&path).await?;
            let rows: Vec<_> = answer
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| row([("Name", clean(text(one, "Name")).into())]))
                .collect();
            table::print(&mut cx.out, &CHECKPOINTS, "table {{.Name}}", &rows)
        }
        "create" => {
            let body = json!({ "CheckpointID": args.operand(1), "Exit": !args.is("leave-running") });
            cx.client.post(&path, Some(&body)).await?;
            cx.out.line(args.operand(1));
            Ok(())
        }
        _ => cx.client.delete(&format!("{path}/{}", encode(args.operand(1)))).await.map(drop),
    }
}
