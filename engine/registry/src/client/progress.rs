//! What a pull or push tells while it works, for bars on a terminal.

use glassdock_image::Digest;

/// Whoever wants to know how far it is. Called often, from many threads: it must be quick.
pub trait Progress: Send + Sync {
    /// Something changed.
    fn report(&self, update: Update);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _update: Update) {}
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The manifest is known; these layers will follow, the lowest first.
    Layers(Vec<Digest>),
    /// A layer is somewhere else on its way.
    Layer {
        /// The digest of its blob.
        digest: Digest,
        /// Where it is.
        state: LayerState,
    },
}

/// Where a layer is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// Its turn comes later.
    Waiting,
    /// It is being fetched; bytes.
    Downloading {
        /// So much is here.
        current: u64,
        /// Of so much.
        total: u64,
    },
    /// All is here and held against its digest.
    Verifying,
    /// The blob is right.
    Downloaded,
    /// It is being unpacked; bytes of the blob.
    Extracting {
        /// So much is done.
        current: u64,
        /// Of so much.
        total: u64,
    },
    /// It is in its place.
    PullComplete,
    /// It was here before.
    AlreadyExists,
    /// A push looks whether the registry has it.
    Preparing,
    /// It is being sent; bytes.
    Pushing {
        /// So much is sent.
        current: u64,
        /// Of so much.
        total: u64,
    },
    /// The registry has it now.
    Pushed,
    /// The registry had it before.
    LayerExists,
    /// The registry took it over from another of its repositories.
    Mounted {
        /// That repository.
        from: String,
    },
    /// A break; it goes on in so many seconds.
    Retrying {
        /// Seconds.
        seconds: u64,
    },
}
