//! Answers that `lambda_http` gives the form that each gateway expects.

use std::future;

use futures::future::BoxFuture;
use http::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::response::Parts;
use lambda_http::{Body, IntoResponse};

/// An answer to an HTTP event.
pub(crate) struct Answer(Response<Body>);

impl Answer {
    pub(crate) fn new(mut head: Parts, body: &[u8]) -> Self {
        // The gateway sets these for its own connection.
        for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(name);
        }
        // Where a gateway expects one value of a header, the conversion would take the first.
        let names: Vec<_> = head.headers.keys().cloned().collect();
        for name in names {
            let values = head.headers.get_all(&name).iter();
            let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
            if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b", "[..])) {
                head.headers.insert(name, joined);
            }
        }
        let body = str::from_utf8(body).map_or_else(|_| body.into(), Body::from);
        Self(Response::from_parts(head, body))
    }
}

impl IntoResponse for Answer {
    // Not the conversion of bodies of any type: it decodes any character set, whose tables alone are larger than the rest.
    fn into_response(self) -> BoxFuture<'static, Response<Body>> {
        Box::pin(future::ready(self.0))
    }
}
