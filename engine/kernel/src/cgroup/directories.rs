//! The directories and files that control groups are, in one tree or in all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Error, Result, files};

pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !name.is_empty() && !name.contains("//") {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "name of a control group",
        value: name.to_owned(),
        reason: "it is no relative path without `.` and `..`",
    })
}

/// Gives the controllers on to each directory on the way to the group: in v2 a group has only what
/// its parent hands down. A controller that is refused is just not there.
pub(super) fn enable_controllers(mount: &Path, name: &str, controllers: &[String]) -> Result<()> {
    let mut folder = mount.to_owned();
    for part in Path::new(name).components() {
        if folder != mount {
            make_one(&folder)?;
        }
        let handed = read(&folder.join("cgroup.subtree_control"))?;
        for controller in controllers {
            if !handed.split_whitespace().any(|there| there == controller) {
                // EBUSY where the tree's root has processes and is not the machine's: then the limits become warnings.
                let _ = write(&folder.join("cgroup.subtree_control"), &format!("+{controller}"));
            }
        }
        folder.push(part);
    }
    Ok(())
}

/// Makes the directory and those above it. Another group's removal may take those away in between.
pub(super) fn make_directory(mount: &Path, name: &str) -> Result<()> {
    let folder = mount.join(name);
    let mut tries = 0;
    loop {
        match fs::create_dir_all(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && mount.exists() && tries < 100 => {
                tries += 1
            }
            Err(error) => return Err(Error::call("mkdir", folder.display().to_string(), error)),
            Ok(()) => return Ok(()),
        }
    }
}

fn make_one(folder: &Path) -> Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::call("mkdir", folder.display().to_string(), error))
        }
        _ => Ok(()),
    }
}

/// A new v1 cpuset has no CPUs and no memory, and no process can enter it: it takes over its parent's.
pub(super) fn inherit_cpuset(mount: &Path, name: &str) -> Result<()> {
    let mut folder = mount.to_owned();
    for part in Path::new(name).components() {
        let parent = folder.clone();
        folder.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read(&folder.join(file))?.trim().is_empty() {
                write(&folder.join(file), read(&parent.join(file))?.trim())?;
            }
        }
    }
    Ok(())
}

pub(super) fn collect_processes(folder: &Path, all: &mut BTreeSet<u32>) -> Result<()> {
    let text = match read(&folder.join("cgroup.procs")) {
        // A group that went away in between has none.
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV)) => return Ok(()),
        text => text?,
    };
    all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in children(folder) {
        collect_processes(&child, all)?;
    }
    Ok(())
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// rmdir(2), bottom up, again and again while it is busy.
pub(super) fn remove_tree(folder: &Path, until: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                for child in children(folder) {
                    remove_tree(&child, until)?;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(error) => return Err(Error::call("rmdir", folder.display().to_string(), error)),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    File::open(path)
        .and_then(|file| files::read(&file))
        .map_err(|error| Error::call("read", path.display().to_string(), error))
}

/// Writes a whole value at once; the file must be there.
pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    put(open(path), path, value)
}

/// Opens a file of a group, to write to it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).open(path)
}

/// As [`write()`], to the file that was opened at `path`.
pub(super) fn put(file: io::Result<File>, path: &Path, value: &str) -> Result<()> {
    let failed =
        |call| move |error: io::Error| Error::call(call, format!("{value:?} to {}", path.display()), error);
    file.map_err(failed("open"))?.write_all(value.as_bytes()).map_err(failed("write"))
}
