//! A repository: what it is, and how to get it.

use maud::{Markup, html};

use super::pieces::{badges, command, sign};
use super::{Content, View};
use crate::server::error::Refusal;
use crate::server::hub::catalogue::Entry;
use crate::server::hub::words::Word;
use crate::server::hub::{format, markdown};
use crate::server::name::Name;

/// How many tags stand beside the description; the page of tags has the rest.
const TAGS: usize = 12;

pub(super) fn page(view: &View<'_>, name: &Name) -> Result<Content, Refusal> {
    let entry = view.entry(name)?;
    let tags = view.shelves.tags(name)?;
    let readme = view.language.choose(&entry.about.readme, &entry.about.readme_zh);
    let favourite = favourite(&tags);
    let main = html! {
        (head(view, &entry, Tab::Overview, tags.len()))
        div.columns {
            article.readme {
                @if readme.is_empty() { p.quiet { (view.say(Word::NoDescription)) } }
                @else { (markdown::render(readme)) }
            }
            aside {
                section { h2 { (view.say(Word::Pull)) } (pulling(view, name, favourite)) }
                section {
                    h2 { (view.say(Word::Tags)) }
                    ul.tags {
                        @for tag in tags.iter().take(TAGS) {
                            li { a href=(view.link(&format!("/r/{name}:{tag}"))) { (tag) } }
                        }
                        @if tags.len() > TAGS {
                            li { a href=(view.link(&format!("/tags/{name}"))) { "… (" (tags.len()) ")" } }
                        }
                    }
                }
            }
        }
    };
    Ok(Content { title: view.shown(name), main })
}

/// The tag to show a command with.
fn favourite(tags: &[String]) -> &str {
    if tags.iter().any(|tag| tag == "latest") {
        "latest"
    } else {
        tags.first().map_or("latest", String::as_str)
    }
}

/// The commands that pull a tag or digest, as far as this page's reader can use them.
pub(super) fn pulling(view: &View<'_>, name: &Name, tag: &str) -> Markup {
    let at = if tag.contains(':') { "@" } else { ":" };
    let shown = view.shown(name);
    let host = view.asked.host.as_deref().unwrap_or_default();
    let mirrored = host.is_empty() || !shown.starts_with(host);
    let suffix = if tag == "latest" { String::new() } else { format!("{at}{tag}") };
    html! {
        @if mirrored {
            p.quiet { (view.say(Word::PullMirror)) }
            (command(&format!("docker pull {shown}{suffix}")))
        }
        @if !host.is_empty() {
            p.quiet { (view.say(Word::PullHere)) }
            (command(&format!("docker pull {host}/{name}{suffix}")))
        }
    }
}

/// Which of a repository's pages is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Tags,
}

/// What all pages of a repository begin with.
pub(super) fn head(view: &View<'_>, entry: &Entry, tab: Tab, tags: usize) -> Markup {
    let name = &entry.name;
    let current = |of: Tab| (of == tab).then_some("page");
    html! {
        section.repository {
            (sign(&view.shown(name)))
            div {
                h1 { (view.shown(name)) }
                p.badges {
                    (badges(view, entry))
                    @if entry.about.sample {
                        span.numbers {
                            span title=(view.say(Word::Stars)) { "★ " (format::count(entry.about.stars)) }
                            span title=(view.say(Word::Pulls)) { "↓ " (format::count(entry.pulls)) }
                        }
                    }
                }
                @if !entry.about.description.is_empty() { p.lead { (entry.description(view.language)) } }
                @if entry.about.stand_in { p.note { (view.say(Word::StandInMeaning)) } }
            }
        }
        nav.tabs {
            a href=(view.link(&format!("/r/{name}"))) aria-current=[current(Tab::Overview)] { (view.say(Word::Overview)) }
            a href=(view.link(&format!("/tags/{name}"))) aria-current=[current(Tab::Tags)] { (view.say(Word::Tags)) " " span.pill { (tags) } }
        }
    }
}
