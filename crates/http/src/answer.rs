//! What all responses have in common.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use hb_domain::Incarnation;

use crate::Program;
use crate::error::Error;
use crate::ignored::Ignored;

/// The response to a beat that was recorded. Clients of 2018 compare exactly the text without ignored fields.
pub(crate) fn ok(ignored: &Ignored) -> Response {
    let ignored = match ignored.names() {
        [] => String::new(),
        names => format!(r#","ignored":{}"#, serde_json::json!(names)),
    };
    let body = format!(r#"{{"message":"OK"{ignored}}}"#);
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The response to a health check: the same, and what is known of the server.
pub(crate) fn healthy(program: Option<&Program>, database: Option<&Incarnation>) -> Response {
    let program = program.map(|Program { version, commit }| {
        format!(r#","version":"{version}","commit":"{commit}""#)
    });
    let database = database.map(|database| format!(r#","database":"{}""#, database.id));
    let body = format!(
        r#"{{"message":"OK"{}{}}}"#,
        program.unwrap_or_default(),
        database.unwrap_or_default()
    );
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Wraps every request: a panic becomes a response, and no response is cached.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    // Unwind safe: everything that outlives a request is behind locks that survive poisoning.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut answer = answer.unwrap_or_else(|_| {
        // Not the panic's own message: it may quote the request, and the panic hook has reported it already.
        tracing::error!("a handler panicked, its request is answered with 500");
        Error::Panicked.into_response()
    });
    finish(&mut answer);
    answer
}

/// The response to a request that took longer than the server allows. The timer is the server's.
#[must_use]
pub fn timed_out() -> Response {
    let mut answer = Error::TimedOut.into_response();
    finish(&mut answer);
    answer
}

/// The response to a request whose header `Host` is missing, or is there twice. Routers do not look at it.
#[must_use]
pub fn host_header_wrong() -> Response {
    let mut answer = Error::HostHeader.into_response();
    finish(&mut answer);
    answer
}

fn finish(answer: &mut Response) {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
