//! Every response other than 200, in full.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures::{StreamExt, stream};
use hb_domain::limits;

use crate::world::{BrokenClock, MAIN, PREFIX, READ, World, request, token};

pub(crate) const BODY: &str = r#"{"hostId": "web-01"}"#;

#[tokio::test]
async fn bad_request() {
    let answer = World::new().await.ask("POST /v1/heartbeat", "").await;
    insta::assert_snapshot!(answer.full(), @r#"
    400 Bad Request
    cache-control: no-store
    content-length: 200
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid_body","detail":"the body is empty; send {\"hostId\": \"web-01\"}","message":"the body is empty; send {\"hostId\": \"web-01\"}"}
    "#);
}

#[tokio::test]
async fn unauthenticated() {
    let answer = World::new()
        .await
        .send(request("POST /v1/heartbeat", None, BODY))
        .await;
    insta::assert_snapshot!(answer.full(), @r#"
    401 Unauthorized
    cache-control: no-store
    content-length: 268
    content-type: application/problem+json
    www-authenticate: Bearer
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthenticated","detail":"no API key was sent; send it in the header x-api-key or as Authorization: Bearer","message":"no API key was sent; send it in the header x-api-key or as Authorization: Bearer"}
    "#);
}

#[tokio::test]
async fn forbidden() {
    let world = World::new().await;
    let answer = world
        .send(request("POST /v1/heartbeat", Some(&token(READ)), BODY))
        .await;
    insta::assert_snapshot!(answer.full(), @r#"
    403 Forbidden
    cache-control: no-store
    content-length: 192
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Forbidden","status":403,"code":"scope_denied","detail":"this key has the scope read, ingest is needed","message":"this key has the scope read, ingest is needed"}
    "#);
    let answer = world
        .send(request(
            "GET /v1/heartbeat/website",
            Some(&token(PREFIX)),
            "",
        ))
        .await;
    insta::assert_snapshot!(answer.full(), @r#"
    403 Forbidden
    cache-control: no-store
    content-length: 251
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Forbidden","status":403,"code":"host_denied","detail":"this key may not beat for website: its host prefixes do not cover that name","message":"this key may not beat for website: its host prefixes do not cover that name"}
    "#);
    assert_eq!(world.stored().await, "");
    assert_eq!(
        world
            .send(request("POST /v1/heartbeat", Some(&token(PREFIX)), BODY))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn not_found() {
    let world = World::new().await;
    insta::assert_snapshot!(world.ask("GET /", "").await.full(), @r#"
    404 Not Found
    cache-control: no-store
    content-length: 211
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Not Found","status":404,"code":"not_found","detail":"there is nothing at this path; beats go to /v1/heartbeat","message":"there is nothing at this path; beats go to /v1/heartbeat"}
    "#);
    for line in [
        "GET /v1",
        "POST /v1/",
        "POST /v1/heartbeats",
        "POST /v1/hearbeat/",
        "GET /v1/hearbeat/web-01",
        "POST /prod/dev/v1/heartbeat",
        "POST /prod",
        "POST /v1/Heartbeat",
        "DELETE /%ff",
    ] {
        assert_eq!(world.ask(line, BODY).await.status, 404, "{line}");
    }
    assert_eq!(world.stored().await, "");
}

#[tokio::test]
async fn method_not_allowed() {
    let world = World::new().await;
    insta::assert_snapshot!(world.ask("GET /v1/heartbeat", "").await.full(), @r#"
    405 Method Not Allowed
    allow: POST
    cache-control: no-store
    content-length: 275
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Method Not Allowed","status":405,"code":"method_not_allowed","detail":"this path does not take this method; the header Allow names those that it takes","message":"this path does not take this method; the header Allow names those that it takes"}
    "#);
    let mut allowed = String::new();
    for line in [
        "PUT /v1/heartbeat",
        "HEAD /v1/hearbeat",
        "DELETE /v1/heartbeat/web-01",
        "PATCH /v1/heartbeat/",
        "OPTIONS /v1/heartbeat/web-01",
        "BREW /v1/heartbeat/web-01",
        "POST /v1/status",
    ] {
        let answer = world.ask(line, BODY).await;
        let allow = answer.headers["allow"].to_str().unwrap();
        writeln!(allowed, "{line}: {}, Allow: {allow}", answer.status).unwrap();
    }
    insta::assert_snapshot!(allowed, @"
    PUT /v1/heartbeat: 405 Method Not Allowed, Allow: POST
    HEAD /v1/hearbeat: 405 Method Not Allowed, Allow: POST
    DELETE /v1/heartbeat/web-01: 405 Method Not Allowed, Allow: GET,HEAD,PUT,POST
    PATCH /v1/heartbeat/: 405 Method Not Allowed, Allow: GET,HEAD,PUT,POST
    OPTIONS /v1/heartbeat/web-01: 405 Method Not Allowed, Allow: GET,HEAD,PUT,POST
    BREW /v1/heartbeat/web-01: 405 Method Not Allowed, Allow: GET,HEAD,PUT,POST
    POST /v1/status: 405 Method Not Allowed, Allow: GET,HEAD
    ");
    assert_eq!(world.stored().await, "");
}

/// A body in pieces, without an announced length.
fn pieces(pieces: Vec<Result<Bytes, std::io::Error>>) -> Body {
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test]
async fn too_large() {
    let world = World::new().await;
    let answer = world
        .ask("POST /v1/heartbeat", " ".repeat(256 * 1024 + 1))
        .await;
    insta::assert_snapshot!(answer.full(), @r#"
    413 Payload Too Large
    cache-control: no-store
    content-length: 184
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Payload Too Large","status":413,"code":"body_too_large","detail":"the body is longer than 262144 bytes","message":"the body is longer than 262144 bytes"}
    "#);
    let piece = || Ok(Bytes::from(" ".repeat(100_000)));
    for line in [
        "POST /v1/heartbeat",
        "PUT /v1/heartbeat/web-01",
        "GET /v1/heartbeat/web-01",
    ] {
        assert_eq!(
            world
                .ask(line, pieces(vec![piece(), piece(), piece()]))
                .await
                .status,
            413,
            "{line}"
        );
        assert_eq!(
            world.ask(line, vec![b'x'; 1 << 20]).await.status,
            413,
            "{line}"
        );
    }
    assert_eq!(world.stored().await, "");
}

#[tokio::test]
async fn long_bodies_wait_for_a_place_and_short_ones_do_not() {
    let world = World::new().await;
    let beat = |size: usize| {
        let pieces = stream::iter((0..size / 1_000).map(|_| Ok(Bytes::from(" ".repeat(1_000)))));
        let rest = stream::pending::<Result<Bytes, std::io::Error>>();
        Body::from_stream(pieces.chain(rest))
    };
    let ask = |body| world.ask("PUT /v1/heartbeat/web-01/fail", body);
    // None of these ends.
    let mut long: Vec<_> = (0..limits::LARGE_BODIES)
        .map(|_| Box::pin(ask(beat(5_000))))
        .collect();
    for request in &mut long {
        assert!(futures::poll!(request).is_pending());
    }
    let mut one_more = Box::pin(ask(vec![b'x'; 5_000].into()));
    assert!(futures::poll!(&mut one_more).is_pending());
    assert_eq!(ask(vec![b'x'; 4_000].into()).await.status, 200);
    drop(long.pop());
    assert_eq!(one_more.await.status, 200);
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_not_read() {
    let world = World::new().await;
    let read = Arc::new(AtomicBool::new(false));
    let seen = read.clone();
    let body = Body::from_stream(stream::once(async move {
        seen.store(true, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from(BODY))
    }));
    let request = Request::post("/v1/heartbeat")
        .header("content-length", "262145")
        .body(body)
        .unwrap();
    assert_eq!(
        world.send(request).await.status,
        413,
        "even before the missing key is noticed"
    );
    assert!(!read.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_a_beat() {
    let world = World::new().await;
    let broken = || Err(std::io::Error::other("connection reset"));
    for line in ["POST /v1/heartbeat", "PUT /v1/heartbeat/web-01"] {
        let answer = world
            .ask(line, pieces(vec![Ok(BODY.into()), broken()]))
            .await;
        assert_eq!(
            answer.short(),
            "400 invalid_body: the body ended early; send it again",
            "{line}"
        );
    }
    assert_eq!(world.stored().await, "");
}

#[tokio::test]
async fn rate_limited() {
    let world = World::limited(1).await;
    assert_eq!(world.ask("POST /v1/heartbeat", BODY).await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    let answer = world.ask("GET /v1/heartbeat/web-02", "").await;
    insta::assert_snapshot!(answer.full(), @r#"
    429 Too Many Requests
    cache-control: no-store
    content-length: 210
    content-type: application/problem+json
    retry-after: 1
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Too Many Requests","status":429,"code":"rate_limited","detail":"this key sends too many beats; wait and send again","message":"this key sends too many beats; wait and send again"}
    "#);
    let other = world
        .send(request(
            "GET /v1/heartbeat/web-03",
            Some(&token(PREFIX)),
            "",
        ))
        .await;
    assert_eq!(other.status, 200, "another key has its own limit");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.ask("GET /v1/heartbeat/web-04", "").await.status, 200);
    insta::assert_snapshot!(world.stored().await, @"
    main/web-01 Ok 600000
    main/web-03 Ok 600000
    main/web-04 Ok 600000
    ");
}

#[tokio::test]
async fn panics_are_answered() {
    let world = World::with_clock(Arc::new(BrokenClock)).await;
    insta::assert_snapshot!(world.ask("POST /v1/heartbeat", BODY).await.full(), @r#"
    500 Internal Server Error
    cache-control: no-store
    content-length: 178
    content-type: application/problem+json
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal_error","detail":"internal error; try again later","message":"internal error; try again later"}
    "#);
    assert_eq!(world.ask("GET /v1/status", "").await.status, 500);
    assert_eq!(world.ask("GET /nowhere", "").await.status, 404);
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let world = World::new().await;
    let panicking = World::with_clock(Arc::new(BrokenClock)).await;
    for (world, path) in [
        (&world, "/v1/heartbeat/web%0001"),
        (&world, "/v1/status"),
        (&world, "/v1/heartbeat"),
        (&world, "/nowhere"),
        (&panicking, "/v1/heartbeat/web-01"),
    ] {
        let get = world.ask(&format!("GET {path}"), "").await;
        let head = world.ask(&format!("HEAD {path}"), "").await;
        assert_eq!(
            (get.status, get.headers),
            (head.status, head.headers),
            "{path}"
        );
        assert_eq!(
            (get.body.is_empty(), head.body.as_str()),
            (false, ""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn checks_run_in_order_and_the_first_failure_is_the_answer() {
    let world = World::limited(2).await;
    let send = async |key: &str, body: &str, length: &str| {
        let mut request = request("POST /v1/heartbeat", Some(key), body.to_owned());
        request
            .headers_mut()
            .insert("content-length", length.parse().unwrap());
        world.send(request).await.status.as_u16()
    };
    assert_eq!(
        send("", "{", "262145").await,
        413,
        "announced length before key"
    );
    assert_eq!(send("", "{", "1").await, 401, "key before body");
    assert_eq!(send(&token(READ), "{", "1").await, 400, "body before scope");
    assert_eq!(
        send(&token(READ), BODY, "20").await,
        403,
        "scope before storage"
    );
    assert_eq!(send(&token(READ), "{", "1").await, 429, "rate before body");
    world.clock.advance(Duration::from_secs(1));
    world.memory.fail_with(Some("disk full"));
    assert_eq!(
        send(&token(READ), BODY, "20").await,
        403,
        "scope before storage, also when that fails"
    );
    world.memory.fail_with(None);
    assert_eq!(send(&token(MAIN), BODY, "20").await, 200);
}
