//! What the driver `local` can be told with `--opt`: a file system for the volume, in the
//! words of mount(8): `type`, `device` and `o`.
//!
//! ```text
//!   type=tmpfs device=tmpfs o=size=64m,uid=1000     files in memory
//!   type=none  device=/srv/data o=bind              a folder of the host
//!   type=ext4  device=/dev/vdb                      a disk
//!   type=nfs   device=:/exports o=addr=server       a server's folder
//! ```

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::Path;

use glassdock_kernel::mount::{self, Words};
use glassdock_kernel::path::Place;
use glassdock_trace::Trace;

use crate::error::{Error, Kind};

/// Which options there are, and which others each needs.
const KNOWN: [(&str, &[&str]); 4] =
    [("device", &["type"]), ("o", &["device", "type"]), ("size", &[]), ("type", &["device"])];

/// What one option may be long, in bytes: a page, as mount(2) has it.
const LIMIT: usize = 4095;

/// Checks options before there is a volume.
///
/// # Errors
///
/// Invalid, in the words of Docker's driver.
pub fn check(options: &BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in options {
        let Some((_, needs)) = KNOWN.iter().find(|(known, _)| known == key) else {
            return Err(Error::invalid(format!("invalid option: {key:?}")));
        };
        if value.len() > LIMIT || value.contains('\0') {
            return Err(Error::invalid(format!(
                "invalid option: {key:?} is longer than {LIMIT} bytes or has a zero byte"
            )));
        }
        if let Some(missing) = needs.iter().find(|need| !options.contains_key(**need)) {
            return Err(Error::invalid(format!("missing required option: {missing:?}")));
        }
    }
    if options.contains_key("size") {
        // What Docker says too where the disk has no project quotas; a tmpfs has `o=size=…`.
        return Err(Error::invalid("quota size requested but no quota support"));
    }
    Ok(())
}

/// Whether the volume has a file system of its own, that is mounted while it is used.
#[must_use]
pub fn is_mounted_when_used(options: &BTreeMap<String, String>) -> bool {
    options.get("device").is_some_and(|device| !device.is_empty())
}

/// Mounts what the options say at `path`.
///
/// # Errors
///
/// What the kernel says, in the words of Docker's driver, and what to do where that is known.
pub fn mount(trace: &Trace, options: &BTreeMap<String, String>, path: &Path) -> Result<(), Error> {
    let get = |key: &str| options.get(key).map_or("", String::as_str);
    let (device, fstype, words) = (get("device"), get("type"), get("o"));
    attach(trace, device, fstype, words, path).map_err(|error| {
        let data = Words::parse(words.split(','));
        let data: Vec<String> = data.data.iter().map(|(key, _)| key.clone()).collect();
        let told = if data.is_empty() { String::new() } else { format!(", options: {}", data.join(",")) };
        Error::internal(format!(
            "error while mounting volume '{}': failed to mount local volume: mount {device}:{}{told}: {}",
            path.display(),
            path.display(),
            reason(&error)
        ))
    })
}

fn attach(
    trace: &Trace,
    device: &str,
    fstype: &str,
    words: &str,
    path: &Path,
) -> Result<(), glassdock_kernel::Error> {
    let words = Words::parse(words.split(','));
    let target = Place::open(path)?;
    if words.bind {
        let source = Place::open(Path::new(device))?;
        mount::bind(trace, &source, &target, words.recursive, words.attributes)?;
    } else {
        let mut data = words.data();
        if words.attributes.read_only {
            // A device that can't be written needs a file system that doesn't try.
            data.push(("ro", ""));
        }
        let address = server(fstype, &data);
        if let Some(address) = &address {
            data.iter_mut().filter(|(key, _)| *key == "addr").for_each(|(_, value)| *value = address);
        }
        mount::filesystem(trace, fstype, device, &data, &target, words.attributes)?;
    }
    if let Some((propagation, recursive)) = words.propagation {
        // Found anew: the place that was mounted on is below the mount now.
        mount::set_propagation(trace, &Place::open(path)?, propagation, recursive)?;
    }
    Ok(())
}

/// The address of a server that is given by name: the kernel knows no names.
fn server(fstype: &str, data: &[(&str, &str)]) -> Option<String> {
    if !matches!(fstype, "nfs" | "nfs4" | "cifs") {
        return None;
    }
    let (_, name) = data.iter().find(|(key, _)| *key == "addr")?;
    if name.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let found = (*name, 0).to_socket_addrs().ok()?.next()?;
    Some(found.ip().to_string())
}

/// The kernel's reason in the words that clients know, then what the file system says of it.
fn reason(error: &glassdock_kernel::Error) -> String {
    let whole = Error::of(Kind::Internal, error);
    let Some(errno) = error.errno() else { return whole.message().to_owned() };
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    let words = words.split(" (os error").next().unwrap_or_default().to_lowercase();
    let advice = match errno {
        // ENOTBLK: a regular file where a disk is wanted.
        15 => "; an image file needs a loop device: `losetup --find --show FILE`, and that as the device",
        _ => "",
    };
    format!("{words}{advice} ({})", whole.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_docker_s() {
        let wrong = [
            (options(&[("foo", "bar")]), "invalid option: \"foo\""),
            (options(&[("type", "tmpfs")]), "missing required option: \"device\""),
            (options(&[("device", "tmpfs")]), "missing required option: \"type\""),
            (options(&[("o", "size=1m")]), "missing required option: \"device\""),
            (options(&[("size", "1m")]), "quota size requested but no quota support"),
        ];
        for (options, words) in wrong {
            assert_eq!(check(&options).expect_err(words).message(), words);
        }
        let tmpfs = options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]);
        check(&tmpfs).expect("Docker takes it");
        assert!(is_mounted_when_used(&tmpfs) && !is_mounted_when_used(&options(&[])));
    }

    #[test]
    fn a_failed_mount_names_all_but_its_values() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(&[("type", "none"), ("device", "/nowhere"), ("o", "bind,password=otter")]);
        let error = mount(&Trace::off(), &options, folder.path()).expect_err("nothing is there");
        assert!(error.message().contains("no such file or directory"), "{error}");
        assert!(error.message().contains("/nowhere") && !error.message().contains("otter"), "{error}");
    }
}
