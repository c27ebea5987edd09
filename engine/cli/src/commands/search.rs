//! `search`: images at the hub.

use serde_json::Value;

use super::{number, text};
use crate::client::{filters, with_query};
use crate::config::credentials;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, Listing, clean, ellipsis, row};
use crate::words::Args;

const LISTING: Listing = Listing {
    type_name: "*registry.searchContext",
    columns: &[
        ("Description", "DESCRIPTION"),
        ("IsAutomated", "AUTOMATED"),
        ("IsOfficial", "OFFICIAL"),
        ("Name", "NAME"),
        ("StarCount", "STARS"),
    ],
};

pub(crate) async fn search(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let term = args.operand(0);
    let limit =
        args.number("limit").filter(|limit| *limit > 0).map(|limit| limit.to_string()).unwrap_or_default();
    let path = with_query(
        "/images/search",
        &[("term", term), ("limit", &limit), ("filters", &filters(args.all("filter")))],
    );
    let registry = term
        .split_once('/')
        .map_or("docker.io", |(first, _)| if first.contains(['.', ':']) { first } else { "docker.io" });
    let headers = [("x-registry-auth", credentials::header(&mut cx.config, registry))];
    let response = cx.client.send(http::Method::GET, &path, None, &headers).await?;
    let mut lines = crate::client::messages::Lines::of(response);
    let answer = lines.next_json().await?.unwrap_or_default();
    let truncate = !args.is("no-trunc");
    let ok = |result: &Value, name: &str| {
        if result.get(name).and_then(Value::as_bool) == Some(true) { "[OK]" } else { "" }
    };
    let rows: Vec<_> = answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|result| {
            let description = text(result, "description").replace(['\n', '\r'], " ");
            let description = if truncate { ellipsis(&description, 45) } else { description };
            row([
                ("Name", clean(text(result, "name")).into()),
                ("Description", clean(&description).into()),
                ("StarCount", number(result, "star_count").to_string().into()),
                ("IsOfficial", ok(result, "is_official").into()),
                ("IsAutomated", ok(result, "is_automated").into()),
            ])
        })
        .collect();
    let format = match args.text("format") {
        "" | "table" => "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        given => given,
    };
    table::print(&mut cx.out, &LISTING, format, &rows)
}
