//! The results of a search, as a table with a way to each image's details.

use maud::html;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::pieces::{command, official, pager, sign, stand_in};
use super::{Content, View};
use crate::server::error::Refusal;
use crate::server::hub::words::Word;
use crate::server::hub::{Asked, catalogue, format};

/// How many results a page has.
const COUNT: usize = 20;

pub(super) fn page(view: &View<'_>) -> Result<Content, Refusal> {
    let asked = view.asked;
    let found = catalogue::find(view.shelves, asked)?;
    let pages = found.len().div_ceil(COUNT);
    let page = asked.page.min(pages.max(1));
    let entries = &found[(page - 1) * COUNT..(page * COUNT).min(found.len())];
    let query = asked.query.trim();
    let title = if query.is_empty() { view.say(Word::AllImages).to_owned() } else { query.to_owned() };
    let main = html! {
        section {
            div.heading {
                h1 {
                    @if query.is_empty() { (view.say(Word::AllImages)) }
                    @else { (view.say(Word::ResultsFor)) " " q { (query) } }
                    " " span.quiet { "(" (found.len()) ")" }
                }
            }
            form.filters action=(view.link("/search")) {
                input type="hidden" name="q" value=(asked.query);
                label { input type="checkbox" name="official" value="1" checked[asked.official == Some(true)]; " " (view.say(Word::OnlyOfficial)) }
                label { (view.say(Word::AtLeastStars)) " " input type="number" name="stars" min="0" max="999999" value=(asked.stars); }
                button type="submit" { (view.say(Word::Apply)) }
            }
            @if entries.is_empty() {
                p.note { (view.say(Word::NoResults)) }
            } @else {
                div.wide {
                    table.results {
                        thead { tr {
                            th scope="col" { (view.say(Word::Name)) }
                            th scope="col" { (view.say(Word::Official)) }
                            th.number scope="col" { (view.say(Word::Stars)) }
                            th.number scope="col" { (view.say(Word::Pulls)) }
                            th scope="col" { (view.say(Word::Description)) }
                            th { span.hidden { (view.say(Word::Details)) } }
                        } }
                        tbody {
                            @for entry in entries {
                                @let shown = view.shown(&entry.name);
                                @let details = view.link(&format!("/r/{}", entry.name));
                                tr {
                                    th scope="row" { span.named { (sign(&shown)) a href=(details) { (shown) } @if entry.about.stand_in { (stand_in(view)) } } }
                                    td data-name=(view.say(Word::Official)) { @if entry.about.official { (official(view)) } }
                                    td.number data-name=(view.say(Word::Stars)) { (format::count(entry.about.stars)) }
                                    td.number data-name=(view.say(Word::Pulls)) { (format::count(entry.pulls)) }
                                    td.description {
                                        @if entry.about.description.is_empty() { span.quiet { (view.say(Word::NoDescription)) } }
                                        @else { (entry.description(view.language)) }
                                    }
                                    td.action { a.button href=(details) aria-label={ (view.say(Word::Details)) ": " (shown) } { (view.say(Word::Details)) } }
                                }
                            }
                        }
                    }
                }
                (pager(view, page, pages, |page| address(asked, page)))
                @if entries.iter().any(|entry| entry.about.sample) { p.note { (view.say(Word::Samples)) } }
            }
        }
        @if let Some(line) = line(asked) {
            section { h2 { (view.say(Word::OnTheCommandLine)) } (command(&line)) }
        }
    };
    Ok(Content { title, main })
}

/// The path of a page of results.
pub(super) fn address(asked: &Asked, page: usize) -> String {
    let mut path = format!("/search?q={}", utf8_percent_encode(&asked.query, NON_ALPHANUMERIC));
    if let Some(official) = asked.official {
        path.push_str(if official { "&official=1" } else { "&official=0" });
    }
    if asked.stars > 0 {
        path.push_str(&format!("&stars={}", asked.stars));
    }
    if page > 1 {
        path.push_str(&format!("&page={page}"));
    }
    path
}

/// The same search for the docker client; none for words that a shell would have to be spared.
fn line(asked: &Asked) -> Option<String> {
    let query = asked.query.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    if query.is_empty() || query.starts_with('-') || !query.bytes().all(plain) {
        return None;
    }
    let official = asked.official.map(|wanted| format!("--filter is-official={wanted} ")).unwrap_or_default();
    let stars = if asked.stars > 0 { format!("--filter stars={} ", asked.stars) } else { String::new() };
    Some(format!("docker search {official}{stars}{query}"))
}
