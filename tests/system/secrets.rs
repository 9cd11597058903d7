//! No secret reaches a log.

use crate::support::{Sandbox, Server, Webhook, eventually};

#[tokio::test]
async fn no_secret_is_logged_or_stored() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let mut command = sandbox.hb(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--sweep-every",
        "1s",
        "--smtp-from",
        "hb@example.com",
    ]);
    // Port 9 is closed: the failure of the mail is logged, without the password.
    command
        .env("HB_LOG", "trace")
        .env("HB_SMTP_URL", "smtp://user:hunter2hunter2@127.0.0.1:9");
    let server = Server::start_by(command).await;
    let (first, wrong) = (server.first_key(), sandbox.key(&["--scope", "read"]));
    let secret_path = "T0SECRETPATH";
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &format!("{}/{secret_path}", webhook.url()),
    ]);
    sandbox.json(&["subscription", "add", "email", "on-call@example.com"]);
    webhook.answer_with(500);
    for key in [&first, &wrong, &format!("{first}x")] {
        let _ = server
            .beat(key, r#"{"hostId": "web-01", "intervalMs": 1000}"#)
            .await
            .unwrap();
    }
    let subscriptions = eventually("failed deliveries", async || {
        let list = sandbox.json(&["subscription", "list"]);
        list.as_array()
            .unwrap()
            .iter()
            .all(|s| s["deliveries"]["last_error"].is_string())
            .then_some(list)
    })
    .await;
    let errors: Vec<_> = subscriptions
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["deliveries"]["last_error"].to_string())
        .collect();
    let database = std::fs::read(sandbox.path().join("data/heartbeat.db")).unwrap();
    let wal = std::fs::read(sandbox.path().join("data/heartbeat.db-wal")).unwrap_or_default();
    let stored = String::from_utf8_lossy(&[database, wal].concat()).into_owned();
    let (_, log) = server.stop().await;
    for (what, text) in [("log", log.join("\n")), ("last errors", errors.join("\n"))] {
        for secret in [&first[16..], &wrong[16..], "hunter2hunter2", secret_path] {
            assert!(!text.contains(secret), "{secret} is in the {what}:\n{text}");
        }
    }
    for secret in [&first[16..], &wrong[16..]] {
        assert!(!stored.contains(secret), "the secret of a key is stored");
    }
    assert_commands_print_no_secret(&sandbox, &first);
}

/// Neither an export nor an error about a mistyped or misplaced token prints a secret.
fn assert_commands_print_no_secret(sandbox: &Sandbox, key: &str) {
    let (typo, token) = (format!("{key}x"), "t0psecret".repeat(200));
    let cases: [&[&str]; 9] = [
        &["key", "list"],
        &["key", "export"],
        &["key", "export", "--output", "json"],
        &["key", "inspect", key],
        &["key", "inspect", &typo],
        &["key", "revoke", &typo],
        &["key", "rotate", &typo],
        &["key", "revoke", key],
        &["subscription", "confirm", "--token", &token[..1_000]],
    ];
    for args in cases {
        let done = sandbox.run(args);
        let output = format!("{}{}", done.stdout, done.stderr);
        for secret in [&key[16..], "t0psecret"] {
            assert!(!output.contains(secret), "{args:?}: {output}");
        }
    }
    let help = sandbox.run(&["key", "create", "--help"]).stdout;
    assert!(!help.contains(&key[16..]), "{help}");
}
