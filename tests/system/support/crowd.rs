//! Many machines that send beats.

use std::time::Duration;

use futures::stream::{self, StreamExt};

/// How many beats are under way at the same time.
const AT_ONCE: usize = 64;

/// A client that keeps its connections.
pub(crate) fn patient() -> reqwest::Client {
    // All tests share the process; the first one installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Sends a beat of each host with its interval in milliseconds, each until it is acknowledged. `server` returns
/// the address to use: after a failure perhaps another one, or none for now.
pub(crate) async fn beat_all<'a>(
    key: &str,
    server: impl Fn() -> Option<String>,
    hosts: impl IntoIterator<Item = (&'a str, u64)>,
) {
    let client = patient();
    let beats = hosts.into_iter().map(async |(host, interval)| {
        let body = format!(r#"{{"hostId": "{host}", "intervalMs": {interval}}}"#);
        loop {
            if let Some(url) = server() {
                let request = client
                    .post(format!("{url}/v1/heartbeat"))
                    .header("x-api-key", key);
                if request
                    .body(body.clone())
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status() == 200)
                {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    stream::iter(beats)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

/// The host of [`pulse`].
pub(crate) const PULSE: &str = "pulse";

/// Sends a [`pulse`] to one server from now on.
pub(crate) fn keep_heard(key: &str, url: &str) {
    let (key, url) = (key.to_owned(), url.to_owned());
    tokio::spawn(pulse(key, move || Some(url.clone())));
}

/// Sends beats of one host for ever, with an interval that does not end during a test. Without any beat a server would
/// hold what seems silent, because it may have lost its network.
pub(crate) async fn pulse(key: String, server: impl Fn() -> Option<String>) {
    let client = patient();
    loop {
        if let Some(url) = server() {
            let request = client
                .post(format!("{url}/v1/heartbeat"))
                .header("x-api-key", &key);
            let body = format!(r#"{{"hostId": "{PULSE}", "intervalMs": 3600000}}"#);
            // It is sent again in any case.
            let _ = request.body(body).send().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
