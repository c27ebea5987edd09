//! `ImageList`: `GET /images/json`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use glassdock_image::images::Image;
use glassdock_image::{Digest, Images, Reference};
use serde::Serialize;

use crate::call::{ApiVersion, Call};
use crate::engine::Engine;
use crate::error::Error;
use crate::events::moment;
use crate::reply::{self, Reply};
use crate::route::Filters;

/// `ImageSummary`, in the order of Docker's fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    containers: i64,
    created: i64,
    id: String,
    labels: Option<BTreeMap<String, String>>,
    parent_id: &'static str,
    repo_digests: Vec<String>,
    repo_tags: Vec<String>,
    shared_size: i64,
    size: u64,
    /// Before 1.44: the same once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
}

pub(crate) async fn list(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["dangling", "label", "label!", "before", "since", "reference", "until"])?;
    let (shared, version) = (call.flag("shared-size"), call.version);
    let count = version >= ApiVersion(51);
    let work = move |engine: &Arc<Engine>| summaries(engine, &filters, shared, count, version);
    reply::json(&call.engine.blocking(work).await?)
}

/// All images with what they share and who uses them, for `system df`.
pub(crate) fn measured(engine: &Engine, version: ApiVersion) -> Result<Vec<Summary>, Error> {
    summaries(engine, &Filters::default(), true, true, version)
}

fn summaries(
    engine: &Engine,
    filters: &Filters,
    shared: bool,
    count: bool,
    version: ApiVersion,
) -> Result<Vec<Summary>, Error> {
    let images = &engine.images;
    let all = images.list();
    let wanted = Wanted::new(images, filters)?;
    let often = if shared { layer_counts(&all) } else { HashMap::new() };
    let mut summaries = Vec::new();
    for image in &all {
        let Some((tags, digests)) = wanted.names(image) else { continue };
        let labels = &image.config.config.labels;
        let users = super::users(engine)(&image.id).len();
        summaries.push(Summary {
            containers: if count { i64::try_from(users).unwrap_or(-1) } else { -1 },
            created: image.created_ns().div_euclid(1_000_000_000),
            id: image.id.to_string(),
            labels: (!labels.is_empty()).then(|| labels.clone()),
            parent_id: "",
            repo_digests: digests,
            repo_tags: tags,
            shared_size: if shared { shared_size(images, image, &often) } else { -1 },
            size: image.size,
            virtual_size: (version < ApiVersion(44)).then_some(image.size),
        });
    }
    Ok(summaries)
}

/// The list's filters, ready to be held against each image.
struct Wanted<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
}

impl<'a> Wanted<'a> {
    fn new(images: &Images, filters: &'a Filters) -> Result<Self, Error> {
        let created = |name: &str| {
            filters.get(name).iter().map(|text| images.resolve(text).map(|image| image.created_ns()))
        };
        let until = filters.get("until").iter().map(|text| moment(Some(text)));
        let mut before = created("before").collect::<Result<Vec<_>, _>>()?;
        before.extend(until.collect::<Result<Vec<_>, _>>()?.into_iter().flatten());
        let since = created("since").collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            filters,
            dangling: filters.truth("dangling")?,
            before: before.into_iter().min(),
            since: since.into_iter().max(),
        })
    }

    /// The tags and digests to show of an image; `None` if it is not wanted.
    fn names(&self, image: &Image) -> Option<(Vec<String>, Vec<String>)> {
        let created = image.created_ns();
        let tagged = image.references.iter().any(|name| name.digest().is_none());
        let fits = self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
            && self.dangling.is_none_or(|dangling| dangling != tagged)
            && self.filters.labels_fit(&image.config.config.labels);
        if !fits {
            return None;
        }
        let shown = |name: &&Reference| {
            self.filters.any("reference", |pattern| {
                glob(pattern, &name.familiar()) || glob(pattern, &name.familiar_name())
            })
        };
        let names: Vec<&Reference> = image.references.iter().filter(shown).collect();
        if self.filters.has("reference") && names.is_empty() {
            return None;
        }
        let (digests, tags): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.digest().is_some());
        let familiar = |names: Vec<&Reference>| names.into_iter().map(Reference::familiar).collect();
        Some((familiar(tags), familiar(digests)))
    }
}

/// How many images have each layer.
fn layer_counts(images: &[std::sync::Arc<Image>]) -> HashMap<Digest, usize> {
    let mut counts = HashMap::new();
    for layer in images.iter().flat_map(|image| &image.layers) {
        *counts.entry(layer.chain.0.clone()).or_default() += 1;
    }
    counts
}

fn shared_size(images: &Images, image: &Image, often: &HashMap<Digest, usize>) -> i64 {
    let shared =
        image.layers.iter().filter(|layer| often.get(&layer.chain.0).is_some_and(|count| *count > 1));
    let bytes: u64 =
        shared.filter_map(|layer| images.layers().size(&layer.chain)).map(|size| size.bytes).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Whether a name fits a pattern of Go's `path.Match`: `*` and `?` don't match a
/// slash, `[a-z]` is one of a set, `\` takes the next character as it is.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // For each place in the pattern, whether what came so far can end here: no backtracking, whatever the pattern.
    let mut tokens = Vec::new();
    let mut rest = pattern.as_slice();
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            ('*', _) => (tail, tokens.push(Token::Star)),
            ('?', _) => (tail, tokens.push(Token::Any)),
            ('\\', [next, after @ ..]) => (after, tokens.push(Token::One(*next))),
            ('[', _) => match tail.iter().position(|character| *character == ']') {
                Some(end) => (&tail[end + 1..], tokens.push(Token::Set(&tail[..end]))),
                None => return false,
            },
            _ => (tail, tokens.push(Token::One(*first))),
        };
    }
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    spread(&tokens, &mut reached);
    for character in name {
        let mut next = vec![false; tokens.len() + 1];
        for (place, token) in tokens.iter().enumerate().filter(|(place, _)| reached[*place]) {
            match token {
                Token::Star => next[place] |= character != '/',
                token => next[place + 1] |= token.takes(character),
            }
        }
        spread(&tokens, &mut next);
        reached = next;
    }
    reached[tokens.len()]
}

enum Token<'a> {
    Star,
    Any,
    One(char),
    Set(&'a [char]),
}

impl Token<'_> {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => character != '/',
            Self::One(one) => *one == character,
            Self::Set(set) => {
                let (negated, mut set) = match set {
                    ['^', rest @ ..] => (true, rest),
                    set => (false, *set),
                };
                let mut found = false;
                while let [first, tail @ ..] = set {
                    (found, set) = match tail {
                        ['-', last, after @ ..] => (found || (*first..=*last).contains(&character), after),
                        _ => (found || *first == character, tail),
                    };
                }
                found != negated
            }
        }
    }
}

/// A star may stand for nothing.
fn spread(tokens: &[Token<'_>], reached: &mut [bool]) {
    for (place, token) in tokens.iter().enumerate() {
        if reached[place] && matches!(token, Token::Star) {
            reached[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_fit_as_in_go() {
        assert!(
            glob("busybox", "busybox") && glob("busy*", "busybox:latest") && glob("*:lat?st", "a:latest")
        );
        assert!(glob("acme/*", "acme/web") && !glob("*", "acme/web") && glob("*/*", "acme/web"));
        assert!(glob("[a-c]*", "busybox") && !glob("[^a-c]*", "busybox") && glob(r"\*", "*"));
        assert!(!glob("[", "[") && glob("", "") && !glob("", "x"));
        assert!(!glob(&"*a".repeat(200), &"b".repeat(2000)), "no pattern takes long");
    }
}
