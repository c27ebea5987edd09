//! Pieces that several pages have.

use maud::{Markup, html};

use super::View;
use crate::server::hub::catalogue::Entry;
use crate::server::hub::format;
use crate::server::hub::words::Word;

/// A command that can be copied: a click selects all of it, with or without the script.
pub(super) fn command(text: &str) -> Markup {
    html! { div.command { code { (text) } } }
}

/// The sign of a repository: its first letter on a colour of its own.
pub(super) fn sign(name: &str) -> Markup {
    let last = name.rsplit('/').next().unwrap_or(name);
    let letter: String = last.chars().take(1).flat_map(char::to_uppercase).collect();
    let hue = name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 8;
    html! { span class={ "sign hue-" (hue) } aria-hidden="true" { (letter) } }
}

/// What sort of image it is.
pub(super) fn badges(view: &View<'_>, entry: &Entry) -> Markup {
    html! {
        @if entry.about.official { (official(view)) }
        @if entry.about.stand_in { (stand_in(view)) }
    }
}

/// That an image is one of the maintained ones.
pub(super) fn official(view: &View<'_>) -> Markup {
    html! { span.badge.official { (view.say(Word::Official)) } }
}

/// That an image isn't what its name says.
pub(super) fn stand_in(view: &View<'_>) -> Markup {
    html! { span.badge.stand-in title=(view.say(Word::StandInMeaning)) { (view.say(Word::StandIn)) } }
}

/// When something was made: how long ago, with the day itself for whoever wants to know.
pub(super) fn age(view: &View<'_>, created: Option<&str>) -> Markup {
    let day = created.and_then(format::day);
    let age = created.and_then(|created| format::age(created, view.language));
    html! {
        @match day.zip(age) {
            Some((day, age)) => time datetime=(day) title=(day) { (age) },
            None => span.quiet { "–" },
        }
    }
}

/// The way to the pages before and behind this one.
pub(super) fn pager(view: &View<'_>, page: usize, pages: usize, address: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager {
                @if page > 1 {
                    a.button rel="prev" href=(view.link(&address((page - 1).min(pages)))) { "← " (view.say(Word::NewerPage)) }
                }
                span { (view.say(Word::Page)) " " (page) " / " (pages) }
                @if page < pages {
                    a.button rel="next" href=(view.link(&address(page + 1))) { (view.say(Word::OlderPage)) " →" }
                }
            }
        }
    }
}

/// A digest, short, with all of it in its title.
pub(super) fn digest(digest: &glassdock_image::Digest) -> Markup {
    html! { code.digest title=(digest) { (digest.algorithm().name()) ":" (digest.short()) } }
}
