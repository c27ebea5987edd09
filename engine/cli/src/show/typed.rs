//! What Docker's client knows of the API's types, where a template shows it.
//!
//! `docker inspect --format` fills a template with Go's structs first: a field that the daemon left out
//! is there all the same, and what is nothing prints as nothing of its type: `[]`, `map[]`, `<nil>`. Only
//! where that fails, the JSON itself is tried. JSON has no types, so what has to be known of them is here,
//! by the names of fields.

use serde_json::{Map, Value};

/// A field that may be left out, and what it is then.
#[derive(Clone, Copy, Debug)]
enum Empty {
    Text,
    Flag,
    Number,
    /// Printed by [`nothing`].
    Nothing,
}

use Empty::{Flag, Nothing, Number, Text};

/// Fields in the order of Go's struct: those of a container's `Config`.
const CONFIG: &[(&str, Empty)] = &[
    ("Hostname", Text),
    ("Domainname", Text),
    ("User", Text),
    ("AttachStdin", Flag),
    ("AttachStdout", Flag),
    ("AttachStderr", Flag),
    ("ExposedPorts", Nothing),
    ("Tty", Flag),
    ("OpenStdin", Flag),
    ("StdinOnce", Flag),
    ("Env", Nothing),
    ("Cmd", Nothing),
    ("Healthcheck", Nothing),
    ("ArgsEscaped", Flag),
    ("Image", Text),
    ("Volumes", Nothing),
    ("WorkingDir", Text),
    ("Entrypoint", Nothing),
    ("NetworkDisabled", Flag),
    ("MacAddress", Text),
    ("OnBuild", Nothing),
    ("Labels", Nothing),
    ("StopSignal", Text),
    ("StopTimeout", Nothing),
    ("Shell", Nothing),
];

/// Of an image's `Config`.
const IMAGE_CONFIG: &[(&str, Empty)] = &[
    ("User", Text),
    ("ExposedPorts", Nothing),
    ("Env", Nothing),
    ("Entrypoint", Nothing),
    ("Cmd", Nothing),
    ("Volumes", Nothing),
    ("WorkingDir", Text),
    ("Labels", Nothing),
    ("StopSignal", Text),
    ("ArgsEscaped", Flag),
    ("Healthcheck", Nothing),
    ("OnBuild", Nothing),
    ("Shell", Nothing),
];

const HEALTHCHECK: &[(&str, Empty)] = &[
    ("Test", Nothing),
    ("Interval", Number),
    ("Timeout", Number),
    ("StartPeriod", Number),
    ("StartInterval", Number),
    ("Retries", Number),
];

/// Of a container's `HostConfig`: only those that are left out. They follow the others.
const HOST_CONFIG: &[(&str, Empty)] = &[
    ("Annotations", Nothing),
    ("StorageOpt", Nothing),
    ("Tmpfs", Nothing),
    ("Sysctls", Nothing),
    ("Runtime", Text),
    ("Mounts", Nothing),
    ("Init", Nothing),
];

const MOUNT: &[(&str, Empty)] = &[
    ("Type", Text),
    ("Name", Text),
    ("Source", Text),
    ("Destination", Text),
    ("Driver", Text),
    ("Mode", Text),
    ("RW", Flag),
    ("Propagation", Text),
];

const POOL: &[(&str, Empty)] =
    &[("Subnet", Text), ("IPRange", Text), ("Gateway", Text), ("AuxiliaryAddresses", Nothing)];

/// Names that the client's structs write otherwise than JSON does: with those a template is one for JSON.
const OTHERWISE: [&str; 14] = [
    "Id",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "NanoCpus",
    "CpuShares",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuCount",
    "CpuPercent",
    "HostIp",
    "AuxiliaryAddresses",
];

const MAPS: [&str; 18] = [
    "Annotations",
    "AuxiliaryAddresses",
    "Containers",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Services",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Attributes",
];

const POINTERS: [&str; 17] = [
    "BindOptions",
    "ClusterVolume",
    "DriverConfig",
    "Health",
    "Healthcheck",
    "IPAMConfig",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
    "TmpfsOptions",
    "UsageData",
    "VolumeOptions",
    "Current",
];

const DURATIONS: [&str; 4] = ["Interval", "StartInterval", "StartPeriod", "Timeout"];

/// Whether a field holds a map: any key may be asked for.
pub(super) fn is_map(field: &str) -> bool {
    MAPS.contains(&field)
}

/// Whether a field has another name in the client's structs.
pub(super) fn is_otherwise(field: &str) -> bool {
    OTHERWISE.contains(&field)
}

/// Whether a field's number is a span of time, in nanoseconds.
pub(super) fn is_duration(field: &str) -> bool {
    DURATIONS.contains(&field)
}

/// How a field prints that holds nothing.
pub(super) fn nothing(field: &str) -> &'static str {
    if is_map(field) {
        "map[]"
    } else if POINTERS.contains(&field) {
        "<nil>"
    } else {
        "[]"
    }
}

/// What `inspect` got, with the fields that the daemon left out.
pub(crate) fn completed(kind: &str, mut value: Value) -> Value {
    let Value::Object(thing) = &mut value else { return value };
    match kind {
        "container" => {
            fill(thing, &[("SizeRw", Nothing), ("SizeRootFs", Nothing)]);
            inside(thing, "State", |state| fill(state, &[("Health", Nothing)]));
            inside(thing, "HostConfig", |host| fill(host, HOST_CONFIG));
            inside(thing, "Config", |config| order(config, CONFIG));
            each(thing, "Mounts", |mount| order(mount, MOUNT));
        }
        "image" => inside(thing, "Config", |config| order(config, IMAGE_CONFIG)),
        "network" => {
            fill(thing, &[("Peers", Nothing), ("Services", Nothing)]);
            inside(thing, "IPAM", |ipam| each(ipam, "Config", |pool| order(pool, POOL)));
        }
        "volume" => fill(thing, &[("ClusterVolume", Nothing), ("Status", Nothing), ("UsageData", Nothing)]),
        _ => {}
    }
    inside(thing, "Config", |config| inside(config, "Healthcheck", |check| order(check, HEALTHCHECK)));
    value
}

fn inside(map: &mut Map<String, Value>, name: &str, work: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(Value::Object(inner)) = map.get_mut(name) {
        work(inner);
    }
}

fn each(map: &mut Map<String, Value>, name: &str, work: impl Fn(&mut Map<String, Value>)) {
    if let Some(Value::Array(items)) = map.get_mut(name) {
        items.iter_mut().filter_map(Value::as_object_mut).for_each(work);
    }
}

/// Where an object says which of its fields were left out: JSON leaves them out again. No field has such a name.
pub(super) const LEFT_OUT: &str = "\u{0}left out";

/// Adds the fields that are left out.
fn fill(map: &mut Map<String, Value>, fields: &[(&str, Empty)]) {
    let mut left_out = Vec::new();
    for (name, empty) in fields {
        if !map.contains_key(*name) {
            map.insert((*name).to_owned(), value_of(*empty));
            left_out.push(Value::from(*name));
        }
    }
    if !left_out.is_empty() {
        map.insert(LEFT_OUT.to_owned(), Value::Array(left_out));
    }
}

/// Puts the fields in order, with those that are left out; others come behind.
fn order(map: &mut Map<String, Value>, fields: &[(&str, Empty)]) {
    let mut given = std::mem::take(map);
    let mut left_out = Vec::new();
    for (name, empty) in fields {
        let value = given.remove(*name).unwrap_or_else(|| {
            left_out.push(Value::from(*name));
            value_of(*empty)
        });
        map.insert((*name).to_owned(), value);
    }
    map.extend(given);
    if !left_out.is_empty() {
        map.insert(LEFT_OUT.to_owned(), Value::Array(left_out));
    }
}

/// A value without the fields that [`completed`] added.
pub(super) fn given(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let left_out = map.get(LEFT_OUT).and_then(Value::as_array);
            let is_given = |name: &str| {
                name != LEFT_OUT && !left_out.is_some_and(|names| names.iter().any(|other| other == name))
            };
            let fields = map.iter().filter(|(name, _)| is_given(name));
            Value::Object(fields.map(|(name, value)| (name.clone(), given(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(given).collect()),
        value => value.clone(),
    }
}

fn value_of(empty: Empty) -> Value {
    match empty {
        Text => "".into(),
        Flag => false.into(),
        Number => 0.into(),
        Nothing => Value::Null,
    }
}

/// A span of time as Go writes it: `1h0m0s`, `1.5s`, `20ms`.
pub(super) fn span(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let part = |unit: u64| {
        let (whole, rest) = (all / unit, all % unit);
        let digits = format!("{:09}", rest * (1_000_000_000 / unit));
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() { whole.to_string() } else { format!("{whole}.{digits}") }
    };
    let text = match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{all}ns"),
        1_000..1_000_000 => format!("{}µs", part(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", part(1_000_000)),
        _ => {
            let (seconds, rest) = (all / 1_000_000_000, all % 1_000_000_000);
            let digits = format!("{rest:09}");
            let digits = digits.trim_end_matches('0');
            let tail = if digits.is_empty() { String::new() } else { format!(".{digits}") };
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}{tail}s"),
                (0, _) => format!("{minutes}m{seconds}{tail}s"),
                _ => format!("{hours}h{minutes}m{seconds}{tail}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_go_s() {
        let said =
            [0, 7, 1_500, 20_000_000, 1_500_000_000, 90_000_000_000, 3_600_000_000_000, -2_000_000_000];
        let said = said.map(span);
        assert_eq!(said, ["0s", "7ns", "1.5µs", "20ms", "1.5s", "1m30s", "1h0m0s", "-2s"]);
    }

    #[test]
    fn fields_stand_in_the_order_of_the_struct() {
        let thing = serde_json::json!({"Config": {"Image": "a", "Hostname": "h", "New": 1}});
        let config = completed("container", thing)["Config"].clone();
        let names: Vec<&String> = config.as_object().expect("a map").keys().collect();
        assert_eq!(
            (names.len(), names[0].as_str(), names[14].as_str()),
            (CONFIG.len() + 2, "Hostname", "Image")
        );
        assert_eq!(given(&config), serde_json::json!({"Hostname": "h", "Image": "a", "New": 1}));
        assert_eq!(config["StopSignal"], "");
        assert_eq!(completed("node", serde_json::json!({"Config": {}})), serde_json::json!({"Config": {}}));
    }
}
