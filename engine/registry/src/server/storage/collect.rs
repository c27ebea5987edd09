//! Garbage: what nothing needs any more goes, while the registry serves.
//!
//! ```text
//!   mark     which blobs do the manifests of each repository name? which do repositories have?
//!   sweep    alone, a little at a time: what was needed by nothing, and by nobody since
//! ```
//!
//! - A repository gives up a blob that none of its manifests names. One that came or was
//!   asked for lately stays: a client may push it first and its manifest later.
//! - The bytes of a blob go when no repository has it.
//!
//! Whoever adds something holds the lock together with others, and tells the file's time that
//! it is wanted. The sweep holds the lock alone, and looks at that time again: so nothing is
//! lost that was added between the mark and the sweep.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::manifests::Reference;
use super::{Storage, digest_of, file_name};
use crate::server::error::Refusal;
use crate::server::manifest::Manifest;
use crate::server::name::Name;
use glassdock_image::digest::Digest;

/// What was pushed or asked for so lately is left alone.
pub(crate) const GRACE: Duration = Duration::from_secs(60 * 60);
/// So many files go while the lock is held once.
const ROUND: usize = 128;

/// What a collection is told.
#[derive(Clone, Copy, Debug)]
pub struct Collecting {
    /// What came or was asked for within this time stays, needed or not.
    pub grace: Duration,
    /// Uploads that nobody went on with for so long are given up.
    pub uploads: Duration,
    /// Whether manifests go too that have no tag, are in no index and are about nothing.
    pub untagged: bool,
    /// Only count.
    pub dry_run: bool,
}

impl Default for Collecting {
    fn default() -> Self {
        Self { grace: GRACE, uploads: Duration::from_secs(7 * 24 * 60 * 60), untagged: false, dry_run: false }
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests that were taken out of repositories.
    pub manifests: u64,
    /// Blobs that were taken out of repositories.
    pub links: u64,
    /// Blobs and manifests whose bytes went.
    pub blobs: u64,
    /// How many bytes that were.
    pub bytes: u64,
    /// Uploads that were given up.
    pub uploads: u64,
}

impl Storage {
    /// Collects garbage. Clients notice nothing but a pause of some milliseconds now and then.
    pub(crate) fn collect(&self, how: Collecting) -> Result<Collected, Refusal> {
        let begun = SystemTime::now();
        let before = begun.checked_sub(how.grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut done = Collected::default();
        if !how.dry_run {
            done.uploads = self.expire_uploads(how.uploads)?;
        }
        let mut live = HashSet::new();
        let mut names = self.repositories_with("_blobs")?;
        names.extend(self.repositories()?);
        names.sort_unstable();
        names.dedup();
        for name in &names {
            if how.untagged {
                done.manifests += self.collect_manifests(name, before, how.dry_run)?;
            }
            done.links += self.collect_links(name, before, how.dry_run, &mut live)?;
        }
        self.collect_blobs(&live, before, how.dry_run, &mut done)?;
        Ok(done)
    }

    /// Manifests that nothing leads to any more.
    fn collect_manifests(&self, name: &Name, before: SystemTime, dry_run: bool) -> Result<u64, Refusal> {
        let _alone = self.alone()?;
        let mut reached = HashSet::new();
        for tag in self.tags(name)?.iter() {
            reached.extend(self.tag(name, tag)?);
        }
        let manifests = self.manifests(name)?;
        // What an index names is reached where the index is; indexes may lie in indexes.
        loop {
            let count = reached.len();
            for (digest, manifest) in &manifests {
                if manifest.subject.as_ref().is_some_and(|subject| reached.contains(subject)) {
                    reached.insert(digest.clone());
                }
                if reached.contains(digest) {
                    reached.extend(manifest.manifests.iter().cloned());
                }
            }
            if reached.len() == count {
                break;
            }
        }
        let mut count = 0;
        for (digest, _) in manifests.iter().filter(|(digest, _)| !reached.contains(digest)) {
            if is_older(&self.manifest_link(name, digest), before) {
                count += 1;
                if !dry_run {
                    self.delete_manifest(name, digest)?;
                }
            }
        }
        Ok(count)
    }

    /// Blobs that a repository has and none of its manifests names. What it keeps is added to `live`.
    fn collect_links(
        &self,
        name: &Name,
        before: SystemTime,
        dry_run: bool,
        live: &mut HashSet<Digest>,
    ) -> Result<u64, Refusal> {
        let (mut seen, mut named) = (HashSet::new(), HashSet::new());
        self.read_marks(name, &mut seen, &mut named)?;
        let alone = self.alone()?;
        // Manifests that came while the others were read.
        self.read_marks(name, &mut seen, &mut named)?;
        live.extend(seen);
        let folder = self.repository(name).join("_blobs");
        let mut gone = Vec::new();
        for digest in super::listing::file_names(&folder)?.iter().filter_map(|file| digest_of(file)) {
            let path = folder.join(file_name(&digest));
            if !named.contains(&digest) && is_older(&path, before) {
                gone.push(path);
            } else {
                live.insert(digest);
            }
        }
        if !dry_run {
            gone.iter().try_for_each(|path| remove(path))?;
        }
        drop(alone);
        Ok(gone.len() as u64)
    }

    /// Reads the manifests of a repository that are not in `seen` yet: the blobs that they
    /// name are `named`.
    fn read_marks(
        &self,
        name: &Name,
        seen: &mut HashSet<Digest>,
        named: &mut HashSet<Digest>,
    ) -> Result<(), Refusal> {
        let folder = self.repository(name).join("_manifests");
        for digest in super::listing::file_names(&folder)?.iter().filter_map(|file| digest_of(file)) {
            if !seen.contains(&digest) {
                let Some(manifest) = self.parsed(name, &digest)? else { continue };
                named.extend(manifest.blobs.into_iter().map(|(digest, _)| digest));
                seen.insert(digest);
            }
        }
        Ok(())
    }

    fn collect_blobs(
        &self,
        live: &HashSet<Digest>,
        before: SystemTime,
        dry_run: bool,
        done: &mut Collected,
    ) -> Result<(), Refusal> {
        let mut dead: Vec<PathBuf> = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let folder = self.root.join("blobs").join(algorithm);
            for part in super::listing::file_names(&folder)? {
                for hex in super::listing::file_names(&folder.join(&part))? {
                    let path = folder.join(&part).join(&hex);
                    let digest = format!("{algorithm}:{hex}").parse::<Digest>();
                    if digest.is_ok_and(|digest| !live.contains(&digest)) && is_older(&path, before) {
                        dead.push(path);
                    }
                }
            }
        }
        for round in dead.chunks(ROUND) {
            let _alone = self.alone()?;
            for path in round {
                // Somebody may have put it into a repository since.
                if !is_older(path, before) {
                    continue;
                }
                done.blobs += 1;
                done.bytes += fs::metadata(path).map_or(0, |metadata| metadata.len());
                if !dry_run {
                    remove(path)?;
                }
            }
        }
        Ok(())
    }

    /// The manifests of a repository.
    fn manifests(&self, name: &Name) -> Result<Vec<(Digest, Manifest)>, Refusal> {
        let folder = self.repository(name).join("_manifests");
        let mut found = Vec::new();
        for digest in super::listing::file_names(&folder)?.iter().filter_map(|file| digest_of(file)) {
            if let Some(manifest) = self.parsed(name, &digest)? {
                found.push((digest, manifest));
            }
        }
        Ok(found)
    }

    /// A manifest that can't be read ends the collection: what it needs isn't known. One that
    /// was deleted since its folder was listed needs nothing.
    fn parsed(&self, name: &Name, digest: &Digest) -> Result<Option<Manifest>, Refusal> {
        match self.manifest(name, &Reference::Digest(digest.clone())) {
            Ok(stored) => Manifest::parse(&stored.bytes, Some(&stored.media_type)).map(Some),
            Err(_) if !self.manifest_link(name, digest).exists() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Waits until nobody adds anything, and keeps all from it.
    fn alone(&self) -> Result<File, Refusal> {
        let path = self.root.join("lock");
        let file = File::open(&path).map_err(|source| Refusal::disk("open", &path, source))?;
        file.lock().map_err(|source| Refusal::disk("lock", &path, source))?;
        Ok(file)
    }
}

fn is_older(path: &Path, than: SystemTime) -> bool {
    fs::metadata(path).and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified < than)
}

fn remove(path: &Path) -> Result<(), Refusal> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Refusal::disk("remove", path, source))
        }
        _ => Ok(()),
    }
}
