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
async fn what_a_body_says_behind_a_signal() {
    let cases = [
        ("POST /v1/heartbeat/web-01/17?message=no+tape", ""),
        ("POST /v1/heartbeat/web-01/17", r#"{"message": "no tape"}"#),
        (
            "POST /v1/heartbeat/web-01/17",
            "\x1b[1mone\x1b[0m\r\n\n 1 %\r 2 %\r\nlast\n",
        ),
        (
            "POST /v1/heartbeat/web-01/Fail",
            r#"{"files": 12}{"files": 13}"#,
        ),
        (
            "POST /v1/heartbeat/web-01/17",
            "tar: Cannot write\n\n[runitor] exit status 17",
        ),
        // Nothing in a body contradicts a signal: it is what a job printed.
        (
            "PUT /v1/heartbeat/web-01/0",
            r#"{"status": "fail", "message": "a "quote""}"#,
        ),
        ("PUT /v1/heartbeat/web-01/0", r#"{"status": "fail"}"#),
        ("PUT /v1/heartbeat/web-01/1", r#"{"status": "ok"}"#),
        ("PUT /v1/heartbeat/web-01/1", r#"{"hostId": "web-02"}"#),
        ("PUT /v1/heartbeat/web-01/1", r#"{"intervalMs": "often"}"#),
        ("PUT /v1/heartbeat/web-01/1", r#"{"intervalMs": 5000}"#),
    ];
    let mut lines = String::new();
    for (line, body) in cases {
        let world = World::new().await;
        let answer = world.ask(line, body).await;
        assert!(
            answer.short().starts_with(r#"200 {"message":"OK""#),
            "{line}"
        );
        write!(lines, "{line} {body:?} -> {}", world.stored().await).unwrap();
    }
    insta::assert_snapshot!(lines, @r#"
    POST /v1/heartbeat/web-01/17?message=no+tape "" -> main/web-01 Fail 600000 "exit 17: no tape"
    POST /v1/heartbeat/web-01/17 "{\"message\": \"no tape\"}" -> main/web-01 Fail 600000 "exit 17: no tape"
    POST /v1/heartbeat/web-01/17 "\u{1b}[1mone\u{1b}[0m\r\n\n 1 %\r 2 %\r\nlast\n" -> main/web-01 Fail 600000 "exit 17: last\none\n 2 %"
    POST /v1/heartbeat/web-01/Fail "{\"files\": 12}{\"files\": 13}" -> main/web-01 Fail 600000 "{\"files\": 12}{\"files\": 13}"
    POST /v1/heartbeat/web-01/17 "tar: Cannot write\n\n[runitor] exit status 17" -> main/web-01 Fail 600000 "exit 17: tar: Cannot write"
    PUT /v1/heartbeat/web-01/0 "{\"status\": \"fail\", \"message\": \"a \"quote\"\"}" -> main/web-01 Ok 600000
    PUT /v1/heartbeat/web-01/0 "{\"status\": \"fail\"}" -> main/web-01 Ok 600000
    PUT /v1/heartbeat/web-01/1 "{\"status\": \"ok\"}" -> main/web-01 Fail 600000 "exit 1: {\"status\": \"ok\"}"
    PUT /v1/heartbeat/web-01/1 "{\"hostId\": \"web-02\"}" -> main/web-01 Fail 600000 "exit 1: {\"hostId\": \"web-02\"}"
    PUT /v1/heartbeat/web-01/1 "{\"intervalMs\": \"often\"}" -> main/web-01 Fail 600000 "exit 1: {\"intervalMs\": \"often\"}"
    PUT /v1/heartbeat/web-01/1 "{\"intervalMs\": 5000}" -> main/web-01 Fail 5000 "exit 1"
    "#);
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
    let full = format!(r#"{{"hostId": "web-01"}}{}"#, " ".repeat(256 * 1024 - 20));
    let cases: [&[u8]; 20] = [
        br#"{"hostId": "web-01"}"#,
        br#"{"hostId": "web-01", "intervalMs": 1000, "status": "ok", "message": "fine"}"#,
        br#"{"hostId": "web-01", "intervalMs": 31536000000, "status": "fail", "message": "disk full"}"#,
        br#"{"hostId": "web-01", "intervalMs": null, "status": null, "message": null}"#,
        br#"{"hostId": "web-01", "interval": "1h 30m", "grace": "0s", "maxRun": "5m"}"#,
        br#"{"hostId": "web-01", "status": "fail", "message": ""}"#,
        br#"{"hostId": "web-01", "status": "fail"}"#,
        br#"{"hostId": "db:5432/base@Host_1.example.com"}"#,
        br#"{"hostId": "\u0077eb-01"}"#,
        br#"{"hostId": "web-01", "intervalMs": 60000.0}"#,
        b"{\"hostId\": \"web-01\", \"status\": \"fail\", \"message\": \"bad \xff\xfe bytes\"}",
        br#"{"hostId": "web-01", "status": "fail", "message": "lone \ud800 surrogate"}"#,
        br#"{"hostId": "web-01", "status": "fail", "message": "pair \ud83d\ude00"}"#,
        b"{\"hostId\": \"web-01\", \"status\": \"fail\", \"message\": \"two\nlines\"}",
        br#"{"hostId": "web-01", "status": "OK"}"#,
        b"\xef\xbb\xbf{\"hostId\": \"web-01\"}\r\n",
        br#"{"hostId": "fail"}"#,
        br#"{"hostId": "web-01", "status": "success"}"#,
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
    main/web-01 Ok 5400000
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
async fn fields_that_nobody_knows_come_back() {
    let deep = format!(r#"{{"x": {}{}}}"#, "[".repeat(90), "]".repeat(90));
    let many: Vec<_> = (0..30).map(|n| format!("n{n}=")).collect();
    let many = format!("GET /v1/heartbeat/web-01?{}", many.join("&"));
    let alert = r#"{"receiver": "hb", "status": "firing", "alerts": [{"status": "firing"}]}"#;
    let long = format!("GET /v1/heartbeat/web-01?{}", "long".repeat(1_000));
    let cases = [
        ("GET /v1/heartbeat/web-01?intervall=5m&x=1&x=2&=3", ""),
        (
            "POST /v1/heartbeat?hostid=a",
            r#"{"hostId": "web-01", "hostid": 7, "x": {"hostId": 7}}"#,
        ),
        (
            "POST /v1/heartbeat/web-01",
            r#"{"a\"b\\": 1, "\u0000": 2, "\ud83d": 3}"#,
        ),
        ("POST /v1/heartbeat/web-01", &deep),
        (&many, ""),
        (&long, ""),
        // Of Alertmanager.
        ("POST /v1/heartbeat/web-01", alert),
        ("POST /v1/heartbeat/web-01/fail", alert),
        (
            "POST /v1/heartbeat/web-01/fail",
            r#"{"intervalMs": 5000, "mesage": "typo"}"#,
        ),
        (
            "POST /v1/heartbeat/web-01?status=fail",
            r#"{"status": "resolved", "message": "m"}"#,
        ),
    ];
    let mut lines = String::new();
    for (line, body) in cases {
        let world = World::new().await;
        let answer = world.ask(line, body.to_owned()).await;
        let line: String = line.chars().take(60).collect();
        let answer = answer.short();
        write!(
            lines,
            "{line} {body:.40}\n{answer}\n{}",
            world.stored().await
        )
        .unwrap();
    }
    insta::assert_snapshot!(lines, @r#"
    GET /v1/heartbeat/web-01?intervall=5m&x=1&x=2&=3 
    200 {"message":"OK","ignored":["intervall","x"]}
    main/web-01 Ok 600000
    POST /v1/heartbeat?hostid=a {"hostId": "web-01", "hostid": 7, "x": {
    200 {"message":"OK","ignored":["hostid","x"]}
    main/web-01 Ok 600000
    POST /v1/heartbeat/web-01 {"a\"b\\": 1, "\u0000": 2, "\ud83d": 3}
    200 {"message":"OK","ignored":["a\"b\\","\u0000","�"]}
    main/web-01 Ok 600000
    POST /v1/heartbeat/web-01 {"x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
    200 {"message":"OK","ignored":["x"]}
    main/web-01 Ok 600000
    GET /v1/heartbeat/web-01?n0=&n1=&n2=&n3=&n4=&n5=&n6=&n7=&n8= 
    200 {"message":"OK","ignored":["n0","n1","n2","n3","n4","n5","n6","n7","n8","n9"]}
    main/web-01 Ok 600000
    GET /v1/heartbeat/web-01?longlonglonglonglonglonglonglonglon 
    200 {"message":"OK","ignored":["longlonglonglonglonglonglonglonglonglong…"]}
    main/web-01 Ok 600000
    POST /v1/heartbeat/web-01 {"receiver": "hb", "status": "firing", "
    200 {"message":"OK","ignored":["receiver","alerts","status"]}
    main/web-01 Ok 600000
    POST /v1/heartbeat/web-01/fail {"receiver": "hb", "status": "firing", "
    200 {"message":"OK","ignored":["receiver","alerts","status"]}
    main/web-01 Fail 600000 "{\"receiver\": \"hb\", \"status\": \"firing\", \"alerts\": [{\"status\": \"firing\"}]}"
    POST /v1/heartbeat/web-01/fail {"intervalMs": 5000, "mesage": "typo"}
    200 {"message":"OK","ignored":["mesage"]}
    main/web-01 Fail 5000 "{\"intervalMs\": 5000, \"mesage\": \"typo\"}"
    POST /v1/heartbeat/web-01?status=fail {"status": "resolved", "message": "m"}
    200 {"message":"OK","ignored":["status"]}
    main/web-01 Fail 600000 "m"
    "#);
}

#[tokio::test]
async fn a_beat_is_never_refused_for_what_its_job_prints() {
    for (line, size, said) in [
        (
            "3",
            6_000,
            "main/job Fail 600000 \"exit 3: Cannot write\\n...",
        ),
        ("fail", 250_000, "main/job Fail 600000 \"Cannot write\\n..."),
        (
            "log",
            250_000,
            "main/job Ok 600000 log \"Cannot write\\n...",
        ),
        ("0", 250_000, "main/job Ok 600000\n"),
    ] {
        let world = World::new().await;
        let output = "line\n".repeat(size / 5) + "Cannot write\n";
        let answer = world
            .ask(&format!("POST /v1/heartbeat/job/{line}"), output)
            .await;
        assert_eq!(answer.short(), r#"200 {"message":"OK"}"#, "{line}");
        let stored = world.stored().await;
        assert!(stored.starts_with(said), "{line}: {stored}");
        if let Some((_, message)) = stored.split_once("Fail 600000 ") {
            let message: String = serde_json::from_str(message).unwrap();
            assert!(
                (1_020..=1_024).contains(&message.len()),
                "{line}: {message}"
            );
        }
    }
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
        ("GET /v1/heartbeat/web-01?hostId=web-01&", ""),
        ("GET /v1/heartbeat/web-01?interval=90s&grace=30s", ""),
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
    GET /v1/heartbeat/web-01?hostId=web-01& "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01?interval=90s&grace=30s "" -> main/web-01 Ok 120000
    GET /v1/heartbeat/web-01?status=fail&message=bad%ff%C3 "" -> main/web-01 Fail 600000 "bad��"
    GET /v1/heartbeat/web-01/fail?message=why "" -> main/web-01 Fail 600000 "why"
    GET /v1/heartbeat/web-01/fail?status=fail "" -> main/web-01 Fail 600000
    GET /v1/heartbeat/web-01/0?status=ok "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01/0 "" -> main/web-01 Ok 600000
    GET /v1/heartbeat/web-01/7 "" -> main/web-01 Fail 600000 "exit 7"
    GET /v1/heartbeat/web-01/-1073741510 "" -> main/web-01 Fail 600000 "exit -1073741510"
    GET /v1/heartbeat/web-01/3221225786 "" -> main/web-01 Fail 600000 "exit 3221225786"
    GET /v1/heartbeat/rack/7 "" -> main/rack Fail 600000 "exit 7"
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
    POST /v1/heartbeat/web-01/1 "backup: disk full\nexit 1" -> main/web-01 Fail 600000 "exit 1: exit 1\nbackup: disk full"
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
