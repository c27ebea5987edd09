//! Lists: tags with paging, referrers with a filter, the catalogue (end-8, end-12).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use super::{Answer, blocking, json as json_answer, parameter, query, set};
use crate::server::body::Body;
use crate::server::error::{Code, Refusal};
use crate::server::manifest;
use crate::server::mirror::Mirror;
use crate::server::name::{Name, is_tag};
use crate::server::storage::Storage;
use glassdock_image::digest::Digest;

/// GET of a repository's tags.
pub(super) async fn tags(
    storage: &Arc<Storage>,
    mirror: Option<&Mirror>,
    parts: &Parts,
    name: Name,
) -> Answer {
    let page = Page::of(parts)?;
    let elsewhere = match mirror {
        Some(mirror) => mirror.tags(&name).await,
        None => None,
    };
    let storage = Arc::clone(storage);
    blocking(move || {
        let tags = match (storage.tags(&name), elsewhere) {
            (Ok(here), None) => here,
            (here, Some(mut tags)) => {
                tags.retain(|tag| is_tag(tag));
                tags.extend(here.iter().flat_map(|here| here.iter().cloned()));
                tags.sort_unstable();
                tags.dedup();
                Arc::new(tags)
            }
            (Err(refusal), None) => return Err(refusal),
        };
        let (tags, next) = page.cut(&tags);
        let mut response = listed(&Tags { name: name.as_str(), tags });
        page.link(&mut response, &format!("/v2/{name}/tags/list"), next);
        Ok(response)
    })
    .await
}

/// GET of the names of all repositories.
pub(super) async fn catalog(storage: &Arc<Storage>, parts: &Parts) -> Answer {
    let page = Page::of(parts)?;
    let storage = Arc::clone(storage);
    blocking(move || {
        let names: Vec<_> = storage.repositories()?.iter().map(|name| name.as_str().to_owned()).collect();
        let (repositories, next) = page.cut(&names);
        let mut response = listed(&json!({ "repositories": repositories }));
        page.link(&mut response, "/v2/_catalog", next);
        Ok(response)
    })
    .await
}

/// GET of what refers to a manifest, which itself may not be here (yet).
pub(super) async fn referrers(
    storage: &Arc<Storage>,
    mirror: Option<&Mirror>,
    parts: &Parts,
    name: Name,
    subject: Digest,
) -> Answer {
    let artifact_type = parameter(&query(parts), "artifactType").filter(|text| !text.is_empty());
    let elsewhere = match mirror {
        Some(mirror) => mirror.referrers(&name, &subject).await,
        None => Vec::new(),
    };
    let storage = Arc::clone(storage);
    blocking(move || {
        let mut descriptors = storage.referrers(&name, &subject)?;
        for descriptor in elsewhere {
            if descriptors.iter().all(|here| here["digest"] != descriptor["digest"]) {
                descriptors.push(descriptor);
            }
        }
        if let Some(wanted) = &artifact_type {
            descriptors.retain(|descriptor| descriptor["artifactType"] == wanted.as_str());
        }
        let index = manifest::index(&descriptors).to_string();
        let mut response = json_answer(StatusCode::OK, manifest::index_media_type(), Bytes::from(index));
        if artifact_type.is_some() {
            set(&mut response, HeaderName::from_static("oci-filters-applied"), "artifactType");
        }
        Ok(response)
    })
    .await
}

/// A page of tags, as it goes out. There may be many: none of them is copied before.
#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

fn listed(value: &impl Serialize) -> Response<Body> {
    // Plain data can be written.
    let text = serde_json::to_vec(value).unwrap_or_default();
    json_answer(StatusCode::OK, "application/json", Bytes::from(text))
}

/// Which part of a list is asked for.
struct Page {
    count: Option<usize>,
    last: Option<String>,
}

impl Page {
    fn of(parts: &Parts) -> Result<Self, Refusal> {
        let query = query(parts);
        let count = match parameter(&query, "n") {
            None => None,
            Some(count) => Some(count.parse().map_err(|_| {
                Refusal::new(Code::PaginationInvalid, "the parameter n is a number of entries, 0 or more")
            })?),
        };
        Ok(Self { count, last: parameter(&query, "last") })
    }

    /// The entries after `last`, at most `n` of them; and the last one, if there are more.
    fn cut<'a>(&self, entries: &'a [String]) -> (&'a [String], Option<&'a str>) {
        let begin = self.last.as_ref().map_or(0, |last| entries.partition_point(|entry| entry <= last));
        let rest = &entries[begin..];
        let page = &rest[..self.count.unwrap_or(usize::MAX).min(rest.len())];
        (page, page.last().filter(|_| page.len() < rest.len()).map(String::as_str))
    }

    fn link(&self, response: &mut Response<Body>, path: &str, next: Option<&str>) {
        if let (Some(count), Some(next)) = (self.count, next) {
            let last = utf8_percent_encode(next, NON_ALPHANUMERIC);
            set(response, header::LINK, &format!("<{path}?n={count}&last={last}>; rel=\"next\""));
        }
    }
}
