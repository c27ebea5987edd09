//! What can go wrong with layers.

use std::io;
use std::path::{Path, PathBuf};

use glassdock_trace::Aborted;

use crate::digest::DiffId;

/// Why a layer could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive's bytes could not be read or decompressed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive is not well formed.
    #[error("the archive is damaged: {0}")]
    Damaged(&'static str),
    /// An entry that must not be done, or that makes no sense.
    #[error("refused the archive's entry {path:?}: {reason}")]
    Refused {
        /// The entry's path, as far as it is text.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// An entry that would go outside of the folder; Docker's words.
    #[error("{path:?} is outside of {folder:?}")]
    Outside {
        /// The entry's path.
        path: String,
        /// The folder.
        folder: String,
    },
    /// A link that would lead outside of the folder; Docker's words.
    #[error("invalid {kind} {path:?} -> {target:?}")]
    Link {
        /// `symlink` or `hardlink`.
        kind: &'static str,
        /// The link.
        path: String,
        /// Where it says it leads.
        target: String,
    },
    /// Something that may not become something else; Docker's words.
    #[error("cannot overwrite {was} {path:?} with {is} {folder:?}")]
    Overwrite {
        /// What is there.
        was: &'static str,
        /// Where.
        path: String,
        /// What would come.
        is: &'static str,
        /// Into which folder.
        folder: String,
    },
    /// The archive is larger than any that is unpacked.
    #[error("the archive has more than {limit} {what}; it is refused, since it would fill the machine")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// The kernel refused something on an entry of the layer.
    #[error("cannot {act} {path:?}")]
    Entry {
        /// What was tried.
        act: &'static str,
        /// The entry's path, as far as it is text.
        path: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel refused something on the layers' folder.
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
    /// The archive is another than the image's config says.
    #[error(
        "the layer's archive does not match its diff id: expected {expected}, got {computed}; the image is corrupt or lies"
    )]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What came.
        computed: DiffId,
    },
    /// Someone who steps through said abort.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

pub(super) fn disk<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Disk { act, path: path.to_owned(), source }
}
