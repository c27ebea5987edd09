//! `system df`: what takes how much of the disk.

use serde_json::{Map, Value};

use super::{images, items, number, ps, text, volumes};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, Listing, row};
use crate::show::units;
use crate::words::Args;

const LISTING: Listing = Listing {
    // The first row's, which is the one that a complaint is about.
    type_name: "*formatter.diskUsageImagesContext",
    columns: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
};

pub(crate) async fn df(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let usage = cx.client.get_json("/system/df").await?;
    if args.is("verbose") {
        return verbose(cx, &usage);
    }
    let rows = [of_images(&usage), of_containers(&usage), of_volumes(&usage), of_cache(&usage)];
    let format = match args.text("format") {
        "" | "table" => "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        given => given,
    };
    table::print(&mut cx.out, &LISTING, format, &rows)
}

fn line(kind: &str, total: usize, active: usize, size: i64, reclaimable: String) -> Map<String, Value> {
    row([
        ("Type", kind.into()),
        ("TotalCount", total.to_string().into()),
        ("Active", active.to_string().into()),
        ("Size", units::size(size as f64).into()),
        ("Reclaimable", reclaimable.into()),
    ])
}

fn share(reclaimable: i64, total: i64) -> String {
    let size = units::size(reclaimable as f64);
    if total > 0 { format!("{size} ({}%)", reclaimable * 100 / total) } else { size }
}

fn of_images(usage: &Value) -> Map<String, Value> {
    let all: Vec<&Value> = items(usage, "Images").collect();
    let total = number(usage, "LayersSize");
    let active = all.iter().filter(|image| number(image, "Containers") > 0).count();
    let used: i64 = all
        .iter()
        .filter(|image| number(image, "Containers") > 0)
        .map(|image| number(image, "Size") - number(image, "SharedSize").max(0))
        .sum();
    line("Images", all.len(), active, total, share((total - used).max(0), total))
}

fn is_active(container: &Value) -> bool {
    matches!(text(container, "State"), "running" | "paused" | "restarting")
}

fn of_containers(usage: &Value) -> Map<String, Value> {
    let all: Vec<&Value> = items(usage, "Containers").collect();
    let size = |container: &&&Value| number(container, "SizeRw");
    let total: i64 = all.iter().map(|container| size(&container)).sum();
    let free: i64 =
        all.iter().filter(|container| !is_active(container)).map(|container| size(&container)).sum();
    let active = all.iter().filter(|container| is_active(container)).count();
    line("Containers", all.len(), active, total, share(free, total))
}

fn of_volumes(usage: &Value) -> Map<String, Value> {
    let all: Vec<&Value> = items(usage, "Volumes").collect();
    let part = |volume: &Value, name: &str| {
        volume.pointer(&format!("/UsageData/{name}")).and_then(Value::as_i64).unwrap_or(0)
    };
    let total: i64 = all.iter().map(|volume| part(volume, "Size").max(0)).sum();
    let free: i64 = all
        .iter()
        .filter(|volume| part(volume, "RefCount") == 0)
        .map(|volume| part(volume, "Size").max(0))
        .sum();
    let active = all.iter().filter(|volume| part(volume, "RefCount") > 0).count();
    line("Local Volumes", all.len(), active, total, share(free, total))
}

fn of_cache(usage: &Value) -> Map<String, Value> {
    let all: Vec<&Value> = items(usage, "BuildCache").collect();
    let flag = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_bool).unwrap_or(false);
    let own: i64 = all.iter().filter(|entry| !flag(entry, "Shared")).map(|entry| number(entry, "Size")).sum();
    let total: i64 = if usage.get("BuilderSize").is_some() { number(usage, "BuilderSize") } else { own };
    let used: i64 = all
        .iter()
        .filter(|entry| flag(entry, "InUse") && !flag(entry, "Shared"))
        .map(|entry| number(entry, "Size"))
        .sum();
    let active = all.iter().filter(|entry| flag(entry, "InUse")).count();
    line("Build Cache", all.len(), active, total, units::size((own - used).max(0) as f64))
}

fn verbose(cx: &mut Context, usage: &Value) -> Result<(), Failure> {
    cx.out.text("Images space usage:\n\n");
    let rows: Vec<_> =
        // Of an image with several tags Docker shows the first.
        items(usage, "Images").flat_map(|image| images::rows_of(image, true, false).into_iter().take(1)).collect();
    let format = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
    table::print(&mut cx.out, &images::LISTING, format, &rows)?;
    cx.out.text("\nContainers space usage:\n\n");
    let rows: Vec<_> = items(usage, "Containers")
        .map(|container| {
            let mut row = ps::fields(container, true);
            row.insert("Size".to_owned(), units::short_size(number(container, "SizeRw") as f64).into());
            row
        })
        .collect();
    let format = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
    table::print(&mut cx.out, &ps::LISTING, format, &rows)?;
    cx.out.text("\nLocal Volumes space usage:\n\n");
    let rows: Vec<_> = items(usage, "Volumes").map(volumes::fields).collect();
    table::print(&mut cx.out, &volumes::LISTING, "table {{.Name}}\t{{.Links}}\t{{.Size}}", &rows)?;
    cx.out.text(format!(
        "\nBuild cache usage: {}\n\n",
        units::size(items(usage, "BuildCache").map(|entry| number(entry, "Size")).sum::<i64>() as f64)
    ));
    let cache = Listing {
        type_name: "*formatter.buildCacheContext",
        columns: &[
            ("CacheType", "CACHE TYPE"),
            ("CreatedSince", "CREATED"),
            ("ID", "CACHE ID"),
            ("LastUsedSince", "LAST USED"),
            ("Shared", "SHARED"),
            ("Size", "SIZE"),
            ("UsageCount", "USAGE"),
        ],
    };
    let format = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";
    let rows: Vec<_> = items(usage, "BuildCache")
        .map(|entry| {
            row([
                ("ID", table::short_id(text(entry, "ID")).into()),
                ("CacheType", text(entry, "Type").into()),
                ("Size", units::short_size(number(entry, "Size") as f64).into()),
                ("CreatedSince", since(text(entry, "CreatedAt")).into()),
                ("LastUsedSince", since(text(entry, "LastUsedAt")).into()),
                ("UsageCount", number(entry, "UsageCount").to_string().into()),
                ("Shared", entry.get("Shared").and_then(Value::as_bool).unwrap_or(false).to_string().into()),
            ])
        })
        .collect();
    table::print(&mut cx.out, &cache, format, &rows)
}

fn since(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(|_| String::new(), |moment| units::ago(moment.as_second()))
}
