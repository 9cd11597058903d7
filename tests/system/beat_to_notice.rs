//! The main use case: a machine stops beating and people are notified once; it beats again, and they are notified once.

use std::process::Command;
use std::time::Duration;

use crate::support::{Mailbox, Sandbox, Server, Webhook, eventually, have, keep_heard};

/// Long enough for two more sweeps to send a notice again, if they did.
const TWO_SWEEPS: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn missing_and_recovered_are_each_notified_once_on_every_channel() {
    let (sandbox, webhook, mailbox) = (
        Sandbox::new(),
        Webhook::start().await,
        Mailbox::start().await,
    );
    let mail = [
        "--smtp-url",
        &mailbox.url(),
        "--smtp-from",
        "Heartbeat <hb@example.com>",
    ];
    let server = Server::start(&sandbox, &[&["--sweep-every", "1s"], &mail[..]].concat()).await;
    let key = server.first_key();
    sandbox.json(&["subscription", "add", "http", &webhook.url()]);
    sandbox.json(&[
        "subscription",
        "add",
        "email",
        "on-call@example.com",
        "--kind",
        "missing,recovered",
    ]);
    let token = eventually("the confirmation request", async || mailbox.token()).await;
    assert_eq!(
        sandbox
            .run(&["subscription", "confirm", "--token", &token])
            .stdout,
        "confirmed\n"
    );

    assert_eq!(
        server
            .beat(&key, r#"{"hostId": "web-01", "intervalMs": 2000}"#)
            .await
            .unwrap(),
        200
    );
    let notified = |kind: &'static str| {
        let (webhook, mailbox) = (&webhook, &mailbox);
        eventually(kind, async move || {
            (!webhook.hosts(kind).is_empty() && !mailbox.subjects(kind).is_empty()).then_some(())
        })
    };
    notified("missing").await;
    tokio::time::sleep(TWO_SWEEPS).await;
    assert_eq!(
        server
            .beat(&key, r#"{"hostId": "web-01", "intervalMs": 60000}"#)
            .await
            .unwrap(),
        200
    );
    notified("recovered").await;
    tokio::time::sleep(TWO_SWEEPS).await;

    for kind in ["missing", "recovered"] {
        assert_eq!(webhook.hosts(kind), ["web-01"], "{kind}");
        assert_eq!(mailbox.subjects(kind).len(), 1, "{kind}");
        let lines = server.stdout();
        let notices: Vec<_> = lines
            .iter()
            .filter(|line| line.contains(&format!("{} web-01: ", kind.to_uppercase())))
            .collect();
        assert_eq!(notices.len(), 1, "{notices:?}");
    }
    let received = webhook.received();
    let missing = received
        .iter()
        .find(|received| received.notice["kind"] == "missing")
        .unwrap();
    let id = missing.notice["id"].as_str().unwrap();
    assert_eq!(missing.idempotency_key, id);
    let mails = mailbox.mails();
    let mail = mails.iter().find(|mail| mail.contains(id)).unwrap();
    let folder = sandbox.path().join("data");
    for part in [
        "Subject: [hb] MISSING web-01 since ",
        "From: Heartbeat <hb@example.com>",
        &format!("hb --data-dir {} host show web-01", folder.display()),
    ] {
        assert!(mail.contains(part), "{part} is not in\n{mail}");
    }
    let reply = format!("In-Reply-To: <{id}.1.");
    let replies = mails.iter().filter(|mail| mail.contains(&reply));
    assert_eq!(replies.count(), 1, "the recovery is one");
    let (code, log) = server.stop().await;
    assert_eq!(code, 0, "{log:?}");
}

/// A mistyped address must not send mail to a stranger for ever.
#[tokio::test]
async fn an_unconfirmed_address_gets_one_mail() {
    let (sandbox, mailbox) = (Sandbox::new(), Mailbox::start().await);
    let mail = [
        "--smtp-url",
        &mailbox.url(),
        "--smtp-from",
        "Heartbeat <hb@example.com>",
    ];
    let server = Server::start(&sandbox, &[&["--sweep-every", "1s"], &mail[..]].concat()).await;
    sandbox.json(&["subscription", "add", "email", "stranger@example.com"]);
    let token = eventually("the confirmation request", async || mailbox.token()).await;
    assert_eq!(
        sandbox.json(&["subscription", "list"])[0]["regions"]["local"],
        "pending"
    );
    assert_eq!(sandbox.run(&["subscription", "test"]).code, 0);
    assert_eq!(
        server
            .beat(&server.first_key(), r#"{"hostId": "web-01"}"#)
            .await
            .unwrap(),
        200
    );
    eventually("a notice on the console", async || {
        server
            .stdout()
            .iter()
            .any(|line| line.contains("REGISTERED web-01: "))
            .then_some(())
    })
    .await;
    tokio::time::sleep(TWO_SWEEPS).await;
    let mails = mailbox.mails();
    assert!(
        mails.len() == 1 && mails[0].contains("Subject: Confirm your Heartbeat subscription"),
        "{mails:?}"
    );

    let wrong = sandbox.run(&[
        "subscription",
        "confirm",
        "--token",
        &token.replace(&token[..8], "aaaaaaaa"),
    ]);
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert_eq!(
        sandbox
            .run(&["subscription", "confirm", "--token", &token])
            .code,
        0
    );
    assert_eq!(
        sandbox.json(&["subscription", "list"])[0]["regions"]["local"],
        "confirmed"
    );
    assert_eq!(
        sandbox
            .run(&["subscription", "test", "--kind", "recovered"])
            .code,
        0
    );
    let test = eventually("the test", async || {
        mailbox
            .mails()
            .into_iter()
            .find(|mail| mail.contains("Subject: [hb] TEST, nothing has happened: recovered"))
    })
    .await;
    assert!(test.contains("To: stranger@example.com"), "{test}");
}

#[tokio::test]
async fn two_hundred_hosts_at_once_are_each_notified_once() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    keep_heard(&key, &server.url);
    sandbox.json(&["subscription", "add", "http", &webhook.url()]);
    let mut names: Vec<_> = (0..200).map(|i| format!("host-{i}")).collect();
    names.sort();
    let beat_all = async |interval: u64| {
        let beats = names
            .iter()
            .map(|name| format!(r#"{{"hostId": "{name}", "intervalMs": {interval}}}"#));
        let bodies: Vec<_> = beats.collect();
        let sent =
            futures::future::join_all(bodies.iter().map(|body| server.beat(&key, body))).await;
        assert!(sent.into_iter().all(|status| status.unwrap() == 200));
    };
    beat_all(2_000).await;
    eventually("200 missing", async || {
        (webhook.hosts("missing").len() >= 200).then_some(())
    })
    .await;
    beat_all(600_000).await;
    eventually("200 recovered", async || {
        (webhook.hosts("recovered").len() >= 200).then_some(())
    })
    .await;
    tokio::time::sleep(TWO_SWEEPS).await;
    assert_eq!(webhook.hosts("missing"), names);
    assert_eq!(webhook.hosts("recovered"), names);
}

#[tokio::test]
async fn a_webhook_that_was_down_gets_each_notice_in_order() {
    let (sandbox, mut webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    keep_heard(&key, &server.url);
    let id = sandbox.json(&[
        "subscription",
        "add",
        "http",
        &webhook.url(),
        "--kind",
        "missing,recovered",
    ])["id"]
        .clone();
    webhook.go_down().await;
    let names = ["a", "b", "c"];
    let tally = || sandbox.json(&["subscription", "list"])[0]["deliveries"].clone();
    for interval in [1_000, 600_000] {
        for name in names {
            let body = format!(r#"{{"hostId": "{name}", "intervalMs": {interval}}}"#);
            assert_eq!(server.beat(&key, &body).await.unwrap(), 200);
        }
        let kind = if interval == 1_000 {
            "missing"
        } else {
            "recovered"
        };
        eventually("all notified", async || {
            (sandbox.notified(kind).len() == names.len()).then_some(())
        })
        .await;
    }
    eventually("a failed try", async || {
        tally()["last_error"].as_str().map(ToOwned::to_owned)
    })
    .await;
    webhook.answer_with(503);
    webhook.come_back().await;
    webhook.answer_with(200);
    eventually("all delivered", async || {
        (tally()["due"] == 0).then_some(())
    })
    .await;
    assert_eq!(
        (webhook.hosts("missing"), webhook.hosts("recovered")),
        (names.map(Into::into).into(), names.map(Into::into).into())
    );
    for name in names {
        let notices: Vec<_> = webhook
            .received()
            .into_iter()
            .filter(|r| {
                let hosts = r.notice["hosts"].as_array().unwrap();
                hosts.iter().any(|host| host["hostId"] == name)
            })
            .collect();
        assert_eq!(
            notices[0].notice["kind"], "missing",
            "{name}: recovered came first"
        );
    }
    assert!(
        sandbox
            .run(&["subscription", "remove", id.as_str().unwrap()])
            .code
            == 0
    );
}

#[tokio::test]
async fn the_notice_of_a_failing_job_has_its_message() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &webhook.url(),
        "--kind",
        "failing,recovered",
    ]);
    let get = async |path: &str| {
        let request = server
            .client
            .get(format!("{}/v1/heartbeat/{path}", server.url))
            .header("x-api-key", &key);
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    get("nightly/backup/2?message=disk+full").await;
    eventually("failing", async || {
        (webhook.hosts("failing") == ["nightly/backup"]).then_some(())
    })
    .await;
    get("nightly/backup/0").await;
    eventually("recovered", async || {
        (webhook.hosts("recovered") == ["nightly/backup"]).then_some(())
    })
    .await;
    assert_eq!(
        webhook.received()[0].notice["hosts"][0]["message"],
        "exit 2: disk full"
    );
}

#[tokio::test]
async fn the_curl_line_of_hb_api_works_unchanged() {
    const LINE: &str = r#"curl -i -H "x-api-key: ${HB_API_KEY}" -d '{"hostId": "'${HOSTNAME}'"}' -X POST "$URL"/v1/hearbeat"#;
    if !have(&["curl", "sh"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let out = std::env::var("PATH").unwrap();
    let answer = Command::new("sh")
        .args(["-c", LINE])
        .env_clear()
        .envs([
            ("PATH", out.as_str()),
            ("HOSTNAME", "web-01.example"),
            ("HB_API_KEY", &server.first_key()),
        ])
        .env("URL", &server.url)
        .output()
        .unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n")
            && answer.ends_with("\r\n\r\n{\"message\":\"OK\"}"),
        "{answer}"
    );
    assert_eq!(
        sandbox.json(&["host", "show", "web-01.example"])["state"],
        "up"
    );
}

#[tokio::test]
async fn no_notice_is_sent_about_a_paused_or_forgotten_host() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &webhook.url(),
        "--kind",
        "missing",
    ]);
    for name in ["paused", "forgotten", "silent"] {
        let body = format!(r#"{{"hostId": "{name}", "intervalMs": 3000}}"#);
        assert_eq!(server.beat(&key, &body).await.unwrap(), 200);
    }
    assert_eq!(
        sandbox.json(&["host", "pause", "paused"])["state"],
        "paused"
    );
    assert_eq!(sandbox.run(&["host", "forget", "forgotten"]).code, 0);
    eventually("missing", async || {
        (!webhook.hosts("missing").is_empty()).then_some(())
    })
    .await;
    tokio::time::sleep(TWO_SWEEPS).await;
    assert_eq!(webhook.hosts("missing"), ["silent"]);
    assert_eq!(sandbox.run(&["host", "show", "forgotten"]).code, 1);
}
