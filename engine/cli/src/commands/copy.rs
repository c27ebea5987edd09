//! `cp`: files between a container and the host, as a tar stream through the API.
//!
//! Where something lands follows from what is there already, as in cp(1):
//!
//! | destination   | source: file          | source: folder             | source: `folder/.` |
//! |---------------|-----------------------|----------------------------|--------------------|
//! | a folder      | into it, by its name  | into it, by its name       | its content into it |
//! | a file        | in its place          | refused                    | refused            |
//! | nothing there | made, by that name    | made, by that name         | made, by that name |

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use glassdock_registry::task;
use http::Method;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{archive, container_path, number, text};
use crate::client::messages::next_data;
use crate::client::with_query;
use crate::context::Context;
use crate::failure::{Failure, file_failure, os_text};
use crate::show::output::{complain, write_failure};
use crate::show::units;
use crate::term;
use crate::words::Args;

/// Bits of a file's mode as the API (and Go) has them.
const MODE_DIR: i64 = 1 << 31;
const MODE_SYMLINK: i64 = 1 << 27;

pub(crate) async fn cp(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (source, destination) = (split(args.operand(0)), split(args.operand(1)));
    if args.operand(0).is_empty() {
        return Err(Failure::say("source can not be empty"));
    }
    if args.operand(1).is_empty() {
        return Err(Failure::say("destination can not be empty"));
    }
    match (source, destination) {
        ((Some(container), path), (None, target)) => from_container(cx, args, container, path, target).await,
        ((None, path), (Some(container), target)) => to_container(cx, args, path, container, target).await,
        ((Some(_), _), (Some(_), _)) => Err(Failure::say("copying between containers is not supported")),
        ((None, _), (None, _)) => Err(Failure::say("must specify at least one container source")),
    }
}

/// `otter:/etc/hosts` as container and path; a path of the host has no container.
fn split(argument: &str) -> (Option<&str>, &str) {
    if argument.starts_with('/') {
        return (None, argument);
    }
    match argument.split_once(':') {
        Some((container, path)) if !container.starts_with('.') => (Some(container), path),
        _ => (None, argument),
    }
}

/// Tells a person how much was copied; a pipe is not told.
fn report(args: &Args, bytes: u64, target: &str) {
    let quiet = if args.changed("quiet") { args.is("quiet") } else { !term::stdout_is_terminal() };
    if !quiet {
        complain(format!("Successfully copied {} to {target}", units::short_size(bytes as f64)));
    }
}

/// What the container has at a path, or `None`.
async fn stat(cx: &mut Context, container: &str, path: &str) -> Result<Option<Value>, Failure> {
    let target = with_query(&container_path(container, "/archive")?, &[("path", path)]);
    match cx.client.send(Method::HEAD, &target, None, &[]).await {
        Ok(response) => Ok(stat_of(response.headers())),
        Err(failure) if failure.is_not_found() => {
            // A HEAD has no words: is it the path or the container that is missing?
            cx.client.get(&container_path(container, "/json")?).await?;
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

fn stat_of(headers: &http::HeaderMap) -> Option<Value> {
    let header = headers.get("x-docker-container-path-stat")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(header.as_bytes()).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn absolute(path: &str) -> String {
    // That a path can't be empty is the daemon's to say.
    if path.starts_with('/') || path.is_empty() { path.to_owned() } else { format!("/{path}") }
}

/// The path that a link in the container leads to.
fn link_target(path: &str, stat: &Value) -> Option<String> {
    let target = text(stat, "linkTarget");
    if number(stat, "mode") & MODE_SYMLINK == 0 || target.is_empty() {
        return None;
    }
    if target.starts_with('/') {
        return Some(target.to_owned());
    }
    Some(Path::new(path).parent().unwrap_or(Path::new("/")).join(target).to_string_lossy().into_owned())
}

async fn from_container(
    cx: &mut Context,
    args: &Args,
    container: &str,
    path: &str,
    target: &str,
) -> Result<(), Failure> {
    let mut path = absolute(path);
    if args.is("follow-link")
        && let Some(stat) = stat(cx, container, &path).await?
        && let Some(real) = link_target(&path, &stat)
    {
        path = real;
    }
    let request = with_query(&container_path(container, "/archive")?, &[("path", &path)]);
    let response = cx.client.send(Method::GET, &request, None, &[]).await?;
    let stat = stat_of(response.headers());
    let mut body = response.into_body();
    if target == "-" {
        while let Some(bytes) = next_data(&mut body).await? {
            io::stdout().lock().write_all(&bytes).map_err(write_failure)?;
        }
        return io::stdout().lock().flush().map_err(write_failure);
    }
    let is_dir = stat.as_ref().is_some_and(|stat| number(stat, "mode") & MODE_DIR != 0);
    let only_content = path.ends_with("/.");
    let landing = Landing::on_host(target, is_dir, only_content)?;
    // The archive is unpacked on a thread of its own, while it comes.
    let (sender, receiver) = mpsc::channel::<Bytes>(8);
    let keep_owner = args.is("archive");
    let unpacking = task::spawn_blocking(move || unpack(receiver, &landing, keep_owner));
    let mut copied = 0_u64;
    while let Some(bytes) = next_data(&mut body).await? {
        copied += u64::try_from(bytes.len()).unwrap_or(0);
        if sender.send(bytes).await.is_err() {
            break;
        }
    }
    drop(sender);
    unpacking.await.map_err(|error| Failure::say(error.to_string()))??;
    report(args, copied, target);
    Ok(())
}

/// Where an archive's entries go: below `folder`, the archive's root called `name`
/// (or left out, if only its content is meant).
#[derive(Debug)]
struct Landing {
    folder: PathBuf,
    name: Option<String>,
}

impl Landing {
    fn on_host(target: &str, is_dir: bool, only_content: bool) -> Result<Self, Failure> {
        let path = Path::new(target);
        match fs::metadata(path) {
            Ok(found) if found.is_dir() && only_content => Ok(Self { folder: path.to_owned(), name: None }),
            Ok(found) if found.is_dir() => Ok(Self { folder: path.to_owned(), name: Some(String::new()) }),
            Ok(_) if is_dir => Err(Failure::say("cannot copy directory")),
            Ok(_) if target.ends_with('/') => Err(Failure::say("not a directory")),
            Ok(_) => Self::named(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !is_dir && target.ends_with('/') {
                    return Err(Failure::say("no such directory"));
                }
                Self::named(path)
            }
            Err(error) => Err(file_failure("lstat", target, &error)),
        }
    }

    fn named(path: &Path) -> Result<Self, Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(Failure::say(format!(
                "invalid output path: directory {} does not exist",
                crate::words::check::quote(&host_absolute(folder).display().to_string())
            )));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { folder: folder.to_owned(), name })
    }

    /// Where an entry of the archive goes; `None` for one that would leave the folder.
    fn place(&self, entry: &Path) -> Option<PathBuf> {
        let mut parts = entry
            .components()
            .filter(|part| !matches!(part, Component::CurDir | Component::RootDir))
            .peekable();
        let mut place = PathBuf::new();
        match self.name.as_deref() {
            // By the archive's own name.
            Some("") => {}
            Some(name) => {
                place.push(name);
                if !entry.starts_with("./") {
                    parts.next();
                }
            }
            None => {
                if !entry.starts_with("./") && entry != Path::new(".") {
                    parts.next();
                }
            }
        }
        for part in parts {
            match part {
                Component::Normal(part) => place.push(part),
                _ => return None,
            }
        }
        Some(place)
    }
}

fn unpack(receiver: mpsc::Receiver<Bytes>, landing: &Landing, keep_owner: bool) -> Result<(), Failure> {
    let fail = |error: &io::Error| {
        Failure::say(format!("unpack to {}: {}", landing.folder.display(), os_text(error)))
    };
    let mut archive = tar::Archive::new(Pieces { receiver, rest: Bytes::new() });
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(keep_owner);
    archive.set_overwrite(true);
    for entry in archive.entries().map_err(|error| fail(&error))? {
        let mut entry = entry.map_err(|error| fail(&error))?;
        let path = entry.path().map_err(|error| fail(&error))?.into_owned();
        let Some(place) = landing.place(&path) else { continue };
        if place.as_os_str().is_empty() {
            continue;
        }
        entry.set_preserve_permissions(true);
        // `unpack_in` by hand, under another name: no link on the way may lead outside.
        let target = safe_join(&landing.folder, &place).map_err(|error| fail(&error))?;
        if entry.header().entry_type().is_hard_link() {
            // Its other name is one of the archive's, and lies where that one went.
            let other = entry.link_name().map_err(|error| fail(&error))?.unwrap_or_default();
            let Some(other) = landing.place(&other) else { continue };
            let other = safe_join(&landing.folder, &other).map_err(|error| fail(&error))?;
            again(&other, &target).map_err(|error| fail(&error))?;
            continue;
        }
        entry.unpack(&target).map_err(|error| fail(&error))?;
    }
    Ok(())
}

/// Gives a file another name, in place of what has that name.
fn again(file: &Path, name: &Path) -> io::Result<()> {
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(file, name)
}

/// Joins, and refuses a link on the way that the archive itself may have put there.
fn safe_join(folder: &Path, place: &Path) -> io::Result<PathBuf> {
    let mut path = folder.to_owned();
    let count = place.components().count();
    for (at, part) in place.components().enumerate() {
        path.push(part);
        let found = fs::symlink_metadata(&path);
        if at + 1 < count && found.as_ref().is_ok_and(|found| found.file_type().is_symlink()) {
            return Err(io::Error::other(format!("{} is a link, and leads elsewhere", path.display())));
        }
        // A link in the last place is replaced, not followed.
        if at + 1 == count && found.is_ok_and(|found| found.file_type().is_symlink()) {
            fs::remove_file(&path)?;
        }
    }
    Ok(path)
}

/// Pieces of an answer as a reader.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl io::Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        let piece = self.rest.split_to(length);
        if let Some(place) = buffer.get_mut(..length) {
            place.copy_from_slice(&piece);
        }
        Ok(length)
    }
}

async fn to_container(
    cx: &mut Context,
    args: &Args,
    source: &str,
    container: &str,
    target: &str,
) -> Result<(), Failure> {
    let shown = format!("{container}:{target}");
    if source != "-" {
        let path = Path::new(source);
        fs::symlink_metadata(path).map_err(|error| missing(path, &error))?;
    }
    let mut path = absolute(target);
    let mut found = stat(cx, container, &path).await?;
    if let Some(real) = found.as_ref().and_then(|stat| link_target(&path, stat)) {
        path = real;
        found = stat(cx, container, &path).await?;
    }
    let target_is_dir = found.as_ref().is_some_and(|stat| number(stat, "mode") & MODE_DIR != 0);
    if source == "-" {
        if !target_is_dir {
            return Err(Failure::say(format!(
                "destination {} must be a directory",
                crate::words::check::quote(&shown)
            )));
        }
        let request = put_path(container, &path, args)?;
        cx.client.send_stream(Method::PUT, &request, archive::stream_of(Box::new(io::stdin())), &[]).await?;
        return Ok(());
    }
    let plan = Plan::new(args, source, &path, found.is_some(), target_is_dir)?;
    let request = put_path(container, &plan.folder, args)?;
    let (sender, receiver) = mpsc::channel(4);
    let (from, name, follow) = (plan.source, plan.name, args.is("follow-link"));
    let packing = task::spawn_blocking(move || pack(&from, &name, follow, sender));
    let sent = cx.client.send_stream(Method::PUT, &request, archive::channel_stream(receiver), &[]).await;
    let packed = packing.await.map_err(|error| Failure::say(error.to_string()))?;
    sent?;
    let copied = packed?;
    report(args, copied, &shown);
    Ok(())
}

fn put_path(container: &str, folder: &str, args: &Args) -> Result<String, Failure> {
    Ok(with_query(
        &container_path(container, "/archive")?,
        &[
            ("path", folder),
            ("noOverwriteDirNonDir", "true"),
            ("copyUIDGID", if args.is("archive") { "true" } else { "" }),
        ],
    ))
}

/// What is packed, under which name, and into which folder of the container.
struct Plan {
    source: PathBuf,
    name: String,
    folder: String,
}

impl Plan {
    fn new(
        args: &Args,
        source: &str,
        target: &str,
        exists: bool,
        target_is_dir: bool,
    ) -> Result<Self, Failure> {
        let path = PathBuf::from(source);
        let info = if args.is("follow-link") || source.ends_with('/') {
            fs::metadata(&path)
        } else {
            fs::symlink_metadata(&path)
        };
        let info = info.map_err(|error| missing(&path, &error))?;
        let only_content = source.ends_with("/.") || source == ".";
        if exists && target_is_dir {
            let name = if only_content { ".".to_owned() } else { base_name(&path) };
            return Ok(Self { source: path, name, folder: target.to_owned() });
        }
        if info.is_dir() && exists {
            return Err(Failure::say("cannot copy directory"));
        }
        if !info.is_dir() && target.ends_with('/') {
            return Err(Failure::say(if exists { "not a directory" } else { "no such directory" }));
        }
        let trimmed = target.trim_end_matches('/');
        let (folder, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        let folder = if folder.is_empty() { "/" } else { folder };
        Ok(Self { source: path, name: name.to_owned(), folder: folder.to_owned() })
    }
}

/// A source that can't be looked at, in Docker's words: those look for its folder first, and put a slash behind that even
/// if it is the root.
fn missing(path: &Path, error: &io::Error) -> Failure {
    let path = host_absolute(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return file_failure("lstat", &path.display().to_string(), error);
    };
    match folder.canonicalize() {
        Ok(real) => file_failure("lstat", &format!("{}/{}", real.display(), name.display()), error),
        Err(error) => file_failure("lstat", &folder.display().to_string(), &error),
    }
}

fn host_absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn base_name(path: &Path) -> String {
    let real = path.file_name().map(|name| name.to_string_lossy().into_owned());
    real.or_else(|| path.canonicalize().ok()?.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_else(|| ".".to_owned())
}

/// Packs a file or folder under a name; returns how many bytes the archive has.
fn pack(
    source: &Path,
    name: &str,
    follow: bool,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> Result<u64, Failure> {
    let mut builder = tar::Builder::new(Sender { sender, sent: 0 });
    builder.follow_symlinks(false);
    let fail = |error: &io::Error| Failure::say(format!("pack {}: {}", source.display(), os_text(error)));
    let real = if follow || source.as_os_str().to_string_lossy().ends_with('/') {
        source.canonicalize().map_err(|error| fail(&error))?
    } else {
        source.to_owned()
    };
    let packed = if fs::symlink_metadata(&real).map_err(|error| fail(&error))?.is_dir() {
        builder.append_dir_all(name, &real)
    } else {
        builder.append_path_with_name(&real, name)
    };
    let finished = packed.and_then(|()| builder.into_inner());
    match finished {
        Ok(sender) => Ok(sender.sent),
        // The daemon's own answer says why it stopped reading.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(fail(&error)),
    }
}

/// A writer into a request's body.
struct Sender {
    sender: mpsc::Sender<io::Result<Bytes>>,
    sent: u64,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent += u64::try_from(bytes.len()).unwrap_or(0);
        self.sender
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_land_where_cp_says() {
        let place = |name: Option<&str>, entry: &str| {
            let landing = Landing { folder: PathBuf::new(), name: name.map(str::to_owned) };
            landing.place(Path::new(entry)).map(|path| path.display().to_string())
        };
        assert_eq!(place(Some(""), "etc/hosts").as_deref(), Some("etc/hosts"));
        assert_eq!(place(Some("new"), "etc/hosts").as_deref(), Some("new/hosts"));
        assert_eq!(place(None, "./hosts").as_deref(), Some("hosts"));
        assert_eq!(place(None, "etc/hosts").as_deref(), Some("hosts"));
        assert_eq!(place(Some(""), "../../etc/passwd"), None);
        assert_eq!(split("otter:/a"), (Some("otter"), "/a"));
        assert_eq!(split("./a:b"), (None, "./a:b"));
        assert_eq!(split("/a:b"), (None, "/a:b"));
    }
}
