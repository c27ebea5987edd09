//! Names of fields in requests, in whatever case they come.
//!
//! Docker's engine is written in Go, whose JSON reads `image` for `Image`; there are
//! clients that rely on that without knowing. Here a request's names are put into the
//! specification's case before it is read. What users name themselves (labels, options,
//! networks, paths) stays as it is.

use serde_json::{Map, Value};

/// Puts the names of an object's fields into the specification's case. A name that stands
/// there in both cases keeps the value of the right one.
pub fn in_case(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let fields = std::mem::take(map);
            let mut misspelt = Map::new();
            for (name, mut value) in fields {
                match known(&name) {
                    Some(right) => {
                        inside(right, &mut value);
                        if right == name {
                            map.insert(name, value)
                        } else {
                            misspelt.insert(right.to_owned(), value)
                        };
                    }
                    None => {
                        in_case(&mut value);
                        map.insert(name, value);
                    }
                }
            }
            for (name, value) in misspelt {
                map.entry(name).or_insert(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(in_case),
        _ => {}
    }
}

/// What is in a field: users' own names are left alone, what belongs to them is not.
fn inside(name: &str, value: &mut Value) {
    match (name, value) {
        ("PortBindings" | "EndpointsConfig", Value::Object(map)) => map.values_mut().for_each(in_case),
        (name, Value::Object(_)) if USERS.contains(&name) => {}
        (_, value) => in_case(value),
    }
}

/// The field that has a list where an object belongs; serde would take the one for the other.
#[must_use]
pub fn with_misplaced_list(value: &Value) -> Option<&str> {
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let misplaced = match value {
                Value::Array(_) if OBJECTS.contains(&name.as_str()) => true,
                Value::Array(list) => list.iter().any(Value::is_array) && !OF_LISTS.contains(&name.as_str()),
                Value::Object(map) if name == "EndpointsConfig" => map.values().any(Value::is_array),
                _ => false,
            };
            if misplaced { Some(name.as_str()) } else { with_misplaced_list(value) }
        }),
        Value::Array(list) => list.iter().find_map(with_misplaced_list),
        _ => None,
    }
}

/// Fields that are one object each.
const OBJECTS: [&str; 13] = [
    "BindOptions",
    "DriverConfig",
    "EndpointConfig",
    "Healthcheck",
    "HostConfig",
    "IPAM",
    "IPAMConfig",
    "ImageOptions",
    "LogConfig",
    "NetworkingConfig",
    "RestartPolicy",
    "TmpfsOptions",
    "VolumeOptions",
];

/// Fields that are lists of lists: a tmpfs's options, and what a device request is for.
const OF_LISTS: [&str; 2] = ["Options", "Capabilities"];

fn known(name: &str) -> Option<&'static str> {
    FIELDS.iter().find(|field| field.eq_ignore_ascii_case(name)).copied()
}

/// Fields that are maps from what users name.
const USERS: [&str; 12] = [
    "Annotations",
    "AuxiliaryAddresses",
    "Config",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Options",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Env",
];

#[rustfmt::skip]
const FIELDS: &[&str] = &[
    // ContainerConfig
    "ArgsEscaped", "AttachStderr", "AttachStdin", "AttachStdout", "Cmd", "Domainname", "Entrypoint", "Env",
    "ExposedPorts", "Healthcheck", "Hostname", "Image", "Labels", "MacAddress", "NetworkDisabled", "OnBuild",
    "OpenStdin", "Shell", "StdinOnce", "StopSignal", "StopTimeout", "Tty", "User", "Volumes", "WorkingDir",
    "HostConfig", "NetworkingConfig", "EndpointsConfig",
    // HealthConfig
    "Interval", "Retries", "StartInterval", "StartPeriod", "Test", "Timeout",
    // HostConfig
    "Annotations", "AutoRemove", "Binds", "CapAdd", "CapDrop", "Cgroup", "CgroupnsMode", "ConsoleSize",
    "ContainerIDFile", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Init", "IpcMode", "Isolation",
    "Links", "LogConfig", "MaskedPaths", "Mounts", "NetworkMode", "OomScoreAdj", "PidMode", "PortBindings",
    "Privileged", "PublishAllPorts", "ReadonlyPaths", "ReadonlyRootfs", "RestartPolicy", "Runtime", "SecurityOpt",
    "ShmSize", "StorageOpt", "Sysctls", "Tmpfs", "UTSMode", "UsernsMode", "VolumeDriver", "VolumesFrom",
    "HostIp", "HostPort", "MaximumRetryCount", "Name", "Type", "Config",
    // Resources
    "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps", "BlkioWeight",
    "BlkioWeightDevice", "CgroupParent", "CpuCount", "CpuPercent", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod",
    "CpuRealtimeRuntime", "CpuShares", "CpusetCpus", "CpusetMems", "DeviceCgroupRules", "DeviceRequests", "Devices",
    "IOMaximumBandwidth", "IOMaximumIOps", "Memory", "MemoryReservation", "MemorySwap", "MemorySwappiness",
    "NanoCpus", "OomKillDisable", "PidsLimit", "Ulimits", "Path", "Rate", "Weight", "PathOnHost",
    "PathInContainer", "CgroupPermissions", "Hard", "Soft",
    // Mount
    "BindOptions", "Consistency", "CreateMountpoint", "DriverConfig", "ImageOptions", "Mode", "NoCopy", "NonRecursive", "Options",
    "Propagation", "ReadOnly", "ReadOnlyForceRecursive", "ReadOnlyNonRecursive", "SizeBytes", "Source", "Subpath",
    "Target", "TmpfsOptions", "VolumeOptions",
    // EndpointSettings, networks, volumes
    "Aliases", "DriverOpts", "GwPriority", "IPAMConfig", "IPv4Address", "IPv6Address", "LinkLocalIPs", "Attachable",
    "AuxiliaryAddresses", "ConfigOnly", "Container", "Driver", "EnableIPv4", "EnableIPv6", "EndpointConfig", "Force",
    "Gateway", "IPAM", "IPRange", "Ingress", "Internal", "Scope", "Subnet",
    // exec
    "Detach", "DetachKeys",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_no_object() {
        for (field, value) in [
            ("HostConfig", json!({ "HostConfig": [] })),
            ("Devices", json!({ "HostConfig": { "Devices": [[]] } })),
            ("80/tcp", json!({ "HostConfig": { "PortBindings": { "80/tcp": [["127.0.0.1", "80"]] } } })),
            ("EndpointsConfig", json!({ "NetworkingConfig": { "EndpointsConfig": { "net": [] } } })),
            ("BindOptions", json!({ "HostConfig": { "Mounts": [{ "BindOptions": ["rprivate"] }] } })),
        ] {
            assert_eq!(with_misplaced_list(&value), Some(field), "{value}");
        }
        let fine = json!({
            "Cmd": ["a"], "Volumes": {},
            "HostConfig": {
                "Devices": [{}], "DeviceRequests": [{ "Capabilities": [["gpu"]] }], "PortBindings": { "80/tcp": [{}] },
                "Mounts": [{ "TmpfsOptions": { "Options": [["exec"]] } }],
            },
        });
        assert_eq!(with_misplaced_list(&fine), None);
    }

    #[test]
    fn names_come_in_any_case_but_users_names_stay() {
        let mut value = json!({
            "image": "a", "IMAGE": "b", "Image": "c", "labels": {"image": "x"},
            "hostConfig": {"portbindings": {"80/tcp": [{"hostport": "1"}]}, "logConfig": {"type": "t", "config": {"type": "x"}}},
            "networkingConfig": {"endpointsConfig": {"name": {"ipamconfig": {"ipv4address": "1"}}}},
            "ipam": {"config": [{"subnet": "s"}]},
        });
        in_case(&mut value);
        assert_eq!(
            value,
            json!({
                "Image": "c", "Labels": {"image": "x"},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "1"}]}, "LogConfig": {"Type": "t", "Config": {"type": "x"}}},
                "NetworkingConfig": {"EndpointsConfig": {"name": {"IPAMConfig": {"IPv4Address": "1"}}}},
                "IPAM": {"Config": [{"Subnet": "s"}]},
            })
        );
    }
}
