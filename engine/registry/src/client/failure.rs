//! Requests that got no answer: what went wrong, in the words that users of Docker know.

use std::io;

use http::Method;
use reqwest::Url;

use super::endpoint::Trust;
use super::{Error, error};

/// What went wrong, in the words that users of Docker know.
pub(super) fn explain(
    method: &Method,
    url: &Url,
    shown: &str,
    trust: &Trust,
    failure: &reqwest::Error,
) -> Error {
    let host = url.host_str().unwrap_or_default();
    let address = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    let method = error::go_method(method);
    let text = chain(failure);
    let code = io_error(failure).and_then(io::Error::raw_os_error);
    let connecting = failure.is_connect();
    let (reason, again) = if text.contains("InvalidContentType") {
        ("http: server gave HTTP response to HTTPS client".to_owned(), false)
    } else if text.contains("certificate") || text.contains("UnknownIssuer") {
        let reason = format!("failed to verify certificate: {}", innermost(failure));
        let hint = match trust {
            Trust::Authorities(Some(folder)) => folder.join("ca.crt").display().to_string(),
            _ => format!("/etc/glassdock/certs.d/{}/ca.crt", error::authority(url)),
        };
        return Error::Tls { method, url: shown.to_owned(), reason, hint };
    } else if text.contains("dns error") {
        (format!("dial tcp: lookup {host}: no such host"), false)
    } else if failure.is_timeout() && connecting {
        (format!("dial tcp {address}: i/o timeout"), true)
    } else if failure.is_timeout() {
        ("the registry said nothing for too long".to_owned(), true)
    } else if let Some(code) = code {
        let words = io::Error::from_raw_os_error(code).to_string().to_lowercase();
        let words = words.split(" (os error").next().unwrap_or_default().to_owned();
        if connecting { (format!("dial tcp {address}: connect: {words}"), false) } else { (words, true) }
    } else {
        let garbage = text.contains("invalid HTTP") || text.contains("malformed");
        (innermost(failure), !connecting && !garbage)
    };
    let source = code.map(io::Error::from_raw_os_error);
    Error::Connection { method, url: shown.to_owned(), reason, again, source }
}

fn io_error<'a>(failure: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(failure);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error().is_some()
        {
            return Some(io);
        }
        next = error.source();
    }
    None
}

fn chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(failure);
    while let Some(error) = next {
        text.push_str(&format!("{error}: {error:?}; "));
        next = error.source();
    }
    text
}

pub(super) fn innermost(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut error = failure;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
