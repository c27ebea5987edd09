//! Uploads: begun, appended to, finished, looked at, cancelled (end-4 to end-6, end-11, end-13, end-14).

use std::sync::Arc;

use http::header;
use http::request::Parts;
use http::{Response, StatusCode};

use super::{Answer, CONTENT_DIGEST, blocking, empty, parameter, query, quick, set, text};
use crate::server::auth::Reach;
use crate::server::body::Body;
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::received::Received;
use crate::server::routes;
use crate::server::storage::Storage;
use crate::server::storage::uploads::Upload;
use glassdock_image::digest::{Algorithm, Digest};

/// POST: an upload begins; or a blob comes whole (`?digest=`); or it is taken over from
/// another repository (`?mount=DIGEST&from=NAME`), and when it isn't there an upload begins.
pub(super) async fn begin(
    storage: &Arc<Storage>,
    reach: &Reach,
    parts: &Parts,
    (body, limit): (Received, u64),
    name: Name,
) -> Answer {
    let query = query(parts);
    if let Some(mount) = parameter(&query, "mount") {
        let digest = routes::digest(&mount)?;
        let from = parameter(&query, "from");
        if reach.may_mount(from.as_deref()) && mount_blob(storage, &name, &digest, from).await? {
            return Ok(created(&name, &digest));
        }
    }
    let Some(digest) = parameter(&query, "digest") else {
        let algorithm = match parameter(&query, "digest-algorithm").as_deref() {
            None => None,
            Some("sha256") => Some(Algorithm::Sha256),
            Some("sha512") => Some(Algorithm::Sha512),
            Some(_) => {
                return Err(Refusal::new(Code::DigestInvalid, "the digest algorithms are sha256 and sha512"));
            }
        };
        return quick(storage, move |storage| {
            let upload = storage.begin_upload(&name, algorithm)?;
            Ok(accepted(&name, &upload, StatusCode::ACCEPTED))
        })
        .await;
    };
    let digest = routes::digest(&digest)?;
    let begun = (name.clone(), Some(digest.algorithm()));
    let upload = quick(storage, move |storage| storage.begin_upload(&begun.0, begun.1)).await?;
    let id = upload.id.clone();
    let promised = digest.clone();
    let result = match body.append_to(upload, limit, true).await {
        Ok(upload) => blocking(move || upload.finish(&promised)).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = result {
        // Nobody was told this upload's name: nothing could go on from what is left of it.
        quick(storage, move |storage| storage.hold_upload(&name, &id).map_or(Ok(()), Upload::cancel)).await?;
        return Err(refusal);
    }
    Ok(created(&name, &digest))
}

/// Takes a blob over, if it is there: from the repository that is named, or, where none is
/// named, from any that has it.
async fn mount_blob(
    storage: &Arc<Storage>,
    name: &Name,
    digest: &Digest,
    from: Option<String>,
) -> Result<bool, Refusal> {
    let (storage, name, digest) = (Arc::clone(storage), name.clone(), digest.clone());
    blocking(move || {
        let adding = storage.adding()?;
        let there = match from {
            None => storage.stored_size(&digest)?.is_some(),
            // A source that can't exist is as one that doesn't: the client uploads.
            Some(from) => Name::parse(&from).is_some_and(|from| storage.blob_size(&from, &digest).is_ok()),
        };
        if there {
            storage.link_blob(&name, &digest, &adding)?;
        }
        Ok(there)
    })
    .await
}

/// GET: how far the upload is.
pub(super) async fn state(storage: &Arc<Storage>, name: Name, id: String) -> Answer {
    quick(storage, move |storage| {
        let upload = storage.hold_upload(&name, &id)?;
        Ok(accepted(&name, &upload, StatusCode::NO_CONTENT))
    })
    .await
}

async fn hold(storage: &Arc<Storage>, name: &Name, id: String) -> Result<Upload, Refusal> {
    let name = name.clone();
    quick(storage, move |storage| storage.hold_upload(&name, &id)).await
}

/// PATCH: the next bytes, as a chunk whose place is told or as a stream.
pub(super) async fn append(
    storage: &Arc<Storage>,
    parts: &Parts,
    (body, limit): (Received, u64),
    name: Name,
    id: String,
) -> Answer {
    let upload = hold(storage, &name, id).await?;
    check_place(parts, &name, &upload)?;
    let upload = body.append_to(upload, limit, false).await?;
    Ok(accepted(&name, &upload, StatusCode::ACCEPTED))
}

/// PUT: the last bytes, if any, and the digest of everything.
pub(super) async fn finish(
    storage: &Arc<Storage>,
    parts: &Parts,
    (body, limit): (Received, u64),
    name: Name,
    id: String,
) -> Answer {
    let digest = parameter(&query(parts), "digest")
        .ok_or_else(|| Refusal::new(Code::DigestInvalid, "the parameter digest is missing"))?;
    let digest = routes::digest(&digest)?;
    let mut upload = hold(storage, &name, id).await?;
    check_place(parts, &name, &upload)?;
    let promised = digest.clone();
    let upload = blocking(move || {
        upload.mark()?;
        Ok(upload)
    })
    .await?;
    let upload = body.append_to(upload, limit, true).await?;
    blocking(move || upload.finish(&promised)).await?;
    Ok(created(&name, &digest))
}

/// DELETE: the upload is given up.
pub(super) async fn cancel(storage: &Arc<Storage>, name: Name, id: String) -> Answer {
    quick(storage, move |storage| {
        storage.hold_upload(&name, &id)?.cancel()?;
        Ok(empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// A chunk that says where it belongs must belong at the end. One that does not is refused
/// with the place to go on from; the upload stays as it is.
fn check_place(parts: &Parts, name: &Name, upload: &Upload) -> Result<(), Refusal> {
    let Some(range) = text(parts, header::CONTENT_RANGE) else { return Ok(()) };
    let bounds = range.trim_start_matches("bytes ").split('/').next().and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?))
    });
    let length = text(parts, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let fits = bounds.is_some_and(|(first, last)| {
        first == upload.size
            && length.is_none_or(|length| {
                last.checked_sub(first).and_then(|span| span.checked_add(1)) == Some(length)
            })
    });
    // An empty last request with the range 0-0 or -1 is how some clients say "no more bytes".
    if fits || length == Some(0) {
        return Ok(());
    }
    let words = format!(
        "the upload has {} bytes; the next chunk must begin there and be as long as it says",
        upload.size
    );
    Err(Refusal::new(Code::RangeInvalid, words)
        .header(header::LOCATION, location(name, upload))
        .header(header::RANGE, range_so_far(upload)))
}

fn location(name: &Name, upload: &Upload) -> String {
    format!("/v2/{name}/blobs/uploads/{}", upload.id)
}

/// What came so far, first and last byte. An upload without a byte has `0-0`, as in Docker's registry.
fn range_so_far(upload: &Upload) -> String {
    format!("0-{}", upload.size.saturating_sub(1))
}

fn accepted(name: &Name, upload: &Upload, status: StatusCode) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, header::LOCATION, &location(name, upload));
    set(&mut response, header::RANGE, &range_so_far(upload));
    set(&mut response, http::HeaderName::from_static("docker-upload-uuid"), &upload.id);
    response
}

fn created(name: &Name, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, header::LOCATION, &format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, CONTENT_DIGEST, &digest.to_string());
    response
}
