//! `stats`: what containers use, once or again and again.

use glassdock_registry::task;
use serde_json::{Map, Value};

use super::{container_path, text};
use crate::client::{Client, encode};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::Output;
use crate::show::table::{self, Listing, clean, row, short_id};
use crate::show::units;
use crate::words::Args;

const LISTING: Listing = Listing {
    type_name: "*formatter.statsContext",
    columns: &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ],
};

pub(crate) async fn stats(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let truncate = !args.is("no-trunc");
    let format = match args.text("format") {
        "" => cx.config.text("statsFormat").unwrap_or_else(|| "table".to_owned()),
        given => given.to_owned(),
    };
    let format = match format.as_str() {
        "table" => {
            "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
        }
        other => other,
    };
    for name in &args.operands {
        cx.client.get(&container_path(name, "/json")?).await?;
    }
    loop {
        let names =
            if args.operands.is_empty() { all(cx, args.is("all")).await? } else { args.operands.clone() };
        let rows = collect(&cx.client, names, truncate).await;
        let mut page = Output::default();
        if args.is("no-stream") {
            table::print(&mut cx.out, &LISTING, format, &rows)?;
            return Ok(());
        }
        // Over the last page: home, each line to its end, and what is below.
        page.text("\x1b[H\x1b[J");
        table::print(&mut page, &LISTING, format, &rows)?;
        page.flush()?;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

async fn all(cx: &mut Context, stopped: bool) -> Result<Vec<String>, Failure> {
    let path = if stopped { "/containers/json?all=1" } else { "/containers/json" };
    let answer = cx.client.get_json(path).await?;
    Ok(answer.as_array().into_iter().flatten().map(|container| text(container, "Id").to_owned()).collect())
}

/// Asks about all at the same time: the daemon takes a second for each.
async fn collect(client: &Client, names: Vec<String>, truncate: bool) -> Vec<Map<String, Value>> {
    let asked: Vec<_> = names
        .into_iter()
        .map(|name| {
            let mut client = client.another();
            task::spawn(async move {
                let path = format!("/containers/{}/stats?stream=0", encode(&name));
                let answer = client.get_json(&path).await;
                (name, answer)
            })
        })
        .collect();
    let mut rows = Vec::new();
    for task in asked {
        let Ok((name, answer)) = task.await else { continue };
        rows.push(match answer {
            Ok(answer) => fields(&name, &answer, truncate),
            Err(_) => unknown(&name),
        });
    }
    rows
}

fn unknown(name: &str) -> Map<String, Value> {
    let dashes = || Value::from("--");
    row([
        ("Container", name.into()),
        ("ID", short_id(name).into()),
        ("Name", dashes()),
        ("CPUPerc", dashes()),
        ("MemUsage", "-- / --".into()),
        ("MemPerc", dashes()),
        ("NetIO", dashes()),
        ("BlockIO", dashes()),
        ("PIDs", dashes()),
    ])
}

fn fields(name: &str, stats: &Value, truncate: bool) -> Map<String, Value> {
    let at = |pointer: &str| stats.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    let id = text(stats, "id");
    let id = if id.is_empty() { name } else { id };
    let limit = at("/memory_stats/limit");
    let used = memory(stats);
    let percent = if limit > 0.0 { used / limit * 100.0 } else { 0.0 };
    let (received, sent) = network(stats);
    let (read, written) = block(stats);
    row([
        ("Container", name.into()),
        ("ID", if truncate { short_id(id) } else { id.to_owned() }.into()),
        ("Name", clean(text(stats, "name").trim_start_matches('/')).into()),
        ("CPUPerc", format!("{:.2}%", cpu(stats)).into()),
        ("MemUsage", format!("{} / {}", units::binary_size(used), units::binary_size(limit)).into()),
        ("MemPerc", format!("{percent:.2}%").into()),
        ("NetIO", format!("{} / {}", units::short_size(received), units::short_size(sent)).into()),
        ("BlockIO", format!("{} / {}", units::short_size(read), units::short_size(written)).into()),
        ("PIDs", format!("{}", at("/pids_stats/current")).into()),
    ])
}

/// Memory without the page cache that could be given back.
fn memory(stats: &Value) -> f64 {
    let at = |pointer: &str| stats.pointer(pointer).and_then(Value::as_f64);
    let usage = at("/memory_stats/usage").unwrap_or(0.0);
    let cache =
        at("/memory_stats/stats/total_inactive_file").or_else(|| at("/memory_stats/stats/inactive_file"));
    match cache {
        Some(cache) if cache < usage => usage - cache,
        _ => usage,
    }
}

fn cpu(stats: &Value) -> f64 {
    let at = |pointer: &str| stats.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    let used = at("/cpu_stats/cpu_usage/total_usage") - at("/precpu_stats/cpu_usage/total_usage");
    let all = at("/cpu_stats/system_cpu_usage") - at("/precpu_stats/system_cpu_usage");
    let mut count = at("/cpu_stats/online_cpus");
    if count == 0.0 {
        let each = stats.pointer("/cpu_stats/cpu_usage/percpu_usage").and_then(Value::as_array);
        count = each.map_or(0.0, |each| each.len() as f64);
    }
    if all > 0.0 && used > 0.0 { used / all * count * 100.0 } else { 0.0 }
}

fn network(stats: &Value) -> (f64, f64) {
    let mut total = (0.0, 0.0);
    for (_, link) in stats.get("networks").and_then(Value::as_object).into_iter().flatten() {
        total.0 += link.get("rx_bytes").and_then(Value::as_f64).unwrap_or(0.0);
        total.1 += link.get("tx_bytes").and_then(Value::as_f64).unwrap_or(0.0);
    }
    total
}

fn block(stats: &Value) -> (f64, f64) {
    let mut total = (0.0, 0.0);
    let entries = stats.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let value = entry.get("value").and_then(Value::as_f64).unwrap_or(0.0);
        match text(entry, "op").bytes().next() {
            Some(b'r' | b'R') => total.0 += value,
            Some(b'w' | b'W') => total.1 += value,
            _ => {}
        }
    }
    total
}
