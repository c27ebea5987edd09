//! One image: its layers as a stack, its Dockerfile, and how a container of it starts.

use maud::{Markup, html};

use super::pieces::{age, digest};
use super::repository::{Tab, head, pulling};
use super::{Content, View};
use crate::server::error::Refusal;
use crate::server::hub::catalogue::Entry;
use crate::server::hub::format;
use crate::server::hub::picture::{Picture, Step, Variant, picture};
use crate::server::hub::words::Word;
use crate::server::name::Name;
use crate::server::storage::manifests::Reference;

pub(super) fn page(view: &View<'_>, name: &Name, reference: &Reference) -> Result<Content, Refusal> {
    let entry = view.entry(name)?;
    let picture = picture(view.shelves, name, reference)?;
    let variant = picture.variant(view.asked.platform.as_deref());
    let tags = view.shelves.tags(name)?.len();
    let (at, tag) = match reference {
        Reference::Tag(tag) => (":", tag.clone()),
        Reference::Digest(digest) => ("@", digest.to_string()),
    };
    let main = html! {
        (head(view, &entry, Tab::Tags, tags))
        section.image {
            h2 { span.quiet { (view.shown(name)) (at) } (short(&tag)) }
            @if picture.variants.len() > 1 { (platforms(view, name, reference, &picture, variant)) }
        }
        @if let Some(variant) = variant {
            div.columns {
                div {
                    (layers(view, &variant.steps()))
                    (dockerfile(view, &entry, reference, variant))
                }
                aside {
                    section { h2 { (view.say(Word::Pull)) } (pulling(view, name, &tag)) }
                    (facts(view, &picture, variant))
                    (process(view, variant))
                }
            }
        } @else {
            p.note { (view.say(Word::NoImage)) }
            p { (view.say(Word::MediaType)) ": " code { (picture.media_type) } }
        }
    };
    Ok(Content { title: format!("{}{at}{}", view.shown(name), short(&tag)), main })
}

/// A digest is too long for a heading.
fn short(tag: &str) -> &str {
    if tag.contains(':') { tag.get(..19).unwrap_or(tag) } else { tag }
}

fn platforms(
    view: &View<'_>,
    name: &Name,
    reference: &Reference,
    picture: &Picture,
    chosen: Option<&Variant>,
) -> Markup {
    let address = super::address(name, reference);
    let is_chosen = |variant: &Variant| chosen.is_some_and(|chosen| chosen.digest == variant.digest);
    html! {
        nav.platforms aria-label=(view.say(Word::Platforms)) {
            @for variant in &picture.variants {
                @let query = percent_encoding::utf8_percent_encode(&variant.platform, percent_encoding::NON_ALPHANUMERIC);
                a href=(view.link(&format!("{address}?platform={query}"))) aria-current=[is_chosen(variant).then_some("true")] {
                    (variant.platform)
                }
            }
        }
    }
}

/// The stack, its top first.
fn layers(view: &View<'_>, steps: &[Step]) -> Markup {
    let sizes = steps.iter().filter_map(|step| step.layer.as_ref()).map(|layer| layer.size);
    let largest = sizes.clone().max().unwrap_or(0).max(1);
    let count = sizes.count();
    html! {
        section {
            h2 { (view.say(Word::Layers)) " " span.pill { (count) } }
            p.quiet { (view.say(Word::LayersMeaning)) }
            ol.stack reversed {
                @for step in steps.iter().rev() {
                    @match &step.layer {
                        Some(layer) => {
                            li.layer {
                                (bar(layer.size, largest))
                                p.instruction { (instruction(view, &step.instruction)) }
                                p.facts { span { (format::size(layer.size)) } (digest(&layer.digest)) }
                            }
                        }
                        None => {
                            li.setting {
                                p.instruction { (instruction(view, &step.instruction)) }
                                p.facts { span.quiet { (view.say(Word::SetsOnly)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A bar as long as a layer is large. The page's policy forbids styles in attributes; a
/// picture's attributes are none.
fn bar(size: u64, largest: u64) -> Markup {
    let share = (size as f64 / largest as f64 * 100.0).clamp(0.5, 100.0);
    html! {
        svg.bar width="100%" height="6" aria-hidden="true" {
            rect.all width="100%" height="6" rx="3" {}
            rect.part width=(format!("{share:.1}%")) height="6" rx="3" {}
        }
    }
}

/// An instruction with its name marked.
fn instruction(view: &View<'_>, text: &str) -> Markup {
    if text.is_empty() {
        return html! { span.quiet { (view.say(Word::NoInstruction)) } };
    }
    html! { code { (line(text)) } }
}

/// A line of a Dockerfile: the instruction's name and the comment behind it are marked.
fn line(text: &str) -> Markup {
    if text.trim_start().starts_with('#') {
        return html! { i { (text) } };
    }
    let name = text.split(' ').next().unwrap_or_default();
    let is_name = name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_uppercase());
    let (name, rest) = if is_name { text.split_at(name.len()) } else { ("", text) };
    let (rest, comment) = rest.find(" # ").map_or((rest, ""), |at| rest.split_at(at));
    html! {
        @if !name.is_empty() { b { (name) } }
        (rest)
        @if !comment.is_empty() { i { (comment) } }
    }
}

/// The tag's Dockerfile; where nobody gave one, what the image's history tells.
fn dockerfile(view: &View<'_>, entry: &Entry, reference: &Reference, variant: &Variant) -> Markup {
    let known = match reference {
        Reference::Tag(tag) => entry.about.dockerfiles.iter().find(|(known, _)| known == tag),
        Reference::Digest(_) => None,
    };
    let steps = variant.steps();
    let told = known.map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let lines = told.unwrap_or_else(|| {
        steps.into_iter().map(|step| step.instruction).filter(|text| !text.is_empty()).collect()
    });
    html! {
        section #dockerfile {
            h2 { (view.say(Word::Dockerfile)) }
            @if known.is_none() { p.quiet { (view.say(Word::FromHistory)) } }
            @if !lines.is_empty() {
                pre.dockerfile tabindex="0" { code { @for text in &lines { span.line { (line(text)) "\n" } } } }
            }
        }
    }
}

fn facts(view: &View<'_>, picture: &Picture, variant: &Variant) -> Markup {
    html! {
        section {
            dl {
                dt { (view.say(Word::Platform)) } dd { (variant.platform) }
                dt { (view.say(Word::Size)) } dd { (format::size(variant.size)) }
                dt { (view.say(Word::Made)) } dd { (age(view, variant.created())) }
                dt { (view.say(Word::Digest)) } dd { (digest(&picture.digest)) }
                dt { (view.say(Word::ImageId)) } dd { (digest(variant.id())) }
                dt { (view.say(Word::MediaType)) } dd { code.long { (picture.media_type) } }
            }
        }
    }
}

fn process(view: &View<'_>, variant: &Variant) -> Markup {
    let process = variant.process();
    let words = |words: &Option<Vec<String>>| {
        words.as_ref().and_then(|words| serde_json::to_string(words).ok()).into_iter().collect()
    };
    let labels = process.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty()).into_iter().collect();
    let rows: [(Word, Vec<String>); 8] = [
        (Word::Entrypoint, words(&process.entrypoint)),
        (Word::Command, words(&process.cmd)),
        (Word::User, text(&process.user)),
        (Word::WorkingDirectory, text(&process.working_dir)),
        (Word::Environment, process.env.clone()),
        (Word::Ports, process.exposed_ports.keys().cloned().collect()),
        (Word::Volumes, process.volumes.keys().cloned().collect()),
        (Word::Labels, labels),
    ];
    html! {
        section {
            h2 { (view.say(Word::HowItStarts)) }
            dl {
                @for (name, values) in rows.iter().filter(|(_, values)| !values.is_empty()) {
                    dt { (view.say(*name)) }
                    @for value in values.iter().take(200) { dd { code.long { (clipped(value)) } } }
                }
            }
        }
    }
}

/// As much of a value as a page needs: an image may hold megabytes of it.
fn clipped(value: &str) -> &str {
    value.char_indices().nth(2000).map_or(value, |(end, _)| &value[..end])
}
