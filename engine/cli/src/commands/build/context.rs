//! What is sent: a folder's files without those that `.dockerignore` leaves out, or what
//! standard input has: an archive, or a Dockerfile alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use glassdock_build::ignore::{self, Ignore};
use glassdock_build::remote::Remote;
use tokio::sync::mpsc;

use super::super::archive::channel_stream;
use crate::failure::{Failure, file_failure};

/// A context that can be sent.
pub(crate) struct Sent {
    /// Where the Dockerfile lies in it.
    pub dockerfile: String,
    /// What the daemon fetches by itself, instead of an archive.
    pub remote: Option<String>,
    source: Source,
}

enum Source {
    /// A folder, and a Dockerfile that doesn't lie in it.
    Folder { folder: PathBuf, ignore: Ignore, extra: Option<Vec<u8>> },
    /// A Dockerfile alone.
    File(Vec<u8>),
    /// Nothing: the daemon fetches it.
    Nothing,
    /// An archive from standard input: its first bytes, and the rest.
    Archive(Vec<u8>),
}

/// Looks at what the operand of `build` names.
pub(crate) fn of(operand: &str, file: &str) -> Result<Sent, Failure> {
    if operand == "-" && file == "-" {
        return Err(Failure::say("invalid argument: can't use stdin for both build context and dockerfile"));
    }
    if operand == "-" {
        return from_stdin(file);
    }
    if !Path::new(operand).is_dir() && Remote::of_context(operand).is_some() {
        if file == "-" {
            return Err(Failure::say(
                "invalid argument: can't use stdin for both build context and dockerfile",
            ));
        }
        let dockerfile = if file.is_empty() { "Dockerfile" } else { file }.to_owned();
        return Ok(Sent { dockerfile, remote: Some(operand.to_owned()), source: Source::Nothing });
    }
    let folder = std::fs::canonicalize(operand)
        .map_err(|_| Failure::say(format!("unable to prepare context: path \"{operand}\" not found")))?;
    if !folder.is_dir() {
        return Err(Failure::say(format!(
            "unable to prepare context: context must be a directory: {operand}"
        )));
    }
    let (dockerfile, extra) = dockerfile(&folder, file)?;
    let ignore = ignored(&folder, &dockerfile)?;
    Ok(Sent { dockerfile, remote: None, source: Source::Folder { folder, ignore, extra } })
}

/// The Dockerfile's path in the context, and its bytes if it lies elsewhere.
fn dockerfile(folder: &Path, file: &str) -> Result<(String, Option<Vec<u8>>), Failure> {
    let outside = |bytes: Vec<u8>| (format!(".dockerfile.{:x}", std::process::id()), Some(bytes));
    if file == "-" {
        return Ok(outside(read_all(&mut io::stdin(), "-")?));
    }
    let path = if file.is_empty() { folder.join("Dockerfile") } else { PathBuf::from(file) };
    let missing = |error: &io::Error| {
        Failure::say(format!(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {}: {}",
            path.display(),
            crate::failure::os_text(error)
        ))
    };
    let real = std::fs::canonicalize(&path).map_err(|error| missing(&error))?;
    match real.strip_prefix(folder) {
        Ok(inside) => Ok((inside.to_string_lossy().into_owned(), None)),
        Err(_) => {
            let shown = path.display().to_string();
            let mut file = File::open(&real).map_err(|error| file_failure("open", &shown, &error))?;
            Ok(outside(read_all(&mut file, &shown)?))
        }
    }
}

fn ignored(folder: &Path, dockerfile: &str) -> Result<Ignore, Failure> {
    let bytes = [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()]
        .iter()
        .find_map(|name| File::open(folder.join(name)).ok());
    let Some(file) = bytes else { return Ok(Ignore::default()) };
    let mut bytes = Vec::new();
    file.take(ignore::LARGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| file_failure("read", ".dockerignore", &error))?;
    Ignore::read(&bytes).map_err(|error| Failure::say(format!("error checking context: {error}")))
}

fn from_stdin(file: &str) -> Result<Sent, Failure> {
    let mut start = vec![0; 512];
    let mut length = 0;
    let mut input = io::stdin().lock();
    while length < start.len() {
        match input.read(&mut start[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) => return Err(file_failure("read", "-", &error)),
        }
    }
    start.truncate(length);
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"];
    let archive =
        start.get(257..262) == Some(b"ustar") || compressed.iter().any(|magic| start.starts_with(magic));
    if archive {
        let dockerfile = if file.is_empty() { "Dockerfile" } else { file }.to_owned();
        return Ok(Sent { dockerfile, remote: None, source: Source::Archive(start) });
    }
    start.extend(read_all(&mut input, "-")?);
    if start.is_empty() {
        return Err(Failure::say("unable to prepare context: build from stdin is empty"));
    }
    Ok(Sent { dockerfile: "Dockerfile".to_owned(), remote: None, source: Source::File(start) })
}

fn read_all(input: &mut dyn Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = glassdock_build::language::LARGEST_FILE as u64 + 1;
    input.take(limit).read_to_end(&mut bytes).map_err(|error| file_failure("read", name, &error))?;
    Ok(bytes)
}

/// A folder as an archive, all of it.
pub(crate) fn folder_stream(
    folder: PathBuf,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + use<> {
    let source = Source::Folder { folder, ignore: Ignore::default(), extra: None };
    Sent { dockerfile: String::new(), remote: None, source }.stream(Arc::default())
}

impl Sent {
    /// The context as a tar, made on a thread of its own; `sent` counts its bytes.
    pub(crate) fn stream(
        &self,
        sent: Arc<AtomicU64>,
    ) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + use<> {
        let (sender, receiver) = mpsc::channel(4);
        let dockerfile = self.dockerfile.clone();
        let source = match &self.source {
            Source::Folder { folder, ignore, extra } => {
                Source::Folder { folder: folder.clone(), ignore: ignore.clone(), extra: extra.clone() }
            }
            Source::File(bytes) => Source::File(bytes.clone()),
            Source::Nothing => Source::Nothing,
            Source::Archive(start) => Source::Archive(start.clone()),
        };
        std::thread::spawn(move || {
            let mut out = io::BufWriter::with_capacity(64 * 1024, Pieces { sender: sender.clone(), sent });
            let written = write(&source, &dockerfile, &mut out).and_then(|()| out.flush());
            if let Err(error) = written {
                // The daemon sees a broken request, and the command the reason.
                let _ = sender.blocking_send(Err(error));
            }
        });
        channel_stream(receiver)
    }
}

fn write(source: &Source, dockerfile: &str, out: &mut impl Write) -> io::Result<()> {
    match source {
        Source::Nothing => Ok(()),
        Source::Archive(start) => {
            out.write_all(start)?;
            io::copy(&mut io::stdin().lock(), out).map(drop)
        }
        Source::File(bytes) => {
            let mut tar = tar::Builder::new(out);
            alone(&mut tar, dockerfile, bytes)?;
            tar.into_inner().map(drop)
        }
        Source::Folder { folder, ignore, extra } => {
            let mut tar = tar::Builder::new(out);
            // The daemon needs these, and knows best what to leave out when it has them first; where they are
            // ignored, it leaves them out of the image itself.
            let first =
                [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned(), dockerfile.to_owned()];
            for path in first.iter().map(Path::new) {
                let place = folder.join(path);
                if let Ok(metadata) = std::fs::symlink_metadata(&place)
                    && !metadata.is_dir()
                {
                    entry(&mut tar, &place, path, &metadata)?;
                }
            }
            let is_first = |path: &str, metadata: &std::fs::Metadata| {
                !metadata.is_dir() && first.iter().any(|first| first == path)
            };
            walk(folder, ignore, |path, text, metadata| match is_first(text, metadata) {
                true => Ok(()),
                false => entry(&mut tar, &folder.join(path), path, metadata),
            })?;
            if let Some(bytes) = extra {
                alone(&mut tar, dockerfile, bytes)?;
            }
            tar.into_inner().map(drop)
        }
    }
}

/// Goes through a folder, sorted by names, and takes what is not ignored.
fn walk(
    folder: &Path,
    ignore: &Ignore,
    mut take: impl FnMut(&Path, &str, &std::fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    // What is still to come, the next one last.
    let mut waiting = names(folder, Path::new(""))?;
    while let Some(path) = waiting.pop() {
        let text = path.to_string_lossy();
        let metadata = std::fs::symlink_metadata(folder.join(&path))?;
        let ignored = ignore.ignores(&text);
        if !ignored && (metadata.is_dir() || metadata.is_file() || metadata.is_symlink()) {
            take(&path, &text, &metadata)?;
        }
        if metadata.is_dir() && !(ignored && ignore.prunes(&text)) {
            let inner = names(folder, &path)?;
            waiting.extend(inner);
        }
    }
    Ok(())
}

/// The paths of what is in a folder, the first one last.
fn names(folder: &Path, inner: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder.join(inner))?;
    let mut paths =
        entries.map(|entry| Ok(inner.join(entry?.file_name()))).collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable_by(|one, other| other.cmp(one));
    Ok(paths)
}

/// One entry, as root's: who owns the files here is nobody's business in the image.
fn entry(
    tar: &mut tar::Builder<impl Write>,
    place: &Path,
    name: &Path,
    metadata: &std::fs::Metadata,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        return tar.append_link(&mut header, name, std::fs::read_link(place)?);
    }
    if metadata.is_dir() {
        return tar.append_data(&mut header, name, io::empty());
    }
    let content = File::open(place)?.take(metadata.len()).chain(io::repeat(0)).take(metadata.len());
    tar.append_data(&mut header, name, content)
}

fn alone(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes)
}

/// A writer whose pieces are a request's body.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    sent: Arc<AtomicU64>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let sent = self.sender.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
