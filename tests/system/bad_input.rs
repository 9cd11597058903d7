//! Invalid input over a real socket: each gets its status, and nothing is stored.

use crate::support::{Sandbox, Server};

#[tokio::test]
async fn invalid_input_is_rejected_and_not_stored() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let key = server.first_key();
    let host = |id: &str| format!(r#"{{"hostId": "{id}"}}"#);
    let interval = |value: &str| format!(r#"{{"hostId": "web-01", "intervalMs": {value}}}"#);
    let deep = format!(
        r#"{{"hostId": "web-01", "x": {}{}}}"#,
        "[".repeat(1_900),
        "]".repeat(1_900)
    );
    let bodies = [
        (400, String::new()),
        (400, "not JSON".to_owned()),
        (400, r#"[{"hostId": "web-01"}]"#.to_owned()),
        (400, r#"{"host": "web-01"}"#.to_owned()),
        (400, r#"{"hostId": 7}"#.to_owned()),
        (400, host("")),
        (400, host(&"x".repeat(201))),
        (400, host("web\\n01")),
        (400, host("web🔥")),
        (400, interval("999")),
        (400, interval("34560000001")),
        (400, interval("-1")),
        (400, interval("1.5")),
        (400, interval(r#""5m""#)),
        (400, interval("1e30")),
        (
            413,
            format!(
                "{}{}",
                host("web-01"),
                " ".repeat(256 * 1024 + 1 - host("web-01").len())
            ),
        ),
        (400, deep),
        (400, "[".repeat(4_096)),
    ];
    for (status, body) in bodies {
        assert_eq!(
            server.beat(&key, &body).await.unwrap(),
            status,
            "{body:.80}"
        );
    }
    assert_eq!(sandbox.json(&["host", "list"]), serde_json::json!([]));
    let full = format!(
        "{}{}",
        host("web-01"),
        " ".repeat(256 * 1024 - host("web-01").len())
    );
    assert_eq!(
        server.beat(&key, &full).await.unwrap(),
        200,
        "256 KiB are allowed"
    );
}

#[tokio::test]
async fn invalid_keys_are_rejected_and_nothing_is_stored() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let good = server.first_key();
    let revoked = sandbox.key(&[]);
    assert_eq!(sandbox.run(&["key", "revoke", &revoked]).code, 0);
    let typo = format!(
        "{}{}",
        &good[..good.len() - 1],
        if good.ends_with('a') { 'b' } else { 'a' }
    );
    let prefixed = sandbox.key(&["--host-prefix", "db"]);
    let keys = [
        (401, String::new()),
        (401, "nonsense".to_owned()),
        (401, typo),
        (401, revoked),
        (403, sandbox.key(&["--scope", "read"])),
        (403, prefixed.clone()),
    ];
    for (status, key) in keys {
        assert_eq!(
            server.beat(&key, r#"{"hostId": "web-01"}"#).await.unwrap(),
            status,
            "{key:.16}"
        );
    }
    assert_eq!(sandbox.json(&["host", "list"]), serde_json::json!([]));
    assert_eq!(
        server
            .beat(&prefixed, r#"{"hostId": "db-1"}"#)
            .await
            .unwrap(),
        200
    );
}

#[tokio::test]
async fn unknown_paths_get_404_and_wrong_methods_405() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    for (status, method, path) in [
        (404, reqwest::Method::GET, "/"),
        (404, reqwest::Method::POST, "/v2/heartbeat"),
        (405, reqwest::Method::GET, "/v1/heartbeat"),
        (405, reqwest::Method::DELETE, "/v1/heartbeat/web-01"),
        (405, reqwest::Method::POST, "/v1/status"),
    ] {
        let answer = server
            .client
            .request(method.clone(), format!("{}{path}", server.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
