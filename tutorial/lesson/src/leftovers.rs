//! What a lab leaves behind, which must be nothing.
//!
//! Everything of a lab carries its folder's path or its bridge's name: processes in
//! their environment or command line, mounts in their source or target, control
//! groups through the ids of the containers. So what is left can be found without
//! asking the engine, and is.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glassdock_kernel::link::Links;
use glassdock_kernel::nft::Nft;
use glassdock_trace::Trace;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Everything that is left of a lab, in words, one thing each.
#[must_use]
pub fn find(folder: &Path, bridge: &str, containers: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for process in processes(folder) {
        found.push(format!("process {} ({})", process.pid, process.command));
    }
    found.extend(mounts(folder).iter().map(|target| format!("mount at {target}")));
    if Path::new("/sys/class/net").join(bridge).exists() {
        found.push(format!("bridge {bridge}"));
    }
    if has_table(bridge) {
        found.push(format!("nftables table {bridge}"));
    }
    found.extend(cgroups(containers).iter().map(|path| format!("control group {}", path.display())));
    found
}

/// A process of a lab.
#[derive(Debug)]
struct Process {
    pid: i32,
    command: String,
}

fn processes(folder: &Path) -> Vec<Process> {
    let needle = folder.as_os_str().as_bytes();
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(pid) == Ok(own) {
            continue;
        }
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if contains(&line, needle) || contains(&environment, needle) {
            let command = String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned();
            found.push(Process { pid, command });
        }
    }
    found
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && text.windows(needle.len()).any(|window| window == needle)
}

fn mounts(folder: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = folder.to_string_lossy();
    table
        .lines()
        .filter(|line| line.contains(folder.as_ref()))
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect()
}

/// Control groups of any hierarchy that are named for one of the containers.
fn cgroups(containers: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if containers.is_empty() {
        return found;
    }
    // The engine's groups are few levels below a hierarchy's root: deeper is not looked.
    let mut folders = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if containers.iter().any(|id| name.contains(id.as_str())) {
                found.push(path);
            } else if depth < 4 {
                folders.push((path, depth + 1));
            }
        }
    }
    found
}

/// Ends the processes of a lab whose run has died; returns how many there were.
pub fn end_processes(folder: &Path) -> usize {
    end(folder, &processes(folder))
}

/// Ends what a lesson's commands started in the background (`… &`): the processes of a lab that
/// work in `home`, as no server of the engine does. A terminal that is closed ends them too.
pub fn end_jobs(folder: &Path, home: &Path) -> usize {
    let works_there = |process: &Process| {
        fs::read_link(format!("/proc/{}/cwd", process.pid)).is_ok_and(|folder| folder == home)
    };
    let jobs: Vec<Process> = processes(folder).into_iter().filter(works_there).collect();
    end(folder, &jobs)
}

fn end(folder: &Path, all: &[Process]) -> usize {
    for process in all {
        // By descriptor: the number may be someone else's by now, the process behind it not.
        let Some(pid) = Pid::from_raw(process.pid) else { continue };
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if processes(folder).iter().any(|again| again.pid == process.pid) {
            let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        }
    }
    all.len()
}

fn has_table(name: &str) -> bool {
    let tables = Nft::here().and_then(|mut nft| nft.tables());
    tables.is_ok_and(|tables| tables.iter().any(|(table, _)| table == name))
}

/// Takes a lab's bridge and its table of packet rules away.
pub fn remove_network(bridge: &str) {
    let trace = Trace::off();
    // What is not there need not go; what stays is found by `find`.
    if has_table(bridge)
        && let Ok(mut nft) = Nft::here()
    {
        let _ = nft.delete_table(&trace, bridge);
    }
    if Path::new("/sys/class/net").join(bridge).exists()
        && let Ok(mut links) = Links::here()
    {
        let _ = links.delete(&trace, bridge);
    }
}

/// Removes a lab's folder. Files may be read-only, or belong to others: root may all the same.
///
/// # Errors
///
/// remove(3)'s, with the path that would not go.
pub fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("cannot remove {}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_found_by_its_environment_and_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new("sleep")
            .arg("60")
            .env("LAB", folder.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep is there");
        // Between fork and exec the child still has our environment.
        for _ in 0..100 {
            if !find(folder.path(), "nosuchbridge", &[]).is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(find(folder.path(), "nosuchbridge", &[]).len(), 1);
        assert_eq!(end_processes(folder.path()), 1);
        child.wait().expect("it ends");
        assert!(find(folder.path(), "nosuchbridge", &[]).is_empty());
    }

    #[test]
    fn a_job_is_what_works_in_the_home() {
        let folder = tempfile::tempdir().expect("a folder");
        let start = |at: &Path| {
            let mut command = Command::new("sleep");
            command.arg("60").env("LAB", folder.path()).current_dir(at).stdin(Stdio::null());
            command.spawn().expect("sleep is there")
        };
        let home = fs::canonicalize(folder.path()).expect("a path").join("home");
        fs::create_dir(&home).expect("a folder");
        let (mut server, mut job) = (start(folder.path()), start(&home));
        for _ in 0..100 {
            if processes(folder.path()).iter().filter(|process| process.command.contains("60")).count() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(end_jobs(folder.path(), &home), 1);
        job.wait().expect("it ends");
        assert!(matches!(server.try_wait(), Ok(None)), "the server goes on");
        server.kill().expect("it ends");
        server.wait().expect("it ends");
    }
}
