//! Every way to send a beat.

use std::fmt::Write;

use axum::body::Body;

use crate::world::{EDGE, MAIN, World, request, token};

#[tokio::test]
async fn the_response_to_a_beat() {
    let world = World::new().await;
    let answer = world
        .ask("POST /v1/heartbeat", r#"{"hostId": "web-01"}"#)
        .await;
    insta::assert_snapshot!(answer.full(), @r#"
    200 OK
    cache-control: no-store
    content-length: 16
    content-type: application/json
    x-content-type-options: nosniff

    {"message":"OK"}
    "#);
    insta::assert_snapshot!(world.stored().await, @"main/web-01 Ok 600000");
}

#[tokio::test]
async fn head_records_and_answers_like_get() {
    let world = World::new().await;
    let get = world.ask("GET /v1/heartbeat/web-01", "").await;
    let head = world.ask("HEAD /v1/heartbeat/web-02/fail", "").await;
    assert_eq!((get.status, &get.headers), (head.status, &head.headers));
    assert_eq!(head.body, "");
    insta::assert_snapshot!(world.stored().await, @"
    main/web-01 Ok 600000
    main/web-02 Fail 600000
    ");
}

#[tokio::test]
async fn valid_bodies() {
    let message = "x".repeat(2_000);
    let long = format!(r#"{{"hostId": "web-01", "status": "fail", "message": "{message}"}}"#);
    let full = format!(r#"{{"hostId": "web-01"}}{}"#, " ".repeat(4_096 - 20));
    let nested = format!(
        r#"{{"hostId": "web-01", "x": {}{}}}"#,
        "[".repeat(90),
        "]".repeat(90)
    );
    let cases: [&[u8]; 20] = [
        br#"{"hostId": "web-01"}"#,
        br#"{"hostId": "web-01", "intervalMs": 1000, "status": "ok", "message": "fine"}"#,
        br#"{"hostId": "web-01", "intervalMs": 31536000000, "status": "fail", "message": "disk full"}"#,
        br#"{"hostId": "web-01", "intervalMs": null, "status": null, "message": null}"#,
        br#"{"hostId": "web-01", "interval": "no such field", "x": {"hostId": 7}, "hostid": 7}"#,
        br#"{"hostId": "web-01", "status": "fail", "message": ""}"#,
        br#"{"hostId": "web-01", "status": "fail"}"#,
        br#"{"hostId": "db:5432/base@Host_1.example.com"}"#,
        br#"{"hostId": "\u0077eb-01"}"#,
        br#"{"hostId": "web-01", "intervalMs": 60000.0}"#,
        b"{\"hostId\": \"web-01\", \"status\": \"fail\", \"message\": \"bad \xff\xfe bytes\"}",
        br#"{"hostId": "web-01", "status": "fail", "message": "lone \ud800 surrogate"}"#,
        br#"{"hostId": "web-01", "status": "fail", "message": "pair \ud83d\ude00"}"#,
        b"{\"hostId\": \"web-01\", \"status\": \"fail\", \"message\": \"two\nlines\"}",
        b"{\"hostId\": \"web-01\", \"\xff\": \"\\udfff\"}",
        b"\xef\xbb\xbf{\"hostId\": \"web-01\"}\r\n",
        br#"{"hostId": "fail"}"#,
        nested.as_bytes(),
        long.as_bytes(),
        full.as_bytes(),
    ];
    let mut lines = String::new();
    for body in cases {
        let world = World::new().await;
        let answer = world.ask("POST /v1/heartbeat", body.to_vec()).await;
        assert_eq!(
            answer.short(),
            r#"200 {"message":"OK"}"#,
            "{}",
            body.escape_ascii()
        );
        lines += &world.stored().await;
    }
    // The long message is cut at 1 KiB.
    insta::assert_snapshot!(lines.replace(&"x".repeat(1_024), "<1024 x>"), @r#"
    main/web-01 Ok 600000
    main/web-01 Ok 1000
    main/web-01 Fail 31536000000 "disk full"
    main/web-01 Ok 600000
    main/web-01 Ok 600000
    main/web-01 Fail 600000
    main/web-01 Fail 600000
    main/db:5432/base@Host_1.example.com Ok 600000
    main/web-01 Ok 600000
    main/web-01 Ok 60000
    main/web-01 Fail 600000 "bad �� bytes"
    main/web-01 Fail 600000 "lone � surrogate"
    main/web-01 Fail 600000 "pair 😀"
    main/web-01 Fail 600000 "two\nlines"
    main/web-01 Ok 600000
    main/web-01 Ok 600000
    main/fail Ok 600000
    main/web-01 Ok 600000
    main/web-01 Fail 600000 "<1024 x>"
    main/web-01 Ok 600000
    "#);
}

#[tokio::test]
async fn valid_paths() {
    let cases = [
        ("POST /v1/heartbeat", r#"{"hostId": "web-01"}"#),
        (
            "POST /v1/hearbeat",
            r#"{"hostId": "web-01", "status": "fail"}"#,
        ),
        ("POST /v1/heartbeat?status=fail", r#"{"hostId": "web-01"}"#),
        ("POST /v1/heartbeat/web-01", ""),
        ("PUT /v1/heartbeat/web-01", ""),
        ("GET /v1/heartbeat/web-01", ""),
        ("HEAD /v1/heartbeat/web-01", ""),
        (
            "GET /v1/heartbeat/web-01?intervalMs=60000&status=fail&message=disk+full%21",
            "",
        ),
        ("GET /v1/heartbeat/web-01?hostId=web-01&x=1&x=2&", ""),
        ("GET /v1/heartbeat/web-01?status=fail&message=bad%ff%C3", ""),
        ("GET /v1/heartbeat/web-01/fail?message=why", ""),
        ("GET /v1/heartbeat/web-01/fail?status=fail", ""),
        ("GET /v1/heartbeat/web-01/0?status=ok", ""),
        ("GET /v1/heartbeat/web-01/0", ""),
        ("GET /v1/heartbeat/web-01/7", ""),
        ("GET /v1/heartbeat/web-01/-1073741510", ""),
        ("GET /v1/heartbeat/web-01/3221225786", ""),
        ("GET /v1/heartbeat/rack/7", ""),
        ("GET /v1/heartbeat/rack%2F7", ""),
        ("GET /v1/heartbeat/rack/7/fail", ""),
        ("GET /v1/heartbeat/fail", ""),
        ("GET /v1/heartbeat/7", ""),
        ("GET /v1/heartbeat//etc/backup", ""),
        ("GET /v1/heartbeat/cron%40db%3A5432", ""),
        ("GET /v1/heartbeat/cron@db:5432", ""),
        (
            "PUT /v1/heartbeat/web-01",
            r#"{"status": "fail", "message": "in the body", "intervalMs": 5000}"#,
        ),
        (
            "PUT /v1/heartbeat/web-01?status=ok&intervalMs=7000",
            r#"{"status": "fail", "intervalMs": 5000}"#,
        ),
        (
            "PUT /v1/heartbeat/web-01/fail",
            r#"{"message": "in the body", "hostId": "web-01"}"#,
        ),
        (
            "PUT /v1/heartbeat/web-01/fail?message=query",
            r#"{"message": "body"}"#,
        ),
        ("POST /v1/heartbeat/web-01/1", "backup: disk full\nexit 1"),
        ("POST /v1/heartbeat/web-01", "[1, 2]"),
    ];
    let mut lines = String::new();
    for (line, body) in cases {
        let world = World::new().await;
        let answer = world.ask(line, body).await;
        let expected = if line.starts_with("HEAD") {
            "200 "
        } else {
            r#"200 {"message":"OK"}"#
        };
        assert_eq!(answer.short(), expected, "{line}");
        write!(lines, "{line} {body:?} -> {}", world.stored().await).unwrap();
    }
    insta::assert_snapshot!(lines, @r#"
    POST /v1/heartbeat "{\"hostId\": \"web-01\"}" -> main/web-01 Ok 600000
    POST /v1/hearbeat "{\"hostId\": \"web-01\", \"status\": \"fail\"}" -> main/web-01 Fail 600000
    POST /v1/heartbeat?status=fail "{\"hostId\": \"web-01\"}" -> main/web-01 Fail 600000
    POST /v1/heartbeat/web-01 "" -> main/web-01 Ok 600000
    PUT /v1/heartbeat/web-01 "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01 "" -> main/web-01 Ok 600000
    HEAD /v1/heartbeat/web-01 "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01?intervalMs=60000&status=fail&message=disk+full%21 "" -> main/web-01 Fail 60000 "disk full!"
    GET /v1/heartbeat/web-01?hostId=web-01&x=1&x=2& "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01?status=fail&message=bad%ff%C3 "" -> main/web-01 Fail 600000 "bad��"
    GET /v1/heartbeat/web-01/fail?message=why "" -> main/web-01 Fail 600000 "why"
    GET /v1/heartbeat/web-01/fail?status=fail "" -> main/web-01 Fail 600000
    GET /v1/heartbeat/web-01/0?status=ok "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01/0 "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01/7 "" -> main/web-01 Fail 600000
    GET /v1/heartbeat/web-01/-1073741510 "" -> main/web-01 Fail 600000
    GET /v1/heartbeat/web-01/3221225786 "" -> main/web-01 Fail 600000
    GET /v1/heartbeat/rack/7 "" -> main/rack Fail 600000
    GET /v1/heartbeat/rack%2F7 "" -> main/rack/7 Ok 600000
    GET /v1/heartbeat/rack/7/fail "" -> main/rack/7 Fail 600000
    GET /v1/heartbeat/fail "" -> main/fail Ok 600000
    GET /v1/heartbeat/7 "" -> main/7 Ok 600000
    GET /v1/heartbeat//etc/backup "" -> main//etc/backup Ok 600000
    GET /v1/heartbeat/cron%40db%3A5432 "" -> main/cron@db:5432 Ok 600000
    GET /v1/heartbeat/cron@db:5432 "" -> main/cron@db:5432 Ok 600000
    PUT /v1/heartbeat/web-01 "{\"status\": \"fail\", \"message\": \"in the body\", \"intervalMs\": 5000}" -> main/web-01 Fail 5000 "in the body"
    PUT /v1/heartbeat/web-01?status=ok&intervalMs=7000 "{\"status\": \"fail\", \"intervalMs\": 5000}" -> main/web-01 Ok 7000
    PUT /v1/heartbeat/web-01/fail "{\"message\": \"in the body\", \"hostId\": \"web-01\"}" -> main/web-01 Fail 600000 "in the body"
    PUT /v1/heartbeat/web-01/fail?message=query "{\"message\": \"body\"}" -> main/web-01 Fail 600000 "query"
    POST /v1/heartbeat/web-01/1 "backup: disk full\nexit 1" -> main/web-01 Fail 600000
    POST /v1/heartbeat/web-01 "[1, 2]" -> main/web-01 Ok 600000
    "#);
}

#[tokio::test]
async fn any_content_type_is_accepted() {
    for kind in [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain; charset=latin1",
        "",
        "\u{7}x",
    ] {
        let world = World::new().await;
        let mut request = request(
            "POST /v1/heartbeat",
            Some(&token(MAIN)),
            r#"{"hostId": "web-01"}"#,
        );
        if let Ok(kind) = kind.parse() {
            request.headers_mut().insert("content-type", kind);
        }
        assert_eq!(world.send(request).await.status, 200, "{kind:?}");
    }
}

#[tokio::test]
async fn the_key_determines_the_fleet() {
    let world = World::new().await;
    world
        .send(request(
            "GET /v1/heartbeat/web-01",
            Some(&token(EDGE)),
            Body::empty(),
        ))
        .await;
    insta::assert_snapshot!(world.stored().await, @"edge/web-01 Ok 600000");
}

#[tokio::test]
async fn schedules_and_graces() {
    let bodies: [&[u8]; 6] = [
        br#"{"hostId": "web-01", "schedule": "0 2 * * *"}"#,
        br#"{"hostId": "web-01", "schedule": "0 2 * * *", "tz": "Europe/Berlin", "graceMs": 600000}"#,
        br#"{"hostId": "web-01", "schedule": "@daily", "graceMs": 0}"#,
        br#"{"hostId": "web-01", "intervalMs": 60000, "graceMs": 30000.0}"#,
        br#"{"hostId": "web-01", "graceMs": 2592000000}"#,
        br#"{"hostId": "web-01", "schedule": null, "tz": "UTC"}"#,
    ];
    let mut lines = String::new();
    for body in bodies {
        let world = World::new().await;
        let answer = world.ask("POST /v1/heartbeat", body.to_vec()).await;
        assert_eq!(answer.short(), r#"200 {"message":"OK"}"#);
        lines += &world.stored().await;
    }
    let world = World::new().await;
    let query = "GET /v1/heartbeat/web-01?schedule=0+2+*+*+1-5&tz=Europe%2FBerlin&graceMs=1000";
    world.ask(query, "").await;
    lines += &world.stored().await;
    // The clock shows 10:00 UTC of a Saturday.
    insta::assert_snapshot!(lines, @r"
    main/web-01 Ok 61200000
    main/web-01 Ok 54600000
    main/web-01 Ok 50400000
    main/web-01 Ok 90000
    main/web-01 Ok 2592600000
    main/web-01 Ok 600000
    main/web-01 Ok 140401000
    ");
}
