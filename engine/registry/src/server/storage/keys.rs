//! Keys: where something lies below the root of a place, with `/` between the parts.
//!
//! Names are parsed before they become part of a key; so a key never leads out of its place.

use crate::server::name::Name;
use glassdock_image::digest::Digest;

/// Where a blob's bytes are found, whichever repositories have it.
pub(super) fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}/{hex}", digest.algorithm().name(), &hex[..2])
}

/// One of a repository's own folders: `_blobs`, `_manifests`, `_tags`, ….
pub(super) fn part(name: &Name, part: &str) -> String {
    format!("repositories/{name}/{part}")
}

/// That a repository has a blob.
pub(super) fn blob_link(name: &Name, digest: &Digest) -> String {
    format!("repositories/{name}/_blobs/{}", file_name(digest))
}

/// That a repository has a manifest, and of which type.
pub(super) fn manifest_link(name: &Name, digest: &Digest) -> String {
    format!("repositories/{name}/_manifests/{}", file_name(digest))
}

/// What a tag stands for.
pub(super) fn tag(name: &Name, tag: &str) -> String {
    format!("repositories/{name}/_tags/{tag}")
}

/// The manifests about `subject`.
pub(super) fn referrers(name: &Name, subject: &Digest) -> String {
    format!("repositories/{name}/_referrers/{}", file_name(subject))
}

/// That a tag came from another registry, and when.
pub(super) fn mirrored(name: &Name, tag: &str) -> String {
    format!("repositories/{name}/_mirrored/{tag}")
}

/// An upload on its way.
pub(super) fn upload(name: &Name, id: &str) -> String {
    format!("repositories/{name}/_uploads/{id}")
}

/// A digest as part of a file's name.
pub(super) fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest that a file's name stands for.
pub(super) fn digest_of(file_name: &str) -> Option<Digest> {
    file_name.replacen('-', ":", 1).parse().ok()
}
