//! What each end point does: parse, ask the storage, shape the answer.

mod blobs;
mod lists;
mod manifests;
mod tokens;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use glassdock_trace::Body as Event;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Shared;
use super::access_log::AccessLog;
use super::auth::{Need, Reach};
use super::body::Body;
use super::error::{Code, Refusal};
use super::hub;
use super::received::Received;
use super::routes::Route;
use super::storage::Storage;
use crate::task;

/// The digest of what is sent, or was taken in.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

pub(super) use manifests::check_contents;

type Answer = Result<Response<Body>, Refusal>;

/// Answers one request, and tells the trace and the access log.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let method = request.method().clone();
    let tell = shared.trace.is_on().then(|| {
        let received =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        (request.uri().path().to_owned(), received)
    });
    let log = shared
        .access_log
        .as_ref()
        .map(|log| (log, AccessLog::asked(&method, request.uri(), request.version(), request.headers())));
    let mut user = None;
    let mut response = match route(shared, request, &mut user).await {
        Ok(response) => response,
        Err(refusal) => {
            if let Some(source) = &refusal.source {
                // The client learns no paths of ours; who runs the registry needs them.
                tracing::error!(%method, client = %peer, "{source}");
            }
            refuse(&refusal)
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("docker-distribution-api-version"),
        HeaderValue::from_static("registry/2.0"),
    );
    let (status, sent) = (response.status().as_u16(), response.body().len());
    if let Some((log, asked)) = log {
        log.answered(peer, user.as_deref(), &asked, status, sent);
    }
    if let Some((path, received)) = tell {
        shared.trace.point(Event::RegistryServe {
            method: method.to_string(),
            path,
            status: Some(status),
            sent: Some(sent),
            received,
            client: Some(peer.to_string()),
        });
    }
    response
}

async fn route(shared: &Shared, request: Request<Incoming>, user: &mut Option<String>) -> Answer {
    let (parts, incoming) = request.into_parts();
    check_host(&parts)?;
    let html = text(&parts, header::ACCEPT).is_some_and(|types| types.contains("text/html"));
    if let Some(route) = hub::Route::parse(parts.uri.path(), html) {
        // The pages tell the names of all repositories, as the catalogue does.
        if let Some(auth) = &shared.auth {
            let reach = auth.admit(&parts, &Need::Catalog, &origin(shared, &parts)).await?;
            *user = reach.user().map(str::to_owned);
        }
        return hub::answer((&shared.storage, &shared.cards), &parts, route).await;
    }
    let body = Received::new(incoming, shared.idle);
    let (storage, mirror) = (&shared.storage, shared.mirror.as_ref());
    let get = parts.method == Method::GET || parts.method == Method::HEAD;
    let reads = get || parts.method == Method::DELETE;
    if parts.uri.path() == "/token" {
        return tokens::give(shared, &parts, body).await;
    }
    let route = Route::parse(parts.uri.path())
        .map_err(|refusal| if reads { refusal.for_a_reader() } else { refusal })?;
    let reach = match &shared.auth {
        None => Reach::Anything,
        Some(auth) => auth.admit(&parts, &route.need(&parts), &origin(shared, &parts)).await?,
    };
    *user = reach.user().map(str::to_owned);
    let allowed = route.methods();
    match (route, parts.method.as_str()) {
        (Route::Base, _) if get => Ok(json(StatusCode::OK, "application/json", Bytes::from_static(b"{}"))),
        (Route::Catalog, _) if get => lists::catalog(storage, &parts).await,
        (Route::Tags(name), _) if get => lists::tags(storage, mirror, &parts, name).await,
        (Route::Referrers(name, subject), _) if get => {
            lists::referrers(storage, mirror, &parts, name, subject).await
        }
        (Route::Blob(name, digest), _) if get => {
            let open = matches!(reach, Reach::Anything);
            blobs::read(storage, mirror.map(|mirror| (mirror, open)), &parts, &name, &digest).await
        }
        (Route::Blob(name, digest), "DELETE") => blobs::delete(storage, name, digest).await,
        (Route::Manifest(name, reference), _) if get => {
            if let Some(mirror) = mirror {
                mirror.bring_manifest(&name, &reference).await?;
            }
            manifests::read(storage, &parts, name, reference).await
        }
        (Route::Manifest(name, reference), "PUT") => {
            let limits = (shared.largest_manifest, shared.sparse);
            manifests::put(storage, &parts, body, limits, (name, reference)).await
        }
        (Route::Manifest(name, reference), "DELETE") => manifests::delete(storage, name, reference).await,
        (Route::Uploads(name), "POST") => {
            uploads::begin(storage, &reach, &parts, (body, shared.largest_blob), name).await
        }
        (Route::Upload(name, id), "GET" | "HEAD") => uploads::state(storage, name, id).await,
        (Route::Upload(name, id), "PATCH") => {
            uploads::append(storage, &parts, (body, shared.largest_blob), name, id).await
        }
        (Route::Upload(name, id), "PUT") => {
            uploads::finish(storage, &parts, (body, shared.largest_blob), name, id).await
        }
        (Route::Upload(name, id), "DELETE") => uploads::cancel(storage, name, id).await,
        _ => Err(Refusal::new(Code::Unsupported, format!("{} is not possible here", parts.method))
            .header(header::ALLOW, allowed)),
    }
}

/// A request of HTTP/1.1 says once which host it is for; RFC 9112, 3.2.
fn check_host(parts: &http::request::Parts) -> Result<(), Refusal> {
    let words = match parts.headers.get_all(header::HOST).iter().count() {
        0 if parts.version >= http::Version::HTTP_11 => "the request has no Host header",
        0 | 1 => return Ok(()),
        _ => "the request has more than one Host header",
    };
    Err(Refusal::new(Code::BadRequest, words).header(header::CONNECTION, "close"))
}

/// How the client addresses this server.
fn origin(shared: &Shared, parts: &http::request::Parts) -> String {
    let scheme = if shared.secure { "https" } else { "http" };
    let host = text(parts, header::HOST).unwrap_or("localhost");
    // It is quoted in a header.
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(*c)).collect();
    format!("{scheme}://{host}")
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut response = json(refusal.code.status(), "application/json", Bytes::from(refusal.json()));
    for (name, value) in &refusal.headers {
        set(&mut response, name.clone(), value);
    }
    response
}

fn json(status: StatusCode, media_type: &str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(bytes));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, media_type);
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Sets a header. A value that can't be one is left out: ours always can, a stored media type might not.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A header's text.
fn text(parts: &http::request::Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Whether the client has this content already, by its entity tag; see RFC 9110, 13.1.2.
pub(super) fn is_known(parts: &http::request::Parts, etag: &str) -> bool {
    text(parts, header::IF_NONE_MATCH).is_some_and(|list| {
        list.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
    })
}

/// The parameters of a query, decoded.
pub(super) fn query(parts: &http::request::Parts) -> Vec<(String, String)> {
    form(parts.uri.query().unwrap_or(""))
}

/// The pairs of a query or a form, decoded.
fn form(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The first parameter of a query that has this name.
fn parameter(query: &[(String, String)], name: &str) -> Option<String> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

/// Asks the storage for something small: right here where it is near, else on a thread for that.
pub(super) async fn quick<T: Send + 'static>(
    storage: &Arc<Storage>,
    job: impl FnOnce(&Arc<Storage>) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if storage.is_near() {
        return job(storage);
    }
    let storage = Arc::clone(storage);
    blocking(move || job(&storage)).await
}

/// Runs something that takes its time on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let failed = || Refusal::new(Code::Internal, "the registry failed at this request");
    task::run(job).await.unwrap_or_else(|| Err(failed()))
}
