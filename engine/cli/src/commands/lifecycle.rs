//! `stop`, `restart`, `kill`, `pause`, `unpause`, `wait`, `rm`: the same request for each name.

use serde_json::Value;

use super::{container_path, gather, number};
use crate::client::with_query;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::complain;
use crate::words::Args;

pub(crate) async fn each(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for name in &args.operands {
        match one(cx, args, name).await {
            Ok(line) => cx.out.line(line),
            Err(failure) if args.spec.name() == "rm" && args.is("force") && failure.is_not_found() => {
                complain(&failure.message);
            }
            Err(failure) => failures.push(failure.message),
        }
    }
    gather(failures)
}

/// Does the request for one container; returns what is printed.
async fn one(cx: &mut Context, args: &Args, name: &str) -> Result<String, Failure> {
    let command = args.spec.name();
    let flag = |name: &str| if args.is(name) { "1" } else { "" };
    match command {
        "rm" => {
            if name.trim_matches('/').trim().is_empty() {
                return Err(Failure::say("container name cannot be empty"));
            }
            let path = with_query(
                &container_path(name, "")?,
                &[("force", flag("force")), ("link", flag("link")), ("v", flag("volumes"))],
            );
            cx.client.delete(&path).await?;
        }
        "wait" => {
            let answer: Value = cx.client.post_json(&container_path(name, "/wait")?, None).await?;
            return Ok(number(&answer, "StatusCode").to_string());
        }
        "kill" => {
            let path = with_query(
                &container_path(name, "/kill")?,
                &[("signal", args.last("signal").unwrap_or("KILL"))],
            );
            cx.client.post(&path, None).await?;
        }
        "stop" | "restart" => {
            let timeout = args.last("timeout").or_else(|| args.last("time")).unwrap_or_default();
            let path = with_query(
                &container_path(name, &format!("/{command}"))?,
                &[("signal", args.text("signal")), ("t", timeout)],
            );
            cx.client.post(&path, None).await?;
        }
        _ => {
            cx.client.post(&container_path(name, &format!("/{command}"))?, None).await?;
        }
    }
    Ok(name.to_owned())
}

pub(crate) async fn rename(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (old, new) = (args.operand(0).trim(), args.operand(1).trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::say("Error: Neither old nor new names may be empty"));
    }
    let path = with_query(&container_path(old, "/rename")?, &[("name", new)]);
    cx.client.post(&path, None).await.map_err(|failure| {
        Failure::say(format!("{}\nError: failed to rename container named {old}", failure.message))
    })?;
    Ok(())
}
