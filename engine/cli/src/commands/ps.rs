//! `ps`: the containers.

use serde_json::{Map, Value};

use super::{items, number, text};
use crate::client::{filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::{self, LABELS, Listing, clean, ellipsis, row, short_id};
use crate::show::units;
use crate::words::Args;
use crate::words::check::quote;

pub(crate) const LISTING: Listing = Listing {
    type_name: "*formatter.ContainerContext",
    columns: &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
        ("Ports", "PORTS"),
        ("RunningFor", "CREATED"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
    ],
};

const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

pub(crate) async fn ps(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let format = match args.text("format") {
        "" if args.is("quiet") => "{{.ID}}".to_owned(),
        "" => cx.config.text("psFormat").unwrap_or_else(|| "table".to_owned()),
        given => given.to_owned(),
    };
    let size = args.is("size") || format.contains(".Size") || format.contains("json .}}");
    let limit = match args.number("last") {
        Some(last) if last > 0 => last,
        _ if args.is("latest") => 1,
        _ => 0,
    };
    let path = with_query(
        "/containers/json",
        &[
            ("all", if args.is("all") { "1" } else { "" }),
            ("filters", &filters(args.all("filter"))),
            ("limit", &if limit > 0 { limit.to_string() } else { String::new() }),
            ("size", if size { "1" } else { "" }),
        ],
    );
    let containers = cx.client.get_json(&path).await?;
    let truncate = !args.is("no-trunc");
    let rows: Vec<_> =
        containers.as_array().into_iter().flatten().map(|container| fields(container, truncate)).collect();
    let format = match format.as_str() {
        "table" if args.is("quiet") => "{{.ID}}".to_owned(),
        "table" if args.is("size") => format!("{TABLE}\t{{{{.Size}}}}"),
        "table" => TABLE.to_owned(),
        "raw" if args.is("quiet") => "container_id: {{.ID}}".to_owned(),
        "raw" => RAW.to_owned() + if args.is("size") { "size: {{.Size}}\n" } else { "" },
        _ => format,
    };
    table::print(&mut cx.out, &LISTING, &format, &rows)
}

const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";

pub(crate) fn fields(container: &Value, truncate: bool) -> Map<String, Value> {
    let id = text(container, "Id");
    let command = text(container, "Command");
    let names: Vec<&str> = items(container, "Names")
        .filter_map(Value::as_str)
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        .filter(|name| !truncate || !name.contains('/'))
        .collect();
    let mounts: Vec<String> = items(container, "Mounts")
        .map(|mount| {
            let name = text(mount, "Name");
            let name = if name.is_empty() { text(mount, "Source") } else { name };
            if truncate { ellipsis(name, 15) } else { name.to_owned() }
        })
        .collect();
    let local = items(container, "Mounts").filter(|mount| text(mount, "Driver") == "local").count();
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let networks: Vec<&str> =
        networks.map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default();
    let created = number(container, "Created");
    let labels = container
        .get("Labels")
        .filter(|labels| labels.is_object())
        .cloned()
        .unwrap_or_else(|| Map::new().into());
    row([
        ("ID", if truncate { short_id(id) } else { id.to_owned() }.into()),
        ("Image", clean(&image(container, truncate)).into()),
        ("Command", quote(&if truncate { ellipsis(command, 20) } else { command.to_owned() }).into()),
        ("CreatedAt", units::go_time(created).into()),
        ("RunningFor", units::ago(created).into()),
        ("Ports", ports(container).into()),
        ("State", text(container, "State").into()),
        ("Status", text(container, "Status").into()),
        ("Size", size(container).into()),
        ("Names", clean(&names.join(",")).into()),
        ("Labels", clean(&label_text(&labels)).into()),
        ("Mounts", clean(&mounts.join(",")).into()),
        ("LocalVolumes", local.to_string().into()),
        ("Networks", clean(&networks.join(",")).into()),
        ("Platform", platform(container)),
        (LABELS, labels),
    ])
}

fn platform(container: &Value) -> Value {
    container.pointer("/ImageManifestDescriptor/platform").cloned().unwrap_or(Value::Null)
}

/// Labels as `a=1,b=2`, sorted by name.
pub(crate) fn label_text(labels: &Value) -> String {
    let mut pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// The image's name, short: without its digest, or its short id.
fn image(container: &Value, truncate: bool) -> String {
    let image = text(container, "Image");
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return image.to_owned();
    }
    let short = short_id(text(container, "ImageID"));
    if short == short_id(image) && !short.is_empty() {
        return short;
    }
    match super::reference::Reference::parse(image) {
        Ok(mut reference) => {
            reference.digest = None;
            reference.familiar()
        }
        Err(_) => image.to_owned(),
    }
}

fn size(container: &Value) -> String {
    let float = |name: &str| container.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let (rw, root) = (units::short_size(float("SizeRw")), float("SizeRootFs"));
    if root > 0.0 { format!("{rw} (virtual {})", units::short_size(root)) } else { rw }
}

/// Ports as `0.0.0.0:8080->80/tcp, 443/tcp`, neighbours joined to ranges.
fn ports(container: &Value) -> String {
    let mut ports: Vec<(i64, &str, i64, &str)> = items(container, "Ports")
        .map(|port| {
            (number(port, "PrivatePort"), text(port, "IP"), number(port, "PublicPort"), text(port, "Type"))
        })
        .collect();
    ports.sort_unstable();
    let mut shown = Vec::new();
    let mut mapped = Vec::new();
    let mut groups: Vec<((&str, &str), i64, i64)> = Vec::new();
    for (private, ip, public, kind) in ports {
        if !ip.is_empty() && public != private {
            mapped.push(format!("{}->{private}/{kind}", host_port(ip, &public.to_string())));
            continue;
        }
        match groups.iter_mut().find(|(key, ..)| *key == (ip, kind)) {
            None => groups.push(((ip, kind), private, private)),
            Some((_, _, last)) if private == *last + 1 => *last = private,
            Some((key, first, last)) => {
                shown.push(group(*key, *first, *last));
                (*first, *last) = (private, private);
            }
        }
    }
    shown.extend(groups.into_iter().map(|(key, first, last)| group(key, first, last)));
    shown.extend(mapped);
    shown.join(", ")
}

fn group((ip, kind): (&str, &str), first: i64, last: i64) -> String {
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if ip.is_empty() {
        format!("{ports}/{kind}")
    } else {
        format!("{}->{ports}/{kind}", host_port(ip, &ports))
    }
}

/// `ip:port`, the address in brackets where it has colons.
pub(crate) fn host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn ports_are_grouped() {
        let ports = |list| super::ports(&json!({ "Ports": list }));
        assert_eq!(
            ports(json!([
                {"PrivatePort": 80, "PublicPort": 8080, "IP": "0.0.0.0", "Type": "tcp"},
                {"PrivatePort": 81, "Type": "tcp"}, {"PrivatePort": 82, "Type": "tcp"}, {"PrivatePort": 90, "Type": "tcp"},
                {"PrivatePort": 5000, "PublicPort": 5000, "IP": "::", "Type": "tcp"}
            ])),
            "81-82/tcp, 90/tcp, [::]:5000->5000/tcp, 0.0.0.0:8080->80/tcp"
        );
    }
}
