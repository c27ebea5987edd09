//! The door to the object storage: each request through it is an event of the trace.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use glassdock_trace::{Body as Event, Span, Trace};
use hyper::body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};

/// Makes clients that tell the trace what they ask.
#[derive(Debug)]
pub(super) struct Door(pub(super) Trace);

impl HttpConnector for Door {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(if self.0.is_on() { HttpClient::new(Told { client, trace: self.0.clone() }) } else { client })
    }
}

/// A client whose requests are told.
#[derive(Debug)]
struct Told {
    client: HttpClient,
    trace: Trace,
}

impl HttpService for Told {
    /// What `async fn` means in the library's trait, written out.
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.tell(request))
    }
}

impl Told {
    async fn tell(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = request.body().content_length() as u64;
        let event = Event::RegistryStore {
            method: request.method().to_string(),
            url: shown(request.uri()),
            status: None,
            sent: (sent > 0).then_some(sent),
            received: None,
        };
        let begun = self.trace.begin_async(event).await;
        let mut span = begun.map_err(|aborted| HttpError::new(HttpErrorKind::Unknown, aborted))?;
        match self.client.execute(request).await {
            Ok(response) => {
                if let Event::RegistryStore { status, .. } = span.body_mut() {
                    *status = Some(response.status().as_u16());
                }
                let (parts, body) = response.into_parts();
                let counted = Counted { body, span: Some(span), received: 0 };
                Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(counted)))
            }
            Err(error) => span.finish(Err(error)),
        }
    }
}

/// The parameters whose values are told. Others may be secret: a role's token is one.
const TOLD: [&str; 6] = ["list-type", "prefix", "delimiter", "partNumber", "uploadId", "max-keys"];

/// An address without what nobody needs to know.
fn shown(address: &http::Uri) -> String {
    let host = address.host().unwrap_or_default();
    let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = address.scheme_str().unwrap_or("http");
    let query = address.query().map(|query| {
        let told = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if !TOLD.contains(&name) && !value.is_empty() => format!("{name}=…"),
            _ => pair.to_owned(),
        });
        format!("?{}", told.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{host}{port}{}{}", address.path(), query.unwrap_or_default())
}

/// An answer's body. Its event ends with it.
struct Counted {
    body: HttpResponseBody,
    span: Option<Span>,
    received: u64,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counted({} bytes)", self.received)
    }
}

impl Counted {
    fn over(&mut self, result: Result<(), HttpError>) -> Result<(), HttpError> {
        let Some(mut span) = self.span.take() else { return result };
        if let Event::RegistryStore { received, .. } = span.body_mut() {
            *received = (self.received > 0).then_some(self.received);
        }
        span.finish(result)
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => {
                self.received += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(self.over(Err(error)).err().map(Err)),
            None => {
                // Without an error there is none to hand on.
                let _ = self.over(Ok(()));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    /// Who asked may need no more of the body, or know that it is at its end.
    fn drop(&mut self) {
        let _ = self.over(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_secret_is_told() {
        let told = |text: &str| super::shown(&text.parse().expect("an address"));
        assert_eq!(
            told("http://127.0.0.1:9000/img/p?list-type=2&prefix=a%2Fb&uploads"),
            "http://127.0.0.1:9000/img/p?list-type=2&prefix=a%2Fb&uploads"
        );
        assert_eq!(
            told("https://somebody:secret@sts.test/?Action=Assume&WebIdentityToken=eyJ&uploadId=7"),
            "https://sts.test/?Action=…&WebIdentityToken=…&uploadId=7"
        );
    }
}
