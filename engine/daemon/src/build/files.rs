//! Files on their way from the context or a stage: which they are, what they consist of
//! (for the cache), and as an archive (to be written).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use glassdock_build::ignore::Ignore;
use glassdock_build::language::pattern::Pattern;
use glassdock_build::mode::Mode;
use glassdock_image::digest::{Algorithm, Hasher};
use glassdock_image::layer;
use glassdock_kernel::path::{Place, Root};
use tar::{EntryType, Header};

use crate::error::{Error, Kind};

/// A pattern means at most so many files.
const MOST_MATCHES: usize = 1_000_000;

/// One source of a COPY: a file, or a folder with all in it.
#[derive(Debug)]
pub struct Source {
    /// Its path below the root, as it was named.
    pub path: String,
    /// Whether it is a folder: then what is in it is copied.
    pub is_folder: bool,
    /// What is copied: paths below the source (empty: itself), sorted.
    entries: Vec<(PathBuf, Metadata)>,
    /// The folders that `--parents` copies along: paths, and what they look like.
    parents: Vec<(PathBuf, Metadata)>,
    /// Its path without what stands before `/./`.
    pub kept: String,
    /// Whether it was fetched from elsewhere.
    pub fetched: bool,
    /// Its own descriptor, and the way through it.
    place: Place,
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

impl Looks {
    /// Whether files stay as the context has them.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.owner.is_none() && self.mode.is_none() && self.latest.is_none() && !self.keep_owner
    }
}

impl Source {
    /// What is copied: paths below the source, sorted.
    #[must_use]
    pub fn entries(&self) -> &[(PathBuf, Metadata)] {
        &self.entries
    }

    /// Finds a source below a root; links are followed inside of it.
    ///
    /// # Errors
    ///
    /// Those of openat2(2) and reading.
    pub fn find(root: &Root, path: &str, exclude: &Ignore) -> Result<Self, Error> {
        let place = root.resolve(Path::new(path)).map_err(|error| Error::of(Kind::Invalid, &error))?;
        let is_folder = place.is_dir()?;
        let mut source = Self {
            path: path.to_owned(),
            is_folder,
            entries: Vec::new(),
            parents: Vec::new(),
            kept: path.trim_start_matches('/').to_owned(),
            fetched: false,
            place,
        };
        if is_folder {
            source.list(exclude)?;
        } else {
            source.entries.push((PathBuf::new(), fs::metadata(source.way(Path::new("")))?));
        }
        Ok(source)
    }

    /// Takes the folders above it along, as `--parents` asks for. What stands before `/./` is none of them.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    pub fn with_parents(mut self, root: &Root, above: &str) -> Result<Self, Error> {
        let whole = self.path.trim_start_matches('/').to_owned();
        let kept = whole.strip_prefix(above).unwrap_or(&whole).trim_start_matches('/');
        let before = whole.strip_suffix(kept).unwrap_or_default().to_owned();
        for (end, _) in kept.match_indices('/') {
            let inner = kept.get(..end).unwrap_or_default();
            let place = root.resolve(Path::new(&format!("{before}{inner}")))?;
            let way = format!("/proc/self/fd/{}", place.as_fd().as_raw_fd());
            self.parents.push((PathBuf::from(inner), fs::metadata(way)?));
        }
        if self.is_folder && !matches!(kept, "" | ".") {
            let way = self.way(Path::new(""));
            self.parents.push((PathBuf::from(kept), fs::metadata(way)?));
        }
        self.kept = kept.to_owned();
        Ok(self)
    }

    /// The way to an entry: through the descriptor, whose link is followed once and no other.
    pub(super) fn way(&self, below: &Path) -> PathBuf {
        let fd = PathBuf::from(format!("/proc/self/fd/{}", self.place.as_fd().as_raw_fd()));
        if below.as_os_str().is_empty() { fd } else { fd.join(below) }
    }

    fn list(&mut self, exclude: &Ignore) -> Result<(), Error> {
        let mut waiting = vec![PathBuf::new()];
        while let Some(folder) = waiting.pop() {
            let mut names = fs::read_dir(self.way(&folder.join(".")))
                .map_err(|error| unread(&folder, &error))?
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()?;
            names.sort_unstable();
            let mut inner = Vec::new();
            for name in names {
                let path = folder.join(&name);
                let text = path.to_string_lossy();
                let metadata = fs::symlink_metadata(self.way(&path))?;
                if metadata.is_dir() && !exclude.prunes(&text) {
                    inner.push(path.clone());
                }
                if !exclude.ignores(&text) && !metadata.file_type().is_socket() {
                    self.entries.push((path, metadata));
                }
            }
            waiting.extend(inner.into_iter().rev());
        }
        self.entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(())
    }

    /// What the source consists of: for each path the digest of its kind, mode and content.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn sums(&self, into: &mut BTreeMap<String, String>) -> Result<(), Error> {
        let mut buffer = vec![0; 128 * 1024];
        // A file with several names is read once.
        let mut known: HashMap<(u64, u64), String> = HashMap::new();
        for (path, metadata) in &self.entries {
            let name = plain(&Path::new(&self.path).join(path));
            let file = (metadata.dev(), metadata.ino());
            if let Some(sum) = known.get(&file).filter(|_| metadata.is_file()) {
                into.insert(name, sum.clone());
                continue;
            }
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(format!("{:o} ", metadata.mode()).as_bytes());
            for (key, value) in self.attributes(path, metadata)? {
                hasher.update(&key);
                hasher.update(&value);
            }
            if metadata.is_symlink() {
                hasher.update(fs::read_link(self.way(path))?.as_os_str().as_encoded_bytes());
            } else if metadata.is_file() {
                let mut file = File::open(self.way(path))?;
                loop {
                    let count = file.read(&mut buffer)?;
                    if count == 0 {
                        break;
                    }
                    hasher.update(&buffer[..count]);
                }
            }
            let sum = hasher.finish().hex().to_owned();
            if metadata.is_file() && metadata.nlink() > 1 {
                known.insert(file, sum.clone());
            }
            into.insert(name, sum);
        }
        Ok(())
    }

    /// The extended attributes of an entry.
    fn attributes(&self, path: &Path, metadata: &Metadata) -> Result<layer::Attributes, Error> {
        // Links have none that matter, and a source that is a file is reached by a link.
        if metadata.is_symlink() {
            return Ok(Vec::new());
        }
        layer::attributes_of(&self.way(path)).map_err(Error::from)
    }

    /// The newest time among its files, in seconds since 1970.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let times = self.entries.iter().map(|(_, metadata)| metadata.mtime());
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
        for (path, metadata) in &self.parents {
            let name = to.join(path);
            let mut header = header(metadata, looks);
            header.set_entry_type(EntryType::Directory);
            out.append_data(&mut header, name.strip_prefix("/").unwrap_or(&name), io::empty())?;
        }
        Ok(())
    }

    /// The source's file, if it is one.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn file(&self) -> Result<Option<File>, Error> {
        match self.entries.as_slice() {
            [(path, metadata)] if !self.is_folder && metadata.is_file() => {
                Ok(Some(File::open(self.way(path))?))
            }
            _ => Ok(None),
        }
    }

    /// Writes the source as entries of an archive, below `to` (or, a file, as `to`), but for what is linked.
    ///
    /// # Errors
    ///
    /// Those of reading and writing.
    pub fn archive(
        &self,
        to: &Path,
        looks: &Looks,
        linked: &HashSet<PathBuf>,
        out: &mut tar::Builder<impl Write>,
    ) -> io::Result<()> {
        let mut firsts: HashMap<(u64, u64), PathBuf> = HashMap::new();
        for (path, metadata) in self.entries.iter().filter(|(path, _)| !linked.contains(path)) {
            let name = if path.as_os_str().is_empty() { to.to_owned() } else { to.join(path) };
            let name = name.strip_prefix("/").unwrap_or(&name).to_owned();
            let mut header = header(metadata, looks);
            if metadata.is_file() && metadata.nlink() > 1 {
                let file = (metadata.dev(), metadata.ino());
                if let Some(first) = firsts.get(&file) {
                    header.set_entry_type(EntryType::Link);
                    header.set_size(0);
                    out.append_link(&mut header, &name, first)?;
                    continue;
                }
                firsts.insert(file, name.clone());
            }
            let attributes = self.attributes(path, metadata).map_err(io::Error::other)?;
            let attributes = attributes.iter().filter_map(|(key, value)| {
                Some((format!("SCHILY.xattr.{}", str::from_utf8(key).ok()?), value.as_slice()))
            });
            let attributes: Vec<(String, &[u8])> = attributes.collect();
            if !attributes.is_empty() {
                out.append_pax_extensions(attributes.iter().map(|(key, value)| (key.as_str(), *value)))?;
            }
            if metadata.is_symlink() {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                out.append_link(&mut header, &name, fs::read_link(self.way(path))?)?;
            } else if metadata.is_dir() {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                out.append_data(&mut header, &name, io::empty())?;
            } else if metadata.is_file() {
                let file = File::open(self.way(path))?;
                // A file of a context doesn't change; one that did all the same must not break the archive.
                let content = file.take(metadata.len()).chain(io::repeat(0)).take(metadata.len());
                out.append_data(&mut header, &name, content)?;
            }
        }
        Ok(())
    }
}

fn header(metadata: &Metadata, looks: &Looks) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    let own = metadata.mode() & 0o7777;
    let change = looks.mode.as_ref().filter(|_| !metadata.is_symlink());
    header.set_mode(change.map_or(own, |mode| mode.of(own, metadata.is_dir())));
    let kept = if looks.keep_owner { (metadata.uid(), metadata.gid()) } else { (0, 0) };
    let (uid, gid) = looks.owner.unwrap_or(kept);
    header.set_uid(u64::from(uid));
    header.set_gid(u64::from(gid));
    let time = u64::try_from(metadata.mtime()).unwrap_or(0);
    header.set_mtime(looks.latest.map_or(time, |latest| time.min(latest)));
    header.set_size(if metadata.is_file() { metadata.len() } else { 0 });
    header
}

/// The paths that a pattern means below a root, sorted; a path without wildcards means itself.
///
/// # Errors
///
/// Invalid, for a pattern that can't be read; those of reading.
pub fn expand(root: &Root, pattern: &str) -> Result<Vec<String>, Error> {
    let pattern = pattern.trim_start_matches('/');
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![if pattern.is_empty() { ".".to_owned() } else { pattern.to_owned() }]);
    }
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let mut next = Vec::new();
        for folder in found {
            one_part(root, &folder, part, &mut next)?;
        }
        next.sort_unstable();
        next.dedup();
        if next.len() > MOST_MATCHES {
            return Err(Error::invalid(format!(
                "the pattern {pattern:?} means more than {MOST_MATCHES} files"
            )));
        }
        found = next;
    }
    Ok(found)
}

/// What one part of a pattern means in a folder.
fn one_part(root: &Root, folder: &str, part: &str, found: &mut Vec<String>) -> Result<(), Error> {
    let join = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    if !part.contains(['*', '?', '[']) {
        found.extend(root.resolve(Path::new(&join(part))).is_ok().then(|| join(part)));
        return Ok(());
    }
    let rule =
        Pattern::file(part).ok_or_else(|| Error::invalid(format!("syntax error in pattern {part:?}")))?;
    let deep = part == "**";
    if deep {
        // No folder at all is one of its meanings.
        found.push(folder.to_owned());
    }
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let inside = if folder.is_empty() { "/" } else { &folder };
        let Ok(place) = root.resolve(Path::new(inside)) else { continue };
        if !place.is_dir()? {
            continue;
        }
        let way = PathBuf::from(format!("/proc/self/fd/{}/.", place.as_fd().as_raw_fd()));
        for entry in fs::read_dir(way)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let whole = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if deep && entry.file_type()?.is_dir() {
                waiting.push(whole.clone());
            }
            if deep || rule.matches(&name) {
                found.push(whole);
            }
        }
        if found.len() > MOST_MATCHES {
            return Ok(());
        }
    }
    Ok(())
}

fn unread(path: &Path, error: &io::Error) -> Error {
    Error::internal(format!("cannot read {} of the source: {error}", path.display()))
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
