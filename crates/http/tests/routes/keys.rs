//! Authentication of requests.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request};

use crate::answers::BODY;
use crate::world::{EXPIRING, LIMITED, MAIN, REVOKED, UNKNOWN, World, request, token};

fn with(headers: &[(&str, &[u8])]) -> Request<Body> {
    let mut request = request("GET /v1/heartbeat/web-01", None, "");
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value).unwrap());
    }
    request
}

#[tokio::test]
async fn either_header_may_contain_the_key() {
    let key = token(MAIN);
    let (bearer, lower, wrong) = (
        format!("Bearer {key}"),
        format!("bearer  {key}"),
        format!("Bearer {}", token(UNKNOWN)),
    );
    let cases: [&[(&str, &[u8])]; 5] = [
        &[("x-api-key", key.as_bytes())],
        &[("X-API-KEY", key.as_bytes())],
        &[("authorization", bearer.as_bytes())],
        &[("Authorization", lower.as_bytes())],
        &[
            ("authorization", wrong.as_bytes()),
            ("x-api-key", key.as_bytes()),
        ],
    ];
    for headers in cases {
        assert_eq!(World::new().await.send(with(headers)).await.status, 200);
    }
}

/// The headers of a request.
type Sent<'a> = &'a [(&'a str, &'a [u8])];

#[tokio::test]
async fn a_refusal_says_what_the_client_can_see_itself_and_nothing_else() {
    let (world, key, unknown) = (World::new().await, token(MAIN), token(UNKNOWN));
    let mut typo = key.clone();
    typo.pop();
    typo.push('7');
    let cut = &key[..key.len() - 1];
    let (expired, revoked) = (token(EXPIRING), token(REVOKED));
    let (bearer, basic) = (format!("Bearer {key}"), format!("Basic {key}"));
    world.clock.advance(Duration::from_hours(1));
    let none: [Sent; 5] = [
        &[],
        &[("x-api-key", b"")],
        &[("x-api-key", b"\xff\xfe")],
        &[("authorization", b"Bearer")],
        &[("authorization", basic.as_bytes())],
    ];
    let malformed: [Sent; 3] = [
        &[("x-api-key", b"secret")],
        &[("x-api-key", typo.as_bytes())],
        &[("x-api-key", cut.as_bytes())],
    ];
    let wrong: [Sent; 4] = [
        &[("x-api-key", unknown.as_bytes())],
        &[("x-api-key", expired.as_bytes())],
        &[("x-api-key", revoked.as_bytes())],
        &[
            ("x-api-key", unknown.as_bytes()),
            ("authorization", bearer.as_bytes()),
        ],
    ];
    let mut answers = String::new();
    for cases in [&none[..], &malformed, &wrong] {
        let first = world.send(with(cases[0])).await.full();
        assert!(first.starts_with("401 Unauthorized\n"), "{first}");
        for headers in cases {
            assert_eq!(world.send(with(headers)).await.full(), first, "{headers:?}");
        }
        answers += first.rsplit_once('\n').unwrap().1;
        answers.push('\n');
    }
    insta::assert_snapshot!(answers, @r#"
    {"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthenticated","detail":"no API key was sent; send it in the header x-api-key or as Authorization: Bearer","message":"no API key was sent; send it in the header x-api-key or as Authorization: Bearer"}
    {"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthenticated","detail":"the API key is cut off or mistyped: its length or its checksum is wrong; copy it once more","message":"the API key is cut off or mistyped: its length or its checksum is wrong; copy it once more"}
    {"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthenticated","detail":"a valid API key is needed, in the header x-api-key or as Authorization: Bearer","message":"a valid API key is needed, in the header x-api-key or as Authorization: Bearer"}
    "#);
    assert_eq!(world.stored().await, "");
}

#[tokio::test]
async fn a_key_expires_at_its_instant() {
    let world = World::new().await;
    let send = async || {
        world
            .send(request(
                "GET /v1/heartbeat/web-01",
                Some(&token(EXPIRING)),
                "",
            ))
            .await
            .status
    };
    world
        .clock
        .advance(Duration::from_hours(1) - Duration::from_millis(1));
    assert_eq!(send().await, 200);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(send().await, 401, "also while the key is cached");
}

#[tokio::test]
async fn an_ingest_key_cannot_beat_for_the_service_itself() {
    let world = World::new().await;
    let canary = request("GET /v1/heartbeat/hb:canary-0", Some(&token(MAIN)), "");
    let answer = world.send(canary).await.full();
    assert!(
        answer.starts_with("403 Forbidden\n") && answer.contains("host_denied"),
        "{answer}"
    );
    assert_eq!(world.stored().await, "");
}

#[tokio::test]
async fn a_key_has_so_many_hosts_and_intervals_so_long() {
    let world = World::new().await;
    let ask = async |line: &str| {
        let answer = world.send(request(line, Some(&token(LIMITED)), "")).await;
        answer.short()
    };
    let minute = "intervalMs=60000";
    assert_eq!(
        ask("GET /v1/heartbeat/host?intervalMs=60001").await,
        "403 interval_denied: this key allows intervals of up to 60000 ms, not 60001"
    );
    for n in 0..10 {
        let answer = ask(&format!("GET /v1/heartbeat/host-{n}?{minute}")).await;
        assert_eq!(&answer[..3], "200", "{answer}");
    }
    assert_eq!(
        ask(&format!("GET /v1/heartbeat/new?{minute}")).await,
        "403 key_full: this key has 10 hosts and may have no more; new would be a new one"
    );
    let known = ask(&format!("GET /v1/heartbeat/host-3?{minute}")).await;
    assert_eq!(&known[..3], "200");
}

#[tokio::test]
async fn an_address_that_sends_many_wrong_keys_is_to_wait_and_its_right_ones_pass() {
    let world = World::new().await;
    let ask = async |key: u8, client: &str| {
        let mut request = request("POST /v1/heartbeat", Some(&token(key)), BODY);
        let client = hb_http::Client(client.parse().unwrap());
        request.extensions_mut().insert(client);
        world.send(request).await
    };
    for _ in 0..10 {
        assert_eq!(ask(UNKNOWN, "192.0.2.1").await.status, 401);
    }
    let answer = ask(UNKNOWN, "192.0.2.1").await;
    assert_eq!(
        answer.short(),
        "429 rate_limited: too many requests from this address without a valid API key; wait and send again"
    );
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(ask(MAIN, "192.0.2.1").await.status, 200);
    assert_eq!(ask(UNKNOWN, "192.0.2.2").await.status, 401);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(UNKNOWN, "192.0.2.1").await.status, 401);
}
