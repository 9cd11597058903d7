//! What one key can do.

use std::time::Duration;

use hb_domain::{Beat, Denied, HostId, Interval, Key, KeyId, KeyLimits, Region, Secret, Token};
use hb_service::ports::{Heartbeats, Keys};
use hb_service::testing::contract::key_of;
use hb_service::{RecordError, Recorder};

use super::Bench;

fn key(limits: KeyLimits) -> Key {
    let token = Token::new(KeyId::from_random([7; 7]), Secret::from_random([1; 32]));
    Key {
        name: "web fleet".parse().unwrap(),
        limits,
        ..key_of(&token)
    }
}

fn twenty() -> KeyLimits {
    KeyLimits {
        hosts: Some(20),
        interval: None,
    }
}

async fn beat(bench: &Bench, key: &Key, host: &str) -> Result<(), RecordError> {
    let recorder = Recorder::new(bench.memory.clone(), Region::local());
    recorder
        .record(
            key,
            host.parse().unwrap(),
            Beat::ok(bench.ports().clock.now()),
        )
        .await
}

/// The texts of notices about keys, since the last call.
fn texts(bench: &Bench, seen: &mut usize) -> Vec<String> {
    let accepted = bench.memory.published();
    let news = accepted[*seen..].iter().map(hb_domain::Notice::text);
    let texts = news.filter(|text| text.contains("hb:key")).collect();
    *seen = accepted.len();
    texts
}

#[tokio::test]
async fn people_are_told_once_that_a_key_is_nearly_full_and_once_that_it_no_longer_is() {
    let bench = Bench::new();
    let (key, mut seen) = (key(twenty()), 0);
    assert!(bench.memory.create(&key).await.unwrap());
    let sweep = bench.sweep();
    for n in 0..15 {
        beat(&bench, &key, &format!("host-{n:02}")).await.unwrap();
    }
    sweep.run().await.unwrap();
    assert_eq!(texts(&bench, &mut seen), [""; 0]);
    beat(&bench, &key, "host-15").await.unwrap();
    sweep.run().await.unwrap();
    insta::assert_snapshot!(texts(&bench, &mut seen).join("\n"), @"FAILED hb:key-a4dqobyha4: key web fleet has 16 of at most 20 hosts, and new ones beyond are refused. If they are yours: hb key limit a4dqobyha4 --max-hosts N (22:13 UTC)");
    beat(&bench, &key, "host-16").await.unwrap();
    for sweep in [&sweep, &bench.sweep()] {
        sweep.run().await.unwrap();
        assert_eq!(texts(&bench, &mut seen), [""; 0], "they know");
    }
    bench.pass(1);
    for host in ["host-00", "host-01"] {
        let host = super::host(host);
        bench
            .memory
            .forget(&host, bench.ports().clock.now())
            .await
            .unwrap();
    }
    sweep.run().await.unwrap();
    insta::assert_snapshot!(texts(&bench, &mut seen).join("\n"), @"RECOVERED hb:key-a4dqobyha4: after 1 s failing, at 22:13 UTC");
    beat(&bench, &key, "host-00").await.unwrap();
    sweep.run().await.unwrap();
    assert_eq!(texts(&bench, &mut seen).len(), 1, "again");
    bench
        .memory
        .revoke(&key.id, bench.ports().clock.now())
        .await
        .unwrap();
    bench.sweep().run().await.unwrap();
    assert_eq!(
        texts(&bench, &mut seen).len(),
        1,
        "a revoked key gets no hosts"
    );
}

#[tokio::test]
async fn a_key_is_refused_hosts_beyond_its_number_and_intervals_beyond_its_longest() {
    let bench = Bench::new();
    let minute = Interval::try_from(Duration::from_mins(1)).unwrap();
    let key = key(KeyLimits {
        hosts: Some(10),
        interval: Some(minute),
    });
    assert!(bench.memory.create(&key).await.unwrap());
    let recorder = Recorder::new(bench.memory.clone(), Region::local());
    let now = bench.ports().clock.now();
    let record = async |host: &str, interval| {
        let beat = Beat {
            interval,
            ..Beat::ok(now)
        };
        match recorder.record(&key, host.parse().unwrap(), beat).await {
            Err(RecordError::Denied(denied)) => Some(denied),
            other => {
                other.unwrap();
                None
            }
        }
    };
    let longer = Interval::from_millis(60_001).unwrap();
    assert_eq!(
        record("web", longer).await,
        Some(Denied::Interval(minute, longer))
    );
    for n in 0..10 {
        assert_eq!(record(&format!("host-{n}"), minute).await, None);
    }
    let new: HostId = "web".parse().unwrap();
    assert_eq!(record("web", minute).await, Some(Denied::Full(10, new)));
}
