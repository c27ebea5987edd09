//! A repository's tags: what each stands for, how large it is, how old.

use maud::html;

use super::pieces::{age, digest, pager};
use super::repository::{Tab, head};
use super::{Content, View};
use crate::server::error::Refusal;
use crate::server::hub::words::Word;
use crate::server::hub::{format, picture};
use crate::server::name::Name;
use crate::server::storage::manifests::Reference;

/// How many tags a page has; each costs some reads.
const COUNT: usize = 25;

pub(super) fn page(view: &View<'_>, name: &Name) -> Result<Content, Refusal> {
    let entry = view.entry(name)?;
    let tags = view.shelves.tags(name)?;
    let pages = tags.len().div_ceil(COUNT);
    let page = view.asked.page.min(pages.max(1));
    let shown = &tags[(page - 1) * COUNT..(page * COUNT).min(tags.len())];
    let main = html! {
        (head(view, &entry, Tab::Tags, tags.len()))
        div.wide {
            table.results {
                thead { tr {
                    th scope="col" { (view.say(Word::Tag)) }
                    th scope="col" { (view.say(Word::Digest)) }
                    th scope="col" { (view.say(Word::Platform)) }
                    th.number scope="col" { (view.say(Word::Size)) }
                    th scope="col" { (view.say(Word::Made)) }
                } }
                tbody {
                    @for tag in shown {
                        // A tag may be gone since, or name something that is no image.
                        @let reference = Reference::Tag(tag.clone());
                        @let picture = picture::picture(view.shelves, name, &reference).ok();
                        @let variants = picture.as_ref().map_or(&[][..], |picture| &picture.variants);
                        tr {
                            th scope="row" { a href=(view.link(&super::address(name, &reference))) { (tag) } }
                            td data-name=(view.say(Word::Digest)) { @if let Some(picture) = &picture { (digest(&picture.digest)) } }
                            td data-name=(view.say(Word::Platform)) { ul.plain { @for variant in variants { li { (variant.platform) } } } }
                            td.number data-name=(view.say(Word::Size)) { ul.plain { @for variant in variants { li { (format::size(variant.size)) } } } }
                            td data-name=(view.say(Word::Made)) { (age(view, picture.as_ref().and_then(|picture| picture.created()))) }
                        }
                    }
                }
            }
        }
        (pager(view, page, pages, |page| format!("/tags/{name}?page={page}")))
    };
    Ok(Content { title: format!("{} · {}", view.shown(name), view.say(Word::Tags)), main })
}
