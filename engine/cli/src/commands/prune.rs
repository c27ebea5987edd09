//! `prune` of each kind, and of all.

use serde_json::Value;

use super::{confirm, items, number};
use crate::client::{filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::units;
use crate::words::Args;

pub(crate) async fn prune(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let all = args.is("all");
    if args.spec.name() == "system prune" {
        return system(cx, args).await;
    }
    let warning = match args.spec.name() {
        "builder prune" if all => {
            "WARNING! This will remove all build cache. Are you sure you want to continue?"
        }
        "builder prune" => {
            "WARNING! This will remove all dangling build cache. Are you sure you want to continue?"
        }
        "container prune" => {
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"
        }
        "image prune" if all => {
            "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?"
        }
        "image prune" => "WARNING! This will remove all dangling images.\nAre you sure you want to continue?",
        "network prune" => {
            "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?"
        }
        _ if all => {
            "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?"
        }
        _ => {
            "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?"
        }
    };
    if !args.is("force") && !confirm(cx, warning)? {
        // A no is no failure.
        return Ok(());
    }
    let mut given = args.list("filter");
    let kind = args.spec.name().split(' ').next().unwrap_or_default();
    let space = match kind {
        "builder" => build_cache(cx, all, args.bytes("keep-storage"), &given).await?,
        "image" => {
            given.push(format!("dangling={}", !all));
            images(cx, &given).await?
        }
        "volume" => {
            if all {
                given.push("all=1".to_owned());
            }
            list(cx, "volumes", "VolumesDeleted", "Deleted Volumes:", &given).await?
        }
        "network" => {
            list(cx, "networks", "NetworksDeleted", "Deleted Networks:", &given).await?;
            return Ok(());
        }
        _ => list(cx, "containers", "ContainersDeleted", "Deleted Containers:", &given).await?,
    };
    cx.out.line(format!("Total reclaimed space: {}", units::size(space as f64)));
    Ok(())
}

/// Prunes one kind of things; prints their names, and returns the space in bytes.
async fn list(
    cx: &mut Context,
    kind: &str,
    field: &str,
    title: &str,
    given: &[String],
) -> Result<i64, Failure> {
    let path =
        with_query(&format!("/{kind}/prune"), &[("filters", &filters(given.iter().map(String::as_str)))]);
    let answer = cx.client.post_json(&path, None).await?;
    let names: Vec<&str> = items(&answer, field).filter_map(Value::as_str).collect();
    if !names.is_empty() {
        cx.out.line(title);
        for name in names {
            cx.out.line(name);
        }
        cx.out.line("");
    }
    Ok(number(&answer, "SpaceReclaimed"))
}

async fn images(cx: &mut Context, given: &[String]) -> Result<i64, Failure> {
    let path = with_query("/images/prune", &[("filters", &filters(given.iter().map(String::as_str)))]);
    let answer = cx.client.post_json(&path, None).await?;
    let removed: Vec<&Value> = items(&answer, "ImagesDeleted").collect();
    if !removed.is_empty() {
        cx.out.line("Deleted Images:");
        for item in removed {
            let (deleted, untagged) = (super::text(item, "Deleted"), super::text(item, "Untagged"));
            cx.out.line(if untagged.is_empty() {
                format!("deleted: {deleted}")
            } else {
                format!("untagged: {untagged}")
            });
        }
        cx.out.line("");
    }
    Ok(number(&answer, "SpaceReclaimed"))
}

/// The steps that builds know, and the folders of `RUN --mount=type=cache`.
async fn build_cache(
    cx: &mut Context,
    all: bool,
    keep: Option<i64>,
    given: &[String],
) -> Result<i64, Failure> {
    let filters = filters(given.iter().map(String::as_str));
    let mut query = vec![("filters", filters.as_str())];
    let keep = keep.unwrap_or(0).to_string();
    query.push(("keep-storage", &keep));
    if all {
        query.push(("all", "1"));
    }
    let answer = cx.client.post_json(&with_query("/build/prune", &query), None).await?;
    let gone: Vec<&str> = items(&answer, "CachesDeleted").filter_map(Value::as_str).collect();
    if !gone.is_empty() {
        cx.out.line("Deleted build cache objects:");
        for id in gone {
            cx.out.line(id);
        }
        cx.out.line("");
    }
    Ok(number(&answer, "SpaceReclaimed"))
}

async fn system(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (all, volumes) = (args.is("all"), args.is("volumes"));
    let mut lines = vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.push(if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    });
    lines.push(if all { "all build cache" } else { "unused build cache" });
    let mut question = String::from("WARNING! This will remove:\n");
    for line in lines {
        question.push_str(&format!("  - {line}\n"));
    }
    let given = args.list("filter");
    if !given.is_empty() {
        question.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in &given {
            question.push_str(&format!("  - {filter}\n"));
        }
    }
    question.push_str("\nAre you sure you want to continue?");
    if !args.is("force") && !confirm(cx, &question)? {
        return Ok(());
    }
    let mut space = list(cx, "containers", "ContainersDeleted", "Deleted Containers:", &given).await?;
    list(cx, "networks", "NetworksDeleted", "Deleted Networks:", &given).await?;
    if volumes {
        space += list(cx, "volumes", "VolumesDeleted", "Deleted Volumes:", &given).await?;
    }
    let mut of_images = given.clone();
    of_images.push(format!("dangling={}", !all));
    space += images(cx, &of_images).await?;
    // What the cache has is no thing with labels.
    let of_cache: Vec<String> = given.iter().filter(|filter| filter.starts_with("until=")).cloned().collect();
    if of_cache.len() == given.len() {
        space += build_cache(cx, all, None, &of_cache).await?;
    }
    cx.out.line(format!("Total reclaimed space: {}", units::size(space as f64)));
    Ok(())
}
