//! Files on their way from the context or a stage: which they are, what they consist of
//! (for the cache), and as an archive (to be written).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use glassdock_build::ignore::Ignore;
use glassdock_build::mode::Mode;
use glassdock_image::layer::spool::{Facts, Kind, Part};
use tar::{EntryType, Header};

use super::tree::{Origin, Tree};
use crate::error::Error;

/// The paths of a source have at most so many bytes, taken together: they are held in memory.
const MOST_PATHS: usize = 256 << 20;

/// One source of a COPY: a file, or a folder with all in it.
#[derive(Debug)]
pub struct Source {
    /// Its path below the root, as it was named.
    pub path: String,
    /// Whether it is a folder: then what is in it is copied.
    pub is_folder: bool,
    /// What is copied: paths below the source (empty: itself), sorted.
    pub entries: Vec<(PathBuf, Facts)>,
    /// The folders that `--parents` copies along: paths, and what they look like.
    parents: Vec<(PathBuf, Facts)>,
    /// Its path without what stands before `/./`.
    pub kept: String,
    /// Whether it was fetched from elsewhere.
    pub fetched: bool,
    /// Where it was found.
    pub origin: Origin,
    /// What is known of it itself.
    pub facts: Facts,
}

/// How files are to be written.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// Who is to own them; else root.
    pub owner: Option<(u32, u32)>,
    /// What becomes of their mode, if that is said.
    pub mode: Option<Mode>,
    /// The latest time that a file may have, in seconds since 1970.
    pub latest: Option<u64>,
    /// Whether owners stay as they are: those of another stage.
    pub keep_owner: bool,
}

/// What one file looks like when it is written.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Its mode, without the bits of its kind.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
    /// When it was changed, in seconds since 1970.
    pub time: u64,
}

impl Looks {
    /// What becomes of a file.
    #[must_use]
    pub fn of(&self, facts: &Facts) -> Look {
        let own = facts.mode & 0o7777;
        let change = self.mode.as_ref().filter(|_| !facts.is_link());
        let kept = if self.keep_owner { facts.owner } else { (0, 0) };
        let time = u64::try_from(facts.modified.0).unwrap_or(0);
        Look {
            mode: change.map_or(own, |mode| mode.of(own, facts.is_folder())),
            owner: self.owner.unwrap_or(kept),
            time: self.latest.map_or(time, |latest| time.min(latest)),
        }
    }
}

impl Source {
    /// Finds a source in a tree; links are followed inside of it. `exclude` speaks of paths below the source,
    /// `ignore` of those in the tree.
    ///
    /// # Errors
    ///
    /// Those of openat2(2) and reading.
    pub fn find(tree: &Tree, path: &str, exclude: &Ignore, ignore: &Ignore) -> Result<Self, Error> {
        let (origin, facts) = tree.find(Path::new(path))?;
        let mut source = Self {
            path: path.to_owned(),
            is_folder: facts.is_folder(),
            entries: Vec::new(),
            parents: Vec::new(),
            kept: path.trim_start_matches('/').to_owned(),
            fetched: false,
            origin,
            facts,
        };
        if source.is_folder {
            source.list(exclude, ignore)?;
        } else {
            source.entries.push((PathBuf::new(), facts));
        }
        Ok(source)
    }

    /// Takes the folders above it along, as `--parents` asks for. What stands before `/./` is none of them.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    pub fn with_parents(mut self, tree: &Tree, above: &str) -> Result<Self, Error> {
        let whole = self.path.trim_start_matches('/').to_owned();
        let kept = whole.strip_prefix(above).unwrap_or(&whole).trim_start_matches('/');
        let before = whole.strip_suffix(kept).unwrap_or_default().to_owned();
        for (end, _) in kept.match_indices('/') {
            let inner = kept.get(..end).unwrap_or_default();
            let (_, facts) = tree.find(Path::new(&format!("{before}{inner}")))?;
            self.parents.push((PathBuf::from(inner), facts));
        }
        if self.is_folder && !matches!(kept, "" | ".") {
            self.parents.push((PathBuf::from(kept), self.facts));
        }
        self.kept = kept.to_owned();
        Ok(self)
    }

    fn list(&mut self, exclude: &Ignore, ignore: &Ignore) -> Result<(), Error> {
        let mut paths = 0;
        let mut waiting = vec![(PathBuf::new(), self.facts)];
        while let Some((folder, facts)) = waiting.pop() {
            for (name, facts) in self.origin.list(&folder, &facts)? {
                let path = folder.join(&name);
                paths += path.as_os_str().len();
                if paths > MOST_PATHS {
                    return Err(Error::invalid(format!(
                        "{} has more than {MOST_PATHS} bytes of paths",
                        self.path
                    )));
                }
                let text = path.to_string_lossy();
                let whole = (!ignore.is_empty()).then(|| plain(&Path::new(&self.path).join(&path)));
                let whole = whole.as_deref();
                let out = exclude.ignores(&text) || whole.is_some_and(|path| ignore.ignores(path));
                let pruned = || exclude.prunes(&text) || whole.is_some_and(|path| ignore.prunes(path));
                if facts.is_folder() && !(out && pruned()) {
                    waiting.push((path.clone(), facts));
                }
                if !out && facts.kind != Kind::Socket {
                    self.entries.push((path, facts));
                }
            }
        }
        self.entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(())
    }

    /// What the source consists of: for each path the digest of its kind, mode and content, and if `owned` whom
    /// it belongs to.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn sums(&self, owned: bool, into: &mut BTreeMap<String, String>) -> Result<(), Error> {
        // A file with several names is read once.
        let mut known: HashMap<(u64, u64), String> = HashMap::new();
        for (path, facts) in &self.entries {
            let name = plain(&Path::new(&self.path).join(path));
            if let Some(sum) = known.get(&facts.file).filter(|_| facts.is_file()) {
                into.insert(name, sum.clone());
                continue;
            }
            let mut sum = hex::encode(self.origin.sum(path, facts)?);
            if owned && facts.owner != (0, 0) {
                sum.push_str(&format!(" {}:{}", facts.owner.0, facts.owner.1));
            }
            if facts.is_file() && facts.names > 1 {
                known.insert(facts.file, sum.clone());
            }
            into.insert(name, sum);
        }
        Ok(())
    }

    /// The newest time among its files, in seconds since 1970.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let times = self.entries.iter().map(|(_, facts)| facts.modified.0);
        times.max().and_then(|time| u64::try_from(time).ok()).unwrap_or(0)
    }

    /// Writes the folders above it, below `to`.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn archive_parents(
        &self,
        to: &Path,
        looks: &Looks,
        out: &mut tar::Builder<impl Write>,
    ) -> io::Result<()> {
        for (path, facts) in &self.parents {
            let name = to.join(path);
            let mut header = header(looks.of(facts), EntryType::Directory, 0);
            out.append_data(&mut header, name.strip_prefix("/").unwrap_or(&name), io::empty())?;
        }
        Ok(())
    }

    /// The source's file, if it is one.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn file(&self) -> Result<Option<Part>, Error> {
        match self.entries.as_slice() {
            [(path, facts)] if !self.is_folder && facts.is_file() => Ok(Some(self.origin.open(path, facts)?)),
            _ => Ok(None),
        }
    }

    /// Writes the source as entries of an archive, below `to` (or, a file, as `to`), but for those that are
    /// written otherwise.
    ///
    /// # Errors
    ///
    /// Those of reading and writing.
    pub fn archive(
        &self,
        to: &Path,
        looks: &Looks,
        otherwise: &HashSet<usize>,
        out: &mut tar::Builder<impl Write>,
    ) -> io::Result<()> {
        let mut firsts: HashMap<(u64, u64), PathBuf> = HashMap::new();
        for (number, (path, facts)) in self.entries.iter().enumerate() {
            if otherwise.contains(&number) {
                continue;
            }
            let name = if path.as_os_str().is_empty() { to.to_owned() } else { to.join(path) };
            let name = name.strip_prefix("/").unwrap_or(&name).to_owned();
            let look = looks.of(facts);
            if facts.is_file() && facts.names > 1 {
                if let Some(first) = firsts.get(&facts.file) {
                    out.append_link(&mut header(look, EntryType::Link, 0), &name, first)?;
                    continue;
                }
                firsts.insert(facts.file, name.clone());
            }
            let attributes = self.origin.attributes(path, facts).map_err(io::Error::other)?;
            let attributes = attributes.iter().filter_map(|(key, value)| {
                Some((format!("SCHILY.xattr.{}", str::from_utf8(key).ok()?), value.as_slice()))
            });
            let attributes: Vec<(String, &[u8])> = attributes.collect();
            if !attributes.is_empty() {
                out.append_pax_extensions(attributes.iter().map(|(key, value)| (key.as_str(), *value)))?;
            }
            match facts.kind {
                Kind::Link => {
                    let mut header = header(look, EntryType::Symlink, 0);
                    out.append_link(&mut header, &name, self.origin.link(path, facts)?)?;
                }
                Kind::Folder => {
                    out.append_data(&mut header(look, EntryType::Directory, 0), &name, io::empty())?;
                }
                Kind::File => {
                    let file = self.origin.open(path, facts)?;
                    // A file of a source doesn't change; one that did all the same must not break the archive.
                    let content = file.take(facts.size).chain(io::repeat(0)).take(facts.size);
                    out.append_data(&mut header(look, EntryType::Regular, facts.size), &name, content)?;
                }
                Kind::Socket | Kind::Other => {}
            }
        }
        Ok(())
    }
}

fn header(look: Look, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(look.mode);
    header.set_uid(u64::from(look.owner.0));
    header.set_gid(u64::from(look.owner.1));
    header.set_mtime(look.time);
    header.set_size(size);
    header
}

/// The bytes of all files below a folder; what can't be read counts nothing.
#[must_use]
pub fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// The last part of a path.
#[must_use]
pub fn base(path: &str) -> &str {
    Path::new(path).file_name().and_then(OsStr::to_str).unwrap_or("")
}

/// A path as people write it: without a leading `./`, and without the slash that a path ends with
/// when it was joined with nothing.
fn plain(path: &Path) -> String {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.collect::<PathBuf>().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_as_people_write_them() {
        for (path, wanted) in [("page.txt/", "page.txt"), ("./main.txt", "main.txt"), ("./a/./b/", "a/b")] {
            assert_eq!(plain(Path::new(path)), wanted);
        }
    }
}
