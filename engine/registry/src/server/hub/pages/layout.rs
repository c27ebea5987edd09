//! What is around each page.

use maud::{DOCTYPE, Markup, html};

use super::{Content, View};
use crate::server::error::Refusal;
use crate::server::hub::words::Word;

/// The whole document.
pub(super) fn whole(view: &View<'_>, content: Content) -> Markup {
    let other = view.language.other();
    html! {
        (DOCTYPE)
        html lang=(view.language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (content.title) " · Glassdock Hub" }
                link rel="icon" href="/assets/hub.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/hub.css";
                link rel="alternate" hreflang=(other.tag()) href={ "/" (other.name()) (view.path) };
                script src="/assets/hub.js" defer {}
            }
            body data-copy=(view.say(Word::Copy)) data-copied=(view.say(Word::Copied)) {
                a.skip href="#main" { (view.say(Word::Skip)) }
                header.top {
                    div.bar {
                        a.brand href=(view.link("/")) {
                            img src="/assets/hub.svg" alt="" width="32" height="32";
                            span { "Glassdock " b { "Hub" } }
                        }
                        (search(view))
                        a.language href={ "/" (other.name()) (view.path) } hreflang=(other.tag()) lang=(other.tag()) {
                            (view.say(Word::OtherLanguage))
                        }
                    }
                }
                main #main tabindex="-1" { (content.main) }
                footer {
                    p {
                        (view.say(Word::Footer)) " "
                        code { (view.asked.host.as_deref().unwrap_or("/v2/")) }
                    }
                }
            }
        }
    }
}

fn search(view: &View<'_>) -> Markup {
    html! {
        form.search role="search" action=(view.link("/search")) {
            label.hidden for="q" { (view.say(Word::SearchLabel)) }
            input #q type="search" name="q" value=(view.asked.query) maxlength="100"
                placeholder=(view.say(Word::SearchHint)) autocomplete="off" spellcheck="false";
            button type="submit" { (view.say(Word::Search)) }
        }
    }
}

/// In place of a page that can't be made.
pub(super) fn refused(view: &View<'_>, refusal: &Refusal) -> Content {
    let missing = refusal.code.status() == http::StatusCode::NOT_FOUND;
    let title = view.say(if missing { Word::NothingHere } else { Word::Failed });
    let main = html! {
        section.message {
            h1 { (title) }
            @if missing {
                p { (view.say(Word::NothingHereMore)) }
            } @else {
                p { (refusal.message) }
            }
            p { a.button href=(view.link("/")) { (view.say(Word::Home)) } }
        }
    };
    Content { title: title.to_owned(), main }
}
