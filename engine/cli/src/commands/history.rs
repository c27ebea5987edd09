//! `history`: the layers of an image and what made each.

use serde_json::Value;

use super::{number, text};
use crate::client::encode;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, Listing, clean, ellipsis, row, short_id};
use crate::show::units;
use crate::words::Args;

const LISTING: Listing = Listing {
    type_name: "*formatter.historyContext",
    columns: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
};

pub(crate) async fn history(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut path = format!("/images/{}/history", encode(args.operand(0)));
    if args.changed("platform") {
        path = crate::client::with_query(
            &path,
            &[("platform", &super::pull::platform_json(args.text("platform"))?)],
        );
    }
    let layers = cx.client.get_json(&path).await?;
    let human = args.is_or("human", true);
    let truncate = !args.is("no-trunc");
    let rows: Vec<_> = layers
        .as_array()
        .into_iter()
        .flatten()
        .map(|layer| {
            let id = text(layer, "Id");
            let created = number(layer, "Created");
            let by = text(layer, "CreatedBy").replace('\t', " ");
            let size = layer.get("Size").and_then(Value::as_f64).unwrap_or(0.0);
            row([
                ("ID", if truncate { short_id(id) } else { id.to_owned() }.into()),
                ("CreatedAt", units::rfc3339(created).into()),
                ("CreatedSince", since(created, human).into()),
                ("CreatedBy", clean(&if truncate { ellipsis(&by, 45) } else { by }).into()),
                ("Size", if human { units::short_size(size) } else { format!("{size}") }.into()),
                ("Comment", clean(text(layer, "Comment")).into()),
            ])
        })
        .collect();
    let format = match args.text("format") {
        _ if args.is("quiet") => "{{.ID}}",
        "" | "table" if human => "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        "" | "table" => "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        given => given,
    };
    table::print(&mut cx.out, &LISTING, format, &rows)
}

fn since(created: i64, human: bool) -> String {
    // Builds that are to come out the same each time have no date.
    if created <= 0 {
        return "N/A".to_owned();
    }
    if human { units::ago(created) } else { units::rfc3339(created) }
}
