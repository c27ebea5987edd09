//! The pages: a function a page, in the order in which somebody meets them.

mod layout;

mod index;

mod results;

mod repository;

mod tags;

mod image;

mod pieces;

use http::StatusCode;
use maud::Markup;

use super::shelves::Shelves;
use super::words::{Language, Word};
use super::{Asked, catalogue};
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::storage::manifests::Reference;

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Page {
    /// The popular images.
    Index,
    /// The results of a search.
    Search,
    /// What a repository is.
    Repository(Name),
    /// A repository's tags.
    Tags(Name),
    /// One image.
    Image(Name, Reference),
    /// That there is nothing at this address.
    Nothing,
}

/// What all pages are made with.
struct View<'a> {
    shelves: &'a Shelves,
    asked: &'a Asked,
    language: Language,
    /// The page's path without its language, for the link to the other one.
    path: String,
}

/// A page's content, and what stands in the browser's title.
struct Content {
    title: String,
    main: Markup,
}

/// Makes a page, or one that says why not.
pub(super) fn render(
    shelves: &Shelves,
    asked: &Asked,
    language: Language,
    page: &Page,
) -> (StatusCode, String) {
    let view = View { shelves, asked, language, path: path(asked, page) };
    let made = match page {
        Page::Index => index::page(&view),
        Page::Search => results::page(&view),
        Page::Repository(name) => repository::page(&view, name),
        Page::Tags(name) => tags::page(&view, name),
        Page::Image(name, reference) => image::page(&view, name, reference),
        Page::Nothing => Err(Refusal::new(Code::UnknownRoute, "")),
    };
    let (status, content) = match made {
        Ok(content) => (StatusCode::OK, content),
        Err(refusal) => (refusal.code.status(), layout::refused(&view, &refusal)),
    };
    (status, layout::whole(&view, content).into_string())
}

fn path(asked: &Asked, page: &Page) -> String {
    match page {
        Page::Index | Page::Nothing => "/".to_owned(),
        Page::Search => results::address(asked, asked.page),
        Page::Repository(name) => format!("/r/{name}"),
        Page::Tags(name) => format!("/tags/{name}"),
        Page::Image(name, reference) => address(name, reference),
    }
}

/// The path of an image's page.
fn address(name: &Name, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("/r/{name}:{tag}"),
        Reference::Digest(digest) => format!("/r/{name}@{digest}"),
    }
}

impl View<'_> {
    fn say(&self, word: Word) -> &'static str {
        self.language.say(word)
    }

    /// An address on this server, in this page's language.
    fn link(&self, path: &str) -> String {
        format!("/{}{path}", self.language.name())
    }

    /// A repository by the name that an engine finds it by.
    fn shown(&self, name: &Name) -> String {
        catalogue::shown(name, self.asked.host.as_deref())
    }

    /// A repository that must be there.
    fn entry(&self, name: &Name) -> Result<catalogue::Entry, Refusal> {
        let found = catalogue::entry(self.shelves, name.clone())?;
        found.ok_or_else(|| Refusal::new(Code::NameUnknown, format!("repository {name} has no tag")))
    }
}
