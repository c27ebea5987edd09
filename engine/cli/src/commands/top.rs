//! `top` and `diff`: a container's processes, and what it changed of its image.

use serde_json::Value;

use super::{container_path, items, number, text};
use crate::client::with_query;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, Listing, align_with, clean, row};
use crate::words::Args;

pub(crate) async fn top(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let options = args.operands.get(1..).unwrap_or_default().join(" ");
    let path = with_query(&container_path(args.operand(0), "/top")?, &[("ps_args", &options)]);
    let answer = cx.client.get_json(&path).await?;
    let cells = |list: &Value| -> String {
        let cells: Vec<String> =
            list.as_array().into_iter().flatten().filter_map(Value::as_str).map(clean).collect();
        cells.join("\t")
    };
    let mut lines = format!("{}\n", cells(answer.get("Titles").unwrap_or(&Value::Null)));
    for process in items(&answer, "Processes") {
        lines.push_str(&cells(process));
        lines.push('\n');
    }
    cx.out.text(align_with(&lines, 20, 3));
    Ok(())
}

const LISTING: Listing =
    Listing { type_name: "*container.diffContext", columns: &[("Path", "PATH"), ("Type", "CHANGE TYPE")] };

pub(crate) async fn diff(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let changes = cx.client.get_json(&container_path(args.operand(0), "/changes")?).await?;
    let rows: Vec<_> = changes
        .as_array()
        .into_iter()
        .flatten()
        .map(|change| {
            let kind = match number(change, "Kind") {
                0 => "C",
                1 => "A",
                _ => "D",
            };
            row([("Type", kind.into()), ("Path", clean(text(change, "Path")).into())])
        })
        .collect();
    table::print(&mut cx.out, &LISTING, "{{.Type}} {{.Path}}", &rows)
}
