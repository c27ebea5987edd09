//! Limits and devices, of `run`, `create` and `update`.

use serde_json::{Map, Value, json};

use crate::words::Args;
use crate::words::check;

/// Adds limits and devices to a host configuration.
pub(crate) fn add(args: &Args, host: &mut Value) -> Result<(), String> {
    limits(args, host)?;
    host["CgroupParent"] = args.text("cgroup-parent").into();
    host["BlkioWeightDevice"] = throttle(args, "blkio-weight-device", "Weight", check::int)?;
    host["BlkioDeviceReadBps"] = throttle(args, "device-read-bps", "Rate", check::bytes)?;
    host["BlkioDeviceWriteBps"] = throttle(args, "device-write-bps", "Rate", check::bytes)?;
    host["BlkioDeviceReadIOps"] = throttle(args, "device-read-iops", "Rate", check::int)?;
    host["BlkioDeviceWriteIOps"] = throttle(args, "device-write-iops", "Rate", check::int)?;
    host["Devices"] = args.all("device").map(device).collect::<Result<Vec<_>, _>>()?.into();
    host["DeviceCgroupRules"] = super::config::or_null(args.list("device-cgroup-rule"));
    host["DeviceRequests"] = gpus(args);
    let ulimits: Result<Vec<Value>, String> = args
        .all("ulimit")
        .map(|text| {
            check::ulimit(text).map(|(name, soft, hard)| json!({"Name": name, "Soft": soft, "Hard": hard}))
        })
        .collect();
    host["Ulimits"] = ulimits?.into();
    if args.changed("oom-kill-disable") {
        host["OomKillDisable"] = args.is("oom-kill-disable").into();
    }
    if let Some(swappiness) = args.number("memory-swappiness").filter(|value| *value != -1) {
        if !(0..=100).contains(&swappiness) {
            return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
        }
        host["MemorySwappiness"] = swappiness.into();
    }
    Ok(())
}

/// The limits that `update` may change too.
pub(crate) fn limits(args: &Args, host: &mut Value) -> Result<(), String> {
    let sizes = [
        ("memory", "Memory"),
        ("memory-reservation", "MemoryReservation"),
        ("memory-swap", "MemorySwap"),
        ("kernel-memory", "KernelMemory"),
    ];
    for (flag, name) in sizes {
        if let Some(bytes) = args.bytes(flag) {
            host[name] = bytes.into();
        }
    }
    let numbers = [
        ("blkio-weight", "BlkioWeight"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("cpu-shares", "CpuShares"),
        ("pids-limit", "PidsLimit"),
    ];
    for (flag, name) in numbers {
        if let Some(number) = args.number(flag) {
            host[name] = number.into();
        }
    }
    for (flag, name) in [("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems")] {
        if args.changed(flag) {
            host[name] = args.text(flag).into();
        }
    }
    if let Some(cpus) = args.last("cpus").and_then(check::decimal) {
        host["NanoCpus"] = cpus.into();
    }
    Ok(())
}

fn throttle(
    args: &Args,
    flag: &str,
    field: &str,
    read: impl Fn(&str) -> Option<i64>,
) -> Result<Value, String> {
    let mut list = Vec::new();
    for text in args.all(flag) {
        let (path, number) = rate(text, &read)?;
        let mut entry = Map::new();
        entry.insert("Path".to_owned(), path.into());
        entry.insert(field.to_owned(), number.into());
        list.push(Value::Object(entry));
    }
    Ok(list.into())
}

/// `/dev/sda:1mb` as the device and the number.
pub(crate) fn rate(text: &str, read: impl Fn(&str) -> Option<i64>) -> Result<(&str, i64), String> {
    let Some((path, value)) = text.split_once(':') else { return Err(format!("bad format: {text}")) };
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    let number = read(value).filter(|number| *number >= 0).ok_or_else(|| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer")
    })?;
    Ok((path, number))
}

/// A complaint about a rate of bytes, which may have units.
pub(crate) fn with_units(reason: &str) -> String {
    if reason.ends_with("positive integer") {
        format!("{reason}. Unit is optional and can be kb, mb, or gb")
    } else {
        reason.to_owned()
    }
}

/// `/dev/sda[:/dev/xvda][:rwm]`.
fn device(text: &str) -> Result<Value, String> {
    let is_mode =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'r' | b'w' | b'm'));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, mode] if is_mode(mode) => (*source, *source, *mode),
        [source, target] => (*source, *target, "rwm"),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path"));
    }
    if !is_mode(mode) {
        return Err(format!("bad mode specified: {mode}"));
    }
    Ok(json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}))
}

fn gpus(args: &Args) -> Value {
    let requests: Vec<Value> = args
        .all("gpus")
        .map(|text| {
            let mut request = json!({"Driver": "", "Count": 0, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}});
            for field in text.split(',') {
                match field.split_once('=').unwrap_or(("count", field)) {
                    ("count", "all") => request["Count"] = (-1).into(),
                    ("count", count) => request["Count"] = count.parse::<i64>().unwrap_or(0).into(),
                    ("driver", driver) => request["Driver"] = driver.into(),
                    ("device", ids) => request["DeviceIDs"] = json!([ids]),
                    ("capabilities", names) => request["Capabilities"] = json!([[names, "gpu"]]),
                    _ => {}
                }
            }
            request
        })
        .collect();
    if requests.is_empty() { Value::Null } else { requests.into() }
}
