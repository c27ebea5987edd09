//! Blobs: read whole or in part, and taken out of a repository (end-2, end-10).

use std::sync::Arc;

use http::header;
use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, CONTENT_DIGEST, blocking, empty, is_known, quick, set, text};
use crate::server::body::{Body, FilePart};
use crate::server::error::{Code, Refusal};
use crate::server::mirror::Mirror;
use crate::server::name::Name;
use crate::server::storage::{Opened, Storage};
use glassdock_image::digest::Digest;

/// GET and HEAD of a blob, with one range (RFC 9110, 14.2) and conditions.
/// What isn't here comes from the mirrored registry, if there is one; whether everybody may see
/// everything is told along with that.
pub(super) async fn read(
    storage: &Arc<Storage>,
    mirror: Option<(&Mirror, bool)>,
    parts: &Parts,
    name: &Name,
    digest: &Digest,
) -> Answer {
    let asked = (name.clone(), digest.clone());
    let mut opened = quick(storage, move |storage| storage.open_blob(&asked.0, &asked.1)).await;
    if let (Err(refusal), Some((mirror, open))) = (&opened, mirror)
        && refusal.code == Code::BlobUnknown
    {
        let wanted = digest.clone();
        let stored = quick(storage, move |storage| storage.stored_size(&wanted)).await?;
        if !open || stored.is_none() {
            return fetched(mirror, parts, name, digest).await;
        }
        // Another repository has it already: one download is enough.
        let (storage, name, digest) = (Arc::clone(storage), name.clone(), digest.clone());
        opened = blocking(move || {
            storage.link_blob(&name, &digest, &storage.adding()?)?;
            storage.open_blob(&name, &digest)
        })
        .await;
    }
    let (opened, size) = opened?;
    let etag = format!("\"{digest}\"");
    let range = range_of(parts, size, &etag)?;
    let mut response = if is_known(parts, &etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let (offset, length) = range.unwrap_or((0, size));
        let body = if parts.method == Method::HEAD {
            let (name, digest) = (name.clone(), digest.clone());
            quick(storage, move |storage| {
                storage.blob_is_wanted(&name, &digest);
                Ok(())
            })
            .await?;
            Body::Empty
        } else {
            match opened {
                Opened::File(file) => FilePart::body(file, offset, length)
                    .map_err(|source| Refusal::disk("read", &storage.called(digest), source))?,
                Opened::Object(object) => Body::remote(object.as_ref(), offset, length),
            }
        };
        let mut response = empty(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        *response.body_mut() = body;
        if range.is_some() {
            let last = offset + length - 1;
            set(&mut response, header::CONTENT_RANGE, &format!("bytes {offset}-{last}/{size}"));
        }
        set(&mut response, header::CONTENT_LENGTH, &length.to_string());
        set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
        response
    };
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    // A blob never changes: whoever has it may keep it.
    set(&mut response, header::CACHE_CONTROL, "max-age=31536000, immutable");
    set(&mut response, CONTENT_DIGEST, &digest.to_string());
    Ok(response)
}

/// A blob of the mirrored registry, or a part of it, as it comes.
async fn fetched(mirror: &Mirror, parts: &Parts, name: &Name, digest: &Digest) -> Answer {
    let unknown = || Refusal::new(Code::BlobUnknown, format!("repository {name} has no blob {digest}"));
    let (size, growing) = if parts.method == Method::HEAD {
        (mirror.blob_size(name, digest).await?.ok_or_else(unknown)?, None)
    } else {
        let growing = mirror.blob(name, digest).await?.ok_or_else(unknown)?;
        (growing.size, Some(growing))
    };
    let etag = format!("\"{digest}\"");
    let range = range_of(parts, size, &etag)?;
    let (offset, length) = range.unwrap_or((0, size));
    let mut response = empty(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    if let Some(growing) = growing {
        *response.body_mut() = Body::Growing(growing.part(offset, length));
    }
    if range.is_some() {
        let last = offset + length - 1;
        set(&mut response, header::CONTENT_RANGE, &format!("bytes {offset}-{last}/{size}"));
    }
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, CONTENT_DIGEST, &digest.to_string());
    Ok(response)
}

/// DELETE of a blob.
pub(super) async fn delete(storage: &Arc<Storage>, name: Name, digest: Digest) -> Answer {
    let storage = Arc::clone(storage);
    blocking(move || {
        storage.unlink_blob(&name, &digest)?;
        Ok(empty(StatusCode::ACCEPTED))
    })
    .await
}

/// The part that is asked for: offset and length. `None` for all of it, which is also the
/// answer to a range that we don't understand, as RFC 9110 allows.
fn range_of(parts: &Parts, size: u64, etag: &str) -> Result<Option<(u64, u64)>, Refusal> {
    if text(parts, header::IF_RANGE).is_some_and(|condition| condition != etag) {
        return Ok(None);
    }
    let Some(range) = text(parts, header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = range.split_once('-') else { return Ok(None) };
    let bounds = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        // What ends before it begins can't be met either.
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, size),
        (Err(_), Ok(count)) if first.trim().is_empty() => (size.saturating_sub(count), size),
        _ => return Ok(None),
    };
    if bounds.0 >= bounds.1 {
        let refusal = Refusal::new(Code::RangeInvalid, format!("the blob has {size} bytes"));
        return Err(refusal.header(header::CONTENT_RANGE, format!("bytes */{size}")));
    }
    Ok(Some((bounds.0, bounds.1 - bounds.0)))
}
