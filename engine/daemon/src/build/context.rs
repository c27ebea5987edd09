//! The context: the folder that a client sent or named, below `ROOT/builds`, gone when the build is over
//! (its files a little later: they wait in `ROOT/trash`).

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glassdock_build::ignore::{self, Ignore};
use glassdock_build::language::LARGEST_FILE;
use glassdock_build::remote::Remote;
use glassdock_image::layer::{self, Limits, Target};
use glassdock_kernel::path::Root;
use glassdock_trace::Trace;

use super::remote::{self, How};
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
    /// The context itself.
    files: PathBuf,
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// What `.dockerignore` says.
    pub ignore: Ignore,
    next: std::sync::atomic::AtomicU64,
}

impl Context {
    /// An empty context.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    pub fn new(root: &Path) -> Result<Self, Error> {
        let folder = root.join("builds").join(names::hex_digits::<8>()?);
        let files = folder.join("context");
        DirBuilder::new().recursive(true).mode(0o700).create(&files)?;
        Ok(Self { folder, files, dockerfile: Vec::new(), ignore: Ignore::default(), next: 0.into() })
    }

    /// Takes in the tar that a client sends, and finds its Dockerfile.
    ///
    /// # Errors
    ///
    /// Invalid, if the archive is damaged, too large or hostile; if it has no such Dockerfile.
    pub fn receive(root: &Path, body: pipe::Reader, dockerfile: &str) -> Result<Self, Error> {
        let mut context = Self::new(root)?;
        context.unpack(body)?;
        context.look(dockerfile)?;
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
        let mut dockerfile = dockerfile.to_owned();
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
                context.files = path;
            } else if super::copy::is_archive(&File::open(&path)?)? {
                context.unpack(File::open(&path)?)?;
            } else {
                fs::rename(&path, context.files.join("Dockerfile"))?;
                "Dockerfile".clone_into(&mut dockerfile);
            }
            context.look(&dockerfile)?;
            Ok(context)
        };
        engine.blocking(work).await
    }

    /// Finds the Dockerfile, and what it ignores.
    fn look(&mut self, dockerfile: &str) -> Result<(), Error> {
        self.dockerfile = self
            .read(dockerfile, LARGEST_FILE as u64)?
            .ok_or_else(|| Error::internal(format!("Cannot locate specified Dockerfile: {dockerfile}")))?;
        let own = self.read(&format!("{dockerfile}.dockerignore"), ignore::LARGEST)?;
        let ignored = match own {
            Some(own) => Some(own),
            None => self.read(".dockerignore", ignore::LARGEST)?,
        };
        if let Some(bytes) = ignored {
            self.ignore = Ignore::read(&bytes).map_err(|error| Error::invalid(error.to_string()))?;
        }
        Ok(())
    }

    fn unpack(&self, body: impl Read) -> Result<(), Error> {
        let root = self.root()?.resolve(Path::new("/"))?;
        let target = Target::new(b"/", true, None)?;
        let archive = layer::decompressed(body)?;
        let limits = Limits { entries: MOST_FILES, bytes: MOST_BYTES };
        layer::extract(root.into(), &target, archive, limits).map_err(|error| {
            let error = Error::from(error);
            Error::new(error.kind(), format!("Error processing tar file: {}", error.message()))
        })?;
        Ok(())
    }

    /// The context as a root: no path leads out of it.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn root(&self) -> Result<Root, Error> {
        Ok(Root::open(&self.files)?)
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
        let file = match self.root()?.read(Path::new(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == glassdock_kernel::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::of(Kind::Invalid, &error)),
        };
        if !file.metadata()?.is_file() {
            return Err(Error::invalid(format!("{path} of the context is no file")));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Error::invalid(format!("{path} is larger than {limit} bytes")));
        }
        Ok(Some(bytes))
    }
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
