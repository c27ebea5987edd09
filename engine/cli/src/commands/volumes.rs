//! `volume …`, but for `inspect` and `prune`.

use http::Method;
use serde_json::{Value, json};

use super::ports::natural;
use super::ps::label_text;
use super::run::env;
use super::{gather, items, text};
use crate::client::{encode, filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, LABELS, Listing, clean, row};
use crate::show::units;
use crate::words::Args;

pub(crate) const LISTING: Listing = Listing {
    type_name: "*formatter.volumeContext",
    columns: &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
};

pub(crate) async fn ls(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let path = with_query("/volumes", &[("filters", &filters(args.all("filter")))]);
    let answer = cx.client.get_json(&path).await?;
    let mut volumes: Vec<&Value> = items(&answer, "Volumes").collect();
    volumes.sort_by(|left, right| natural(text(left, "Name"), text(right, "Name")));
    let rows: Vec<_> = volumes.into_iter().map(fields).collect();
    let configured = cx.config.text("volumesFormat");
    let format = match args.text("format") {
        "" if args.is("quiet") => "{{.Name}}",
        "" => configured.as_deref().unwrap_or("table"),
        given => given,
    };
    let format = match format {
        "table" if args.is("quiet") => "{{.Name}}",
        "table" => "table {{.Driver}}\t{{.Name}}",
        "raw" if args.is("quiet") => "name: {{.Name}}",
        "raw" => "name: {{.Name}}\ndriver: {{.Driver}}\n",
        other => other,
    };
    table::print(&mut cx.out, &LISTING, format, &rows)
}

/// A volume as a row.
pub(crate) fn fields(volume: &Value) -> serde_json::Map<String, Value> {
    let labels = volume.get("Labels").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    let usage = |name: &str| volume.pointer(&format!("/UsageData/{name}")).and_then(Value::as_i64);
    row([
        ("Name", clean(text(volume, "Name")).into()),
        ("Driver", text(volume, "Driver").into()),
        ("Scope", text(volume, "Scope").into()),
        ("Mountpoint", clean(text(volume, "Mountpoint")).into()),
        ("Labels", clean(&label_text(&labels)).into()),
        ("Links", usage("RefCount").map_or_else(|| "N/A".to_owned(), |count| count.to_string()).into()),
        ("Size", usage("Size").map_or_else(|| "N/A".to_owned(), |bytes| units::size(bytes as f64)).into()),
        ("Group", "N/A".into()),
        ("Availability", "N/A".into()),
        ("Status", "N/A".into()),
        (LABELS, labels),
    ])
}

pub(crate) async fn create(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let body = json!({
        "Name": args.operand(0),
        "Driver": args.last("driver").unwrap_or("local"),
        "DriverOpts": env::pairs(args.all("opt")),
        "Labels": env::pairs(args.all("label")),
    });
    let answer = cx.client.post_json("/volumes/create", Some(&body)).await?;
    cx.out.line(text(&answer, "Name"));
    Ok(())
}

/// Only volumes of a swarm can be changed: whether one is such, the engine says.
pub(crate) async fn update(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let path = format!("/volumes/{}", encode(args.operand(0)));
    let volume = cx.client.get_json(&path).await?;
    let Some(cluster) = volume.get("ClusterVolume").filter(|cluster| cluster.is_object()) else {
        return Err(Failure::say("can only update cluster volumes"));
    };
    let mut spec = cluster.get("Spec").cloned().unwrap_or_else(|| json!({}));
    if args.changed("availability") {
        spec["Availability"] = args.text("availability").into();
    }
    let version = cluster.pointer("/Version/Index").and_then(Value::as_u64).unwrap_or_default().to_string();
    let path = with_query(&path, &[("version", &version)]);
    cx.client.send(Method::PUT, &path, Some(&json!({ "Spec": spec })), &[]).await.map(drop)
}

pub(crate) async fn rm(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for name in &args.operands {
        if name.trim().is_empty() {
            failures.push("invalid volume name: value is empty".to_owned());
            continue;
        }
        let path = with_query(
            &format!("/volumes/{}", encode(name)),
            &[("force", if args.is("force") { "1" } else { "" })],
        );
        match cx.client.delete(&path).await {
            Ok(_) => cx.out.line(name),
            Err(failure) => failures.push(failure.message),
        }
    }
    gather(failures)
}
