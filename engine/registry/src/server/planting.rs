//! Planting: the seed's images go into a registry's folder, through the same checks as a
//! push. `glassdock registry serve --seed` does this before it serves.

use std::io;

use bytes::Bytes;

use super::error::{Code, Refusal};
use super::handlers::check_contents;
use super::manifest::Manifest;
use super::name::Name;
use super::storage::{Storage, Where};
use super::{Error, routes};
use crate::seed::SeedImage;
use glassdock_image::digest::Digest;

/// Puts images into the registry at a place: a folder, which is made where it is missing, or a bucket.
/// What is there stays: a tag that somebody pushed is not moved back to the seed's image.
///
/// # Errors
///
/// If the place can't be written, or an image is not whole.
pub fn plant(place: impl Into<Where>, images: &[SeedImage]) -> Result<(), Error> {
    let place = place.into();
    let failed = |source| Error::Storage { place: place.to_string(), source };
    // Many small files: they are written out together at the end.
    let storage = Storage::open(&place, false, 0).map_err(failed)?;
    images.iter().try_for_each(|image| {
        plant_one(&storage, image).map_err(|refusal| {
            failed(io::Error::other(format!("cannot plant {}: {refusal}", image.repository)))
        })
    })?;
    storage.settle().map_err(failed)
}

fn plant_one(storage: &Storage, image: &SeedImage) -> Result<(), Refusal> {
    let name = Name::parse(&image.repository)
        .ok_or_else(|| Refusal::new(Code::NameInvalid, format!("{} is no name", image.repository)))?;
    let adding = storage.adding()?;
    for blob in &image.blobs {
        let digest = verified(&blob.digest, &blob.bytes)?;
        storage.put_blob(&name, &digest, &Bytes::copy_from_slice(&blob.bytes), &adding)?;
    }
    for content in &image.manifests {
        let digest = verified(&content.digest, &content.bytes)?;
        let manifest = Manifest::parse(&content.bytes, Some(&content.media_type))?;
        check_contents(storage, &name, &manifest, false)?;
        storage.put_manifest(
            &name,
            &digest,
            &manifest,
            &Bytes::copy_from_slice(&content.bytes),
            &[],
            &adding,
        )?;
    }
    for (tag, digest) in &image.tags {
        if storage.tag(&name, tag)?.is_none() {
            storage.put_tag(&name, tag, &routes::digest(digest)?)?;
        }
    }
    let about = serde_json::to_vec_pretty(&image.about)
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    storage.write_about(&name, &about)
}

fn verified(promised: &str, bytes: &[u8]) -> Result<Digest, Refusal> {
    let promised = routes::digest(promised)?;
    let computed = Digest::with(promised.algorithm(), bytes);
    if computed == promised {
        return Ok(promised);
    }
    Err(Refusal::new(Code::DigestInvalid, format!("the digest is {computed}, not {promised} as promised")))
}
