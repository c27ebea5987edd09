//! Devices of the host that a container may use, beyond `/dev/null` and its kin
//! (which the runtime gives to every container).

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use glassdock_runtime::oci::{Device, DeviceRule};

use super::model::HostConfig;
use super::resources::numbers;
use crate::error::{Error, in_dockers_words};

/// So many devices are found below `/dev` at most.
const LIMIT: usize = 4096;

/// And so many folders and files are looked at: who names `/` gets an answer all the same.
const LOOKED_AT: usize = 65_536;

/// The device nodes that a container gets, and the list of what it may use.
///
/// # Errors
///
/// Invalid, for a rule that makes no sense; internal, as in Docker, for a device that isn't there.
pub fn of(host: &HostConfig) -> Result<(Vec<Device>, Vec<DeviceRule>), Error> {
    if host.privileged {
        let all = DeviceRule { allow: true, access: Some("rwm".to_owned()), ..DeviceRule::default() };
        return Ok((all_of_host(), vec![all]));
    }
    let deny = DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() };
    let mut rules = vec![deny];
    rules.extend(usual());
    let mut nodes = Vec::new();
    for mapping in &host.resources.devices {
        let path = Path::new(&mapping.path_on_host);
        let target = if mapping.path_in_container.is_empty() {
            &mapping.path_on_host
        } else {
            &mapping.path_in_container
        };
        let found = below(path, Path::new(target))
            .map_err(|error| gathering(path, &in_dockers_words(&error.to_string())))?;
        if found.is_empty() {
            return Err(gathering(path, "not a device node"));
        }
        let access = if mapping.cgroup_permissions.is_empty() { "rwm" } else { &mapping.cgroup_permissions };
        rules.extend(found.iter().map(|node| rule(&node.kind, Some(node.major), Some(node.minor), access)));
        nodes.extend(found);
    }
    for text in host.resources.device_cgroup_rules.iter().flatten() {
        rules.push(parse_rule(text)?);
    }
    Ok((nodes, rules))
}

fn gathering(path: &Path, reason: &str) -> Error {
    Error::internal(format!(
        "error gathering device information while adding custom device \"{}\": {reason}",
        path.display()
    ))
}

/// What every container may use: making nodes, and the usual devices.
fn usual() -> Vec<DeviceRule> {
    let mut rules = vec![rule("c", None, None, "m"), rule("b", None, None, "m")];
    // null, zero, full, random, urandom, tty, console, ptmx, and the container's terminals.
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push(rule("c", Some(major), Some(minor), "rwm"));
    }
    rules.push(rule("c", Some(136), None, "rwm"));
    rules
}

fn rule(kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow: true, kind: Some(kind.to_owned()), major, minor, access: Some(access.to_owned()) }
}

/// Reads a rule such as `c 13:* rwm`.
fn parse_rule(text: &str) -> Result<DeviceRule, Error> {
    let invalid = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind @ ("a" | "b" | "c"), pair, access] = words.as_slice() else { return Err(invalid()) };
    let (major, minor) = pair.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse::<u32>().map(|number| Some(i64::from(number))).map_err(|_| invalid()),
    };
    if access.is_empty() || !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        return Err(invalid());
    }
    Ok(rule(kind, number(major)?, number(minor)?, access))
}

/// The device at `path`, or all devices below it, as they appear below `target`.
fn below(path: &Path, target: &Path) -> std::io::Result<Vec<Device>> {
    search(path, target, LOOKED_AT)
}

fn search(path: &Path, target: &Path, most: usize) -> std::io::Result<Vec<Device>> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut looked_at = 0;
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        folders.push((path.to_owned(), target.to_owned()));
    } else if let Some(device) = node(target, &metadata) {
        found.push(device);
    }
    while let Some((folder, target)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It was there a moment ago.
            Err(_) if folder != path => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            looked_at += 1;
            if looked_at > most {
                return Err(std::io::Error::other("too many files below it: name the devices themselves"));
            }
            // What comes and goes (and links, which may lead anywhere) is left out.
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            let place = target.join(entry.file_name());
            if metadata.is_dir()
                && !matches!(entry.file_name().to_str(), Some("pts" | "shm" | "fd" | "mqueue"))
            {
                folders.push((entry.path(), place));
            } else if let Some(device) = node(&place, &metadata) {
                found.push(device);
            }
            if found.len() >= LIMIT {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn node(path: &Path, metadata: &fs::Metadata) -> Option<Device> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let (major, minor) = numbers(metadata.rdev());
    Some(Device {
        kind: kind.to_owned(),
        path: path.to_string_lossy().into_owned(),
        major,
        minor,
        file_mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    })
}

/// All devices of the host, for a privileged container; the terminals are its own.
fn all_of_host() -> Vec<Device> {
    let mut devices = below(Path::new("/dev"), Path::new("/dev")).unwrap_or_default();
    devices.retain(|device| !matches!(device.path.as_str(), "/dev/console" | "/dev/ptmx" | "/dev/tty"));
    devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::model::DeviceMapping;

    #[test]
    fn rules_have_a_grammar() {
        let rule = parse_rule("c 13:* rwm").expect("a rule");
        assert_eq!((rule.major, rule.minor), (Some(13), None));
        for wrong in ["", "c", "x 1:1 r", "c 1 r", "c 1:1 x", "c -1:1 r", "c 1:1 r r"] {
            assert!(parse_rule(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_search_has_an_end() {
        let etc = Path::new("/etc");
        let words = search(etc, etc, 1).expect_err("more than one").to_string();
        assert!(words.contains("too many files below it"), "{words}");
        assert!(search(etc, etc, LOOKED_AT).expect("a folder").is_empty());
    }

    #[test]
    fn a_device_of_the_host_is_described() {
        let mut host = HostConfig::default();
        let mapping = |path: &str| DeviceMapping { path_on_host: path.into(), ..Default::default() };
        host.resources.devices = vec![mapping("/dev/null")].into();
        let (nodes, rules) = of(&host).expect("/dev/null");
        assert_eq!(nodes.iter().map(|node| (node.major, node.minor)).collect::<Vec<_>>(), [(1, 3)]);
        assert!(!rules.first().expect("a rule").allow, "what is not listed is denied");
        for wrong in ["/dev/nothing-here", "/etc/passwd"] {
            host.resources.devices = vec![mapping(wrong)].into();
            assert!(of(&host).is_err(), "{wrong}");
        }
    }
}
