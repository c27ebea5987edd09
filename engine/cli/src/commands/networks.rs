//! `network …`, but for `inspect` and `prune`.

use serde_json::{Map, Value, json};

use super::ports::natural;
use super::ps::label_text;
use super::run::env;
use super::{text, warn};
use crate::client::{encode, filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::complain;
use crate::show::table::{self, LABELS, Listing, clean, row, short_id};
use crate::words::Args;

const LISTING: Listing = Listing {
    type_name: "*network.networkContext",
    columns: &[
        ("CreatedAt", "CREATED AT"),
        ("Driver", "DRIVER"),
        ("ID", "NETWORK ID"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("Name", "NAME"),
        ("Scope", "SCOPE"),
    ],
};

pub(crate) async fn ls(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let path = with_query("/networks", &[("filters", &filters(args.all("filter")))]);
    let answer = cx.client.get_json(&path).await?;
    let mut networks: Vec<&Value> = answer.as_array().into_iter().flatten().collect();
    networks.sort_by(|left, right| natural(text(left, "Name"), text(right, "Name")));
    let truncate = !args.is("no-trunc");
    let truth = |network: &Value, name: &str, default: bool| {
        network.get(name).and_then(Value::as_bool).unwrap_or(default).to_string()
    };
    let rows: Vec<_> = networks
        .into_iter()
        .map(|network| {
            let id = text(network, "Id");
            let labels = network.get("Labels").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
            row([
                ("ID", if truncate { short_id(id) } else { id.to_owned() }.into()),
                ("Name", clean(text(network, "Name")).into()),
                ("Driver", text(network, "Driver").into()),
                ("Scope", text(network, "Scope").into()),
                ("IPv4", truth(network, "EnableIPv4", false).into()),
                ("IPv6", truth(network, "EnableIPv6", false).into()),
                ("Internal", truth(network, "Internal", false).into()),
                ("Labels", clean(&label_text(&labels)).into()),
                ("CreatedAt", created(text(network, "Created")).into()),
                (LABELS, labels),
            ])
        })
        .collect();
    let configured = cx.config.text("networksFormat");
    let format = match args.text("format") {
        "" if args.is("quiet") => "{{.ID}}",
        "" => configured.as_deref().unwrap_or("table"),
        given => given,
    };
    let format = match format {
        "table" if args.is("quiet") => "{{.ID}}",
        "table" => "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        "raw" if args.is("quiet") => "network_id: {{.ID}}",
        "raw" => "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        other => other,
    };
    table::print(&mut cx.out, &LISTING, format, &rows)
}

/// RFC 3339 as Go prints a time: `2026-11-23 20:30:57.123 +0000 UTC`.
fn created(text: &str) -> String {
    let Some((date, rest)) = text.split_once('T') else { return text.to_owned() };
    match rest.strip_suffix('Z') {
        Some(time) => format!("{date} {time} +0000 UTC"),
        None => {
            let at = rest.rfind(['+', '-']).unwrap_or(rest.len());
            let (time, zone) = rest.split_at(at);
            let zone = zone.replace(':', "");
            format!("{date} {time} {zone} {zone}")
        }
    }
}

pub(crate) async fn create(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut body = json!({
        "Name": args.operand(0),
        "Driver": args.last("driver").unwrap_or("bridge"),
        "Scope": args.text("scope"),
        "Internal": args.is("internal"),
        "Attachable": args.is("attachable"),
        "Ingress": args.is("ingress"),
        "ConfigOnly": args.is("config-only"),
        "Options": env::pairs(args.all("opt")),
        "Labels": env::pairs(args.all("label")),
        "IPAM": {
            "Driver": args.last("ipam-driver").unwrap_or("default"),
            "Options": env::pairs(args.all("ipam-opt")),
            "Config": ipam(args)?,
        },
    });
    for (flag, name) in [("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")] {
        if args.changed(flag) {
            body[name] = args.is(flag).into();
        }
    }
    if args.changed("config-from") {
        body["ConfigFrom"] = json!({"Network": args.text("config-from")});
    }
    let answer = cx.client.post_json("/networks/create", Some(&body)).await?;
    warn(&answer);
    cx.out.line(text(&answer, "Id"));
    Ok(())
}

/// Subnets with their ranges, gateways and reserved addresses.
fn ipam(args: &Args) -> Result<Value, Failure> {
    let subnets = args.commas("subnet");
    let mut configs: Vec<Map<String, Value>> = subnets
        .iter()
        .map(|subnet| Map::from_iter([("Subnet".to_owned(), subnet.as_str().into())]))
        .collect();
    if configs.is_empty() && (args.changed("ip-range") || args.changed("gateway")) {
        return Err(Failure::say("every ip-range or gateway must have a corresponding subnet"));
    }
    let inside = |address: &str| subnets.iter().position(|subnet| contains(subnet, address));
    for range in args.commas("ip-range") {
        let place = inside(range.split('/').next().unwrap_or_default());
        let Some(config) = place.and_then(|place| configs.get_mut(place)) else {
            return Err(Failure::say(format!("no matching subnet for range {range}")));
        };
        if config.insert("IPRange".to_owned(), range.clone().into()).is_some() {
            return Err(Failure::say(format!(
                "cannot configure multiple ranges ({range}) on the same subnet"
            )));
        }
    }
    for gateway in args.commas("gateway") {
        let Some(config) = inside(&gateway).and_then(|place| configs.get_mut(place)) else {
            return Err(Failure::say(format!("no matching subnet for gateway {gateway}")));
        };
        if config.insert("Gateway".to_owned(), gateway.clone().into()).is_some() {
            return Err(Failure::say(format!(
                "cannot configure multiple gateways ({gateway}) for the same subnet"
            )));
        }
    }
    for pair in args.all("aux-address") {
        let (name, address) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(config) = inside(address).and_then(|place| configs.get_mut(place)) else {
            return Err(Failure::say(format!("no matching subnet for aux-address {address}")));
        };
        let aux = config.entry("AuxiliaryAddresses").or_insert_with(|| json!({}));
        aux[name] = address.into();
    }
    Ok(json!(configs))
}

/// Whether an address lies in a subnet.
fn contains(subnet: &str, address: &str) -> bool {
    use std::net::IpAddr;
    let Some((network, bits)) = subnet.split_once('/') else { return false };
    let (Ok(network), Ok(address), Ok(bits)) =
        (network.parse::<IpAddr>(), address.parse::<IpAddr>(), bits.parse::<u32>())
    else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

pub(crate) async fn connect(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut endpoint = json!({
        "Links": args.list("link"),
        "Aliases": args.commas("alias"),
        "DriverOpts": env::pairs(args.commas("driver-opt").iter().map(String::as_str)),
        "IPAMConfig": {
            "IPv4Address": args.text("ip"),
            "IPv6Address": args.text("ip6"),
            "LinkLocalIPs": args.commas("link-local-ip"),
        },
    });
    if let Some(priority) = args.number("gw-priority") {
        endpoint["GwPriority"] = priority.into();
    }
    let path = format!("/networks/{}/connect", encode(args.operand(0)));
    cx.client.post(&path, Some(&json!({"Container": args.operand(1), "EndpointConfig": endpoint}))).await?;
    Ok(())
}

pub(crate) async fn disconnect(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let path = format!("/networks/{}/disconnect", encode(args.operand(0)));
    cx.client.post(&path, Some(&json!({"Container": args.operand(1), "Force": args.is("force")}))).await?;
    Ok(())
}

pub(crate) async fn rm(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut failed = false;
    for name in &args.operands {
        match cx.client.delete(&format!("/networks/{}", encode(name))).await {
            Ok(_) => cx.out.line(name),
            Err(failure) if args.is("force") && failure.is_not_found() => {}
            Err(failure) => {
                cx.out.flush()?;
                complain(failure.message);
                failed = true;
            }
        }
    }
    // The docker client's own way of ending here.
    if failed { Err(Failure::say("exit status 1")) } else { Ok(()) }
}
