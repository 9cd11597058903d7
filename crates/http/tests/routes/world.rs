//! A router over memory, with requests and responses as text.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use hb_domain::{Interval, Key, KeyId, KeyLimits, Region, Scope, Secret, Timestamp, Token};
use hb_http::{App, router};
use hb_service::ports::{Clock, Heartbeats, IngestPorts, Keys, Segment, Topic};
use hb_service::testing::contract;
use hb_service::testing::memory::{ManualClock, Memory};
use hb_service::{CachePolicy, Health, RateLimit};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::logs;

/// 2026-01-31T10:00:00Z.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(1_769_853_600_000).unwrap()
}

/// The key that most tests use: all hosts of `main`.
pub(crate) const MAIN: u8 = 1;
/// May beat for `web` only.
pub(crate) const PREFIX: u8 = 2;
/// May only read.
pub(crate) const READ: u8 = 3;
/// Of the fleet `edge`.
pub(crate) const EDGE: u8 = 4;
/// Expires an hour after the start.
pub(crate) const EXPIRING: u8 = 5;
/// Was revoked before the start.
pub(crate) const REVOKED: u8 = 6;
/// May beat for ten hosts, every minute at least.
pub(crate) const LIMITED: u8 = 7;
/// Does not exist.
pub(crate) const UNKNOWN: u8 = 8;

/// The token of this key.
pub(crate) fn token(key: u8) -> String {
    Token::new(KeyId::from_random([key; 7]), Secret::from_random([key; 32])).reveal()
}

pub(crate) struct World {
    pub(crate) memory: Arc<Memory>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
}

/// A response with its whole body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// All of it, as on the wire.
    pub(crate) fn full(&self) -> String {
        let mut text = format!("{}\n", self.status);
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        format!("{text}\n{}", self.body)
    }

    /// The status, and of a problem its code and detail.
    pub(crate) fn short(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        match (problem["code"].as_str(), problem["detail"].as_str()) {
            (Some(code), Some(detail)) => format!("{} {code}: {detail}", self.status.as_u16()),
            _ => format!("{} {}", self.status.as_u16(), self.body),
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A world whose app was changed by `change`.
    pub(crate) async fn with(change: impl FnOnce(&mut App)) -> Self {
        logs::capture();
        let (memory, clock) = (
            Arc::new(Memory::default()),
            Arc::new(ManualClock::new(start())),
        );
        for number in MAIN..UNKNOWN {
            let mut key = key(number);
            match number {
                PREFIX => key.host_prefixes = vec!["web".parse().unwrap()],
                LIMITED => {
                    key.limits = KeyLimits {
                        hosts: Some(10),
                        interval: Some(Interval::from_millis(60_000).unwrap()),
                    }
                }
                READ => key.scope = Scope::Read,
                EDGE => key.fleet = "edge".parse().unwrap(),
                EXPIRING => key.expires = Some(start().plus(Duration::from_hours(1))),
                REVOKED => key.revoked = Some(start().minus(Duration::from_hours(1))),
                _ => {}
            }
            assert!(memory.create(&key).await.unwrap());
        }
        let ports = IngestPorts {
            heartbeats: memory.clone(),
            keys: memory.clone(),
            topic: memory.clone(),
            clock: clock.clone(),
        };
        let keys = CachePolicy::default();
        let mut app = App::new(ports, Region::local(), keys, None, Arc::default());
        change(&mut app);
        Self {
            memory,
            clock,
            router: router(app),
        }
    }

    /// A world that lets this many beats of a key through in a second.
    pub(crate) async fn limited(per_second: u32) -> Self {
        Self::with(|app| app.limit = RateLimit::new(NonZeroU32::new(per_second), 1)).await
    }

    /// A world with another topic.
    pub(crate) async fn with_topic(topic: Arc<dyn Topic>) -> Self {
        let beats = Arc::new(Memory::default());
        Self::with(|app| app.health = Health::new(beats, topic)).await
    }

    /// A world with another clock.
    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with(|app| app.clock = clock).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// Sends `line`, such as `POST /v1/heartbeat`, with the key `MAIN`.
    pub(crate) async fn ask(&self, line: &str, body: impl Into<Body>) -> Answer {
        self.send(request(line, Some(&token(MAIN)), body)).await
    }

    /// What is stored, one line per host.
    pub(crate) async fn stored(&self) -> String {
        let page = self.memory.scan(Segment::WHOLE, None).await.unwrap();
        assert!(page.next.is_none() && page.unreadable.is_empty());
        let mut lines = String::new();
        for heard in page.items {
            let beat = &heard.heartbeat;
            let failure = beat
                .failure
                .as_ref()
                .and_then(|failure| failure.message.as_ref());
            let message = failure
                .map(|message| format!(" {:?}", message.as_str()))
                .unwrap_or_default();
            let log = beat.log.as_ref();
            let log = log.map(|log| format!(" log {:?}", log.message.as_str()));
            let (signal, millis) = (beat.signal, beat.interval.as_millis());
            let log = log.unwrap_or_default();
            writeln!(lines, "{} {signal:?} {millis}{message}{log}", heard.key).unwrap();
        }
        lines
    }
}

fn key(number: u8) -> Key {
    contract::key_of(&token(number).parse().unwrap())
}

pub(crate) fn request(line: &str, key: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let (method, uri) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(uri);
    let request = if let Some(key) = key {
        request.header("x-api-key", key)
    } else {
        request
    };
    request.body(body.into()).unwrap()
}

/// A clock that panics.
pub(crate) struct BrokenClock;

#[async_trait::async_trait]
impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        panic!("the clock is broken")
    }

    async fn sleep(&self, _: Duration) {}
}
