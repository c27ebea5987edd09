//! What strace(1) wrote, and the same out of a trace's events.

use serde_json::Value;

use crate::Tally;

/// Completed system calls, in order.
pub(crate) struct Syscalls(Vec<String>);

impl Syscalls {
    /// Reads a log of `strace -f -o`, from the line `mark` on. Calls that were
    /// interrupted by another process's line are put together again.
    pub(crate) fn read(log: &str, mark: usize) -> Self {
        let mut begun: std::collections::HashMap<&str, String> = std::collections::HashMap::new();
        let mut calls = Vec::new();
        for line in log.lines().skip(mark) {
            let Some((pid, rest)) = line.split_once(char::is_whitespace) else { continue };
            let rest = rest.trim_start();
            if let Some(head) = rest.strip_suffix("<unfinished ...>") {
                begun.insert(pid, head.to_owned());
            } else if let Some((_, tail)) = rest.split_once(" resumed>") {
                calls.push(begun.remove(pid).unwrap_or_default() + tail);
            } else {
                calls.push(rest.to_owned());
            }
        }
        Self(calls)
    }

    /// How often each act succeeded that a trace must tell.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::new();
        for call in &self.0 {
            if let Some(act) = act(call) {
                *tally.entry(act).or_default() += 1;
            }
        }
        tally
    }
}

/// The act that a successful system call is, if a trace tells of its kind.
fn act(call: &str) -> Option<String> {
    let (name, rest) = call.split_once('(')?;
    let result = call.rsplit_once(" = ")?.1;
    if result.starts_with('-') {
        return None;
    }
    match name {
        "move_mount" | "mount" => Some("attach".to_owned()),
        "umount2" => Some("detach".to_owned()),
        "pivot_root" => Some("pivot".to_owned()),
        "mount_setattr" if rest.contains("propagation=MS_") => Some("propagation".to_owned()),
        "sethostname" => Some("hostname".to_owned()),
        "mknodat" | "mknod" => Some("device".to_owned()),
        "seccomp" if rest.starts_with("SECCOMP_SET_MODE_FILTER") => Some("seccomp".to_owned()),
        "clone3" | "clone" | "unshare" => namespaces(rest).map(|set| format!("create {set}")),
        "setns" => namespaces(rest).map(|set| format!("join {set}")),
        _ => None,
    }
}

/// `CLONE_NEWNS|CLONE_NEWPID` as the trace names them: `mount pid`.
fn namespaces(arguments: &str) -> Option<String> {
    const NAMES: &[(&str, &str)] = &[
        ("CLONE_NEWCGROUP", "cgroup"),
        ("CLONE_NEWIPC", "ipc"),
        ("CLONE_NEWNS", "mount"),
        ("CLONE_NEWNET", "network"),
        ("CLONE_NEWPID", "pid"),
        ("CLONE_NEWUSER", "user"),
        ("CLONE_NEWUTS", "uts"),
    ];
    let found: Vec<&str> =
        NAMES.iter().filter(|(flag, _)| arguments.contains(flag)).map(|(_, name)| *name).collect();
    (!found.is_empty()).then(|| found.join(" "))
}

/// The same acts out of a trace: what ended with success.
pub(crate) fn told(events: &[Value]) -> Tally {
    let mut tally = Tally::new();
    for event in events {
        if event["phase"] != "end" || event["result"]["ok"] != true {
            continue;
        }
        let fields = &event["fields"];
        let set = || {
            let mut names: Vec<&str> =
                fields["namespaces"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            names.sort_unstable();
            names.join(" ")
        };
        let act = match event["kind"].as_str().unwrap_or_default() {
            "mount.attach" => "attach".to_owned(),
            "mount.detach" => "detach".to_owned(),
            "rootfs.pivot" => "pivot".to_owned(),
            "mount.propagation" => "propagation".to_owned(),
            "hostname.set" => "hostname".to_owned(),
            "device.create" if fields["device"].is_string() => "device".to_owned(),
            "seccomp.load" => "seccomp".to_owned(),
            "namespace.create" => format!("create {}", set()),
            "namespace.join" => format!("join {}", set()),
            _ => continue,
        };
        *tally.entry(act).or_default() += 1;
    }
    tally
}
