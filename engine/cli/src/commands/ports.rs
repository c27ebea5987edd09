//! `port`: where a container's ports are published.

use std::cmp::Ordering;

use serde_json::Value;

use super::ps::host_port;
use super::{container_path, text};
use crate::context::Context;
use crate::failure::Failure;
use crate::words::Args;

pub(crate) async fn port(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let container = cx.client.get_json(&container_path(args.operand(0), "/json")?).await?;
    let empty = serde_json::Map::new();
    let ports = container.pointer("/NetworkSettings/Ports").and_then(Value::as_object).unwrap_or(&empty);
    let address = |binding: &Value| host_port(text(binding, "HostIp"), text(binding, "HostPort"));
    if args.operands.len() > 1 {
        let wanted = args.operand(1);
        let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        if number.parse::<u16>().is_err() {
            return Err(Failure::say(format!(
                "Error: invalid port ({number}): strconv.ParseUint: parsing {}: invalid syntax",
                crate::words::check::quote(number)
            )));
        }
        let bindings = ports
            .get(&format!("{number}/{protocol}"))
            .and_then(Value::as_array)
            .filter(|list| !list.is_empty());
        let Some(bindings) = bindings else {
            return Err(Failure::say(format!(
                "Error: No public port '{wanted}' published for {}",
                args.operand(0)
            )));
        };
        for binding in bindings {
            cx.out.line(address(binding));
        }
        return Ok(());
    }
    let mut lines: Vec<String> = ports
        .iter()
        .flat_map(|(port, bindings)| {
            bindings
                .as_array()
                .into_iter()
                .flatten()
                .map(move |binding| format!("{port} -> {}", address(binding)))
        })
        .collect();
    lines.sort_by(|left, right| natural(left, right));
    for line in lines {
        cx.out.line(line);
    }
    Ok(())
}

/// Order in which 80 comes before 443.
pub(crate) fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (ours, theirs) = (digits(left), digits(right));
        if ours > 0 && theirs > 0 {
            let (number, rest) = left.split_at(ours);
            let (other, other_rest) = right.split_at(theirs);
            let order = number.parse::<u64>().unwrap_or(u64::MAX).cmp(&other.parse().unwrap_or(u64::MAX));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (rest, other_rest);
            continue;
        }
        match (left.chars().next(), right.chars().next()) {
            (Some(a), Some(b)) if a == b => {
                left = left.get(a.len_utf8()..).unwrap_or_default();
                right = right.get(b.len_utf8()..).unwrap_or_default();
            }
            (a, b) => return a.cmp(&b),
        }
    }
}
