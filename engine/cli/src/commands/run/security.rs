//! `--security-opt`: a seccomp profile is read here, since the daemon may not see the file.

use std::fs;

use serde_json::{Value, json};

use crate::failure::os_text;
use crate::words::Args;
use crate::words::check::quote;

/// Adds security options to a host configuration.
pub(crate) fn add(args: &Args, host: &mut Value) -> Result<(), String> {
    let mut options = Vec::new();
    for option in args.all("security-opt") {
        if option == "systempaths=unconfined" {
            // Nothing masked, nothing read-only.
            host["MaskedPaths"] = json!([]);
            host["ReadonlyPaths"] = json!([]);
            continue;
        }
        if option == "writable-cgroups" || option == "no-new-privileges" {
            options.push(option.to_owned());
            continue;
        }
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        let Some((name, value)) = split else {
            return Err(format!("Invalid --security-opt: {}", quote(option)));
        };
        if name == "seccomp" && !matches!(value, "unconfined" | "builtin") {
            options.push(format!("seccomp={}", profile(value)?));
        } else {
            options.push(option.to_owned());
        }
    }
    host["SecurityOpt"] = if options.is_empty() { Value::Null } else { json!(options) };
    Ok(())
}

fn profile(path: &str) -> Result<String, String> {
    let text = fs::read(path).map_err(|error| {
        format!("opening seccomp profile ({path}) failed: open {path}: {}", os_text(&error))
    })?;
    let profile: Value = serde_json::from_slice(&text)
        .map_err(|error| format!("compacting json for seccomp profile ({path}) failed: {error}"))?;
    Ok(profile.to_string())
}

/// `--cap-add` and `--cap-drop` in their whole names, sorted. What is added and
/// dropped is added; `ALL` stands for every other.
pub(crate) fn capabilities(args: &Args) -> (Vec<String>, Vec<String>) {
    let names = |flag: &str| -> Vec<String> {
        let mut names: Vec<String> = args
            .all(flag)
            .map(|name| match name.trim().to_uppercase() {
                name if name == "ALL" || name.starts_with("CAP_") => name,
                name => format!("CAP_{name}"),
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.iter().any(|name| name == "ALL") { vec!["ALL".to_owned()] } else { names }
    };
    let added = names("cap-add");
    let dropped = names("cap-drop").into_iter().filter(|name| !added.contains(name)).collect();
    (added, dropped)
}
