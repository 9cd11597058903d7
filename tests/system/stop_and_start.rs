//! Stops and starts of servers, of several at once as well.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use futures::stream::{self, StreamExt};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Sandbox, Server, Webhook, client, eventually};

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_exits() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let (key, address) = (
        server.first_key(),
        server.url.strip_prefix("http://").unwrap().to_owned(),
    );
    let body = r#"{"hostId": "web-01"}"#;
    let head = format!(
        "POST /v1/heartbeat HTTP/1.1\r\nhost: hb\r\nx-api-key: {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body.as_bytes()[..5]).await.unwrap();
    // An idle connection does not delay the exit.
    let _idle = TcpStream::connect(&address).await.unwrap();
    eventually("the slow request to be seen", async || {
        (server.status().await.status() == 200).then_some(())
    })
    .await;
    assert!(
        Command::new("kill")
            .arg(server.pid().to_string())
            .status()
            .unwrap()
            .success()
    );
    eventually("the end of listening", async || {
        TcpStream::connect(&address).await.is_err().then_some(())
    })
    .await;
    slow.write_all(&body.as_bytes()[5..]).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(server.ended().await, 0);
    assert_eq!(sandbox.json(&["host", "show", "web-01"])["state"], "up");
}

#[tokio::test]
async fn servers_started_together_on_an_empty_folder_create_one_key() {
    let sandbox = Sandbox::new();
    let start = || Server::start(&sandbox, &["--sweep-every", "1s"]);
    let (a, b, c) = tokio::join!(start(), start(), start());
    assert_eq!(sandbox.keys().len(), 1);
    let printed = || [&a, &b, &c].map(|server| server.first_key_file().is_some());
    let printed = eventually("a key", async || {
        Some(printed()).filter(|printed| printed.contains(&true))
    })
    .await;
    assert_eq!(printed.iter().filter(|printed| **printed).count(), 1);
    // Each of them accepts a beat, and together they send one notice.
    let first = [&a, &b, &c]
        .into_iter()
        .zip(printed)
        .find(|(_, printed)| *printed)
        .unwrap()
        .0;
    assert_eq!(
        b.beat(&first.first_key(), r#"{"hostId": "web-01"}"#)
            .await
            .unwrap(),
        200
    );
    let notices = || {
        let lines = [&a, &b, &c].map(Server::stdout).concat();
        lines
            .iter()
            .filter(|line| line.contains("REGISTERED web-01: "))
            .count()
    };
    eventually("the notice", async || (notices() > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(notices(), 1);
}

/// Sends beats of `hosts`, a third of them each second: twice within their interval, without retries.
async fn machines(key: &str, url: &Mutex<String>, hosts: &[String]) {
    let client = client();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for turn in 0.. {
        ticks.tick().await;
        let target = format!("{}/v1/heartbeat", url.lock().unwrap());
        let beats = hosts.iter().skip(turn % 3).step_by(3).map(async |host| {
            let body = format!(r#"{{"hostId": "{host}", "intervalMs": 6000}}"#);
            let _ = client
                .post(&target)
                .header("x-api-key", key)
                .body(body)
                .send()
                .await;
        });
        stream::iter(beats)
            .buffer_unordered(32)
            .collect::<Vec<()>>()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_long_stop_only_silent_hosts_are_reported_missing() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let (key, url) = (server.first_key(), Mutex::new(server.url.clone()));
    sandbox.json(&["subscription", "add", "http", &webhook.url()]);
    let mut hosts: Vec<_> = (0..500).map(|i| format!("host-{i}")).collect();
    let test = async {
        let silent = async |interval: u64| {
            let body = format!(r#"{{"hostId": "silent", "intervalMs": {interval}}}"#);
            assert_eq!(server.beat(&key, &body).await.unwrap(), 200);
        };
        silent(600_000).await;
        let registered = async || (webhook.hosts("registered").len() > hosts.len()).then_some(());
        eventually("all hosts", registered).await;
        silent(6_000).await;
        let (code, log) = server.stop().await;
        assert_eq!(code, 0, "{log:?}");
        // More than twice their interval.
        tokio::time::sleep(Duration::from_secs(13)).await;
        let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
        url.lock().unwrap().clone_from(&server.url);
        let missing = || (!webhook.hosts("missing").is_empty()).then_some(());
        eventually("the silent host", async || missing()).await;
        // Long enough for two more sweeps to send a notice again, if they did.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        server
    };
    let server = tokio::select! {
        server = test => server,
        () = machines(&key, &url, &hosts) => unreachable!("machines never end"),
    };
    assert_eq!(webhook.hosts("missing"), ["silent"]);
    assert_eq!(webhook.hosts("recovered"), Vec::<String>::new());
    let log = server.stderr();
    assert!(
        log.iter()
            .any(|line| line.contains("no beats could be received for 1")),
        "{log:?}"
    );
    hosts.push("silent".to_owned());
    hosts.sort();
    assert_eq!(webhook.hosts("registered"), hosts);
}

#[tokio::test]
async fn a_short_stop_does_not_report_frequent_hosts_missing() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let mut server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    sandbox.json(&["subscription", "add", "http", &webhook.url()]);
    let body = r#"{"hostId": "often", "intervalMs": 3000}"#;
    assert_eq!(server.beat(&key, body).await.unwrap(), 200);
    eventually("its registration", async || {
        (!webhook.hosts("registered").is_empty()).then_some(())
    })
    .await;
    assert_eq!(server.beat(&key, body).await.unwrap(), 200);
    server.kill();
    // Longer than its interval, and shorter than the age at which a running server considers a canary late.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    eventually("the blackout", async || {
        let log = server.stderr();
        log.iter()
            .any(|line| line.contains("no beats could be received for"))
            .then_some(())
    })
    .await;
    for _ in 0..3 {
        assert_eq!(server.beat(&key, body).await.unwrap(), 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(webhook.hosts("missing"), Vec::<String>::new());
}
