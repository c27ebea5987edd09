//! Manifests: read, pushed and deleted (end-3, end-7, end-9).

use std::sync::Arc;

use http::header;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{Answer, CONTENT_DIGEST, blocking, empty, is_known, query, quick, set, text};
use crate::server::body::Body;
use crate::server::error::{Code, Refusal};
use crate::server::manifest::Manifest;
use crate::server::name::Name;
use crate::server::received::Received;
use crate::server::routes;
use crate::server::storage::Storage;
use crate::server::storage::blobs::Contents;
use crate::server::storage::manifests::Reference;
use glassdock_image::digest::Digest;

/// A manifest is pushed with at most so many tags at once.
const TAGS_LIMIT: usize = 100;

/// GET and HEAD. The manifest goes out byte for byte as it was pushed, whatever the client
/// accepts: another form would have another digest.
pub(super) async fn read(storage: &Arc<Storage>, parts: &Parts, name: Name, reference: Reference) -> Answer {
    let counted = name.clone();
    let manifest = quick(storage, move |storage| storage.manifest(&name, &reference)).await?;
    if parts.method == Method::GET && !Manifest::is_index(&manifest.media_type) {
        // One for each image that a client takes: an index leads it to the manifest of its platform.
        storage.count_pull(&counted);
    }
    let digest = manifest.digest.to_string();
    let etag = format!("\"{digest}\"");
    let mut response = if is_known(parts, &etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = empty(StatusCode::OK);
        set(&mut response, header::CONTENT_LENGTH, &manifest.bytes.len().to_string());
        set(&mut response, header::CONTENT_TYPE, &manifest.media_type);
        set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if parts.method != Method::HEAD {
            *response.body_mut() = Body::Bytes(manifest.bytes);
        }
        response
    };
    set(&mut response, header::ETAG, &etag);
    set(&mut response, CONTENT_DIGEST, &digest);
    Ok(response)
}

/// PUT by tag, or by digest with any number of `?tag=`.
pub(super) async fn put(
    storage: &Arc<Storage>,
    parts: &Parts,
    body: Received,
    (limit, sparse): (usize, bool),
    (name, reference): (Name, Reference),
) -> Answer {
    let mut tags = Vec::new();
    for (_, value) in query(parts).into_iter().filter(|(key, _)| key == "tag") {
        tags.push(routes::tag(&value)?);
    }
    if tags.len() > TAGS_LIMIT {
        return Err(Refusal::new(
            Code::TagInvalid,
            format!("at most {TAGS_LIMIT} tags can be put on at once"),
        ));
    }
    let content_type = text(parts, header::CONTENT_TYPE).map(str::to_owned);
    let bytes = body.all(limit).await?;
    let by_digest = matches!(reference, Reference::Digest(_));
    let digest = match reference {
        Reference::Tag(tag) => {
            tags.insert(0, tag);
            Digest::of(&bytes)
        }
        Reference::Digest(promised) => {
            let computed = Digest::with(promised.algorithm(), &bytes);
            if computed != promised {
                let words = format!("the manifest's digest is {computed}, not {promised} as promised");
                return Err(Refusal::new(Code::DigestInvalid, words));
            }
            promised
        }
    };
    let storage = Arc::clone(storage);
    blocking(move || {
        let manifest = Manifest::parse(&bytes, content_type.as_deref())?;
        let adding = storage.adding()?;
        let there = check_contents(&storage, &name, &manifest, sparse)?;
        storage.put_manifest(&name, &digest, &manifest, &bytes, &tags, &adding)?;
        if storage.looks_again() {
            // A collection of garbage may have taken something away since we looked.
            storage.put_back(&name, &there, &adding)?;
            check_contents(&storage, &name, &manifest, sparse)?;
        }
        drop(adding);
        storage.are_ours(&name, &tags);
        let mut response = empty(StatusCode::CREATED);
        set(&mut response, header::LOCATION, &format!("/v2/{name}/manifests/{digest}"));
        set(&mut response, CONTENT_DIGEST, &digest.to_string());
        if let Some(subject) = &manifest.subject {
            set(&mut response, HeaderName::from_static("oci-subject"), &subject.to_string());
        }
        for tag in tags.iter().filter(|_| by_digest) {
            if let Ok(tag) = HeaderValue::from_str(tag) {
                response.headers_mut().append(HeaderName::from_static("oci-tag"), tag);
            }
        }
        Ok(response)
    })
    .await
}

/// Everything that a manifest names must be in the repository, and as large as it says. Where
/// manifests may be `sparse`, some of it may come later, or never. Tells what is there.
pub(in crate::server) fn check_contents(
    storage: &Storage,
    name: &Name,
    manifest: &Manifest,
    sparse: bool,
) -> Result<Contents, Refusal> {
    let mut there = Contents::default();
    for (digest, promised) in &manifest.blobs {
        let size = match storage.blob_size(name, digest) {
            Ok(size) => size,
            Err(refusal) if refusal.code != Code::BlobUnknown => return Err(refusal),
            Err(_) if sparse => continue,
            Err(_) => {
                let words = format!("repository {name} has no blob {digest}, which the manifest names");
                return Err(Refusal::new(Code::ManifestBlobUnknown, words));
            }
        };
        if size != *promised {
            let words = format!("the manifest says that {digest} has {promised} bytes; it has {size}");
            return Err(Refusal::new(Code::ManifestInvalid, words));
        }
        there.blobs.push(digest.clone());
    }
    for digest in manifest.manifests.iter().filter(|_| !sparse) {
        let Some(media_type) = storage.manifest_type(name, digest)? else {
            let words = format!("repository {name} has no manifest {digest}, which the index names");
            return Err(Refusal::new(Code::ManifestBlobUnknown, words));
        };
        there.manifests.push((digest.clone(), media_type));
    }
    Ok(there)
}

/// DELETE: of a tag alone, or of a manifest with all its tags.
pub(super) async fn delete(storage: &Arc<Storage>, name: Name, reference: Reference) -> Answer {
    let storage = Arc::clone(storage);
    blocking(move || {
        match &reference {
            Reference::Tag(tag) => storage.delete_tag(&name, tag)?,
            Reference::Digest(digest) => storage.delete_manifest(&name, digest)?,
        }
        Ok(empty(StatusCode::ACCEPTED))
    })
    .await
}
