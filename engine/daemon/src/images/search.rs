//! `ImageSearch`: images of a registry by their names and descriptions.

use glassdock_image::reference::DEFAULT_DOMAIN;
use serde_json::{Value, json};

use super::credentials;
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// How many results there are where the client doesn't say.
const LIMIT: i64 = 25;
/// The most that a client may ask for.
const MOST: i64 = 100;

pub(crate) async fn search(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["is-automated", "is-official", "stars"])?;
    let automated = filters.truth("is-automated")?;
    let official = filters.truth("is-official")?;
    let stars = stars(filters.get("stars"))?;
    let limit = limit(call.query("limit").unwrap_or_default())?;
    let term = call.query("term").unwrap_or_default();
    let (domain, words) = split(term)?;
    // What "automated" meant is gone: nothing is.
    if automated == Some(true) {
        return reply::json(&json!([]));
    }
    let credentials = credentials::read(call.header("x-registry-auth"));
    let found = call.engine.registry.search(&call.trace, domain, words, limit, credentials.as_ref()).await?;
    let shown: Vec<Value> = found
        .into_iter()
        .filter(|found| official.is_none_or(|wanted| wanted == found.is_official))
        .filter(|found| stars.is_none_or(|least| found.star_count >= least))
        .map(|found| {
            json!({
                "star_count": found.star_count,
                "is_official": found.is_official,
                "name": found.name,
                "is_automated": false,
                "description": found.description,
            })
        })
        .collect();
    reply::json(&shown)
}

fn limit(text: &str) -> Result<usize, Error> {
    let number: i64 = match text {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Error::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?,
    };
    let limit = if number == 0 { LIMIT } else { number };
    let usable = usize::try_from(limit).ok().filter(|_| (1..=MOST).contains(&limit));
    usable.ok_or_else(|| Error::invalid(format!("limit {limit} is outside the range of [1, {MOST}]")))
}

/// At least so many stars: the largest of several numbers counts.
fn stars(values: &[String]) -> Result<Option<i64>, Error> {
    values.iter().try_fold(None, |least, value| {
        let number: i64 =
            value.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars={value}'")))?;
        Ok(least.max(Some(number)))
    })
}

/// The registry that is asked, and for what.
fn split(term: &str) -> Result<(&str, &str), Error> {
    if term.starts_with("http://") || term.starts_with("https://") {
        let words = format!("invalid repository name: repository name ({term}) should not have a scheme");
        return Err(Error::invalid(words));
    }
    match term.split_once('/') {
        Some((domain, words)) if domain == "localhost" || domain.contains(['.', ':']) => {
            // The domain becomes part of an address: it must be nothing else.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            let host = domain.split(':').next().unwrap_or_default();
            let empty = !host.starts_with('[') && host.split('.').any(str::is_empty);
            if empty || !domain.bytes().all(plain) {
                return Err(Error::invalid(format!("invalid index name ({domain})")));
            }
            let domain = if matches!(domain, "index.docker.io") { DEFAULT_DOMAIN } else { domain };
            Ok((domain, words))
        }
        _ => Ok((DEFAULT_DOMAIN, term.strip_prefix("library/").unwrap_or(term))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_dockers_bounds_and_words() {
        assert_eq!(["", "0", "1", "100"].map(|text| limit(text).ok()), [25, 25, 1, 100].map(Some));
        for bad in ["101", "-1", "9223372036854775807"] {
            let error = limit(bad).expect_err(bad);
            assert_eq!(error.message(), format!("limit {bad} is outside the range of [1, 100]"));
        }
        assert_eq!(
            limit("x").expect_err("no number").message(),
            "strconv.Atoi: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn a_registry_in_front_of_the_words_is_asked() {
        assert_eq!(split("java").ok(), Some(("docker.io", "java")));
        assert_eq!(split("library/java").ok(), Some(("docker.io", "java")));
        assert_eq!(split("ali/app").ok(), Some(("docker.io", "ali/app")));
        assert_eq!(split("localhost:5000/java").ok(), Some(("localhost:5000", "java")));
        assert_eq!(split("index.docker.io/java").ok(), Some(("docker.io", "java")));
        for bad in
            ["http://x/java", "a.b@evil.test:80/java", "a.b?c/java", "a.b c/java", "../x", "a..b/x", ":80/x"]
        {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_largest_number_of_stars_counts() {
        let of = |values: &[&str]| stars(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]).ok(), Some(None));
        assert_eq!(of(&["3", "10", "-1"]).ok(), Some(Some(10)));
        assert_eq!(of(&["x"]).expect_err("no number").message(), "invalid filter 'stars=x'");
    }
}
