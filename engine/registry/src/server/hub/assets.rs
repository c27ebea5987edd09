//! What pages are made with beside HTML: embedded, so that a page needs nothing else.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::respond;
use crate::server::body::Body;
use glassdock_image::Digest;

/// A file below `/assets/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Asset {
    /// The style.
    Style,
    /// Copy buttons and the search key; the pages work without it.
    Script,
    /// The icon.
    Icon,
}

impl Asset {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "hub.css" => Some(Self::Style),
            "hub.js" => Some(Self::Script),
            "hub.svg" => Some(Self::Icon),
            _ => None,
        }
    }

    fn content(self) -> (&'static str, &'static str) {
        match self {
            Self::Style => ("text/css; charset=utf-8", include_str!("assets/hub.css")),
            Self::Script => ("text/javascript; charset=utf-8", include_str!("assets/hub.js")),
            Self::Icon => ("image/svg+xml", include_str!("assets/hub.svg")),
        }
    }
}

/// GET of an asset. A browser that has it already is told so.
pub(super) fn answer(asset: Asset, parts: &Parts) -> Response<Body> {
    let (media_type, content) = asset.content();
    let etag = format!("\"{}\"", Digest::of(content.as_bytes()).short());
    let known = super::super::handlers::is_known(parts, &etag);
    let mut response = if known {
        respond(StatusCode::NOT_MODIFIED, media_type, Bytes::new())
    } else {
        respond(StatusCode::OK, media_type, Bytes::from_static(content.as_bytes()))
    };
    // Asked for again each time: a new version of the program may have another style.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}
