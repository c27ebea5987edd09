//! Files from any web server: what ADD of a URL and contexts from a URL take.
//!
//! A file is no image: nobody logs in, and the server's word is all that there is. Redirects are
//! followed, each with an event of its own; from https none leads to http.

use bytes::Bytes;
use glassdock_trace::Trace;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::Url;

use super::transport::{Payload, Reply, Request};
use super::{Client, Error, Waiting, endpoint, retry};

/// So many redirects are followed, as many as browsers and Go's client follow.
const REDIRECTS: usize = 10;

/// A file that is coming.
pub struct Download {
    reply: Reply,
    /// When it was changed last, in seconds since 1970, if the server says so.
    pub modified: Option<u64>,
    /// Its media type, without parameters, in lower case.
    pub media_type: Option<String>,
    /// Its size, if the server says so.
    pub length: Option<u64>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Client {
    /// Begins to fetch a file. What passes (a server in trouble) is tried again.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`] for an address that is none, [`Error::Status`] for an answer that is no
    /// success, and whatever is wrong on the way.
    pub fn download<'a>(&'a self, trace: &'a Trace, address: &'a str) -> Waiting<'a, Download> {
        Box::pin(async move {
            let mut attempt = 1;
            loop {
                let result = self.follow(trace, address, attempt).await;
                let again = match &result {
                    Ok(reply) => retry::is_passing(reply.status()),
                    Err(Error::Connection { again, .. }) => *again,
                    Err(_) => false,
                };
                if !again || attempt >= self.config.attempts {
                    return Download::of(result?).await;
                }
                let pause = match result {
                    Ok(mut reply) => {
                        reply.finish();
                        retry::pause(&self.config, attempt, Some(reply.headers()))
                    }
                    Err(_) => retry::pause(&self.config, attempt, None),
                };
                tokio::time::sleep(pause).await;
                attempt += 1;
            }
        })
    }

    async fn follow(&self, trace: &Trace, address: &str, attempt: u32) -> Result<Reply, Error> {
        let invalid = |reason: &str| Error::Setup { subject: address.to_owned(), reason: reason.to_owned() };
        let mut url = Url::parse(address).map_err(|error| invalid(&error.to_string()))?;
        let home = url.origin();
        for _ in 0..=REDIRECTS {
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return Err(invalid("it is no address of a web server"));
            }
            let request = Request {
                method: Method::GET,
                url: url.clone(),
                headers: HeaderMap::new(),
                payload: Payload::Nothing,
                redirected: url.origin() != home,
            };
            let trust = endpoint::trust(&self.config, &url);
            let mut reply = self.transport.send(trace, &trust, request, attempt).await?;
            let onward = matches!(reply.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = reply.header(header::LOCATION).filter(|_| onward) else { return Ok(reply) };
            let next = url.join(location).map_err(|_| reply.nonsense("it sends us on to no address"))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(reply.nonsense("it sends us on from https to plain http"));
            }
            reply.finish();
            url = next;
        }
        Err(invalid(&format!("it sends us on more than {REDIRECTS} times")))
    }
}

impl Download {
    async fn of(mut reply: Reply) -> Result<Self, Error> {
        let status = reply.status();
        if status != StatusCode::OK {
            let (method, url) = reply.asked();
            reply.finish();
            return Err(Error::Status { method, url, status, answer: String::new() });
        }
        let modified = reply.header(header::LAST_MODIFIED).and_then(|text| {
            let time = httpdate::parse_http_date(text).ok()?;
            time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
        });
        let media_type = reply
            .header(header::CONTENT_TYPE)
            .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let length = reply.header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        Ok(Self { reply, modified, media_type, length })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the connection breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.reply.chunk().await
    }
}
