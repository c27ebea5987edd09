//! Images: what ties names, documents and layers together.
//!
//! ```text
//!   register: blobs and layers are here ─► rows in one transaction ─► visible
//!   delete:   rows go in one transaction ─► then layers and blobs that nothing else needs
//! ```
//!
//! All that is asked often is answered from memory: a snapshot of the database's
//! rows and the parsed configs, replaced as a whole after each change.
//!
//! After a power loss, files that were written shortly before may be empty though
//! their names are there. Rather than an fsync(2) for each, what is known to be on
//! disk is listed (table `settled`) after one syncfs(2) in the background; what is
//! not in the list when the engine starts after another boot is verified again.

mod collect;

mod delete;

mod lease;

mod make;

mod save;

mod load;

mod resolve;

mod rows;

mod settle;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use glassdock_trace::{Aborted, Body, Trace};

use crate::config::Config;
use crate::content::{self, Store};
use crate::descriptor::Descriptor;
use crate::digest::{ChainId, DiffId, Digest};
use crate::layer::{self, Layers};
use crate::manifest::{self, Document};
use crate::reference::{self, Reference};
use crate::state::{self, State};

pub use collect::{Reclaimed, Usage};
pub use delete::{Removed, User};
pub use lease::Lease;
pub use load::{Loaded, Loading};
pub use make::{Changed, Made};

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such image; Docker's words.
    #[error("No such image: {0}")]
    NotFound(String),
    /// A prefix of several ids.
    #[error("No such image: {0} (the ids of several images begin with it)")]
    Ambiguous(String),
    /// It is used, or has several names; Docker's words.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The image's documents don't agree with each other.
    #[error("the image {image} is not sound: {reason}")]
    Unsound {
        /// Its manifest's digest or its id.
        image: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A document is no JSON of its kind.
    #[error("cannot read the config {digest}")]
    Config {
        /// Which one.
        digest: Digest,
        /// Where it stops to make sense.
        #[source]
        source: serde_json::Error,
    },
    /// An archive that no image can be loaded from.
    #[error("invalid archive: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },
    /// Something could not be written to an archive.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// Another engine uses the root.
    #[error("the root {} is in use by another engine; stop it, or take another --root", .0.display())]
    Locked(PathBuf),
    /// The kernel refused something on the root.
    #[error("cannot {act} {}", path.display())]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A reference that doesn't parse.
    #[error(transparent)]
    Reference(#[from] reference::Error),
    /// A manifest that is none.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The content store.
    #[error(transparent)]
    Content(#[from] content::Error),
    /// The layers.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The database.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Someone who steps through said abort.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// An image as it is known here.
#[derive(Clone, Debug)]
pub struct Image {
    /// The image's id: the digest of its config.
    pub id: Digest,
    /// The manifest that it was registered by.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Arc<Config>,
    /// Its layers, the lowest first.
    pub layers: Vec<ImageLayer>,
    /// Its names: tags and digests, sorted.
    pub references: Vec<Reference>,
    /// The bytes of its unpacked layers.
    pub size: u64,
    /// When it last got a name here, in nanoseconds since 1970.
    pub tagged_ns: i64,
    /// Deleted by force while containers use it: they keep its layers, nobody else finds it.
    pub hidden: bool,
}

impl Image {
    /// The tags, as people write them.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.references.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect()
    }

    /// The digest references, as people write them.
    #[must_use]
    pub fn digests(&self) -> Vec<String> {
        self.references.iter().filter(|name| name.digest().is_some()).map(Reference::familiar).collect()
    }

    /// The chain ids of its layers, the lowest first.
    #[must_use]
    pub fn chain(&self) -> Vec<ChainId> {
        self.layers.iter().map(|layer| layer.chain.clone()).collect()
    }

    /// When it was made, in nanoseconds since 1970; 0 if its config does not say.
    #[must_use]
    pub fn created_ns(&self) -> i64 {
        let created = self.config.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        created.map_or(0, |created| i64::try_from(created.as_nanosecond()).unwrap_or_default())
    }
}

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct ImageLayer {
    /// The digest of its uncompressed archive.
    pub diff_id: DiffId,
    /// The identity of the unpacked layer on its stack.
    pub chain: ChainId,
    /// Its blob.
    pub blob: Descriptor,
}

/// All images of one root. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {
    store: Store,
    layers: Layers,
    state: State,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Held as long as the root is open.
    _lock: File,
    snapshot: RwLock<Arc<rows::Snapshot>>,
    /// Changes of images come one after the other.
    changing: Mutex<()>,
    leases: lease::Leases,
    settling: Mutex<bool>,
}

impl Images {
    /// Opens the root: makes what is missing, clears away what was half done, and
    /// verifies what a power loss may have damaged.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another engine has the root; else what the disk or the database say.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let disk = |act, path: &Path, source| Error::Disk { act, path: path.to_owned(), source };
        fs::create_dir_all(root).map_err(|error| disk("make", root, error))?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(|error| disk("make", &path, error))?;
        if !glassdock_kernel::disk::lock_for_life(&lock).map_err(|error| disk("lock", &path, error))? {
            return Err(Error::Locked(root.to_owned()));
        }
        let state = State::open(root)?;
        let store = Store::open(root)?;
        store.remove_apart();
        let layers = Layers::open(root)?;
        let shared = Shared {
            root: root.to_owned(),
            _lock: lock,
            snapshot: RwLock::default(),
            changing: Mutex::default(),
            leases: lease::Leases::default(),
            settling: Mutex::default(),
        };
        let images = Self { store, layers, state, shared: Arc::new(shared) };
        images.recover()?;
        images.refresh()?;
        Ok(images)
    }

    /// The content store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The unpacked layers.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The database.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A new lease. Hold a digest with it *before* looking whether the thing is here.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.shared.leases.lease()
    }

    /// The lower directories for an overlay, the uppermost first. They are there after [`Images::ready`].
    #[must_use]
    pub fn stack(&self, image: &Image) -> Vec<PathBuf> {
        self.layers.stack(&image.chain())
    }

    /// Makes an image visible whose manifest, config and layers are all here, and
    /// puts names on it: tags, and the digest references that it was pulled by.
    /// All or nothing; an image that is here already only gets the names.
    ///
    /// # Errors
    ///
    /// [`Error::Unsound`] if a part is missing or the parts don't agree.
    pub fn register(
        &self,
        trace: &Trace,
        manifest: &Descriptor,
        references: &[Reference],
    ) -> Result<Arc<Image>, Error> {
        let unsound = |reason: String| Error::Unsound { image: manifest.digest.clone(), reason };
        let bytes = self.store.read(&manifest.digest)?;
        let Document::Manifest(document) = Document::parse(&manifest.media_type, &bytes)? else {
            return Err(unsound("it is an index, not a manifest".to_owned()));
        };
        let id = document.config.digest.clone();
        let config = self.config(&id)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != document.layers.len() {
            let (layers, diffs) = (document.layers.len(), diff_ids.len());
            return Err(unsound(format!("its manifest has {layers} layers, its config {diffs}")));
        }
        let mut layers = Vec::with_capacity(diff_ids.len());
        let mut size = 0;
        let parts = ChainId::chain(diff_ids).into_iter().zip(diff_ids).zip(&document.layers);
        for ((chain, diff_id), blob) in parts {
            let known = self.layers.size(&chain);
            size += known.ok_or_else(|| unsound(format!("its layer {chain} is not unpacked")))?.bytes;
            if self.store.has(&blob.digest).is_none() {
                return Err(unsound(format!("its blob {} is missing", blob.digest)));
            }
            layers.push(ImageLayer { diff_id: diff_id.clone(), chain, blob: blob.clone() });
        }
        let manifest =
            Descriptor::new(manifest.media_type.clone(), manifest.digest.clone(), bytes.len() as u64);
        let tagged_ns = now_ns();
        let image =
            Image { id, manifest, config, layers, references: Vec::new(), size, tagged_ns, hidden: false };
        let names: Vec<Reference> = references.to_vec();
        let spans = names.iter().filter(|name| name.digest().is_none()).map(|name| {
            trace.begin(Body::ImageTag { reference: name.familiar(), image: image.id.to_string() })
        });
        // The gate comes before the change, so that nothing is locked while someone looks around.
        let spans: Vec<_> = spans.collect::<Result<_, _>>()?;
        let result = self.change(|| self.insert(&image, &names));
        let result = spans.into_iter().fold(result, |result, span| span.finish(result));
        result?;
        self.settle_soon();
        self.by_id(&image.id).ok_or_else(|| Error::NotFound(image.id.to_string()))
    }

    /// Puts a name on an image; another image that had it loses it.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub fn tag(&self, trace: &Trace, image: &Digest, reference: &Reference) -> Result<(), Error> {
        let reference = reference.with_default_tag();
        let body = Body::ImageTag { reference: reference.familiar(), image: image.to_string() };
        trace.step(body, |_| self.change(|| self.insert_names(image, std::slice::from_ref(&reference))))
    }

    /// Remembers the digest that a registry knows an image by, after a push: as a name, without a step of its own.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub fn note_digest(&self, image: &Digest, reference: &Reference) -> Result<(), Error> {
        self.change(|| self.insert_names(image, std::slice::from_ref(reference)))
    }

    fn config(&self, id: &Digest) -> Result<Arc<Config>, Error> {
        if let Some(image) = self.by_id(id) {
            return Ok(Arc::clone(&image.config));
        }
        let bytes = self.store.read(id)?;
        let config =
            serde_json::from_slice(&bytes).map_err(|source| Error::Config { digest: id.clone(), source })?;
        Ok(Arc::new(config))
    }

    /// Does one change, and then replaces the snapshot.
    fn change<T>(&self, change: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _one = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let value = change()?;
        self.refresh()?;
        Ok(value)
    }

    fn snapshot(&self) -> Arc<rows::Snapshot> {
        Arc::clone(&self.shared.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn refresh(&self) -> Result<(), Error> {
        let snapshot = Arc::new(self.load()?);
        *self.shared.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }
}

fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod archive_tests;

#[cfg(test)]
mod later_tests;
