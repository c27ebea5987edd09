//! Where files of COPY, ADD and RUN's mounts are found: in a folder (a stage's stack, a repository), or in a
//! context that came as an archive and was never unpacked. Both answer the same questions.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glassdock_image::layer::spool::{Facts, Id, Part, Spool, Sum};
use glassdock_image::layer::{self, Attributes};
use glassdock_kernel::path::{Place, Root};

use crate::error::{Error, Kind};

/// A tree of files. No path leads out of it, whatever its links say.
#[derive(Debug)]
pub enum Tree {
    /// On the disk.
    Folder(Root),
    /// In an archive.
    Spool(Arc<Spool>),
}

/// Something that was found in a tree.
#[derive(Debug)]
pub enum Origin {
    /// On the disk: its own descriptor.
    Place(Place),
    /// In an archive.
    Part(Arc<Spool>, Id),
}

impl Tree {
    /// What lies at a path; links are followed inside the tree.
    ///
    /// # Errors
    ///
    /// Invalid, in the words of openat2(2).
    pub fn find(&self, path: &Path) -> Result<(Origin, Facts), Error> {
        match self {
            Self::Folder(root) => {
                let place = root.resolve(path).map_err(|error| Error::of(Kind::Invalid, &error))?;
                let facts = Facts::from(&place.metadata()?);
                Ok((Origin::Place(place), facts))
            }
            Self::Spool(spool) => {
                let id = spool
                    .find(path)
                    .map_err(|error| Error::invalid(format!("{} of the context: {error}", path.display())))?;
                Ok((Origin::Part(Arc::clone(spool), id), spool.facts(id)))
            }
        }
    }

    /// Whether something lies at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        match self {
            Self::Folder(root) => root.resolve(Path::new(path)).is_ok(),
            Self::Spool(spool) => spool.find(Path::new(path)).is_ok(),
        }
    }
}

impl Origin {
    /// What is in a folder, sorted by names: `below` is its path from here on, `folder` what is known of it.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn list(&self, below: &Path, folder: &Facts) -> Result<Vec<(OsString, Facts)>, Error> {
        match self {
            Self::Place(place) => {
                let entries = fs::read_dir(way(place, &below.join("."))).map_err(|error| {
                    Error::internal(format!("cannot read {} of the source: {error}", below.display()))
                })?;
                let mut found = Vec::new();
                for entry in entries {
                    let entry = entry?;
                    found.push((entry.file_name(), Facts::from(&entry.metadata()?)));
                }
                found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                Ok(found)
            }
            Self::Part(spool, _) => {
                let names = spool.list(id(folder));
                Ok(names.map(|(name, id)| (OsStr::from_bytes(name).to_owned(), spool.facts(id))).collect())
            }
        }
    }

    /// A file's content.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(&self, below: &Path, file: &Facts) -> std::io::Result<Part> {
        match self {
            Self::Place(place) => Part::whole(File::open(way(place, below))?),
            Self::Part(spool, _) => Ok(spool.open(id(file))),
        }
    }

    /// Where a link leads.
    ///
    /// # Errors
    ///
    /// Those of readlink(2).
    pub fn link(&self, below: &Path, link: &Facts) -> std::io::Result<PathBuf> {
        match self {
            Self::Place(place) => fs::read_link(way(place, below)),
            Self::Part(spool, _) => {
                Ok(PathBuf::from(OsStr::from_bytes(spool.link(id(link)).unwrap_or_default())))
            }
        }
    }

    /// Extended attributes, sorted.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn attributes(&self, below: &Path, facts: &Facts) -> Result<Attributes, Error> {
        match self {
            // Links have none that matter, and a source that is a file is reached by a link.
            Self::Place(_) if facts.is_link() => Ok(Attributes::new()),
            Self::Place(place) => layer::attributes_of(&way(place, below)).map_err(Error::from),
            Self::Part(spool, _) => Ok(spool.attributes(id(facts)).to_vec()),
        }
    }

    /// The sum of what something is: its kind, mode, extended attributes and content.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn sum(&self, below: &Path, facts: &Facts) -> Result<[u8; 32], Error> {
        if let Self::Part(spool, _) = self {
            return Ok(spool.sum(id(facts))?);
        }
        let mut sum = Sum::new(facts.mode, &self.attributes(below, facts)?);
        if facts.is_link() {
            sum.update(self.link(below, facts)?.as_os_str().as_bytes());
        } else if facts.is_file() {
            self.open(below, facts)?.pieces(|piece| sum.update(piece))?;
        }
        Ok(sum.finish())
    }
}

/// The way to an entry: through the descriptor, whose link is followed once and no other.
fn way(place: &Place, below: &Path) -> PathBuf {
    let fd = PathBuf::from(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()));
    if below.as_os_str().is_empty() { fd } else { fd.join(below) }
}

/// Which part of an archive that is.
fn id(facts: &Facts) -> Id {
    Id::of(facts)
}
