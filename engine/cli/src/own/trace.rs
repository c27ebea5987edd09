//! `glassdock trace`: what the engine did, read from its recordings.

use clap::{Parser, Subcommand, ValueEnum};
use glassdock_trace::query::Query;
use glassdock_trace::reading::Reading;
use glassdock_trace::render::{self, Detail, Language, Live, Style};
use glassdock_trace::tree::Tree;
use http::Method;
use serde_json::Value;

use super::live::with_runtime;
use super::read;
use crate::client::messages::Lines;
use crate::client::{Client, Host, encode};
use crate::failure::Failure;
use crate::show::output::Output;
use crate::show::table::{align, clean};
use crate::term;
use crate::words::Args;

/// Read what the engine did, step by step.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  glassdock trace ls                       the latest operations, newest last
  glassdock trace show last                the steps of the last one
  glassdock trace show last --all --proof  with every system call, and what proves it
  glassdock trace show last --say zh       with a sentence about each step
  glassdock trace query last 'kind=mount.* ok=false'
  glassdock trace follow last              of an operation that still goes on")]
pub(super) struct Words {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the operations, the newest last.
    Ls {
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 20)]
        last: usize,
        /// Only the ids.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show one operation as a tree of steps.
    Show {
        /// The operation's id, the beginning of one, or `last`.
        op: String,
        /// The lines of the recording as they are.
        #[arg(long)]
        json: bool,
        /// Only the steps (the default).
        #[arg(long, conflicts_with = "all")]
        steps: bool,
        /// The steps and each system call and request under them.
        #[arg(long)]
        all: bool,
        /// With what proves each event: lines of /proc, response headers.
        #[arg(long)]
        proof: bool,
        /// With a sentence about each step, in this language.
        #[arg(long, value_name = "LANGUAGE", num_args = 0..=1, default_missing_value = "en")]
        say: Option<Say>,
    },
    /// Watch an operation that goes on.
    Follow {
        /// The operation's id, the beginning of one, or `last`.
        op: String,
        /// With each system call and request.
        #[arg(long)]
        all: bool,
    },
    /// Find events of an operation; status 1 if there is none.
    Query {
        /// The operation's id, the beginning of one, or `last`.
        op: String,
        /// What to find, such as `kind=blob.* ok=false`.
        query: Vec<String>,
        /// How many were found, and nothing else.
        #[arg(long)]
        count: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Say {
    En,
    Zh,
}

pub(super) fn run(global: &Args, words: &[String]) -> Result<(), Failure> {
    let words: Words = read("trace", words)?;
    let host = Host::choose(global.last("host"), "glassdock")?;
    with_runtime(perform(Client::new(host, "glassdock", Vec::new()), words.what))
}

async fn perform(mut client: Client, what: What) -> Result<(), Failure> {
    let mut out = Output::default();
    match what {
        What::Ls { last, quiet } => list(&mut client, last, quiet, &mut out).await?,
        What::Show { op, json, all, proof, say, .. } => {
            let text = recording(&mut client, &op).await?;
            if json {
                out.text(&text);
            } else {
                let detail = if all { Detail::All } else { Detail::Steps };
                let narrate = say.map(|say| match say {
                    Say::En => Language::En,
                    Say::Zh => Language::Zh,
                });
                let style = Style { narrate, proof, ..stdout_style(detail) };
                out.text(render::tree(&tree(&text)?, style));
            }
        }
        What::Follow { op, all } => {
            let op = find(&mut client, &op).await?;
            let path = format!("/glassdock/traces/{}?follow=1", encode(&op));
            let mut lines = Lines::of(client.send(Method::GET, &path, None, &[]).await?);
            let mut live = Live::new(stdout_style(if all { Detail::All } else { Detail::Steps }));
            while let Some(line) = lines.next().await? {
                if let Ok(event) = serde_json::from_slice(&line) {
                    out.text(live.event(&event));
                    out.flush()?;
                }
            }
        }
        What::Query { op, query, count } => {
            let query: Query =
                query.join(" ").parse().map_err(|error| Failure::new(2, format!("trace query: {error}")))?;
            let tree = tree(&recording(&mut client, &op).await?)?;
            let places = query.find(&tree);
            if count {
                out.line(places.len().to_string());
            } else {
                for node in places.iter().filter_map(|place| tree.nodes.get(*place)) {
                    let time = node.dur_ns.map(render::duration).unwrap_or_default();
                    let mark = if node.failed() { "failed" } else { "" };
                    out.line(
                        format!("{}  {}  {mark}  {time}", node.kind().name(), render::summary(&node.body))
                            .trim_end(),
                    );
                }
            }
            if places.is_empty() {
                out.flush()?;
                return Err(Failure::quiet(1));
            }
        }
    }
    out.flush()
}

fn stdout_style(detail: Detail) -> Style {
    let colour = term::stdout_has_colour();
    Style { colour, ..Style::plain(detail) }
}

fn tree(text: &str) -> Result<Tree, Failure> {
    let reading = Reading::parse(text).map_err(|error| super::chain("trace", &error))?;
    Ok(Tree::of(&reading.events))
}

async fn recording(client: &mut Client, op: &str) -> Result<String, Failure> {
    let op = find(client, op).await?;
    let bytes = client.get(&format!("/glassdock/traces/{}", encode(&op))).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn all(client: &mut Client) -> Result<Vec<Value>, Failure> {
    match client.get_json("/glassdock/traces").await? {
        Value::Array(operations) => Ok(operations),
        _ => Err(Failure::say("the daemon's list of traces is no list")),
    }
}

/// An operation's whole id from its beginning, or that of the last one.
async fn find(client: &mut Client, op: &str) -> Result<String, Failure> {
    let operations = all(client).await?;
    let ids = || operations.iter().filter_map(|operation| operation.get("op").and_then(Value::as_str));
    if op == "last" {
        return ids().next_back().map(str::to_owned).ok_or_else(|| Failure::say("there is no trace yet"));
    }
    let mut matching = ids().filter(|id| id.starts_with(op));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id.to_owned()),
        (Some(_), Some(_)) if ids().any(|id| id == op) => Ok(op.to_owned()),
        (Some(_), Some(_)) => {
            Err(Failure::say(format!("{op} begins several operations' ids: give more of it")))
        }
        (None, _) => Err(Failure::say(format!("no operation {op}: `glassdock trace ls` lists them"))),
    }
}

async fn list(client: &mut Client, last: usize, quiet: bool, out: &mut Output) -> Result<(), Failure> {
    let operations = all(client).await?;
    let shown = operations.iter().skip(operations.len().saturating_sub(last));
    let mut rows = String::from("OPERATION\tSTARTED\tEVENTS\tSTATUS\tCOMMAND\n");
    for operation in shown {
        let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
        if quiet {
            out.line(text("op"));
            continue;
        }
        let command: Vec<_> = operation
            .get("command")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let status = operation
            .get("status")
            .and_then(Value::as_i64)
            .map_or_else(|| "-".to_owned(), |status| status.to_string());
        let events = operation.get("events").and_then(Value::as_u64).unwrap_or(0);
        let command = clean(&command.join(" "));
        rows.push_str(&format!("{}\t{}\t{events}\t{status}\t{command}\n", text("op"), text("started")));
    }
    if !quiet {
        out.text(align(&rows));
    }
    Ok(())
}
