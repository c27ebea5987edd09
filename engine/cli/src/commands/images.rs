//! `images`, `rmi` and `tag`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::reference::Reference;
use super::{gather, images_tree, items, number, text};
use crate::client::{encode, filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, Listing, clean, row, short_id};
use crate::show::units;
use crate::words::Args;

pub(crate) const LISTING: Listing = Listing {
    type_name: "*formatter.imageContext",
    columns: &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "SIZE"),
    ],
};

pub(crate) async fn images(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut given: Vec<String> = args.list("filter");
    if let Some(name) = args.operands.first() {
        given.push(format!("reference={name}"));
    }
    if args.is("tree") {
        return images_tree::tree(cx, args, &given).await;
    }
    let path = with_query(
        "/images/json",
        &[
            ("all", if args.is("all") { "1" } else { "" }),
            ("filters", &filters(given.iter().map(String::as_str))),
        ],
    );
    let images = cx.client.get_json(&path).await?;
    let quiet = args.is("quiet");
    let format = match args.text("format") {
        "" => match cx.config.text("imagesFormat") {
            Some(format) if !quiet => format,
            _ => "table".to_owned(),
        },
        given => given.to_owned(),
    };
    let digests = args.is("digests");
    let format = match format.as_str() {
        "table" if quiet => "{{.ID}}",
        "table" if digests => {
            "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        }
        "table" => "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        "raw" if quiet => "image_id: {{.ID}}",
        "raw" if digests => RAW_DIGESTS,
        "raw" => RAW,
        other => other,
    };
    let need_digest = digests || format.contains(".Digest");
    let mut rows = Vec::new();
    for image in images.as_array().into_iter().flatten() {
        rows.extend(rows_of(image, !args.is("no-trunc"), need_digest && !quiet));
    }
    table::print(&mut cx.out, &LISTING, format, &rows)
}

const RAW: &str = "repository: {{ .Repository }}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const RAW_DIGESTS: &str = "repository: {{ .Repository }}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

const NONE: &str = "<none>";

/// An image is a row for each of its names.
pub(crate) fn rows_of(image: &Value, truncate: bool, need_digest: bool) -> Vec<Map<String, Value>> {
    let tags: Vec<&str> =
        items(image, "RepoTags").filter_map(Value::as_str).filter(|tag| *tag != "<none>:<none>").collect();
    let digests: Vec<&str> = items(image, "RepoDigests")
        .filter_map(Value::as_str)
        .filter(|digest| *digest != "<none>@<none>")
        .collect();
    let mut rows = Vec::new();
    if tags.is_empty() && digests.is_empty() {
        return vec![fields(image, NONE, NONE, NONE, truncate)];
    }
    let mut seen = HashSet::new();
    for tagged in &tags {
        let Some((repository, tag)) = tagged.rsplit_once(':') else { continue };
        seen.insert(repository);
        if !need_digest {
            rows.push(fields(image, repository, tag, NONE, truncate));
            continue;
        }
        let mut of_name: Vec<&str> = digests
            .iter()
            .filter_map(|digest| digest.split_once('@'))
            .filter(|(name, _)| *name == repository)
            .map(|(_, digest)| digest)
            .collect();
        if of_name.is_empty() {
            of_name.push(NONE);
        }
        rows.extend(of_name.into_iter().map(|digest| fields(image, repository, tag, digest, truncate)));
    }
    for (repository, digest) in digests.iter().filter_map(|digest| digest.split_once('@')) {
        if !seen.contains(repository) {
            rows.push(fields(image, repository, NONE, digest, truncate));
        }
    }
    rows
}

fn fields(image: &Value, repository: &str, tag: &str, digest: &str, truncate: bool) -> Map<String, Value> {
    let id = text(image, "Id");
    let created = number(image, "Created");
    let size = image.get("Size").and_then(Value::as_f64).unwrap_or(0.0);
    let shared = number(image, "SharedSize");
    let containers = number(image, "Containers");
    let known = |bytes: i64, shown: String| if bytes == -1 { "N/A".to_owned() } else { shown };
    row([
        ("ID", if truncate { short_id(id) } else { id.to_owned() }.into()),
        ("Repository", clean(&familiar(repository)).into()),
        ("Tag", clean(tag).into()),
        ("Digest", digest.into()),
        ("CreatedSince", if created <= 0 { "N/A".to_owned() } else { units::ago(created) }.into()),
        ("CreatedAt", units::go_time(created).into()),
        ("Size", units::short_size(size).into()),
        ("Containers", known(containers, containers.to_string()).into()),
        ("VirtualSize", units::size(size).into()),
        ("SharedSize", known(shared, units::size(shared as f64)).into()),
        ("UniqueSize", known(shared, units::size(size - shared as f64)).into()),
    ])
}

fn familiar(repository: &str) -> String {
    Reference::parse(repository).map_or_else(|_| repository.to_owned(), |reference| reference.familiar_name())
}

pub(crate) async fn rmi(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut failures = Vec::new();
    let mut fatal = false;
    for image in &args.operands {
        let path = with_query(
            &format!("/images/{}", encode(image)),
            &[
                ("force", if args.is("force") { "1" } else { "" }),
                ("noprune", if args.is("no-prune") { "1" } else { "" }),
            ],
        );
        match cx.client.delete(&path).await {
            Ok(answer) => {
                let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
                for item in answer.as_array().into_iter().flatten() {
                    print_removed(cx, item);
                }
            }
            Err(failure) => {
                fatal |= !failure.is_not_found();
                failures.push(failure.message);
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    if args.is("force") && !fatal {
        for failure in failures {
            crate::show::output::complain(failure);
        }
        return Ok(());
    }
    gather(failures)
}

/// What was removed: `Untagged: …` and `Deleted: …`.
pub(crate) fn print_removed(cx: &mut Context, item: &Value) {
    let (deleted, untagged) = (text(item, "Deleted"), text(item, "Untagged"));
    if deleted.is_empty() {
        cx.out.line(format!("Untagged: {}", clean(untagged)));
    } else {
        cx.out.line(format!("Deleted: {deleted}"));
    }
}

pub(crate) async fn tag(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (source, target) = (args.operand(0), args.operand(1));
    let bad = |name: &str, error: String| {
        Failure::say(format!(
            "Error parsing reference: {} is not a valid repository/tag: {error}",
            crate::words::check::quote(name)
        ))
    };
    // An id names an image too, so only a target must be a name.
    if !is_id(source) {
        Reference::parse(source).map_err(|error| bad(source, error))?;
    }
    let target_reference = Reference::parse(target).map_err(|error| bad(target, error))?;
    if target_reference.digest.is_some() {
        return Err(Failure::say("refusing to create a tag with a digest reference"));
    }
    let target_reference = target_reference.or_latest();
    let path = with_query(
        &format!("/images/{}/tag", encode(source)),
        &[
            ("repo", &target_reference.familiar_name()),
            ("tag", target_reference.tag.as_deref().unwrap_or_default()),
        ],
    );
    cx.client.post(&path, None).await?;
    Ok(())
}

fn is_id(name: &str) -> bool {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    (hex.len() == 64 || name.starts_with("sha256:")) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}
