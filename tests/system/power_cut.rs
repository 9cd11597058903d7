//! Ten thousand hosts go missing at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Sandbox, Server, Webhook, beat_all, eventually, patient, say, stopwatch};

const HOSTS: usize = 10_000;
/// The limit of SNS, which other receivers accept as well.
const MESSAGE: usize = 256 * 1024;

/// Sends beats until `over`. Returns the time of each until it was acknowledged.
async fn beats(url: &str, key: &str, over: &AtomicBool) -> Vec<Duration> {
    let (client, times) = (patient(), Mutex::new(Vec::new()));
    let machine = async |number: usize| {
        let body = format!(r#"{{"hostId": "lit-{number}", "intervalMs": 3600000}}"#);
        while !over.load(Ordering::Relaxed) {
            let sent = stopwatch();
            let request = client
                .post(format!("{url}/v1/heartbeat"))
                .header("x-api-key", key);
            let answer = request.body(body.clone()).send().await.unwrap();
            assert_eq!(
                answer.status(),
                200,
                "a beat was refused while a sweep was busy"
            );
            times.lock().unwrap().push(sent.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    futures::future::join_all((0..4).map(machine)).await;
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hosts_missing_at_once_are_at_most_ten_messages() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    // It sweeps at its start and not again: by the next start all hosts are missing.
    let server = Server::start(&sandbox, &["--sweep-every", "1h"]).await;
    let key = server.first_key();
    sandbox.json(&["key", "limit", "first", "--max-hosts", "20000"]);
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &webhook.url(),
        "--kind",
        "missing",
    ]);
    let mut hosts: Vec<_> = (0..HOSTS)
        .map(|i| format!("host-{i:05}.rack-17.example.com"))
        .collect();
    hosts.sort();
    let seeding = stopwatch();
    beat_all(
        &key,
        || Some(server.url.clone()),
        hosts.iter().map(|host| (host.as_str(), 1_000)),
    )
    .await;
    let seeding = seeding.elapsed();
    let (code, log) = server.stop().await;
    assert_eq!(code, 0, "{log:?}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let over = AtomicBool::new(false);
    let delivered = async {
        let all = async || (webhook.hosts("missing").len() >= HOSTS).then_some(());
        eventually("every missing host", all).await;
        // Long enough for two more sweeps to send a notice again, if they did.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        over.store(true, Ordering::Relaxed);
    };
    let (times, ()) = tokio::join!(beats(&server.url, &key, &over), delivered);

    let received = webhook.received();
    let sizes: Vec<_> = received
        .iter()
        .map(|received| received.body.len())
        .collect();
    assert!(received.len() <= 10, "{} messages", received.len());
    assert!(sizes.iter().all(|size| *size <= MESSAGE), "{sizes:?}");
    assert!(
        received
            .iter()
            .all(|received| received.notice["count"] == received.hosts().count())
    );
    assert_eq!(webhook.hosts("missing"), hosts);
    let (code, log) = server.stop().await;
    assert_eq!(code, 0, "{log:?}");
    let sweeps: Vec<_> = log
        .iter()
        .filter(|line| line.contains(" missing=") && !line.contains(" missing=0 "))
        .collect();
    let missing = |line: &&String| {
        let number = line.split_once(" missing=").unwrap().1;
        number.split_once(' ').unwrap().0.parse::<usize>().unwrap()
    };
    // One sweep, unless the machine was so busy that some hosts had an interval left.
    let found: usize = sweeps.iter().map(missing).sum();
    assert_eq!(found, HOSTS, "{sweeps:?}");
    say(&format!(
        "{HOSTS} hosts: sent within {seeding:.1?}; {} messages of {sizes:?} bytes; {}; {} beats meanwhile, p50 {:.1?}, p99 {:.1?}, at most {:.1?}",
        received.len(),
        sweeps[0].split_once("swept ").unwrap().1,
        times.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1],
    ));
}
