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

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::keys::{self, digest_of};
use super::manifests::Reference;
use super::{Act, Storage};
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

/// What a collection knows of a repository: the manifests that it read, and what they name.
#[derive(Default)]
struct Marks {
    seen: HashSet<Digest>,
    named: HashSet<Digest>,
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
        // Before any blob goes: what belongs to one that goes now stays until the next time.
        self.place.tidy(before, how.dry_run, &mut done)?;
        let mut live = HashSet::new();
        let mut marks = HashMap::new();
        let mut names = self.repositories_with("_blobs")?;
        names.extend(self.repositories()?);
        names.sort_unstable();
        names.dedup();
        for name in names {
            if how.untagged {
                done.manifests += self.collect_manifests(&name, before, how.dry_run)?;
            }
            let mut known = Marks::default();
            done.links += self.collect_links(&name, before, how.dry_run, &mut known, &mut live)?;
            if self.place.looks_again() {
                marks.insert(name, known);
            }
        }
        let gone = self.collect_blobs(&live, before, how.dry_run, &mut done)?;
        if self.place.looks_again() && !how.dry_run {
            self.look_again(marks, &gone)?;
        }
        Ok(done)
    }

    /// Manifests that nothing leads to any more.
    fn collect_manifests(&self, name: &Name, before: SystemTime, dry_run: bool) -> Result<u64, Refusal> {
        let _alone = self.place.alone()?;
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
            if self.is_older(&keys::manifest_link(name, digest), before)? {
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
        marks: &mut Marks,
        live: &mut HashSet<Digest>,
    ) -> Result<u64, Refusal> {
        self.read_marks(name, marks)?;
        let alone = self.place.alone()?;
        // Manifests that came while the others were read.
        self.read_marks(name, marks)?;
        live.extend(marks.seen.iter().cloned());
        let mut gone = Vec::new();
        for digest in self.digests(&keys::part(name, "_blobs"))? {
            let link = keys::blob_link(name, &digest);
            if !marks.named.contains(&digest) && self.is_older(&link, before)? {
                gone.push(link);
            } else {
                live.insert(digest);
            }
        }
        if !dry_run {
            self.place.remove(&gone)?;
        }
        drop(alone);
        Ok(gone.len() as u64)
    }

    /// Reads the manifests of a repository that weren't seen yet: the blobs that they name are `named`.
    fn read_marks(&self, name: &Name, marks: &mut Marks) -> Result<(), Refusal> {
        for digest in self.digests(&keys::part(name, "_manifests"))? {
            if !marks.seen.contains(&digest) {
                let Some(manifest) = self.parsed(name, &digest)? else { continue };
                marks.named.extend(manifest.blobs.into_iter().map(|(digest, _)| digest));
                marks.seen.insert(digest);
            }
        }
        Ok(())
    }

    /// Takes blobs out that no repository has, and tells which.
    fn collect_blobs(
        &self,
        live: &HashSet<Digest>,
        before: SystemTime,
        dry_run: bool,
        done: &mut Collected,
    ) -> Result<HashSet<Digest>, Refusal> {
        let mut gone = HashSet::new();
        let mut dead = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let folder = format!("blobs/{algorithm}");
            for part in self.place.names(&folder)? {
                for hex in self.place.names(&format!("{folder}/{part}"))? {
                    let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
                    if !live.contains(&digest) && self.is_older(&keys::blob(&digest), before)? {
                        dead.push(digest);
                    }
                }
            }
        }
        for round in dead.chunks(ROUND) {
            let _alone = self.place.alone()?;
            for digest in round {
                let key = keys::blob(digest);
                // Somebody may have put it into a repository since.
                if !self.is_older(&key, before)? {
                    continue;
                }
                done.blobs += 1;
                done.bytes += self.stored_size(digest)?.unwrap_or(0);
                if dry_run {
                    continue;
                }
                self.place.retire_blob(digest)?;
                gone.insert(digest.clone());
            }
        }
        Ok(gone)
    }

    /// Where who adds can't be kept out: puts back what a manifest names that came meanwhile. Who
    /// came later than this looks again itself ([`Storage::put_back`]).
    fn look_again(&self, mut marks: HashMap<Name, Marks>, gone: &HashSet<Digest>) -> Result<(), Refusal> {
        for name in self.repositories()? {
            let mut known = marks.remove(&name).unwrap_or_default();
            let before = std::mem::take(&mut known.named);
            self.read_marks(&name, &mut known)?;
            let mut acts = Vec::new();
            for digest in
                known.named.difference(&before).chain(&known.seen).filter(|digest| gone.contains(*digest))
            {
                self.place.bring_back(digest)?;
            }
            for digest in known.named.difference(&before) {
                acts.push(Act::write(keys::blob_link(&name, digest), Bytes::new()));
            }
            self.place.commit(&acts)?;
        }
        Ok(())
    }

    /// The manifests of a repository.
    fn manifests(&self, name: &Name) -> Result<Vec<(Digest, Manifest)>, Refusal> {
        let mut found = Vec::new();
        for digest in self.digests(&keys::part(name, "_manifests"))? {
            if let Some(manifest) = self.parsed(name, &digest)? {
                found.push((digest, manifest));
            }
        }
        Ok(found)
    }

    fn digests(&self, folder: &str) -> Result<Vec<Digest>, Refusal> {
        Ok(self.place.names(folder)?.iter().filter_map(|file| digest_of(file)).collect())
    }

    /// A manifest that can't be read ends the collection: what it needs isn't known. One that
    /// was deleted since its folder was listed needs nothing.
    fn parsed(&self, name: &Name, digest: &Digest) -> Result<Option<Manifest>, Refusal> {
        match self.manifest(name, &Reference::Digest(digest.clone())) {
            Ok(stored) => Manifest::parse(&stored.bytes, Some(&stored.media_type)).map(Some),
            Err(_) if self.place.look(&keys::manifest_link(name, digest))?.is_none() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn is_older(&self, key: &str, than: SystemTime) -> Result<bool, Refusal> {
        Ok(self.place.look(key)?.is_some_and(|look| look.changed < than))
    }
}
