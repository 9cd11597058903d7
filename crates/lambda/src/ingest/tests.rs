use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hb_service::testing::memory::ManualClock;
use http::{Method, Response};
use serde_json::json;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW + millis).unwrap()
}

/// An `Ingest` over any router, and the lines that it prints.
fn ingest(router: Router, clock: Arc<dyn Clock>) -> (Ingest, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let print: Print = Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
    (
        Ingest {
            router,
            clock,
            stage: "dev".to_owned(),
            meter: Arc::default(),
            refusals: Mutex::default(),
            print,
        },
        lines,
    )
}

fn event(method: &Method, path: &str) -> Value {
    json!({"httpMethod": method.as_str(), "path": path, "requestContext": {"elb": {}}})
}

fn status(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap()["statusCode"].clone()
}

#[tokio::test]
async fn a_panic_ends_one_request_only() {
    struct Dropped(AtomicBool);
    #[async_trait::async_trait]
    impl Clock for Dropped {
        fn now(&self) -> Timestamp {
            assert!(!self.0.swap(false, Ordering::SeqCst), "the clock is broken");
            at(0)
        }

        async fn sleep(&self, _: std::time::Duration) {}
    }
    let router = Router::new().fallback(async |method: Method| {
        assert_eq!(method, Method::GET);
        "well"
    });
    let (ingest, lines) = ingest(router, Arc::new(Dropped(AtomicBool::new(true))));
    let answers = [Method::GET, Method::PUT, Method::GET];
    let mut outcomes = Vec::new();
    for method in &answers {
        outcomes.push(
            ingest
                .answer(event(method, "/"), at(3_000))
                .await
                .map(status),
        );
    }
    assert_eq!(
        outcomes,
        [
            Err(IngestError::Panicked),
            Err(IngestError::Panicked),
            Ok(200.into())
        ]
    );
    assert_eq!(lines.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_answered_before_the_function_ends() {
    let router = Router::new().fallback(async || tokio::time::sleep(Duration::from_hours(1)).await);
    let (ingest, lines) = ingest(router, Arc::new(ManualClock::new(at(0))));
    #[expect(
        clippy::disallowed_methods,
        reason = "the paused clock of the test needs an origin"
    )]
    let begin = tokio::time::Instant::now();
    let answer = ingest
        .answer(event(&Method::GET, "/v1/heartbeat/web-01"), at(3_000))
        .await
        .unwrap();
    assert_eq!(
        (status(answer), begin.elapsed()),
        (408.into(), Duration::from_millis(2_500))
    );
    assert!(lines.lock().unwrap()[0].contains(r#""Reason":"timed_out""#));
}

#[tokio::test]
async fn each_answer_is_counted_once() {
    let router = Router::new().fallback(async |method: Method, uri: http::Uri| match uri.path() {
        "/v1/heartbeat/ok" => (StatusCode::OK, "{}"),
        _ if method == Method::HEAD => (StatusCode::UNAUTHORIZED, ""),
        _ => (StatusCode::UNAUTHORIZED, r#"{"code": "unauthenticated"}"#),
    });
    let (ingest, lines) = ingest(router, Arc::new(ManualClock::new(at(0))));
    for (method, path, counted) in [
        (Method::GET, "/v1/heartbeat/ok", r#""Beats":1.0"#),
        (
            Method::GET,
            "/v1/heartbeat/other",
            r#""Reason":"unauthenticated""#,
        ),
        (Method::HEAD, "/v1/heartbeat/other", r#""Reason":"401""#),
        (Method::GET, "/v1/status", ""),
    ] {
        ingest
            .answer(event(&method, path), at(3_000))
            .await
            .unwrap();
        let printed = lines.lock().unwrap().pop().unwrap_or_default();
        assert!(
            printed.contains(counted) && printed.is_empty() == counted.is_empty(),
            "{path}: {printed}"
        );
    }
}

#[tokio::test]
async fn an_event_that_is_not_a_request_is_an_error_and_is_not_counted() {
    let (ingest, lines) = ingest(Router::new(), Arc::new(ManualClock::new(at(0))));
    let error = ingest
        .answer(json!({"source": "aws.events"}), at(3_000))
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::NotHttp(_)));
    assert!(lines.lock().unwrap().is_empty());
}

#[tokio::test]
async fn each_gateway_gets_the_form_it_expects() {
    let router = Router::new().fallback(async |method: Method| {
        let body: &[u8] = if method == Method::GET {
            b"hb"
        } else {
            b"\xff"
        };
        Response::builder()
            .status(503)
            .header("allow", "GET")
            .header("allow", "HEAD")
            .header("content-length", body.len())
            .body(hb_http::Body::from(body))
            .unwrap()
    });
    let (ingest, _) = ingest(router, Arc::new(ManualClock::new(at(0))));
    let mut answers = Vec::new();
    for event in [
        json!({"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "GET"}}}),
        json!({"httpMethod": "GET", "path": "/", "requestContext": {"stage": "prod", "httpMethod": "GET"}}),
        event(&Method::GET, "/"),
        event(&Method::PUT, "/"),
    ] {
        let answer = ingest.answer(event, at(3_000)).await.unwrap();
        answers.push(serde_json::to_string(&answer).unwrap());
    }
    insta::assert_snapshot!(answers.join("\n"), @r#"
    {"statusCode":503,"headers":{"allow":"GET, HEAD"},"multiValueHeaders":{},"body":"hb","isBase64Encoded":false,"cookies":[]}
    {"statusCode":503,"headers":{},"multiValueHeaders":{"allow":["GET, HEAD"]},"body":"hb","isBase64Encoded":false}
    {"statusCode":503,"statusDescription":"503 Service Unavailable","headers":{"allow":"GET, HEAD"},"multiValueHeaders":{"allow":["GET, HEAD"]},"body":"hb","isBase64Encoded":false}
    {"statusCode":503,"statusDescription":"503 Service Unavailable","headers":{"allow":"GET, HEAD"},"multiValueHeaders":{"allow":["GET, HEAD"]},"body":"/w==","isBase64Encoded":true}
    "#);
}
