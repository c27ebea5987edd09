//! From mount points, and what a container has in memory, to the specification's mounts.

use std::path::Path;

use glassdock_build::change::clean;
use glassdock_kernel::files;
use glassdock_runtime::Bundle;
use glassdock_runtime::oci::Mount;

use super::model::{HostConfig, MountPoint};
use super::record::Record;
use super::wanted::{self, check_target};
use crate::error::Error;

/// The specification's mounts of a record: its mount points and what it has in
/// memory, the outer before the inner, then the files that the engine writes: those of `names`.
///
/// # Errors
///
/// Invalid, for options that make no sense.
pub fn of_record(names: &Bundle, record: &Record) -> Result<Vec<Mount>, Error> {
    let on_disk = record.mounts.iter().filter(|point| point.kind != "tmpfs");
    let mut mounts: Vec<Mount> = on_disk.map(|point| of_point(record, point)).collect();
    mounts.extend(in_memory(&record.host_config)?);
    mounts.extend(record.beside.mounts.iter().cloned());
    let mut files = Vec::new();
    for (place, name) in
        [("/etc/resolv.conf", "resolv.conf"), ("/etc/hostname", "hostname"), ("/etc/hosts", "hosts")]
    {
        if !mounts.iter().any(|mount| mount.destination == place) {
            let access = if record.host_config.readonly_rootfs { "ro" } else { "rw" };
            files.push(Mount {
                destination: place.to_owned(),
                kind: Some("bind".to_owned()),
                source: Some(names.path(name).to_string_lossy().into_owned()),
                options: vec!["rbind".to_owned(), "rprivate".to_owned(), access.to_owned()],
            });
        }
    }
    files.extend(mounts);
    // The engine's files lie in what is mounted at `/etc`, too.
    files.sort_by_key(|mount| mount.destination.split('/').filter(|part| !part.is_empty()).count());
    Ok(files)
}

fn of_point(record: &Record, point: &MountPoint) -> Mount {
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    let mut requests = record.host_config.mounts.iter().flatten();
    let own = requests.find(|request| clean(&request.target) == point.destination);
    let depth = own.and_then(|request| request.bind_options.clone()).unwrap_or_default();
    let inside =
        own.and_then(|request| request.volume_options.as_ref()).map(|options| options.subpath.clone());
    let inside = inside.filter(|_| point.kind == "volume");
    let image = record.images.iter().find(|image| image.stack.place == Path::new(&point.source));
    let inside = inside.or_else(|| image.map(|image| image.subpath.clone())).filter(|path| !path.is_empty());
    let extent = if depth.non_recursive { "bind" } else { "rbind" };
    let shallow = depth.read_only_non_recursive || record.shallow_read_only;
    let access = match (point.rw, shallow) {
        (true, _) => "rw",
        (false, true) => "ro",
        (false, false) => "rro",
    };
    Mount {
        destination: point.destination.clone(),
        kind: Some("bind".to_owned()),
        source: Some(point.source.clone()),
        options: [extent.to_owned(), propagation.to_owned(), access.to_owned()]
            .into_iter()
            .chain(inside.map(|path| format!("{}={path}", glassdock_runtime::INSIDE)))
            .collect(),
    }
}

fn in_memory(host: &HostConfig) -> Result<Vec<Mount>, Error> {
    let usual = ["noexec", "nosuid", "nodev"];
    let mut mounts = Vec::new();
    for (place, words) in host.tmpfs.iter().flatten() {
        check_target(place)?;
        if clean(place) == "/" {
            return Err(Error::invalid("invalid specification: destination can't be '/'"));
        }
        let own: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
        let opposite = |word: &str| match word.strip_prefix("no") {
            Some(bare) => own.contains(&bare),
            None => false,
        };
        let mut options: Vec<String> =
            usual.iter().filter(|word| !opposite(word)).map(|word| (*word).to_owned()).collect();
        options.extend(own.iter().map(|word| (*word).to_owned()));
        mounts.push(tmpfs(clean(place), options));
    }
    for request in host.mounts.iter().flatten().filter(|request| request.kind == "tmpfs") {
        let mut options: Vec<String> = usual.iter().map(|word| (*word).to_owned()).collect();
        let wanted = request.tmpfs_options.clone().unwrap_or_default();
        if wanted.size_bytes > 0 {
            options.push(format!("size={}", wanted.size_bytes));
        }
        if wanted.mode > 0 {
            options.push(format!("mode={:o}", wanted.mode));
        }
        if request.read_only {
            options.push("ro".to_owned());
        }
        mounts.push(tmpfs(clean(&request.target), options));
    }
    Ok(mounts)
}

fn tmpfs(destination: String, options: Vec<String>) -> Mount {
    Mount { destination, kind: Some("tmpfs".to_owned()), source: Some("tmpfs".to_owned()), options }
}

/// `/dev/shm` and `/dev/mqueue` where the IPC namespace is another's: the host's, or that of a container with this first
/// process. A container's memory is mounted in its mount namespace only; its queues, whoever joins its IPC namespace mounts.
#[must_use]
pub fn shared_ipc(pid: Option<u32>) -> Vec<Mount> {
    let bind = |place: &str, further: Option<String>| Mount {
        destination: place.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(place.to_owned()),
        options: ["rbind", "rprivate"].into_iter().map(str::to_owned).chain(further).collect(),
    };
    let places = ["/dev/shm", "/dev/mqueue"].into_iter();
    match pid {
        None => places.filter(|place| Path::new(place).exists()).map(|place| bind(place, None)).collect(),
        Some(pid) => vec![
            bind("/dev/shm", Some(format!("namespace=/proc/{pid}/ns/mnt"))),
            super::defaults::message_queues(),
        ],
    }
}

/// Whether what binds are to share with the host, or hear of, can be heard: their sources lie on mounts that do so.
/// A bind of the engine's own folder is connected for the engine's sake, as far as can be.
///
/// # Errors
///
/// Internal, in Docker's words.
pub fn check_propagation(record: &Record, root: &Path) -> Result<(), Error> {
    for point in &record.mounts {
        let source = Path::new(&point.source);
        let shares = matches!(point.propagation.as_str(), "shared" | "rshared");
        let hears = matches!(point.propagation.as_str(), "slave" | "rslave");
        if !(shares || hears) || wanted::is_around(source, root) {
            continue;
        }
        // What isn't there is told when it is mounted.
        let Ok(real) = source.canonicalize() else { continue };
        let Some(on) = files::mount_around(&real) else { continue };
        if on.shared || (hears && on.slave) {
            continue;
        }
        let lacks = if shares { "a shared mount" } else { "a shared or slave mount" };
        let (source, place) = (source.display(), on.place.display());
        return Err(Error::internal(format!("path {source} is mounted on {place} but it is not {lacks}")));
    }
    Ok(())
}

/// How the container's tree is connected with the host's: only as closely as one
/// of its binds asks for.
#[must_use]
pub fn root_propagation(record: &Record) -> Option<String> {
    let has =
        |words: [&str; 2]| record.mounts.iter().any(|point| words.contains(&point.propagation.as_str()));
    if has(["shared", "rshared"]) {
        Some("shared".to_owned())
    } else if has(["slave", "rslave"]) {
        Some("slave".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_takes_its_opposite_away() {
        let host = HostConfig {
            tmpfs: Some([("/run".to_owned(), "exec,size=1m".to_owned())].into()),
            ..HostConfig::default()
        };
        let mounts = in_memory(&host).expect("fine");
        assert_eq!(mounts.first().expect("one").options, ["nosuid", "nodev", "exec", "size=1m"]);
    }
}
