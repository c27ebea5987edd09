//! What a request to create a container means in its client's version of the API.
//!
//! Some defaults changed with the versions, and some fields meant nothing before theirs. Older clients
//! get what they were written for; everything after this speaks the newest version.

use glassdock_kernel::cgroup::Hierarchy;

use super::model::{CreateRequest, EndpointSettings};
use crate::call::ApiVersion;
use crate::error::Error;

/// Puts a request into the newest version's words; the answer is what its client is told.
///
/// # Errors
///
/// Invalid, in Docker's words, for what must not be passed over in silence.
pub(crate) fn settle(
    version: ApiVersion,
    cgroups: &Hierarchy,
    request: &mut CreateRequest,
) -> Result<Vec<String>, Error> {
    if version < ApiVersion(44) {
        before_44(request)?;
    }
    if version < ApiVersion(42) {
        before_42(request);
    }
    let host = &mut request.host_config;
    if version < ApiVersion(45)
        && host
            .mounts
            .iter()
            .flatten()
            .filter_map(|mount| mount.volume_options.as_ref())
            .any(|options| !options.subpath.is_empty())
    {
        return Err(Error::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    if version < ApiVersion(43) {
        host.annotations = None;
    }
    if version < ApiVersion(41) && matches!(cgroups, Hierarchy::V1(_)) && host.cgroupns_mode.is_empty() {
        "host".clone_into(&mut host.cgroupns_mode);
    }
    if version < ApiVersion(40) {
        for options in host.mounts.iter_mut().flatten().filter_map(|mount| mount.bind_options.as_mut()) {
            options.non_recursive = false;
        }
        if host.ipc_mode.is_empty() {
            "shareable".clone_into(&mut host.ipc_mode);
        }
    }
    if version < ApiVersion(25) {
        // These clients remove their containers themselves.
        host.auto_remove = false;
    }
    mac(version, request)
}

fn before_44(request: &mut CreateRequest) -> Result<(), Error> {
    if let Some(health) = &mut request.config.healthcheck {
        health.start_interval = 0;
    }
    request.shallow_read_only = true;
    let mut binds =
        request.host_config.mounts.iter().flatten().filter_map(|mount| mount.bind_options.as_ref());
    if binds.any(|options| options.read_only_force_recursive) {
        return Err(Error::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
    }
    let endpoints = &request.networking_config.endpoints_config;
    if endpoints.len() > 1 {
        let names: Vec<_> = endpoints.keys().map(String::as_str).collect();
        let names = names.join(", ");
        return Err(Error::invalid(format!(
            "Container cannot be created with multiple network endpoints: {names}"
        )));
    }
    Ok(())
}

fn before_42(request: &mut CreateRequest) {
    for mount in request.host_config.mounts.iter_mut().flatten() {
        if let Some(options) = &mut mount.bind_options {
            options.create_mountpoint = false;
        }
        // Of no meaning for other kinds, but no error then.
        if mount.kind != "volume" {
            mount.volume_options = None;
        }
        if mount.kind != "tmpfs" {
            mount.tmpfs_options = None;
        }
    }
    request.host_config.console_size = Default::default();
}

/// The container's own MAC address, from before each network could have one.
fn mac(version: ApiVersion, request: &mut CreateRequest) -> Result<Vec<String>, Error> {
    let own = request.config.mac_address.clone();
    let endpoints = &mut request.networking_config.endpoints_config;
    if version < ApiVersion(44) {
        endpoints.values_mut().for_each(|settings| settings.mac_address.clone_from(&own));
        return Ok(Vec::new());
    }
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let mode = match request.host_config.network_mode.as_str() {
        "" | "default" => "bridge",
        mode => mode,
    };
    let main = endpoints.get(mode).or_else(|| endpoints.get("default").filter(|_| mode == "bridge"));
    let differs =
        |settings: &EndpointSettings| !settings.mac_address.is_empty() && settings.mac_address != own;
    if main.is_some_and(differs) {
        return Err(Error::invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        ));
    }
    Ok(vec![
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
            .to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: u16, body: serde_json::Value) -> Result<CreateRequest, Error> {
        let mut request = serde_json::from_value(body).expect("a request");
        settle(ApiVersion(version), &Hierarchy::V1([].into()), &mut request).map(|_| request)
    }

    #[test]
    fn defaults_are_those_of_the_version() {
        let of = |version| asked(version, serde_json::json!({})).expect("fine");
        let modes = |request: &CreateRequest| {
            (request.host_config.ipc_mode.clone(), request.host_config.cgroupns_mode.clone())
        };
        assert_eq!(modes(&of(39)), ("shareable".to_owned(), "host".to_owned()));
        assert_eq!(modes(&of(40)), (String::new(), "host".to_owned()));
        assert_eq!(modes(&of(41)), (String::new(), String::new()));
        assert!(of(43).shallow_read_only && !of(44).shallow_read_only);
    }

    #[test]
    fn a_field_means_nothing_before_its_version() {
        let body = serde_json::json!({
            "HostConfig": {
                "AutoRemove": true,
                "Annotations": { "a": "b" },
                "Mounts": [{ "Type": "bind", "BindOptions": { "NonRecursive": true, "CreateMountpoint": true } }]
            }
        });
        let of = |version| {
            let host = asked(version, body.clone()).expect("fine").host_config;
            let bind =
                host.mounts.and_then(|mounts| mounts.into_iter().next()).and_then(|mount| mount.bind_options);
            let bind = bind.expect("options");
            [host.auto_remove, bind.non_recursive, bind.create_mountpoint, host.annotations.is_some()]
        };
        assert_eq!(of(24), [false, false, false, false]);
        assert_eq!(of(40), [true, true, false, false]);
        assert_eq!(of(42), [true, true, true, false]);
        assert_eq!(of(43), [true, true, true, true]);
    }

    #[test]
    fn what_would_be_missed_is_refused() {
        let refused = |version, body: serde_json::Value| {
            asked(version, body).err().map(|error| error.message().to_owned())
        };
        let forced = serde_json::json!({
            "HostConfig": { "Mounts": [{ "Type": "bind", "BindOptions": { "ReadOnlyForceRecursive": true } }] }
        });
        assert!(refused(43, forced.clone()).is_some_and(|words| words.contains("needs API v1.44")));
        assert_eq!(refused(44, forced), None);
        let subpath = serde_json::json!({
            "HostConfig": { "Mounts": [{ "Type": "volume", "VolumeOptions": { "Subpath": "a" } }] }
        });
        assert!(refused(44, subpath.clone()).is_some_and(|words| words.contains("needs API v1.45")));
        assert_eq!(refused(45, subpath), None);
        let two = serde_json::json!({ "NetworkingConfig": { "EndpointsConfig": { "a": {}, "b": {} } } });
        assert!(refused(43, two.clone()).is_some_and(|words| words.ends_with("endpoints: a, b")));
        assert_eq!(refused(44, two), None);
        let macs = serde_json::json!({
            "MacAddress": "02:00:00:00:00:01",
            "NetworkingConfig": { "EndpointsConfig": { "bridge": { "MacAddress": "02:00:00:00:00:02" } } }
        });
        assert!(refused(44, macs.clone()).is_some_and(|words| words.contains("must match")));
        let old = asked(43, macs).expect("fine").networking_config.endpoints_config;
        assert_eq!(old.get("bridge").expect("bridge").mac_address, "02:00:00:00:00:01");
    }
}
