//! The context: what a client sent or named, in a folder of the build's own below `ROOT/builds`, which goes when
//! the build is over (what a RUN made of it a little later: it waits in `ROOT/trash`).
//!
//! ```text
//!   an archive ─► decompress ─► a spool: `ROOT/builds/ID/context`, all contents in one file, an index in memory
//!   a repository, a Dockerfile alone ─► a folder
//! ```
//!
//! Most of a context is never needed as files: the cache asks for sums, which an archive's entries get as they
//! come. COPY writes files into its layer from the spool; for a mount of RUN they are laid out, once.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glassdock_build::ignore::{self, Ignore};
use glassdock_build::language::LARGEST_FILE;
use glassdock_build::remote::Remote;
use glassdock_image::layer::spool::{Arrival, Spool};
use glassdock_image::layer::{self, Limits};
use glassdock_kernel::path::Root;
use glassdock_trace::Trace;

use super::files::{Looks, Source, base};
use super::remote::{self, How};
use super::tree::Tree;
use super::{copy, rules};
use crate::containers::names;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::{pipe, trash};

/// A context may have so many files.
const MOST_FILES: u64 = 1_000_000;
/// And so many bytes.
const MOST_BYTES: u64 = 64 << 30;

/// A build's folder: the context, and what steps need.
#[derive(Debug)]
pub struct Context {
    folder: PathBuf,
    files: Files,
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// What of a folder is no part of the context. Of an archive nothing is left of it.
    ignore: Ignore,
    /// What was laid out for mounts, by its path in the context.
    laid_out: Mutex<BTreeMap<PathBuf, PathBuf>>,
    next: std::sync::atomic::AtomicU64,
}

/// Where the context's files are.
#[derive(Debug)]
enum Files {
    Folder(PathBuf),
    Spool(Arc<Spool>),
}

impl Context {
    /// An empty context.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    pub fn new(root: &Path) -> Result<Self, Error> {
        let folder = root.join("builds").join(names::hex_digits::<8>()?);
        DirBuilder::new().recursive(true).mode(0o700).create(root.join("builds"))?;
        glassdock_kernel::disk::spread_folders(&root.join("builds"));
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self {
            files: Files::Folder(folder.clone()),
            folder,
            dockerfile: Vec::new(),
            ignore: Ignore::default(),
            laid_out: Mutex::default(),
            next: 0.into(),
        })
    }

    /// Takes in the tar that a client sends, and finds its Dockerfile.
    ///
    /// # Errors
    ///
    /// Invalid, if the archive is damaged, too large or hostile; if it has no such Dockerfile.
    pub fn receive(root: &Path, body: pipe::Reader, dockerfile: &str) -> Result<Self, Error> {
        let mut context = Self::new(root)?;
        context.spool(body, dockerfile)?;
        Ok(context)
    }

    /// Fetches a context that lies elsewhere: an archive, a Dockerfile alone, or a repository, which comes
    /// without its `.git` unless `keep_git` says so.
    ///
    /// # Errors
    ///
    /// Invalid, if it can't be fetched, or as [`Context::receive`].
    pub async fn fetch(
        engine: &Arc<Engine>,
        trace: &Trace,
        remote: &Remote,
        dockerfile: &str,
        keep_git: bool,
    ) -> Result<Self, Error> {
        let mut context = engine.blocking(|engine| Self::new(&engine.config.root)).await?;
        let how = How { keep_git, ..How::default() };
        let fetched = remote::source(engine, trace, remote, &how, context.scratch()?).await?;
        let dockerfile = dockerfile.to_owned();
        let work = move |_: &Arc<Engine>| {
            let root = Root::open(&fetched.folder)?;
            let place = root
                .resolve(Path::new(&fetched.path))
                .map_err(|_| Error::invalid(format!("the repository has no {}", fetched.path)))?;
            let path = fs::read_link(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()))?;
            if fetched.is_repository {
                if !place.is_dir()? {
                    return Err(Error::invalid(format!("{} of the repository is no folder", fetched.path)));
                }
                context.files = Files::Folder(path);
                context.look(&dockerfile)?;
            } else if copy::is_archive(File::open(&path)?)? {
                context.spool(File::open(&path)?, &dockerfile)?;
                fs::remove_file(&path)?;
            } else {
                let alone = context.scratch()?;
                fs::rename(&path, alone.join("Dockerfile"))?;
                context.files = Files::Folder(alone);
                context.look("Dockerfile")?;
            }
            Ok(context)
        };
        engine.blocking(work).await
    }

    /// Takes an archive in. What `.dockerignore` leaves out is not stored if it is known by then, and is
    /// not there afterwards.
    fn spool(&mut self, body: impl Read, dockerfile: &str) -> Result<(), Error> {
        let limits = Limits { entries: MOST_FILES, bytes: MOST_BYTES };
        let archive = layer::decompressed(body).map_err(wrong)?;
        let mut arrival = Arrival::new(&self.folder.join("context"), archive, limits).map_err(wrong)?;
        let mut rules = rules::Coming::of(dockerfile);
        while let Some(path) = arrival.next_entry().map_err(wrong)? {
            if rules.keeps(&path) {
                arrival.keep().map_err(wrong)?;
                rules.came(&path, &mut arrival).map_err(wrong)?;
            }
        }
        self.files = Files::Spool(Arc::new(arrival.finish().map_err(wrong)?));
        self.look(dockerfile)?;
        rules.held_against(&self.ignore)?;
        let ignore = std::mem::take(&mut self.ignore);
        if let Files::Spool(spool) = &mut self.files
            && let Some(spool) = Arc::get_mut(spool)
            && !ignore.is_empty()
        {
            spool.leave_out(|path| ignore.ignores(path), |path| ignore.prunes(path));
        }
        Ok(())
    }

    /// Finds the Dockerfile, and what it ignores.
    fn look(&mut self, dockerfile: &str) -> Result<(), Error> {
        self.dockerfile = self
            .read(dockerfile, LARGEST_FILE as u64)?
            .ok_or_else(|| Error::internal(format!("Cannot locate specified Dockerfile: {dockerfile}")))?;
        for name in rules::names(dockerfile) {
            if let Some(bytes) = self.read(&name, ignore::LARGEST)? {
                self.ignore = Ignore::read(&bytes).map_err(|error| Error::invalid(error.to_string()))?;
                break;
            }
        }
        Ok(())
    }

    /// The context's files: no path leads out of them.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn tree(&self) -> Result<Tree, Error> {
        Ok(match &self.files {
            Files::Folder(folder) => Tree::Folder(Root::open(folder)?),
            Files::Spool(spool) => Tree::Spool(Arc::clone(spool)),
        })
    }

    /// What of the tree is no part of the context.
    #[must_use]
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The path on the host of something in the context, to be mounted; and whether it is a folder. What came as
    /// an archive is laid out first: that part of it, and once. Blocks.
    ///
    /// # Errors
    ///
    /// Invalid, if it isn't there; those of writing.
    pub fn on_disk(&self, path: &str) -> Result<(PathBuf, bool), Error> {
        let tree = self.tree()?;
        let (origin, facts) = tree.find(Path::new(path))?;
        if let super::tree::Origin::Place(place) = origin {
            let path = fs::read_link(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()))?;
            return Ok((path, facts.is_folder()));
        }
        let mut laid_out = self.laid_out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = laid_out.get(Path::new(path)) {
            return Ok((there.clone(), facts.is_folder()));
        }
        let (scratch, none) = (self.scratch()?, Ignore::default());
        let source = Source::find(&tree, path, &none, &none)?;
        // A path that ends in no name, such as `/`, still needs one.
        let name = Some(base(path)).filter(|name| !name.is_empty()).unwrap_or("context");
        let there = scratch.join(name);
        let looks = Looks { keep_owner: true, ..Looks::default() };
        if facts.is_folder() {
            fs::create_dir(&there)?;
        }
        let to = if facts.is_folder() { PathBuf::from("/") } else { Path::new("/").join(name) };
        let root: OwnedFd = File::open(if facts.is_folder() { &there } else { &scratch })?.into();
        let all = std::collections::HashSet::new();
        copy::pass(root, |out| source.archive(&to, &looks, &all, out))?;
        if facts.is_folder() {
            let look = looks.of(&facts);
            chown(&there, Some(look.owner.0), Some(look.owner.1))?;
            fs::set_permissions(&there, Permissions::from_mode(look.mode))?;
        }
        laid_out.insert(PathBuf::from(path), there.clone());
        Ok((there, facts.is_folder()))
    }

    /// A new empty folder of the build.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    pub fn scratch(&self) -> Result<PathBuf, Error> {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = self.folder.join(format!("step-{number}"));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// A small file's bytes, if it is there.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let tree = self.tree()?;
        if !tree.has(path) {
            return Ok(None);
        }
        let (origin, facts) = tree.find(Path::new(path))?;
        if !facts.is_file() {
            return Err(Error::invalid(format!("{path} of the context is no file")));
        }
        let file = origin.open(Path::new(""), &facts).map_err(|error| Error::of(Kind::Invalid, &error))?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Error::invalid(format!("{path} is larger than {limit} bytes")));
        }
        Ok(Some(bytes))
    }
}

/// What an archive gets wrong is its sender's to mend; what the disk refuses is not.
fn wrong(error: layer::Error) -> Error {
    let (theirs, hint) = match &error {
        // Where the kernel had no part, the bytes are not what they say they are.
        layer::Error::Read(cause) if cause.raw_os_error().is_none() => {
            (true, "; it is damaged or was cut off: make it anew, and send it again")
        }
        layer::Error::Damaged(_) => (true, "; make it anew, and send it again"),
        // A spool is an index in memory: what it can't do with an entry, the entries before it forbid.
        layer::Error::Entry { act, .. } if act.starts_with("find") => {
            (true, "; a hard link comes after the file that it is another name of, inside the context")
        }
        layer::Error::Entry { .. } => (true, "; something that is no folder came before it under that name"),
        _ => (false, ""),
    };
    let error = Error::from(error);
    let kind = if theirs { Kind::Invalid } else { error.kind() };
    Error::new(kind, format!("Error processing tar file: {}{hint}", error.message()))
}

impl Drop for Context {
    fn drop(&mut self) {
        let root = self.folder.ancestors().nth(2).ok_or(std::io::ErrorKind::NotFound);
        let discarded = root.map_err(Into::into).and_then(|root| trash::discard(root, &self.folder));
        if let Err(error) = discarded {
            // The next start of the engine sweeps it up.
            tracing::warn!(folder = %self.folder.display(), %error, "a build's folder stays");
        }
    }
}

/// Throws away what builds left that a crash ended.
///
/// # Errors
///
/// If it can't be put aside.
pub fn sweep(root: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(root.join("builds")).into_iter().flatten() {
        trash::discard(root, &entry?.path())?;
    }
    Ok(())
}
