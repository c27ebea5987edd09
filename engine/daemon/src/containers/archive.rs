//! `ContainerArchive`, `ContainerArchiveInfo`, `PutContainerArchive`: files go in and out
//! of a container as a tar stream; `docker cp`.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use glassdock_build::change::clean;
use glassdock_image::layer::pack::{self, Packed};
use glassdock_image::layer::{self, Limits, Target};
use glassdock_kernel::ErrorKind;
use glassdock_kernel::path::{Place, Root};
use glassdock_registry::task;
use glassdock_trace::{Body, Trace};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::container::Container;
use super::record::Record;
use super::view;
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::pipe;
use crate::reply::{self, Reply, Response};

/// `X-Docker-Container-Path-Stat`, in the order of Docker's fields.
#[derive(Debug, Serialize)]
struct Stat {
    name: String,
    size: u64,
    mode: u32,
    mtime: String,
    #[serde(rename = "linkTarget")]
    link_target: String,
}

/// Which path of which container, as the client named them.
struct Wanted {
    container: Arc<Container>,
    name: String,
    given: String,
    /// Absolute and without dots; a slash or `/.` at its end stays, because it means something.
    path: String,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, Error> {
        let name = call.param("id").to_owned();
        let container = call.engine.containers.find(&name)?;
        let given = call.query("path").unwrap_or_default().to_owned();
        if given.is_empty() {
            return Err(Error::invalid("bad parameter: pathcannot be empty"));
        }
        if given.contains('\0') {
            return Err(Error::invalid("bad parameter: path has a zero byte"));
        }
        let path = absolute(&given);
        Ok(Self { container, name, given, path })
    }

    fn missing(&self) -> Error {
        Error::not_found(format!("Could not find the file {} in container {}", self.given, self.name))
    }

    /// What a failed look-up means.
    fn failed(&self, error: &glassdock_kernel::Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound => self.missing(),
            ErrorKind::Invalid => {
                let reason = std::io::Error::from_raw_os_error(error.errno().unwrap_or(0)).to_string();
                let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
                Error::invalid(format!("lstat {}: {reason}", self.path))
            }
            _ => Error::of(Kind::Internal, error),
        }
    }

    /// Finds it, links themselves included.
    fn find(&self, root: &Root) -> Result<(Place, Stat), Error> {
        let place = root.resolve_link(Path::new(&self.path)).map_err(|error| self.failed(&error))?;
        let metadata = place.metadata()?;
        let link_target = if metadata.is_symlink() {
            root.follow(Path::new(&self.path))
                .map_err(|error| self.failed(&error))?
                .to_string_lossy()
                .into_owned()
        } else {
            String::new()
        };
        let mtime = jiff::Timestamp::new(metadata.mtime(), i32::try_from(metadata.mtime_nsec()).unwrap_or(0));
        let stat = Stat {
            name: base(&self.path).to_owned(),
            size: metadata.size(),
            mode: go_mode(metadata.mode()),
            mtime: mtime.map_or_else(|_| super::record::NEVER.to_owned(), |time| time.to_string()),
            link_target,
        };
        Ok((place, stat))
    }
}

/// `HEAD /containers/{id}/archive?path=…`: what is there.
pub(crate) async fn info(call: Call) -> Reply {
    let wanted = Wanted::of(&call)?;
    let (engine, trace) = (Arc::clone(&call.engine), call.trace.clone());
    let container = Arc::clone(&wanted.container);
    let _life = view::hold(&container).await?;
    let look = move |engine: &Arc<Engine>| {
        view::look(engine, &wanted.container, &trace, false, |root| wanted.find(root).map(|(_, stat)| stat))
    };
    let stat = engine.blocking(look).await?;
    described(reply::empty(StatusCode::OK), &stat)
}

/// `GET /containers/{id}/archive?path=…`: what is there, as a tar stream. A folder comes with all
/// below it, by its name, or as `.` if the path ends so; a link comes as a link.
pub(crate) async fn get(call: Call) -> Reply {
    let wanted = Wanted::of(&call)?;
    let (writer, body) = pipe::reply();
    let (tell, told) = tokio::sync::oneshot::channel();
    let (engine, trace, operation) = (Arc::clone(&call.engine), call.trace.clone(), call.operation.clone());
    task::spawn(async move {
        // What is read is told to the end of the stream too.
        let _operation = operation;
        let container = Arc::clone(&wanted.container);
        // Held to the end of the stream.
        let _life = match view::hold(&container).await {
            Ok(life) => life,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let work = move || send(&engine, &wanted, &trace, tell, writer);
        if let Err(error) = task::spawn_blocking(work).await {
            tracing::error!(%error, "a copy out of a container panicked");
        }
    });
    let stat = told.await.map_err(|_| Error::internal("the copy ended before it began"))??;
    described(reply::stream("application/x-tar", body), &stat)
}

type Tell = tokio::sync::oneshot::Sender<Result<Stat, Error>>;

/// Finds what is wanted, tells what it is, and sends it.
fn send(engine: &Engine, wanted: &Wanted, trace: &Trace, tell: Tell, mut writer: pipe::Writer) {
    let mut tell = Some(tell);
    let out = &mut writer;
    let teller = &mut tell;
    let result = view::look(engine, &wanted.container, trace, false, move |root| {
        let (place, stat) = wanted.find(root)?;
        wanted.container.emit(engine, "archive-path", &[]);
        if let Some(tell) = teller.take() {
            // A client that left already is noticed when the first piece is sent.
            let _ = tell.send(Ok(stat));
        }
        let body = Body::FilesRead {
            root: root.path().display().to_string(),
            path: wanted.path.clone(),
            entries: None,
            bytes: None,
        };
        trace.step(body, |span| {
            let packed = pack(wanted, root, place, out)?;
            if let Body::FilesRead { entries, bytes, .. } = span.body_mut() {
                (*entries, *bytes) = (Some(packed.entries), Some(packed.bytes));
            }
            Ok(())
        })
    });
    match (tell, result) {
        (Some(tell), Err(error)) => drop(tell.send(Err(error))),
        (_, result) => writer.end(result),
    }
}

fn pack(wanted: &Wanted, root: &Root, place: Place, out: &mut pipe::Writer) -> Result<Packed, Error> {
    let name = base(&wanted.path);
    if place.is_dir()? {
        return Ok(pack::directory(place.into(), name.as_bytes(), out)?);
    }
    let parent = Path::new(&wanted.path).parent().unwrap_or(Path::new("/"));
    let parent = root.resolve(parent).map_err(|error| wanted.failed(&error))?;
    Ok(pack::single(parent.into(), name.as_bytes(), name.as_bytes(), out)?)
}

/// `PUT /containers/{id}/archive?path=…`: a tar stream, compressed or not, goes into a folder.
pub(crate) async fn put(mut call: Call) -> Reply {
    let mut body = pipe::request(call.take_body());
    let wanted = Wanted::of(&call)?;
    let keep_kinds = call.flag("noOverwriteDirNonDir");
    let copy_owner = call.flag("copyUIDGID");
    let trace = call.trace.clone();
    let container = Arc::clone(&wanted.container);
    let _life = view::hold(&container).await?;
    let work = move |engine: &Arc<Engine>| {
        view::look(engine, &wanted.container, &trace, true, |root| {
            let target = target(&wanted, root, keep_kinds, copy_owner)?;
            let (archive, top) = (layer::decompressed(&mut body)?, root.resolve(Path::new("/"))?);
            let body = Body::FilesWrite {
                root: root.path().display().to_string(),
                path: wanted.path.clone(),
                entries: None,
                bytes: None,
            };
            trace.step(body, |span| {
                let unpacked = layer::extract(top.into(), &target, archive, Limits::default())?;
                if let Body::FilesWrite { entries, bytes, .. } = span.body_mut() {
                    (*entries, *bytes) = (Some(unpacked.entries), Some(unpacked.bytes));
                }
                Ok::<_, Error>(())
            })?;
            wanted.container.emit(engine, "extract-to-dir", &[]);
            Ok(())
        })
    };
    call.engine.blocking(work).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// The folder that an archive goes to, if it may.
fn target(wanted: &Wanted, root: &Root, keep_kinds: bool, copy_owner: bool) -> Result<Target, Error> {
    let folder = root.follow(Path::new(&wanted.path)).map_err(|error| wanted.failed(&error))?;
    let place = root.resolve(&folder).map_err(|error| wanted.failed(&error))?;
    if !place.is_dir()? {
        return Err(Error::invalid("extraction point is not a directory"));
    }
    let record = wanted.container.record();
    check_writable(&record, &folder)?;
    let owner = match record.config.user.as_str() {
        user if copy_owner && !user.is_empty() => {
            Some(glassdock_runtime::user_numbers(root, user).map_err(Error::invalid)?)
        }
        _ => None,
    };
    Ok(Target::new(folder.as_os_str().as_bytes(), keep_kinds, owner)?)
}

/// What is read-only for the container is so for its copies too.
fn check_writable(record: &Record, folder: &Path) -> Result<(), Error> {
    let denied = |words: &str| Err(Error::new(Kind::Denied, words));
    let inside = |place: &str| folder.starts_with(place);
    let mounts = record.mounts.iter().filter(|mount| inside(&mount.destination));
    let in_memory = record.host_config.tmpfs.iter().flatten().any(|(place, _)| inside(&clean(place)))
        && record.state.status.has_process();
    match mounts.max_by_key(|mount| mount.destination.len()) {
        Some(mount) if mount.rw => Ok(()),
        Some(_) => denied("mounted volume is marked read-only"),
        None if in_memory || !record.host_config.readonly_rootfs => Ok(()),
        None => denied("container rootfs is marked read-only"),
    }
}

fn described(mut response: Response, stat: &Stat) -> Reply {
    let text = serde_json::to_vec(stat).map_err(|error| Error::of(Kind::Internal, &error))?;
    let value = HeaderValue::from_str(&STANDARD.encode(text));
    let value = value.map_err(|error| Error::of(Kind::Internal, &error))?;
    response.headers_mut().insert("X-Docker-Container-Path-Stat", value);
    Ok(response)
}

/// The path from the root on, cleaned, with the slash or dot that it ended with.
fn absolute(given: &str) -> String {
    let mut path = clean(given);
    let dot = base(given) == ".";
    if dot {
        if !path.ends_with('/') {
            path.push('/');
        }
        path.push('.');
    }
    if given.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// The last part of a path, as Go's `filepath.Base` has it.
fn base(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    match bare.rsplit('/').next() {
        Some("") | None => "/",
        Some(name) => name,
    }
}

/// A file's mode as Go has it: the kind in other bits than the kernel's.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o17_0000 {
        0o04_0000 => 1 << 31,
        0o12_0000 => 1 << 27,
        0o06_0000 => 1 << 26,
        0o02_0000 => 1 << 26 | 1 << 21,
        0o01_0000 => 1 << 25,
        0o14_0000 => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)]
        .into_iter()
        .filter(|(bit, _)| mode & bit != 0);
    special.fold(kind | (mode & 0o777), |mode, (_, bit)| mode | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_ends_with_stays() {
        let cases = [
            ("opt", "/opt", "opt"),
            ("/opt/a/", "/opt/a/", "a"),
            ("/opt/./a/.", "/opt/a/.", "."),
            (".", "/.", "."),
            ("/", "/", "/"),
            ("/../../x/", "/x/", "x"),
        ];
        for (given, path, name) in cases {
            assert_eq!((absolute(given).as_str(), base(&absolute(given))), (path, name), "{given}");
        }
    }

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_4755), 0x80_01ed);
        assert_eq!(go_mode(0o040_755), 2_147_484_141);
        assert_eq!(go_mode(0o120_777), 134_218_239);
        assert_eq!(go_mode(0o041_777), 0x8010_01ff);
    }

    #[test]
    fn the_innermost_mount_decides() {
        let mut record = Record::default();
        record.host_config.readonly_rootfs = true;
        let mount = |destination: &str, rw| super::super::model::MountPoint {
            destination: destination.to_owned(),
            rw,
            ..Default::default()
        };
        record.mounts = vec![mount("/data", true), mount("/data/fixed", false)];
        assert!(check_writable(&record, Path::new("/data/x")).is_ok());
        assert!(check_writable(&record, Path::new("/data/fixed/x")).is_err());
        assert!(check_writable(&record, Path::new("/database")).is_err());
    }
}
