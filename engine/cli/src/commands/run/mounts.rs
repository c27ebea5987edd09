//! `--mount`, `-v` and `--tmpfs`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::env;
use crate::words::Args;
use crate::words::check;

/// Every `--mount`.
pub(crate) fn mounts(args: &Args) -> Result<Vec<Value>, String> {
    args.all("mount").map(parse).collect()
}

/// `type=bind,source=/a,target=/b,readonly` as the API has it.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut mount = Map::new();
    mount.insert("Type".to_owned(), "volume".into());
    let mut bind = Map::new();
    let mut volume = Map::new();
    let mut labels = Vec::new();
    let mut options = Vec::new();
    let mut image = Map::new();
    let mut tmpfs = Map::new();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let lower = key.trim().to_lowercase();
        let flag = |value: Option<&str>| match value {
            None => Ok(true),
            Some(value) => check::boolean(value).ok_or_else(|| format!("invalid value for {key}: {value}")),
        };
        match (lower.as_str(), value) {
            ("readonly" | "ro", value) => {
                mount.insert("ReadOnly".to_owned(), flag(value)?.into());
            }
            ("volume-nocopy", value) => {
                volume.insert("NoCopy".to_owned(), flag(value)?.into());
            }
            ("bind-nonrecursive", value) => {
                bind.insert("NonRecursive".to_owned(), flag(value)?.into());
            }
            (_, None) => return Err(format!("invalid field '{field}' must be a key=value pair")),
            ("type", Some(value)) => {
                mount.insert("Type".to_owned(), value.to_lowercase().into());
            }
            ("source" | "src", Some(value)) => {
                mount.insert("Source".to_owned(), source(value).into());
            }
            ("target" | "dst" | "destination", Some(value)) => {
                mount.insert("Target".to_owned(), value.into());
            }
            ("consistency", Some(value)) => {
                mount.insert("Consistency".to_owned(), value.to_lowercase().into());
            }
            ("bind-propagation", Some(value)) => {
                bind.insert("Propagation".to_owned(), value.to_lowercase().into());
            }
            ("bind-recursive", Some(value)) => match value {
                "enabled" => {}
                "disabled" => {
                    bind.insert("NonRecursive".to_owned(), true.into());
                }
                "writable" => {
                    bind.insert("ReadOnlyNonRecursive".to_owned(), true.into());
                }
                "readonly" => {
                    bind.insert("ReadOnlyForceRecursive".to_owned(), true.into());
                }
                _ => {
                    return Err(format!(
                        "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            ("volume-subpath", Some(value)) => {
                volume.insert("Subpath".to_owned(), value.into());
            }
            ("image-subpath", Some(value)) => {
                image.insert("Subpath".to_owned(), value.into());
            }
            ("volume-label", Some(value)) => labels.push(value),
            ("volume-driver", Some(value)) => {
                volume.insert("DriverConfig".to_owned(), json!({"Name": value}));
            }
            ("volume-opt", Some(value)) => options.push(value),
            ("tmpfs-size", Some(value)) => {
                let size = check::bytes(value).ok_or_else(|| format!("invalid value for {key}: {value}"))?;
                tmpfs.insert("SizeBytes".to_owned(), size.into());
            }
            ("tmpfs-mode", Some(value)) => {
                let mode =
                    u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
                tmpfs.insert("Mode".to_owned(), mode.into());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !labels.is_empty() {
        volume.insert("Labels".to_owned(), env::pairs(labels.into_iter()));
    }
    if !options.is_empty() {
        let driver = volume.entry("DriverConfig").or_insert_with(|| json!({}));
        driver["Options"] = env::pairs(options.into_iter());
    }
    finish(
        mount,
        [
            ("bind", "BindOptions", bind),
            ("volume", "VolumeOptions", volume),
            ("image", "ImageOptions", image),
            ("tmpfs", "TmpfsOptions", tmpfs),
        ],
    )
}

/// Puts the parts together, and says what does not go together.
fn finish(
    mut mount: Map<String, Value>,
    parts: [(&str, &str, Map<String, Value>); 4],
) -> Result<Value, String> {
    let kind = mount.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.get("Target").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("target is required".to_owned());
    }
    for (of, field, options) in parts {
        if options.is_empty() {
            continue;
        }
        if kind != of {
            return Err(format!("cannot mix '{of}-*' options with mount type '{kind}'"));
        }
        mount.insert(field.to_owned(), Value::Object(options));
    }
    Ok(Value::Object(mount))
}

/// A source that begins with a dot is a path from here.
fn source(text: &str) -> String {
    if text.starts_with('.') { absolute(text) } else { text.to_owned() }
}

fn absolute(path: &str) -> String {
    let Ok(here) = std::env::current_dir() else { return path.to_owned() };
    let mut whole = here;
    for part in Path::new(path).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole.to_string_lossy().into_owned()
}

/// `-v`: the anonymous volumes and the binds.
pub(crate) fn volumes(args: &Args) -> Result<(Value, Vec<String>), String> {
    let mut anonymous = Map::new();
    let mut binds: Vec<String> = Vec::new();
    for volume in args.all("volume") {
        if volume.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        match parts(volume)? {
            None => {
                anonymous.insert(volume.to_owned(), json!({}));
            }
            Some((host, rest)) if host.starts_with('.') => binds.push(format!("{}:{rest}", absolute(host))),
            Some(("~", rest)) => binds.push(format!("~:{rest}")),
            Some(_) => binds.push(volume.to_owned()),
        }
    }
    Ok((Value::Object(anonymous), binds))
}

/// A volume's source and the rest; no source if it is anonymous.
fn parts(volume: &str) -> Result<Option<(&str, &str)>, String> {
    // Docker's client takes anything so short for a place, as `c:` is one on Windows; a letter before a colon for a drive.
    if volume.chars().count() <= 2 {
        return Ok(None);
    }
    let mut sections = vec![String::new()];
    for character in volume.chars() {
        let place = sections.len();
        let Some(section) = sections.last_mut() else { continue };
        let drive = section.chars().count() == 1 && section.chars().all(char::is_alphabetic);
        if character != ':' || drive {
            section.push(character);
        } else if section.is_empty() {
            return Err(format!("invalid spec: {volume}: empty section between colons"));
        } else if place > 2 {
            return Err(format!("invalid spec: {volume}: too many colons"));
        } else {
            sections.push(String::new());
        }
    }
    if sections.last().is_some_and(String::is_empty) {
        return Err(format!("invalid spec: {volume}: empty section between colons"));
    }
    Ok(if sections.len() > 1 { volume.split_once(':') } else { None })
}

/// `--tmpfs /run:size=64k` as `{"/run": "size=64k"}`.
pub(crate) fn tmpfs(args: &Args) -> Value {
    let pairs = args.all("tmpfs").map(|given| given.split_once(':').unwrap_or((given, "")));
    Value::Object(pairs.map(|(path, options)| (path.to_owned(), options.into())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn volumes_have_sections() {
        for anonymous in [":x", "x:", "/x", "/data"] {
            assert_eq!(super::parts(anonymous), Ok(None), "{anonymous}");
        }
        assert_eq!(super::parts("/a:/b:ro"), Ok(Some(("/a", "/b:ro"))));
        assert_eq!(super::parts("a::b"), Ok(Some(("a", ":b"))), "the engine says what is wrong");
        for (wrong, words) in [
            (":/x", "empty section between colons"),
            ("/a:", "empty section between colons"),
            ("/a::/b", "empty section between colons"),
            ("/a:/b:ro:x", "too many colons"),
        ] {
            assert_eq!(super::parts(wrong), Err(format!("invalid spec: {wrong}: {words}")));
        }
    }

    #[test]
    fn mounts_are_the_api_s() {
        assert_eq!(
            super::parse("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave"),
            Ok(
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true, "BindOptions": {"Propagation": "rslave"}})
            )
        );
        assert_eq!(
            super::parse("type=image,source=busybox,target=/x,image-subpath=bin"),
            Ok(
                json!({"Type": "image", "Source": "busybox", "Target": "/x", "ImageOptions": {"Subpath": "bin"}})
            )
        );
        assert_eq!(
            super::parse("type=volume,target=/x,image-subpath=bin"),
            Err("cannot mix 'image-*' options with mount type 'volume'".to_owned())
        );
        assert_eq!(super::parse("type=tmpfs"), Err("target is required".to_owned()));
        assert_eq!(super::parse("foo"), Err("invalid field 'foo' must be a key=value pair".to_owned()));
        assert_eq!(super::parse("foo=1,target=/x"), Err("unexpected key 'foo' in 'foo=1'".to_owned()));
    }
}
