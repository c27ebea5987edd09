//! `login`: does a registry take these credentials? And `fetch`: a file from anywhere.

use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::{Stream, stream};
use glassdock_image::Reference;
use glassdock_image::reference::DEFAULT_DOMAIN;
use glassdock_trace::Trace;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::Url;

use super::endpoint::{self, Endpoint, endpoints};
use super::session::{Ask, Session};
use super::transport::{Payload, Reply, Request};
use super::{Client, Credentials, Error, Waiting};

/// Names of Docker Hub that clients use for `docker.io`.
const HUBS: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// How often a file's address may lead to another.
const REDIRECTS: usize = 10;

impl Client {
    /// Asks the registry at `address` (`HOST[:PORT]`, an URL, or nothing for Docker Hub) whether it
    /// takes the credentials. One that asks nobody who they are takes all. Gives the token that
    /// stands for the password from now on, if the registry's token service gives such.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthorized`] if it does not; those of the network.
    pub fn login<'a>(
        &'a self,
        trace: &'a Trace,
        address: &'a str,
        credentials: &'a Credentials,
    ) -> Waiting<'a, Option<String>> {
        Box::pin(async move {
            let domain = domain(address);
            let setup = |reason: String| Error::Setup { subject: address.to_owned(), reason };
            let reference = Reference::parse(&format!("{domain}/login"));
            let reference = reference.map_err(|error| setup(error.to_string()))?;
            let mut failed = None;
            for endpoint in endpoints(&self.config, &domain) {
                // Where Docker Hub itself is not asked, the mirror stands for it.
                if endpoint.mirror && self.config.hub {
                    continue;
                }
                let endpoint = Endpoint { mirror: false, ..endpoint };
                match self.login_at(trace, &endpoint, &reference, credentials).await {
                    Err(error @ (Error::Connection { .. } | Error::Tls { .. })) => {
                        failed.get_or_insert(error);
                    }
                    other => return other,
                }
            }
            Err(failed.unwrap_or_else(|| setup("it is no address of a registry".to_owned())))
        })
    }

    async fn login_at(
        &self,
        trace: &Trace,
        endpoint: &Endpoint,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Option<String>, Error> {
        let session = Session::for_login(self, endpoint.clone(), reference, credentials);
        let mut reply = session.send(trace, &Ask::new(Method::GET, "/v2/")).await?;
        reply.finish();
        match reply.status() {
            StatusCode::OK => Ok(session.identity.into_inner().unwrap_or_else(PoisonError::into_inner)),
            status => Err(Error::Unauthorized {
                answer: format!("login attempt to {}/v2/ failed with status: {status}", endpoint.base),
            }),
        }
    }

    /// Fetches a file by http or https, for `import`.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] if the answer is no success; those of the network.
    pub async fn fetch(
        &self,
        trace: &Trace,
        address: &str,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static, Error> {
        let setup = |reason: String| Error::Setup { subject: address.to_owned(), reason };
        let mut url = Url::parse(address).map_err(|error| setup(error.to_string()))?;
        for _ in 0..=REDIRECTS {
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return Err(setup("only http and https are fetched".to_owned()));
            }
            let trust = endpoint::trust(&self.config, &url);
            let request = Request {
                method: Method::GET,
                url: url.clone(),
                headers: HeaderMap::new(),
                payload: Payload::Nothing,
                redirected: false,
            };
            let mut reply = self.transport.send(trace, &trust, request, 1).await?;
            let onward = reply.status().is_redirection();
            let next = reply.header(header::LOCATION).filter(|_| onward).and_then(|to| url.join(to).ok());
            match next {
                Some(next) => url = next,
                None if reply.status().is_success() => return Ok(pieces(reply)),
                None => {
                    let (method, shown) = reply.asked();
                    let (status, answer) = (reply.status(), String::new());
                    reply.finish();
                    return Err(Error::Status { method, url: shown, status, answer });
                }
            }
            reply.finish();
        }
        Err(setup(format!("it leads on more than {REDIRECTS} times")))
    }
}

fn pieces(reply: Reply) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some(reply), |reply| async {
        let mut reply = reply?;
        match reply.chunk().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reply))),
            Ok(None) => None,
            Err(error) => Some((Err(std::io::Error::other(error)), None)),
        }
    })
}

/// The registry's domain as references have it.
fn domain(address: &str) -> String {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    if host.is_empty() || HUBS.contains(&host) { DEFAULT_DOMAIN.to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn addresses_are_registries() {
        for hub in ["", "https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"] {
            assert_eq!(domain(hub), "docker.io", "{hub}");
        }
        assert_eq!(domain("http://127.0.0.1:5000/v2/"), "127.0.0.1:5000");
        assert_eq!(domain("registry.example.org"), "registry.example.org");
    }
}
