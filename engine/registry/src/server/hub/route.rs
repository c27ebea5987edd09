//! The hub's paths. None begins with `/v2`, which is the distribution specification's.
//!
//! | path | what |
//! |---|---|
//! | `/` | the popular images |
//! | `/search?q=WORDS` | what the words find |
//! | `/r/NAME` | a repository: what it is |
//! | `/tags/NAME` | its tags |
//! | `/r/NAME:TAG`, `/r/NAME@DIGEST` | one image: its layers, its Dockerfile |
//! | `/en/…`, `/zh/…` | each of these in that language, whatever the browser prefers |
//! | `/assets/…` | what pages are made with |
//! | `/v1/search`, `/v1/_ping` | for `docker search` |

use percent_encoding::percent_decode_str;

use super::assets::Asset;
use super::pages::Page;
use super::words::Language;
use crate::server::name::{Name, is_tag};
use crate::server::storage::manifests::Reference;

/// What a path of the hub leads to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Route {
    /// `/v1/_ping`: whoever searches asks this first.
    Ping,
    /// `/v1/search`
    Search,
    /// `/assets/…`
    Asset(Asset),
    /// A page, in the language that the path names.
    Page(Option<Language>, Page),
}

impl Route {
    /// The route of a path, `None` if it is not the hub's. A browser (`html`) is told in a
    /// page that there is nothing; programs are answered elsewhere.
    pub(in crate::server) fn parse(path: &str, html: bool) -> Option<Self> {
        match path {
            "/v1/_ping" => return Some(Self::Ping),
            "/v1/search" => return Some(Self::Search),
            _ if path == "/v2" || path.starts_with("/v2/") || path == "/token" => return None,
            _ => {}
        }
        if let Some(name) = path.strip_prefix("/assets/") {
            return Asset::parse(name).map(Self::Asset);
        }
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let (language, rest) = Language::prefix(&decoded);
        let page = page(rest);
        (page.is_some() || html).then(|| Self::Page(language, page.unwrap_or(Page::Nothing)))
    }
}

fn page(path: &str) -> Option<Page> {
    match path {
        "" | "/" => return Some(Page::Index),
        "/search" => return Some(Page::Search),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("/tags/") {
        return Name::parse(name).map(Page::Tags);
    }
    let rest = path.strip_prefix("/r/")?;
    if let Some((name, digest)) = rest.split_once('@') {
        return Some(Page::Image(Name::parse(name)?, Reference::Digest(digest.parse().ok()?)));
    }
    match rest.split_once(':') {
        Some((name, tag)) if is_tag(tag) => {
            Some(Page::Image(Name::parse(name)?, Reference::Tag(tag.to_owned())))
        }
        Some(_) => None,
        None => Name::parse(rest).map(Page::Repository),
    }
}
