//! Blobs: read whole or in part, and taken out of a repository (end-2, end-10).

use http::header;
use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, CONTENT_DIGEST, empty, is_known, set, text};
use crate::server::body::{Body, FilePart};
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::storage::Storage;
use glassdock_image::digest::Digest;

/// GET and HEAD of a blob, with one range (RFC 9110, 14.2) and conditions.
pub(super) fn read(storage: &Storage, parts: &Parts, name: &Name, digest: &Digest) -> Answer {
    let (file, size) = storage.open_blob(name, digest)?;
    let etag = format!("\"{digest}\"");
    let range = range_of(parts, size, &etag)?;
    let mut response = if is_known(parts, &etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let (offset, length) = range.unwrap_or((0, size));
        let body = if parts.method == Method::HEAD {
            Body::Empty
        } else {
            FilePart::body(file, offset, length)
                .map_err(|source| Refusal::disk("read", &storage.blob_path(digest), source))?
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

/// DELETE of a blob.
pub(super) fn delete(storage: &Storage, name: &Name, digest: &Digest) -> Answer {
    storage.unlink_blob(name, digest)?;
    Ok(empty(StatusCode::ACCEPTED))
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
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
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
