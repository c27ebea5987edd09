//! Methods of the API's types in Go, which templates call as if they were fields:
//! `{{.HostConfig.NetworkMode.IsHost}}`. They take no arguments, and say what a text means.

use serde_json::Value;

/// What the method of that name says of a value in that field; none if the field's type has no such
/// method.
pub(crate) fn call(field: &str, value: &Value, method: &str) -> Option<Value> {
    if field == "RestartPolicy" {
        let name = value.get("Name").and_then(Value::as_str).unwrap_or_default();
        return restart(name, method).map(Value::from);
    }
    let mode = value.as_str()?;
    let container = mode.strip_prefix("container:");
    let (host, none) = (mode == "host", mode == "none");
    let network = !matches!(mode, "default" | "bridge" | "host" | "none") && container.is_none();
    Some(match (field, method) {
        ("NetworkMode" | "IpcMode" | "PidMode" | "UTSMode" | "UsernsMode" | "CgroupnsMode", "IsHost") => {
            host.into()
        }
        ("NetworkMode" | "IpcMode" | "PidMode" | "Cgroup", "IsContainer") => container.is_some().into(),
        ("NetworkMode", "ConnectedContainer") | ("IpcMode" | "PidMode" | "Cgroup", "Container") => {
            container.unwrap_or_default().into()
        }
        ("NetworkMode" | "IpcMode", "IsNone") => none.into(),
        ("NetworkMode" | "PidMode", "IsPrivate") => (!host && container.is_none()).into(),
        ("UTSMode" | "UsernsMode", "IsPrivate") => (!host).into(),
        ("IpcMode" | "CgroupnsMode", "IsPrivate") => (mode == "private").into(),
        ("IpcMode" | "CgroupnsMode", "IsEmpty") => mode.is_empty().into(),
        ("IpcMode", "IsShareable") => (mode == "shareable").into(),
        ("NetworkMode", "IsDefault") => (mode == "default").into(),
        ("NetworkMode", "IsBridge") => (mode == "bridge").into(),
        ("NetworkMode", "IsUserDefined") => network.into(),
        ("NetworkMode", "UserDefined") => if network { mode } else { "" }.into(),
        ("NetworkMode", "NetworkName") => if container.is_some() { "container" } else { mode }.into(),
        ("IpcMode", "Valid") => {
            let known = matches!(mode, "" | "none" | "private" | "shareable" | "host");
            (known || container.is_some_and(|name| !name.is_empty())).into()
        }
        ("PidMode", "Valid") => {
            (matches!(mode, "" | "host") || container.is_some_and(|name| !name.is_empty())).into()
        }
        ("UTSMode" | "UsernsMode", "Valid") => matches!(mode, "" | "host").into(),
        ("CgroupnsMode", "Valid") => matches!(mode, "" | "private" | "host").into(),
        ("Cgroup", "Valid") => (mode.is_empty() || container.is_some()).into(),
        ("Isolation", "IsDefault") => (mode.is_empty() || mode.eq_ignore_ascii_case("default")).into(),
        ("Isolation", "IsHyperV") => mode.eq_ignore_ascii_case("hyperv").into(),
        ("Isolation", "IsProcess") => mode.eq_ignore_ascii_case("process").into(),
        _ => return None,
    })
}

fn restart(name: &str, method: &str) -> Option<bool> {
    Some(match method {
        "IsNone" => matches!(name, "" | "no"),
        "IsAlways" => name == "always",
        "IsOnFailure" => name == "on-failure",
        "IsUnlessStopped" => name == "unless-stopped",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn modes_say_what_they_mean() {
        let said = |field: &str, mode: &str, method: &str| {
            call(field, &json!(mode), method).map(|value| value.to_string()).unwrap_or_default()
        };
        for (field, mode, method, expected) in [
            ("NetworkMode", "host", "IsHost", "true"),
            ("NetworkMode", "bridge", "IsHost", "false"),
            ("NetworkMode", "bridge", "IsPrivate", "true"),
            ("NetworkMode", "mynet", "IsUserDefined", "true"),
            ("NetworkMode", "mynet", "UserDefined", "\"mynet\""),
            ("NetworkMode", "bridge", "UserDefined", "\"\""),
            ("NetworkMode", "container:otter", "ConnectedContainer", "\"otter\""),
            ("NetworkMode", "container:otter", "NetworkName", "\"container\""),
            ("IpcMode", "shareable", "IsPrivate", "false"),
            ("IpcMode", "container:", "Valid", "false"),
            ("PidMode", "", "IsPrivate", "true"),
            ("PidMode", "container:a", "Container", "\"a\""),
            ("UTSMode", "", "Valid", "true"),
            ("CgroupnsMode", "private", "IsPrivate", "true"),
            ("Isolation", "", "IsDefault", "true"),
            ("NetworkMode", "host", "IsShareable", ""),
            ("Image", "host", "IsHost", ""),
        ] {
            assert_eq!(said(field, mode, method), expected, "{field} {mode} {method}");
        }
        let policy = json!({"Name": "on-failure", "MaximumRetryCount": 3});
        assert_eq!(call("RestartPolicy", &policy, "IsOnFailure"), Some(true.into()));
        assert_eq!(call("RestartPolicy", &policy, "IsNone"), Some(false.into()));
        assert_eq!(call("RestartPolicy", &policy, "Nope"), None);
    }
}
