//! # The hub: a registry for people
//!
//! The distribution specification is for programs. People want to find an image, read what it
//! is, and see what is in it; that is what this part of the server is for: a search
//! (`/v1/search`, which `docker search` asks) and pages for a browser.
//!
//! ```text
//!   a path ─► route ─┬─► api        /v1/search, /v1/_ping           JSON
//!                    ├─► pages      /, /search, /r/NAME[:TAG], …    HTML, in English and Chinese
//!                    └─► assets     /assets/…                       style, script, icon
//!                          ▲
//!            shelves ─► cards ─► catalogue (which repositories, in which order)
//!                    └► picture   (what a tag is: platforms, layers, who made each)
//! ```
//!
//! Reading order: the paths (`route`), what is read of the store (`shelves`), what is made of
//! it (`cards`, `catalogue`, `picture`), the answers for programs (`api`), and those for people
//! (`words`, `format`, `markdown`, `pages`, `assets`).
//!
//! Invariants:
//!
//! - Nothing that was pushed is trusted: every text is escaped by the templates, Markdown
//!   makes only elements that this code writes, and the pages' Content-Security-Policy lets a
//!   browser load and run only what is embedded here.
//! - The pages work without their script, and load nothing from anywhere else.
//! - Each number that a client chooses has its bounds.

mod route;

mod shelves;

mod cards;

mod catalogue;

mod picture;

mod api;

mod words;

mod format;

mod markdown;

mod pages;

mod assets;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::body::Body;
use super::error::{Code, Refusal};
use super::storage::Storage;
pub(super) use cards::Cards;
use pages::Page;
pub(super) use route::Route;
use shelves::Shelves;
use words::Language;

/// What a browser may load and do on a page of ours: what is embedded here, nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Answers a request for one of the hub's paths.
///
/// # Errors
///
/// What the store refuses, for paths that programs ask for; people get a page that says so.
pub(super) async fn answer(
    (storage, cards): (&Arc<Storage>, &Arc<Cards>),
    parts: &Parts,
    route: Route,
) -> Result<Response<Body>, Refusal> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let refusal = Refusal::new(Code::Unsupported, format!("{} is not possible here", parts.method));
        return Err(refusal.header(header::ALLOW, "GET, HEAD"));
    }
    let shelves = Shelves::new(Arc::clone(storage), Arc::clone(cards));
    let asked = Asked::of(parts);
    match route {
        Route::Ping => Ok(api::ping()),
        Route::Search => blocking(move || api::search(&shelves, &asked)).await,
        Route::Asset(asset) => Ok(assets::answer(asset, parts)),
        Route::Page(language, page) => {
            let language = language.or(asked.language).unwrap_or_else(|| Language::accepted(parts));
            blocking(move || Ok(page_answer(&shelves, &asked, language, &page))).await
        }
    }
}

fn page_answer(shelves: &Shelves, asked: &Asked, language: Language, page: &Page) -> Response<Body> {
    let (status, html) = pages::render(shelves, asked, language, page);
    let mut response = Response::new(Body::Bytes(Bytes::from(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::CACHE_CONTROL, "no-cache");
    set(header::VARY, "Accept-Language");
    set(header::CONTENT_LANGUAGE, language.tag());
    response
}

/// What a request says beside its path, within bounds.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// The search's words, at most [`catalogue::QUERY_LIMIT`] characters of them.
    query: String,
    /// The page of a list, from 1 on.
    page: usize,
    /// How many entries a page has; `None` where it isn't said.
    count: Option<usize>,
    /// Official images only, or only others.
    official: Option<bool>,
    /// At least so many stars.
    stars: u64,
    /// The platform of an image that is shown.
    platform: Option<String>,
    /// `?lang=`
    language: Option<Language>,
    /// How the client reached this server, if it is a plain `HOST[:PORT]`.
    host: Option<String>,
    /// Whether a parameter was no number or flag where one was expected.
    odd: Option<&'static str>,
}

/// No list goes on for more pages than this.
const PAGES: usize = 10_000;
/// The most entries of a page that a program gets, which is Docker's bound too.
const COUNT: usize = 100;

impl Asked {
    fn of(parts: &Parts) -> Self {
        let mut asked = Self { page: 1, host: host(parts), ..Self::default() };
        for (name, value) in super::handlers::query(parts) {
            let mut number = |name| value.trim().parse::<u64>().map_err(|_| asked.odd = Some(name)).ok();
            let bounded = |number: u64, most: usize| usize::try_from(number).unwrap_or(most).clamp(1, most);
            match name.as_str() {
                "q" => asked.query = value.chars().take(catalogue::QUERY_LIMIT).collect(),
                "page" if !value.is_empty() => asked.page = number("page").map_or(1, |n| bounded(n, PAGES)),
                "n" if !value.is_empty() => asked.count = number("n").map(|n| bounded(n, COUNT)),
                "stars" if !value.is_empty() => asked.stars = number("stars").unwrap_or(0),
                "official" => match value.as_str() {
                    "1" | "true" => asked.official = Some(true),
                    "0" | "false" => asked.official = Some(false),
                    "" => {}
                    _ => asked.odd = Some("official"),
                },
                "platform" => asked.platform = Some(value.chars().take(100).collect()),
                "lang" => asked.language = Language::parse(&value),
                _ => {}
            }
        }
        asked
    }
}

/// The `Host` header, if it can stand in front of a repository's name.
fn host(parts: &Parts) -> Option<String> {
    let host = parts.headers.get(header::HOST)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    // Without a dot or a port clients take it for a part of the name.
    let is_host = host.contains(['.', ':']) || host == "localhost";
    (host.len() <= 255 && is_host && host.bytes().all(plain)).then(|| host.to_ascii_lowercase())
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    super::handlers::blocking(job).await
}

fn respond(status: StatusCode, media_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
