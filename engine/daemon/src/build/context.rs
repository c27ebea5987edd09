//! The context: the folder that a client sent, below `ROOT/builds`, gone when the build is over.

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use glassdock_build::ignore::{self, Ignore};
use glassdock_build::language::LARGEST_FILE;
use glassdock_image::layer::{self, Limits, Target};
use glassdock_kernel::path::Root;

use crate::error::{Error, Kind};
use crate::pipe;

/// A context may have so many files.
const MOST_FILES: u64 = 1_000_000;
/// And so many bytes.
const MOST_BYTES: u64 = 64 << 30;

/// A build's folder: the context, and what steps need.
#[derive(Debug)]
pub struct Context {
    folder: PathBuf,
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// What `.dockerignore` says.
    pub ignore: Ignore,
    next: std::sync::atomic::AtomicU64,
}

impl Context {
    /// Takes in the tar that a client sends, and finds its Dockerfile.
    ///
    /// # Errors
    ///
    /// Invalid, if the archive is damaged, too large or hostile; if it has no such Dockerfile.
    pub fn receive(root: &Path, mut body: pipe::Reader, dockerfile: &str) -> Result<Self, Error> {
        let mut digits = [0; 8];
        getrandom::fill(&mut digits).map_err(|error| Error::internal(format!("no random bytes: {error}")))?;
        let folder = root.join("builds").join(hex::encode(digits));
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join("context"))?;
        let mut context = Self { folder, dockerfile: Vec::new(), ignore: Ignore::default(), next: 0.into() };
        context.unpack(&mut body)?;
        context.dockerfile = context
            .read(dockerfile, LARGEST_FILE as u64)?
            .ok_or_else(|| Error::internal(format!("Cannot locate specified Dockerfile: {dockerfile}")))?;
        let own = context.read(&format!("{dockerfile}.dockerignore"), ignore::LARGEST)?;
        let ignored = match own {
            Some(own) => Some(own),
            None => context.read(".dockerignore", ignore::LARGEST)?,
        };
        if let Some(bytes) = ignored {
            context.ignore = Ignore::read(&bytes).map_err(|error| Error::invalid(error.to_string()))?;
        }
        Ok(context)
    }

    fn unpack(&self, body: &mut pipe::Reader) -> Result<(), Error> {
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
        Ok(Root::open(&self.folder.join("context"))?)
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
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            // The next start of the engine sweeps it up.
            tracing::warn!(folder = %self.folder.display(), %error, "a build's folder stays");
        }
    }
}
