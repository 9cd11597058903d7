//! What all answers have in common.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::error::Error;

/// The answer when all is well. Clients of 2018 look for exactly this text.
pub(crate) fn ok() -> Response {
    ([(CONTENT_TYPE, "application/json")], r#"{"message":"OK"}"#).into_response()
}

/// Around every request: a panic becomes an answer, and no answer is ever cached.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    // Nothing half done is reached again: whatever outlives a request stands behind locks that survive poisoning.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut answer = answer.unwrap_or_else(|_| {
        // Not the panic's own words: they may quote the request, and the panic hook has had them already.
        tracing::error!("a handler panicked, its request is answered with 500");
        Error::Panicked.into_response()
    });
    finish(&mut answer);
    answer
}

/// The answer to a request that took longer than the server allows; the server's loop alone has a timer.
#[must_use]
pub fn timed_out() -> Response {
    let mut answer = Error::TimedOut.into_response();
    finish(&mut answer);
    answer
}

fn finish(answer: &mut Response) {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
