//! A search: which images does a registry have by these words?
//!
//! There is no search in the distribution specification. Docker's first registry protocol had
//! one, `GET /v1/search?q=WORDS&n=COUNT`, and Docker Hub still answers it.

use glassdock_trace::Trace;
use http::{Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::endpoint::search_endpoints;
use super::pull::keep_going;
use super::session::{Ask, Session};
use super::{Client, Credentials, Error, Waiting};

/// The longest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 4 * 1024 * 1024;

/// An image that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// The name, as it can be pulled.
    pub name: String,
    /// One line about it; often empty.
    #[serde(default)]
    pub description: String,
    /// How many people like it.
    #[serde(default)]
    pub star_count: i64,
    /// Whether it is one of the maintained images.
    #[serde(default)]
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    /// Go writes `null` for no results.
    results: Option<Vec<Found>>,
}

impl Client {
    /// Searches the registry `domain` (for `docker.io` its mirrors first) for `words`, and gives
    /// at most `limit` results, in the registry's order.
    ///
    /// # Errors
    ///
    /// Those of [`Error`]; of several addresses, the error that says most.
    pub fn search<'a>(
        &'a self,
        trace: &'a Trace,
        domain: &'a str,
        words: &'a str,
        limit: usize,
        credentials: Option<&'a Credentials>,
    ) -> Waiting<'a, Vec<Found>> {
        Box::pin(async move {
            let mut first = None;
            for endpoint in search_endpoints(&self.config, domain) {
                let session = Session::of_registry(self, endpoint, domain, credentials);
                match session.search(trace, words, limit).await {
                    Ok(found) => return Ok(found),
                    Err(error) => keep_going(&session, error, &mut first)?,
                }
            }
            Err(first.unwrap_or(Error::Worker))
        })
    }
}

impl Session {
    async fn search(&self, trace: &Trace, words: &str, limit: usize) -> Result<Vec<Found>, Error> {
        let words = utf8_percent_encode(words, NON_ALPHANUMERIC);
        let ask = Ask::new(Method::GET, format!("/v1/search?q={words}&n={limit}"))
            .header(header::ACCEPT, "application/json");
        let mut reply = self.send(trace, &ask).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(reply, None).await);
        }
        let body = reply.all(ANSWER_LIMIT).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| reply.nonsense(format!("no results of a search: {error}")))?;
        let mut found = answer.results.unwrap_or_default();
        found.truncate(limit);
        Ok(found)
    }
}
