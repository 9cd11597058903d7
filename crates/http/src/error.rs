//! Errors of requests, and the one place that states how each of them is answered.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hb_domain::{Denied, limits};
use hb_service::Refusal;
use serde::Serialize;

use crate::invalid::Invalid;

/// When to retry while a dependency is unavailable: soon, but after the first retries of most clients.
const TROUBLE: Duration = Duration::from_secs(5);

/// Why a request is not answered with 200. Clients see the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("{}", needed(*.0))]
    Unauthenticated(Refusal),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("there is nothing at this path; beats go to /v1/heartbeat")]
    NotFound,
    #[error("this path does not take this method; the header Allow names those that it takes")]
    MethodNotAllowed,
    #[error("the body is longer than {} bytes", limits::BODY_BYTES)]
    TooLarge,
    #[error("this key sends too many beats; wait and send again")]
    TooMany { wait: Duration },
    #[error("too many requests from this address without a valid API key; wait and send again")]
    TooManyRefused { wait: Duration },
    #[error("{0} is unavailable; try again later")]
    Unavailable(Dependency),
    #[error("internal error; try again later")]
    Panicked,
    #[error("the request took too long; send it again")]
    TimedOut,
    #[error("a request of HTTP/1.1 has the header Host exactly once")]
    HostHeader,
}

/// What is wrong with a key where that helps nobody to guess one: what the client can see itself. One text for all else.
fn needed(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Absent => {
            "no API key was sent; send it in the header x-api-key or as Authorization: Bearer"
        }
        Refusal::Malformed => {
            "the API key is cut off or mistyped: its length or its checksum is wrong; copy it once more"
        }
        _ => "a valid API key is needed, in the header x-api-key or as Authorization: Bearer",
    }
}

/// What the service depends on, as clients may know it. Only the log names the table, file or server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Dependency {
    #[error("beat storage")]
    Beats,
    #[error("API key storage")]
    Keys,
    #[error("the notice topic")]
    Topic,
}

impl Error {
    /// The status, the stable code for programs, and when to retry.
    ///
    /// `curl --retry` sends again after 408, 429, 500, 502, 503 and 504 only, so these statuses stand for passing trouble
    /// and no others do.
    fn facts(&self) -> (StatusCode, &'static str, Option<Duration>) {
        let bad = |code| (StatusCode::BAD_REQUEST, code, None);
        match self {
            Self::Invalid(invalid) => match invalid {
                Invalid::EmptyBody
                | Invalid::NotJson(_)
                | Invalid::NotAnObject
                | Invalid::TooDeep
                | Invalid::BrokenOff => bad("invalid_body"),
                Invalid::HostMissing
                | Invalid::Host(_)
                | Invalid::HostEncoding
                | Invalid::HostDiffers => bad("invalid_host_id"),
                Invalid::TwoIntervals => bad("invalid_schedule"),
                Invalid::Contradiction => bad("invalid_status"),
                Invalid::Field { code, .. } => bad(code),
                Invalid::Twice(_) => bad("duplicate_field"),
                Invalid::ExitCode | Invalid::TrailingSlash => bad("invalid_path"),
            },
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated", None),
            Self::Denied(Denied::Scope { .. }) => (StatusCode::FORBIDDEN, "scope_denied", None),
            Self::Denied(Denied::Host(_) | Denied::Reserved(_)) => {
                (StatusCode::FORBIDDEN, "host_denied", None)
            }
            Self::Denied(Denied::Full(..)) => (StatusCode::FORBIDDEN, "key_full", None),
            Self::Denied(Denied::Interval(..)) => (StatusCode::FORBIDDEN, "interval_denied", None),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", None),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", None),
            Self::TooMany { wait } | Self::TooManyRefused { wait } => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", Some(*wait))
            }
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                Some(TROUBLE),
            ),
            Self::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", None),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, "timed_out", None),
            Self::HostHeader => bad("invalid_host_header"),
        }
    }
}

/// A problem by RFC 9457. Its type is `about:blank`, so the title is the phrase of the status (section 4.2.1).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    /// The same text: clients of 2018 read this member.
    message: &'a str,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code, wait) = self.facts();
        let text = self.to_string();
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code,
            detail: &text,
            message: &text,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response =
            (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(wait) = wait {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Rounded up, so that no client returns too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        for (millis, seconds) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
