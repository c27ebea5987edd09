//! What an answer means that isn't the one hoped for, in the words that Docker's users know.

use http::{Method, StatusCode, header};

use super::session::Session;
use super::transport::Reply;
use super::{Error, error};

/// An answer that tells what went wrong is read up to here.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// How Docker Hub words that it doesn't tell whether a repository is there.
const DENIED: &str = "denied: requested access to the resource is denied";

impl Session {
    /// The error that an answer stands for. `reference` is what was asked about.
    pub(super) async fn refusal(&self, mut reply: Reply, reference: Option<&str>) -> Error {
        let body = match reply.all(ANSWER_LIMIT).await {
            Ok(body) => body,
            Err(error @ Error::Connection { .. }) => return error,
            Err(_) => Default::default(),
        };
        let status = reply.status();
        let insufficient = reply
            .header(header::WWW_AUTHENTICATE)
            .is_some_and(|challenge| challenge.contains("insufficient_scope"));
        let (code, answer) = error::answer(&body);
        let (method, url) = reply.asked();
        let denied = |answer: String| Error::PullDenied { repository: self.familiar.clone(), answer };
        let hub = self.domain == glassdock_image::reference::DEFAULT_DOMAIN;
        match (status, code.as_str(), reference) {
            (StatusCode::BAD_REQUEST, _, _) if answer.contains("HTTP request to an HTTPS server") => {
                Error::Connection {
                    method: error::go_method(&Method::GET),
                    url,
                    reason: answer.to_lowercase(),
                    again: false,
                    source: None,
                }
            }
            (StatusCode::NOT_FOUND, "NAME_UNKNOWN", Some(_)) if hub => {
                // Docker Hub tells nobody which repositories there are; neither do those who stand in for it.
                denied(DENIED.to_owned())
            }
            (StatusCode::NOT_FOUND, "NAME_UNKNOWN", Some(_)) => {
                Error::NameUnknown { repository: self.familiar.clone(), answer }
            }
            (StatusCode::NOT_FOUND, _, Some(reference)) => {
                let answer = if answer.is_empty() { "manifest unknown".to_owned() } else { answer };
                Error::ManifestUnknown { reference: reference.to_owned(), answer }
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _, Some(_))
                if hub || code == "DENIED" || insufficient =>
            {
                denied(if code == "DENIED" { answer } else { DENIED.to_owned() })
            }
            (StatusCode::UNAUTHORIZED, _, _) if !insufficient => Error::Unauthorized {
                answer: if answer.is_empty() {
                    "unauthorized: authentication required".to_owned()
                } else {
                    answer
                },
            },
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _, _) => {
                Error::Denied { answer: if answer.is_empty() { DENIED.to_owned() } else { answer } }
            }
            _ => Error::Status { method, url, status, answer },
        }
    }
}
