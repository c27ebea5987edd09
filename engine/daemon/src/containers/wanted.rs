//! Binds, volumes, images and file systems in memory: from Docker's words (`-v`,
//! `--mount`, `--tmpfs`, an image's volumes) to mount points.

use std::path::Path;

use glassdock_build::change::clean;

use super::model::{BindOptions, MountRequest};
use super::record::Record;
use crate::error::Error;

/// A mount point that is asked for; a volume without a name gets one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The mount point; of a volume or an image, `source` is filled in when it is there.
    pub point: Place,
    /// Whether a source that isn't there is made (binds by `-v` do that).
    pub make_source: bool,
    /// Whether a new volume is filled with what the image has there.
    pub copy: bool,
    /// A part of the volume or image, instead of all of it.
    pub subpath: String,
}

/// A mount point before its volume is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `MountPoint`")]
pub struct Place {
    pub kind: &'static str,
    pub name: String,
    pub source: String,
    pub destination: String,
    pub mode: String,
    pub rw: bool,
    pub propagation: String,
}

/// How mounts below a bind may be shared with the host; mount_namespaces(7).
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

/// What a request asks for, in the order in which later ones hide earlier ones.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn wanted(record: &Record) -> Result<Vec<Wanted>, Error> {
    let host = &record.host_config;
    let mut wanted = Vec::new();
    for text in host.binds.iter().flatten() {
        wanted.push(bind(text)?);
    }
    for request in host.mounts.iter().flatten() {
        wanted.push(mount(request)?);
    }
    let mut places: Vec<String> = wanted.iter().map(|wanted| wanted.point.destination.clone()).collect();
    places.extend(host.tmpfs.iter().flatten().map(|(place, _)| clean(place)));
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = places.iter().find(|place| !seen.insert((*place).clone())) {
        return Err(Error::invalid(format!("Duplicate mount point: {twice}")));
    }
    for place in record.config.volumes.iter().flatten().map(|(place, _)| clean(place)) {
        if !seen.contains(&place) {
            check_target(&place)?;
            wanted.push(volume(String::new(), place, "", true));
        }
    }
    Ok(wanted)
}

fn volume(name: String, destination: String, mode: &str, rw: bool) -> Wanted {
    let point = Place { kind: "volume", name, destination, mode: mode.to_owned(), rw, ..Place::default() };
    let copy = !mode.split(',').any(|word| word == "nocopy");
    Wanted { point, make_source: false, copy, subpath: String::new() }
}

/// Reads `/host:/place`, `name:/place` or `/place`, each with options after it.
fn bind(text: &str) -> Result<Wanted, Error> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, place, mode) = match parts.as_slice() {
        [place] => ("", *place, ""),
        [source, place] if place.starts_with('/') => (*source, *place, ""),
        [source, place, mode] => (*source, *place, *mode),
        [source, place] if !source.is_empty() && !place.is_empty() => {
            let kind = if source.starts_with('/') { "bind" } else { "volume" };
            return Err(Error::invalid(format!(
                "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": invalid mount path: \
                 '{place}' mount path must be absolute"
            )));
        }
        _ => return Err(invalid()),
    };
    if place.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(invalid());
    }
    if clean(place) == "/" {
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
        )));
    }
    check_target(place)?;
    let words: Vec<&str> = mode.split(',').filter(|word| !word.is_empty()).collect();
    let known = |word: &&str| {
        matches!(*word, "ro" | "rw" | "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent")
            || PROPAGATIONS.contains(word)
    };
    if !words.iter().all(known) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    let rw = !words.contains(&"ro");
    let foreign = |kind: &str, field: &str| {
        Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": field {field} must not be \
             specified"
        ))
    };
    if !source.starts_with('/') {
        if !source.is_empty() {
            crate::volumes::check_name(source)?;
        }
        if words.iter().any(|word| PROPAGATIONS.contains(word)) {
            return Err(foreign("volume", "BindOptions"));
        }
        return Ok(volume(source.to_owned(), clean(place), mode, rw));
    }
    if words.contains(&"nocopy") {
        return Err(foreign("bind", "VolumeOptions"));
    }
    let propagation = words.iter().find(|word| PROPAGATIONS.contains(word)).copied().unwrap_or_default();
    let point = Place {
        kind: "bind",
        source: clean(source),
        destination: clean(place),
        mode: mode.to_owned(),
        rw,
        propagation: propagation.to_owned(),
        ..Place::default()
    };
    Ok(Wanted { point, make_source: true, copy: false, subpath: String::new() })
}

/// What is said of a part that would lead out of its volume or image.
const OUTSIDE: &str = "subpath must be a relative path within the volume";

/// The first field of a request that has options for mounts of another kind.
fn foreign_options(request: &MountRequest) -> Option<&'static str> {
    let given = [
        ("bind", "BindOptions", request.bind_options.is_some()),
        ("volume", "VolumeOptions", request.volume_options.is_some()),
        ("image", "ImageOptions", request.image_options.is_some()),
        ("tmpfs", "TmpfsOptions", request.tmpfs_options.is_some()),
    ];
    given.into_iter().find(|(kind, _, given)| *given && *kind != request.kind).map(|(_, field, _)| field)
}

/// Reads what `--mount` asks for.
fn mount(request: &MountRequest) -> Result<Wanted, Error> {
    let invalid = |reason: &str| {
        Error::invalid(format!("invalid mount config for type \"{}\": {reason}", request.kind))
    };
    if request.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    check_target(&request.target).map_err(|error| invalid(error.message()))?;
    let place = clean(&request.target);
    if place == "/" {
        return Err(invalid("invalid specification: destination can't be '/'"));
    }
    if let Some(field) = foreign_options(request) {
        return Err(invalid(&format!("field {field} must not be specified")));
    }
    match request.kind.as_str() {
        "bind" => {
            if request.source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            if !request.source.starts_with('/') {
                let source = &request.source;
                return Err(invalid(&format!("invalid mount path: '{source}' mount path must be absolute")));
            }
            let options = request.bind_options.clone().unwrap_or_default();
            if !Path::new(&request.source).exists() && !options.create_mountpoint {
                return Err(invalid(&format!("bind source path does not exist: {}", request.source)));
            }
            if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
                return Err(invalid(&format!("invalid propagation mode: {}", options.propagation)));
            }
            if options.read_only_force_recursive {
                check_forced(request.read_only, &options).map_err(|error| invalid(error.message()))?;
            }
            let point = Place {
                kind: "bind",
                source: clean(&request.source),
                destination: place,
                rw: !request.read_only,
                propagation: options.propagation,
                ..Place::default()
            };
            Ok(Wanted { point, make_source: options.create_mountpoint, copy: false, subpath: String::new() })
        }
        "volume" => {
            if !request.source.is_empty() {
                crate::volumes::check_name(&request.source)?;
            }
            let options = request.volume_options.clone().unwrap_or_default();
            let mode = "z";
            if !is_local(&options.subpath) {
                return Err(invalid(OUTSIDE));
            }
            let mut wanted = volume(request.source.clone(), place, mode, !request.read_only);
            wanted.copy = !options.no_copy;
            wanted.subpath = options.subpath;
            Ok(wanted)
        }
        "tmpfs" => {
            if !request.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            let point =
                Place { kind: "tmpfs", destination: place, rw: !request.read_only, ..Place::default() };
            Ok(Wanted { point, make_source: false, copy: false, subpath: String::new() })
        }
        "image" => {
            if request.source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            let options = request.image_options.clone().unwrap_or_default();
            if !is_local(&options.subpath) {
                return Err(invalid(OUTSIDE));
            }
            // Never writable, whatever is asked for.
            let name = request.source.clone();
            let point = Place { kind: "image", name, destination: place, ..Place::default() };
            Ok(Wanted { point, make_source: false, copy: false, subpath: options.subpath })
        }
        other => {
            Err(Error::invalid(format!("invalid mount config for type \"{other}\": mount type unknown")))
        }
    }
}

/// Whether a bind that must be read-only all the way down can be.
fn check_forced(read_only: bool, options: &BindOptions) -> Result<(), Error> {
    let refused = |words: &str| Err(Error::invalid(format!("mount option conflict: {words}")));
    if !read_only {
        return refused("ReadOnlyForceRecursive needs ReadOnly to be set");
    }
    if options.read_only_non_recursive {
        return refused("ReadOnlyForceRecursive conflicts with ReadOnlyNonRecursive");
    }
    if options.propagation != "rprivate" {
        return refused("ReadOnlyForceRecursive requires Propagation to be specified as rprivate");
    }
    if options.non_recursive {
        return refused("ReadOnlyForceRecursive conflicts with NonRecursive");
    }
    Ok(())
}

/// How a bind is connected with the host if nobody says it. A bind of the engine's own folder must let go of what the
/// engine unmounts there (volumes with a file system of their own); one that would keep it is refused.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn propagation(asked: &str, source: &str, root: &Path) -> Result<String, Error> {
    let source = Path::new(source);
    match (asked, is_around(source, root)) {
        ("", true) => Ok("rslave".to_owned()),
        ("", false) => Ok("rprivate".to_owned()),
        ("rslave" | "rshared", true) | (_, false) => Ok(asked.to_owned()),
        (_, true) => Err(Error::invalid(format!(
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within \
             the daemon root, daemon root: {root:?}, bind mount source: {source:?}, propagation: {asked:?}"
        ))),
    }
}

/// Whether a bind's source is in the engine's own folder, or has that in it.
pub(super) fn is_around(source: &Path, root: &Path) -> bool {
    source.starts_with(root) || root.starts_with(source)
}

/// Whether a path, read as text, stays in the folder that it is relative to.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i32;
    let stays = path.split('/').all(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth >= 0
    });
    stays && !path.starts_with('/') && !path.contains('\0')
}

pub(super) fn check_target(place: &str) -> Result<(), Error> {
    if place.starts_with('/') && !place.contains('\0') {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid mount path: '{place}' mount path must be absolute")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_have_a_grammar() {
        let point = bind("/a/../b:/c/:ro,rslave").expect("a bind").point;
        assert_eq!((point.kind, point.source.as_str(), point.destination.as_str()), ("bind", "/b", "/c"));
        assert_eq!((point.rw, point.propagation.as_str()), (false, "rslave"));
        let named = bind("data:/c:nocopy").expect("a volume");
        assert_eq!((named.point.kind, named.point.name.as_str(), named.copy), ("volume", "data", false));
        for (foreign, field) in [("/a:/b:nocopy", "VolumeOptions"), ("data:/b:rslave", "BindOptions")] {
            assert!(bind(foreign).is_err_and(|error| error.message().contains(field)), "{foreign}");
        }
        assert_eq!(bind("/c").expect("an anonymous volume").point.name, "");
        for wrong in
            ["", ":", ":/a", "a:b", "/a:b", "/a:/", "/a:/b:x", "/a:/b:ro:x", "a/b:/c", "..:/c", "/a:/b\0"]
        {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_has_one_mount() {
        let mut record = Record::default();
        record.host_config.binds = Some(vec!["/a:/x".into(), "b:/x/".into()]);
        assert!(wanted(&record).is_err());
        record.host_config.binds = Some(vec!["/a:/x".into()]);
        record.config.volumes =
            Some([("/x".to_owned(), serde_json::json!({})), ("/y".to_owned(), serde_json::json!({}))].into());
        let places: Vec<_> =
            wanted(&record).expect("fine").into_iter().map(|wanted| wanted.point.destination).collect();
        assert_eq!(places, ["/x", "/y"], "a bind goes before the image's volume at its place");
    }
}
