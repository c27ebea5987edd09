//! `RUN --mount` and `--network`: what a step's container has beside its layers.

use std::collections::BTreeMap;

use glassdock_build::change::{clean, workdir};
use glassdock_build::language::Instruction;
use glassdock_image::Digest;

use super::builder::Shared;
use super::stage::Stage;
use crate::containers::model::HostConfig;
use crate::error::Error;

/// How the container of a RUN stands on the host.
///
/// # Errors
///
/// Invalid, for a mount that makes no sense; unsupported, for one that this builder has not.
pub(super) fn host(stage: &Stage, shared: &Shared, instruction: &Instruction) -> Result<HostConfig, Error> {
    let escape = shared.file.directives.escape;
    let mut host = shared.wish.host.clone();
    if let Some(network) = instruction.flag("network") {
        match network.text.as_str() {
            "default" => {}
            "none" | "host" => host.network_mode = network.text,
            other => return Err(Error::invalid(format!("unsupported network mode: {other:?}"))),
        }
    }
    if instruction.flag("security").is_some_and(|security| security.text != "sandbox") {
        return Err(Error::invalid("RUN --security=insecure is not allowed"));
    }
    for mount in instruction.flag_values("mount") {
        let text = stage.text(&mount, escape)?;
        let fields: BTreeMap<&str, &str> = text
            .split(',')
            .map(|field| field.trim().split_once('=').unwrap_or((field.trim(), "true")))
            .collect();
        let get = |names: &[&str]| names.iter().find_map(|name| fields.get(name)).copied();
        let target = get(&["target", "dst", "destination"])
            .map(|path| workdir(&stage.config.config.working_dir, path));
        let needed = || Error::invalid(format!("RUN --mount={text}: a target is needed"));
        match get(&["type"]).unwrap_or("bind") {
            "tmpfs" => {
                let options = get(&["size"]).map_or_else(String::new, |size| format!("size={size}"));
                host.tmpfs.get_or_insert_default().insert(target.ok_or_else(needed)?, options);
            }
            "cache" => {
                let target = target.ok_or_else(needed)?;
                let id = get(&["id"]).unwrap_or(&target).to_owned();
                let folder =
                    shared.engine.config.root.join("build-cache").join(Digest::of(id.as_bytes()).hex());
                std::fs::create_dir_all(&folder)?;
                let read_only = if get(&["ro", "readonly"]) == Some("true") { ":ro" } else { "" };
                host.binds.get_or_insert_default().push(format!("{}:{target}{read_only}", folder.display()));
            }
            "secret" | "ssh" if get(&["required"]) != Some("true") => {
                // A client of this API gives none; a mount that is not required is left out then, as in Docker.
            }
            kind @ ("secret" | "ssh") => {
                return Err(Error::invalid(format!(
                    "RUN --mount=type={kind}: none was given, and it is required"
                )));
            }
            kind => {
                let source = clean(get(&["source", "src", "from"]).unwrap_or("/"));
                return Err(Error::unsupported(format!(
                    "RUN --mount=type={kind} of {source}: this builder mounts tmpfs and cache; copy the files instead"
                )));
            }
        }
    }
    Ok(host)
}
