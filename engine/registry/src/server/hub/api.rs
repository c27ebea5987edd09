//! What programs ask: the search of Docker's first registry protocol, which `docker search`
//! still uses (`GET /v1/search?q=WORDS&n=COUNT&page=PAGE`).

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::shelves::Shelves;
use super::words::Language;
use super::{Asked, catalogue, respond};
use crate::server::body::Body;
use crate::server::error::{Code, Refusal};

/// How many results a page has where nobody says.
const COUNT: usize = 25;

#[derive(Serialize)]
struct Results<'a> {
    query: &'a str,
    num_results: usize,
    num_pages: usize,
    page: usize,
    page_size: usize,
    results: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    name: String,
    description: String,
    star_count: u64,
    pull_count: u64,
    is_official: bool,
    /// Docker Hub gave up what these two once meant; clients still expect them.
    is_automated: bool,
    is_trusted: bool,
}

/// `GET /v1/_ping`: that somebody is here who knows this protocol.
pub(super) fn ping() -> Response<Body> {
    respond(StatusCode::OK, "application/json", Bytes::from_static(b"{\"standalone\":true}"))
}

/// `GET /v1/search`; beside Docker's parameters it takes `official=true|false` and `stars=NUMBER`.
pub(super) fn search(shelves: &Shelves, asked: &Asked) -> Result<Response<Body>, Refusal> {
    if let Some(name) = asked.odd {
        let words = match name {
            "official" => "the parameter official is true or false".to_owned(),
            name => format!("the parameter {name} is a number, 0 or more"),
        };
        return Err(Refusal::new(Code::PaginationInvalid, words));
    }
    let found = catalogue::find(shelves, asked)?;
    let count = asked.count.unwrap_or(COUNT);
    let results = Results {
        query: &asked.query,
        num_results: found.len(),
        num_pages: found.len().div_ceil(count),
        page: asked.page,
        page_size: count,
        results: found
            .iter()
            .skip((asked.page - 1) * count)
            .take(count)
            .map(|entry| Found {
                name: entry.shown(asked.host.as_deref()),
                description: entry.description(asked.language.unwrap_or(Language::En)).to_owned(),
                star_count: entry.about.stars,
                pull_count: entry.pulls,
                is_official: entry.about.official,
                is_automated: false,
                is_trusted: false,
            })
            .collect(),
    };
    let bytes = serde_json::to_vec(&results)
        .map_err(|error| Refusal::new(Code::Internal, format!("the results are no JSON: {error}")))?;
    Ok(respond(StatusCode::OK, "application/json", Bytes::from(bytes)))
}
