//! The router over memory, without any host, and requests as text.

use std::sync::Arc;

use hb_domain::{Heartbeat, Key, KeyId, Region, Scope, Secret, Timestamp, Token};
use hb_http::{App, Body, Router};
use hb_service::CachePolicy;
use hb_service::ports::{Heartbeats, IngestPorts, Keys, Segment};
use hb_service::testing::contract;
use hb_service::testing::memory::{ManualClock, Memory};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// The keys that inputs can name, as `{all}` and so on; their tokens cannot be guessed.
const KEYS: [(&str, u8, Scope, &[&str]); 4] = [
    ("{all}", 1, Scope::Ingest, &[]),
    ("{web}", 2, Scope::Ingest, &["web"]),
    ("{read}", 3, Scope::Read, &[]),
    ("{canary}", 4, Scope::Canary, &[]),
];

/// What requests may be answered with, and the codes of problems. Others are for a server that fails, or for listeners.
const ANSWERS: [(u16, &[&str]); 7] = [
    (200, &[]),
    (
        400,
        &[
            "duplicate_field",
            "invalid_body",
            "invalid_grace",
            "invalid_host_id",
            "invalid_interval",
            "invalid_max_run",
            "invalid_message",
            "invalid_path",
            "invalid_rid",
            "invalid_schedule",
            "invalid_status",
            "invalid_tz",
        ],
    ),
    (401, &["unauthenticated"]),
    (403, &["host_denied", "scope_denied"]),
    (404, &["not_found"]),
    (405, &["method_not_allowed"]),
    (413, &["body_too_large"]),
];

pub(crate) struct World {
    memory: Arc<Memory>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
}

/// An answer with its whole body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Runs a future to its end. Time stands still, so that no input can wait.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime without threads").block_on(future)
}

/// The token of a key.
fn token(number: u8) -> Token {
    Token::new(
        KeyId::from_random([number; 7]),
        Secret::from_random([number; 32]),
    )
}

/// The public part of the token of a key.
pub(crate) fn id(number: u8) -> String {
    token(number).id().to_string()
}

/// 2026-01-31T10:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_769_853_600_000).expect("an instant")
}

impl World {
    pub(crate) async fn new() -> Self {
        let memory = Arc::new(Memory::default());
        let clock = Arc::new(ManualClock::new(now()));
        for (_, number, scope, prefixes) in KEYS {
            let token = token(number);
            let key = Key {
                scope,
                host_prefixes: prefixes
                    .iter()
                    .map(|p| p.parse().expect("a prefix"))
                    .collect(),
                ..contract::key_of(&token)
            };
            assert!(memory.create(&key).await.expect("memory"));
        }
        let ports = IngestPorts {
            heartbeats: memory.clone(),
            keys: memory.clone(),
            topic: memory.clone(),
            clock: clock.clone(),
        };
        let keys = CachePolicy::default();
        let app = App::new(ports, Region::local(), keys, None, Arc::default());
        Self {
            memory,
            clock,
            router: hb_http::router(app),
        }
    }

    /// Sends a request, and checks what holds of every answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let head = request.method() == Method::HEAD;
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("a body of text");
        assert_eq!(parts.headers["cache-control"], "no-store");
        let allow = parts.headers.contains_key("allow");
        assert_eq!(allow, parts.status == StatusCode::METHOD_NOT_ALLOWED);
        let answer = Answer {
            status: parts.status.as_u16(),
            body,
        };
        answer.check(head);
        answer
    }

    /// What is stored of the only host, if there is one.
    pub(crate) async fn stored(&self) -> Option<(String, Heartbeat)> {
        let page = self.memory.scan(Segment::WHOLE, None).await;
        let page = page.expect("memory");
        assert!(page.items.len() < 2 && page.unreadable.is_empty());
        let heard = page.items.into_iter().next()?;
        assert_eq!(heard.key.fleet.as_str(), "main");
        Some((heard.key.host.to_string(), heard.heartbeat))
    }
}

impl Answer {
    /// It is one of the answers of the documentation.
    pub(crate) fn check(&self, head: bool) {
        let known = ANSWERS.iter().find(|(status, _)| *status == self.status);
        let (_, codes) = known.unwrap_or_else(|| panic!("{self:?}"));
        if head {
            assert_eq!(self.body, "", "an answer to HEAD has no body");
            return;
        }
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a body of JSON");
        if self.status == 200 {
            assert_eq!(body["message"], "OK");
        } else {
            assert_eq!(body["status"], self.status);
            assert!(
                codes.contains(&body["code"].as_str().expect("a code")),
                "{self:?}"
            );
        }
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Replaces the names of keys by their tokens.
fn with_tokens(text: &str) -> String {
    KEYS.iter()
        .fold(text.to_owned(), |text, (name, number, ..)| {
            text.replace(name, &token(*number).reveal())
        })
}

/// A request as text: the method and the target in the first line, then headers, an empty line, the body.
pub(crate) struct RequestText {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Vec<u8>,
}

impl RequestText {
    /// `None` for what no client can send.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let end = data.windows(2).position(|two| two == b"\n\n");
        let (head, body) = end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 2..]));
        let head = str::from_utf8(head).ok()?;
        let mut lines = head.lines();
        let (method, target) = lines.next()?.split_once(' ')?;
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            let value = with_tokens(value);
            Some((name.parse().ok()?, HeaderValue::from_str(&value).ok()?))
        };
        Some(Self {
            method: method.parse().ok()?,
            target: target.starts_with('/').then(|| target.to_owned())?,
            headers: lines.filter_map(header).collect(),
            body: body.to_vec(),
        })
    }

    /// The request; `None` if its target is none.
    pub(crate) fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.target.as_str())
            .body(Body::from(self.body.clone()))
            .ok()?;
        request.headers_mut().extend(self.headers.iter().cloned());
        Some(request)
    }
}

/// A request with the key of all hosts.
pub(crate) fn request(method: &str, target: &str, body: &[u8]) -> Option<Request<Body>> {
    let headers = vec![(
        HeaderName::from_static("x-api-key"),
        HeaderValue::from_str(&token(1).reveal()).ok()?,
    )];
    let text = RequestText {
        method: method.parse().ok()?,
        target: target.to_owned(),
        headers,
        body: body.to_vec(),
    };
    text.request()
}
