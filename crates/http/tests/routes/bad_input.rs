//! Requests that are refused with 400, and the messages.

use std::fmt::Write;

use crate::world::World;

/// The response to each body, after checking that nothing was stored.
async fn refused_bodies(bodies: &[&[u8]]) -> String {
    let (world, mut answers) = (World::new().await, String::new());
    for body in bodies {
        let answer = world.ask("POST /v1/heartbeat", body.to_vec()).await;
        let sent: String = body
            .escape_ascii()
            .to_string()
            .replace("\\\"", "\"")
            .chars()
            .take(70)
            .collect();
        writeln!(answers, "<{sent}>\n    {}", answer.short()).unwrap();
    }
    assert_eq!(world.stored().await, "");
    answers
}

#[tokio::test]
async fn bodies_that_are_not_an_object() {
    let deep = format!(r#"{{"hostId": "web-01", "x": {}"#, "[".repeat(500));
    let answers = refused_bodies(&[
        b"",
        b" \r\n",
        b"hostId=web-01",
        b"'{hostId:web-01}'",
        b"{\"hostId\": \"web-01\"",
        b"{\"hostId\": \"web-01\"} x",
        b"{\"hostId\": \"web-01\", \"message\": \"a \"quote\" inside\"}",
        b"\xff\xfe{\0}\0",
        b"[]",
        b"[{\"hostId\": \"web-01\"}]",
        b"\"web-01\"",
        b"42",
        b"null",
        deep.as_bytes(),
        b"{\"hostId\": \"web-01\", \"hostId\": \"web-01\"}",
        b"{\"hostId\": \"web-01\", \"status\": null, \"status\": \"fail\"}",
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    <>
        400 invalid_body: the body is empty; send {"hostId": "web-01"}
    < \r\n>
        400 invalid_body: the body is empty; send {"hostId": "web-01"}
    <hostId=web-01>
        400 invalid_body: the body is not JSON: expected value at line 1 column 1; send {"hostId": "web-01"}
    <\'{hostId:web-01}\'>
        400 invalid_body: the body is not JSON: expected value at line 1 column 1; send {"hostId": "web-01"}
    <{"hostId": "web-01">
        400 invalid_body: the body is not JSON: EOF while parsing an object at line 1 column 19; send {"hostId": "web-01"}
    <{"hostId": "web-01"} x>
        400 invalid_body: the body is not JSON: trailing characters at line 1 column 22; send {"hostId": "web-01"}
    <{"hostId": "web-01", "message": "a "quote" inside"}>
        400 invalid_body: the body is not JSON: expected `,` or `}` at line 1 column 37; send {"hostId": "web-01"}
    <\xff\xfe{\x00}\x00>
        400 invalid_body: the body is not JSON: expected value at line 1 column 1; send {"hostId": "web-01"}
    <[]>
        400 invalid_body: the body is not a JSON object; send {"hostId": "web-01"}
    <[{"hostId": "web-01"}]>
        400 invalid_body: the body is not a JSON object; send {"hostId": "web-01"}
    <"web-01">
        400 invalid_body: the body is not a JSON object; send {"hostId": "web-01"}
    <42>
        400 invalid_body: the body is not a JSON object; send {"hostId": "web-01"}
    <null>
        400 invalid_body: the body is not a JSON object; send {"hostId": "web-01"}
    <{"hostId": "web-01", "x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[>
        400 invalid_body: the body is nested too deeply; send {"hostId": "web-01"}
    <{"hostId": "web-01", "hostId": "web-01"}>
        400 duplicate_field: hostId appears twice; send it once
    <{"hostId": "web-01", "status": null, "status": "fail"}>
        400 duplicate_field: status appears twice; send it once
    "#);
}

#[tokio::test]
async fn invalid_host_ids() {
    let long = format!(r#"{{"hostId": "{}"}}"#, "x".repeat(201));
    let answers = refused_bodies(&[
        b"{}",
        b"{\"hostID\": \"web-01\"}",
        b"{\"hostId\": null}",
        b"{\"hostId\": 1}",
        b"{\"hostId\": [\"web-01\"]}",
        b"{\"hostId\": \"\"}",
        b"{\"hostId\": \" web-01\"}",
        b"{\"hostId\": \"web\\n01\"}",
        b"{\"hostId\": \"web\n01\"}",
        b"{\"hostId\": \"web\xf0\x9f\x94\xa5\"}",
        b"{\"hostId\": \"web\xff\"}",
        b"{\"hostId\": \"web\\ud800\"}",
        b"{\"hostId\": \"web\\u0000\"}",
        long.as_bytes(),
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    <{}>
        400 invalid_host_id: hostId is missing; send {"hostId": "web-01"}
    <{"hostID": "web-01"}>
        400 invalid_host_id: hostId is missing; send {"hostId": "web-01"}
    <{"hostId": null}>
        400 invalid_host_id: hostId is missing; send {"hostId": "web-01"}
    <{"hostId": 1}>
        400 invalid_host_id: hostId must be a string such as "web-01", not 1
    <{"hostId": ["web-01"]}>
        400 invalid_host_id: hostId must be a string such as "web-01", not ["web-01"]
    <{"hostId": ""}>
        400 invalid_host_id: hostId is empty
    <{"hostId": " web-01"}>
        400 invalid_host_id: hostId has ' ' at position 1, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "web\\n01"}>
        400 invalid_host_id: hostId has '\n' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "web\n01"}>
        400 invalid_host_id: hostId has '\n' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "web\xf0\x9f\x94\xa5"}>
        400 invalid_host_id: hostId has '🔥' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "web\xff"}>
        400 invalid_host_id: hostId has '�' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "web\\ud800"}>
        400 invalid_host_id: hostId has '�' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "web\\u0000"}>
        400 invalid_host_id: hostId has '\0' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    <{"hostId": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx>
        400 invalid_host_id: hostId has 201 characters, at most 200 are allowed
    "#);
}

#[tokio::test]
async fn invalid_schedules() {
    let answers = refused_bodies(&[
        b"{\"hostId\": \"web-01\", \"schedule\": \"61 * * * *\"}",
        b"{\"hostId\": \"web-01\", \"schedule\": 5}",
        b"{\"hostId\": \"web-01\", \"schedule\": \"@daily\", \"tz\": \"Berlin\"}",
        b"{\"hostId\": \"web-01\", \"schedule\": \"@daily\", \"graceMs\": 2592000001}",
        b"{\"hostId\": \"web-01\", \"schedule\": \"@daily\", \"graceMs\": \"1h\"}",
        b"{\"hostId\": \"web-01\", \"schedule\": \"@daily\", \"intervalMs\": 60000}",
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    <{"hostId": "web-01", "schedule": "61 * * * *"}>
        400 invalid_schedule: schedule: not a schedule of cron, such as '0 2 * * *' for 2 o'clock each day: number out of bounds
    <{"hostId": "web-01", "schedule": 5}>
        400 invalid_schedule: schedule must be a string such as "0 2 * * *", not 5
    <{"hostId": "web-01", "schedule": "@daily", "tz": "Berlin"}>
        400 invalid_tz: tz: there is no time zone "Berlin": write a name of the IANA database, such as Europe/Berlin or UTC
    <{"hostId": "web-01", "schedule": "@daily", "graceMs": 2592000001}>
        400 invalid_grace: graceMs: a grace is 0 to 2592000000 ms (30 days), not 2592000001
    <{"hostId": "web-01", "schedule": "@daily", "graceMs": "1h"}>
        400 invalid_grace: graceMs must be a whole number of milliseconds such as 600000, not "1h"
    <{"hostId": "web-01", "schedule": "@daily", "intervalMs": 60000}>
        400 invalid_schedule: intervalMs and schedule contradict each other; leave one of them out
    "#);
}

#[tokio::test]
async fn invalid_values_of_other_fields() {
    let answers = refused_bodies(&[
        b"{\"hostId\": \"web-01\", \"intervalMs\": 999}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": 34560000001}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": 0}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": -1}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": 1.5}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": \"5m\"}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": 1e30}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": true}",
        b"{\"hostId\": \"web-01\", \"intervalMs\": [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]}",
        b"{\"hostId\": \"web-01\", \"status\": \"up\"}",
        b"{\"hostId\": \"web-01\", \"status\": \"failed\"}",
        b"{\"hostId\": \"web-01\", \"interval\": \"no such field\"}",
        b"{\"hostId\": \"web-01\", \"interval\": 300}",
        b"{\"hostId\": \"web-01\", \"interval\": \"5m\", \"intervalMs\": 300000}",
        b"{\"hostId\": \"web-01\", \"interval\": \"5m\", \"schedule\": \"@daily\"}",
        b"{\"hostId\": \"web-01\", \"grace\": \"1y\"}",
        b"{\"hostId\": \"web-01\", \"maxRun\": \"\"}",
        b"{\"hostId\": \"web-01\", \"status\": 1}",
        b"{\"hostId\": \"web-01\", \"status\": true}",
        b"{\"hostId\": \"web-01\", \"message\": 7}",
        b"{\"hostId\": \"web-01\", \"message\": {\"text\": \"x\"}}",
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    <{"hostId": "web-01", "intervalMs": 999}>
        400 invalid_interval: intervalMs: an interval is 1000 to 34560000000 ms (1 s to 400 days), not 999
    <{"hostId": "web-01", "intervalMs": 34560000001}>
        400 invalid_interval: intervalMs: an interval is 1000 to 34560000000 ms (1 s to 400 days), not 34560000001
    <{"hostId": "web-01", "intervalMs": 0}>
        400 invalid_interval: intervalMs: an interval is 1000 to 34560000000 ms (1 s to 400 days), not 0
    <{"hostId": "web-01", "intervalMs": -1}>
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not -1
    <{"hostId": "web-01", "intervalMs": 1.5}>
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not 1.5
    <{"hostId": "web-01", "intervalMs": "5m"}>
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not "5m"
    <{"hostId": "web-01", "intervalMs": 1e30}>
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not 1e+30
    <{"hostId": "web-01", "intervalMs": true}>
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not true
    <{"hostId": "web-01", "intervalMs": [1000, 2000, 3000, 4000, 5000, 6000>
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not [1000,2000,3000,4000,5000,6000,7000,8000…
    <{"hostId": "web-01", "status": "up"}>
        400 invalid_status: status must be "ok", "fail", "start" or "log", not "up"
    <{"hostId": "web-01", "status": "failed"}>
        400 invalid_status: status must be "ok", "fail", "start" or "log", not "failed"
    <{"hostId": "web-01", "interval": "no such field"}>
        400 invalid_interval: interval must be a string such as "5m" or "1h 30m", not "no such field"
    <{"hostId": "web-01", "interval": 300}>
        400 invalid_interval: interval must be a string such as "5m" or "1h 30m", not 300
    <{"hostId": "web-01", "interval": "5m", "intervalMs": 300000}>
        400 invalid_interval: interval and intervalMs contradict each other; leave one of them out
    <{"hostId": "web-01", "interval": "5m", "schedule": "@daily"}>
        400 invalid_schedule: intervalMs and schedule contradict each other; leave one of them out
    <{"hostId": "web-01", "grace": "1y"}>
        400 invalid_grace: grace: a grace is 0 to 2592000000 ms (30 days), not 31557600000
    <{"hostId": "web-01", "maxRun": ""}>
        400 invalid_max_run: maxRun must be a string such as "5m" or "1h 30m", not ""
    <{"hostId": "web-01", "status": 1}>
        400 invalid_status: status must be "ok", "fail", "start" or "log", not 1
    <{"hostId": "web-01", "status": true}>
        400 invalid_status: status must be "ok", "fail", "start" or "log", not true
    <{"hostId": "web-01", "message": 7}>
        400 invalid_message: message must be a string, not 7
    <{"hostId": "web-01", "message": {"text": "x"}}>
        400 invalid_message: message must be a string, not {"text":"x"}
    "#);
}

/// The response to each request, after checking that nothing was stored.
async fn refused(requests: &[(&str, &str)]) -> String {
    let (world, mut answers) = (World::new().await, String::new());
    for (line, body) in requests {
        let answer = world.ask(line, (*body).to_owned()).await;
        let body: String = body.chars().take(40).collect();
        writeln!(
            answers,
            "{}\n    {}",
            format!("{line} {body}").trim_end(),
            answer.short()
        )
        .unwrap();
    }
    assert_eq!(world.stored().await, "");
    answers
}

#[tokio::test]
async fn invalid_paths() {
    let answers = refused(&[
        ("GET /v1/heartbeat/", ""),
        ("GET /v1/heartbeat//", ""),
        ("GET /v1/heartbeat//fail", ""),
        ("GET /v1/heartbeat/web-01/", ""),
        ("GET /v1/heartbeat/web-01/4294967296", ""),
        ("GET /v1/heartbeat/web-01/-2147483649", ""),
        ("GET /v1/heartbeat/web%ff", ""),
        ("GET /v1/heartbeat/web%0001", ""),
        ("GET /v1/heartbeat/web%2001", ""),
        ("GET /v1/heartbeat/web+01", ""),
        ("GET /v1/heartbeat/%F0%9F%94%A5", ""),
    ])
    .await;
    insta::assert_snapshot!(answers, @r"
    GET /v1/heartbeat/
        400 invalid_host_id: hostId is empty
    GET /v1/heartbeat//
        400 invalid_path: the path ends with a slash; end it with the hostId, and write a slash inside a hostId as %2F
    GET /v1/heartbeat//fail
        400 invalid_host_id: hostId is empty
    GET /v1/heartbeat/web-01/
        400 invalid_path: the path ends with a slash; end it with the hostId, and write a slash inside a hostId as %2F
    GET /v1/heartbeat/web-01/4294967296
        400 invalid_path: the path ends with a number that is not an exit code (-2147483648 to 4294967295); write a slash inside a hostId as %2F
    GET /v1/heartbeat/web-01/-2147483649
        400 invalid_path: the path ends with a number that is not an exit code (-2147483648 to 4294967295); write a slash inside a hostId as %2F
    GET /v1/heartbeat/web%ff
        400 invalid_host_id: the hostId in the path is not UTF-8 after percent-decoding
    GET /v1/heartbeat/web%0001
        400 invalid_host_id: hostId has '\0' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    GET /v1/heartbeat/web%2001
        400 invalid_host_id: hostId has ' ' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    GET /v1/heartbeat/web+01
        400 invalid_host_id: hostId has '+' at position 4, allowed are A-Z a-z 0-9 . _ : @ / -
    GET /v1/heartbeat/%F0%9F%94%A5
        400 invalid_host_id: hostId has '🔥' at position 1, allowed are A-Z a-z 0-9 . _ : @ / -
    ");
}

#[tokio::test]
async fn invalid_query_parameters() {
    let answers = refused(&[
        ("GET /v1/heartbeat/web-01?intervalMs=999", ""),
        ("GET /v1/heartbeat/web-01?intervalMs=34560000001", ""),
        ("GET /v1/heartbeat/web-01?intervalMs=5m", ""),
        ("GET /v1/heartbeat/web-01?intervalMs=", ""),
        ("GET /v1/heartbeat/web-01?intervalMs=-1000", ""),
        ("GET /v1/heartbeat/web-01?intervalMs=%2B1000", ""),
        ("GET /v1/heartbeat/web-01?intervalMs=1000.0", ""),
        (
            "GET /v1/heartbeat/web-01?intervalMs=99999999999999999999",
            "",
        ),
        ("GET /v1/heartbeat/web-01?status=up", ""),
        ("GET /v1/heartbeat/web-01?status=", ""),
        ("GET /v1/heartbeat/web-01?status=ok&status=ok", ""),
        ("GET /v1/heartbeat/web-01?message=a&message=b", ""),
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    GET /v1/heartbeat/web-01?intervalMs=999
        400 invalid_interval: intervalMs: an interval is 1000 to 34560000000 ms (1 s to 400 days), not 999
    GET /v1/heartbeat/web-01?intervalMs=34560000001
        400 invalid_interval: intervalMs: an interval is 1000 to 34560000000 ms (1 s to 400 days), not 34560000001
    GET /v1/heartbeat/web-01?intervalMs=5m
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not "5m"
    GET /v1/heartbeat/web-01?intervalMs=
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not ""
    GET /v1/heartbeat/web-01?intervalMs=-1000
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not "-1000"
    GET /v1/heartbeat/web-01?intervalMs=%2B1000
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not "+1000"
    GET /v1/heartbeat/web-01?intervalMs=1000.0
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not "1000.0"
    GET /v1/heartbeat/web-01?intervalMs=99999999999999999999
        400 invalid_interval: intervalMs must be a whole number of milliseconds such as 600000, not "99999999999999999999"
    GET /v1/heartbeat/web-01?status=up
        400 invalid_status: status must be "ok", "fail", "start" or "log", not "up"
    GET /v1/heartbeat/web-01?status=
        400 invalid_status: status must be "ok", "fail", "start" or "log", not ""
    GET /v1/heartbeat/web-01?status=ok&status=ok
        400 duplicate_field: status appears twice; send it once
    GET /v1/heartbeat/web-01?message=a&message=b
        400 duplicate_field: message appears twice; send it once
    "#);
}

#[tokio::test]
async fn contradictory_requests() {
    let deep = format!(
        r#"{{"status": "fail", "x": {}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let answers = refused(&[
        ("GET /v1/heartbeat/web-01?hostId=web-02", ""),
        ("GET /v1/heartbeat/web-01/fail?status=ok", ""),
        ("GET /v1/heartbeat/web-01/0?status=fail", ""),
        ("GET /v1/heartbeat/web-01/7?status=ok", ""),
        ("PUT /v1/heartbeat/web-01", r#"{"hostId": "web-02"}"#),
        ("GET /v1/heartbeat/web-01?status=failed", ""),
        (
            "PUT /v1/heartbeat/web-01",
            r#"{"status": "fail", "status": "ok"}"#,
        ),
        ("PUT /v1/heartbeat/web-01", &deep),
        (
            "POST /v1/heartbeat?hostId=web-02",
            r#"{"hostId": "web-01"}"#,
        ),
        ("POST /v1/heartbeat?hostId=web-01", ""),
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    GET /v1/heartbeat/web-01?hostId=web-02
        400 invalid_host_id: the request has two different hostIds; path, query and body must name the same host
    GET /v1/heartbeat/web-01/fail?status=ok
        400 invalid_status: the path and the status contradict each other; leave one of them out
    GET /v1/heartbeat/web-01/0?status=fail
        400 invalid_status: the path and the status contradict each other; leave one of them out
    GET /v1/heartbeat/web-01/7?status=ok
        400 invalid_status: the path and the status contradict each other; leave one of them out
    PUT /v1/heartbeat/web-01 {"hostId": "web-02"}
        400 invalid_host_id: the request has two different hostIds; path, query and body must name the same host
    GET /v1/heartbeat/web-01?status=failed
        400 invalid_status: status must be "ok", "fail", "start" or "log", not "failed"
    PUT /v1/heartbeat/web-01 {"status": "fail", "status": "ok"}
        400 duplicate_field: status appears twice; send it once
    PUT /v1/heartbeat/web-01 {"status": "fail", "x": [[[[[[[[[[[[[[[[
        400 invalid_body: the body is nested too deeply; send {"hostId": "web-01"}
    POST /v1/heartbeat?hostId=web-02 {"hostId": "web-01"}
        400 invalid_host_id: the request has two different hostIds; path, query and body must name the same host
    POST /v1/heartbeat?hostId=web-01
        400 invalid_body: the body is empty; send {"hostId": "web-01"}
    "#);
}

/// A shell that breaks quotes must not turn a `fail` into an `ok`.
#[tokio::test]
async fn a_body_that_starts_like_an_object_must_be_valid() {
    let answers = refused(&[
        ("POST /v1/heartbeat/web-01", " { not json"),
        (
            "PUT /v1/heartbeat/web-01",
            r#"{"status": "fail", "message": "a "quote""}"#,
        ),
    ])
    .await;
    insta::assert_snapshot!(answers, @r#"
    POST /v1/heartbeat/web-01  { not json
        400 invalid_body: the body is not JSON: key must be a string at line 1 column 4; send {"hostId": "web-01"}
    PUT /v1/heartbeat/web-01 {"status": "fail", "message": "a "quote"
        400 invalid_body: the body is not JSON: expected `,` or `}` at line 1 column 35; send {"hostId": "web-01"}
    "#);
}
