//! `kill -9` at random moments, under load.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{PULSE, Sandbox, Server, Webhook, client, eventually, pulse};

/// How often the server is killed.
const KILLS: u64 = 6;
/// Machines that send at the same time, each for its own hosts.
const MACHINES: usize = 8;

/// Sends beats until it is aborted, each for a new host, again and again until it is acknowledged.
async fn machine(
    number: usize,
    key: String,
    url: Arc<Mutex<String>>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
) {
    let client = client();
    for count in 0.. {
        let name = format!("m{number}-{count}");
        let body = format!(r#"{{"hostId": "{name}", "intervalMs": 1000}}"#);
        loop {
            let target = format!("{}/v1/heartbeat", url.lock().unwrap());
            let sent = client
                .post(target)
                .header("x-api-key", &key)
                .body(body.clone())
                .send()
                .await;
            if sent.is_ok_and(|answer| answer.status() == 200) {
                acknowledged.lock().unwrap().insert(name);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn random_kills_lose_no_acknowledged_beat_and_repeat_no_notice() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let mut server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &webhook.url(),
        "--kind",
        "missing",
    ]);
    let (url, acknowledged) = (
        Arc::new(Mutex::new(server.url.clone())),
        Arc::new(Mutex::new(BTreeSet::new())),
    );
    let machines: Vec<_> = (0..MACHINES)
        .map(|number| {
            tokio::spawn(machine(
                number,
                key.clone(),
                url.clone(),
                acknowledged.clone(),
            ))
        })
        .collect();
    let address = url.clone();
    let beats = pulse(key, move || Some(address.lock().unwrap().clone()));
    tokio::spawn(beats);
    for kill in 0..KILLS {
        // Spread over the period of the sweep, so that each kill hits another step.
        tokio::time::sleep(Duration::from_millis(700 + kill * 170)).await;
        server.kill();
        server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
        url.lock().unwrap().clone_from(&server.url);
    }
    for machine in machines {
        machine.abort();
        let _ = machine.await;
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(
        acknowledged.len() > 100,
        "there was load: {}",
        acknowledged.len()
    );

    let mut stored = sandbox.hosts();
    stored.remove(PULSE);
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");

    // A beat may be stored but not acknowledged, if a kill cut off the answer; its host is reported as well.
    let notified = || sandbox.notified("missing");
    eventually("every silent host", async || {
        (notified().into_iter().collect::<BTreeSet<_>>() == stored).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(
        notified().len(),
        stored.len(),
        "a notice was published twice"
    );
    eventually("every webhook", async || {
        let delivered: BTreeSet<_> = webhook.hosts("missing").into_iter().collect();
        (delivered == stored).then_some(())
    })
    .await;
    // Delivery is at least once: a kill between the answer of the receiver and its record in the database sends a copy,
    // with the same id.
    let received = webhook.received();
    let ids: BTreeSet<_> = received
        .iter()
        .map(|received| received.idempotency_key.clone())
        .collect();
    let copies = received.len() - ids.len();
    assert!(
        copies <= 40 * usize::try_from(KILLS).unwrap(),
        "{copies} copies"
    );
}
