//! The first page: the popular images.

use maud::html;

use super::pieces::{badges, sign};
use super::{Content, View};
use crate::server::error::Refusal;
use crate::server::hub::words::Word;
use crate::server::hub::{catalogue, format};

/// How many images it shows.
const SHOWN: usize = 12;

pub(super) fn page(view: &View<'_>) -> Result<Content, Refusal> {
    let found = catalogue::find(view.shelves, &super::Asked::default())?;
    let samples = found.iter().take(SHOWN).any(|entry| entry.about.sample);
    let main = html! {
        section.hero {
            h1 { (view.say(Word::Tagline)) }
            p { (view.say(Word::Intro)) }
        }
        section {
            div.heading {
                h2 { (view.say(Word::Popular)) }
                a href=(view.link("/search")) { (view.say(Word::AllImages)) " (" (found.len()) ") →" }
            }
            @if found.is_empty() { p.note { (view.say(Word::Empty)) } }
            ul.cards {
                @for entry in found.iter().take(SHOWN) {
                    @let shown = view.shown(&entry.name);
                    li.card {
                        (sign(&shown))
                        div.body {
                            h3 { a href=(view.link(&format!("/r/{}", entry.name))) { (shown) } }
                            p.badges { (badges(view, entry)) }
                            p.description {
                                @if entry.about.description.is_empty() { span.quiet { (view.say(Word::NoDescription)) } }
                                @else { (entry.description(view.language)) }
                            }
                            @if entry.about.sample {
                                p.numbers {
                                    span title=(view.say(Word::Stars)) { "★ " (format::count(entry.about.stars)) }
                                    span title=(view.say(Word::Pulls)) { "↓ " (format::count(entry.pulls)) }
                                }
                            }
                        }
                    }
                }
            }
            @if samples { p.note { (view.say(Word::Samples)) } }
        }
    };
    Ok(Content { title: view.say(Word::Popular).to_owned(), main })
}
