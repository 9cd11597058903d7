//! What things cost, in calls; and throttling, which slows down and loses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Interval, Region, Signal, Timestamp};
use hb_service::memory::{CountingIds, ManualClock, Memory};
use hb_service::ports::{Clock, Heard};
use hb_service::{Sweep, SweepSettings};

use crate::dynoxide::{Aws, fresh_on};

fn beat(name: &str, at: Timestamp) -> Heard {
    let interval = Interval::try_from(Duration::from_secs(60)).unwrap();
    let heartbeat = Heartbeat::new(Beat { at, interval, signal: Signal::Ok, message: None });
    Heard { key: HostKey::new(Fleet::main(), name.parse().unwrap()), region: Region::local(), heartbeat }
}

fn calls<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(operation, count)| (operation.to_owned(), count)).collect()
}

/// A sweep over `aws`, whose notices go to memory.
async fn sweep(
    aws: &Aws,
    segments: u32,
) -> (Sweep, Arc<ManualClock>, Arc<Memory>, hb_service::contract::World) {
    let world = fresh_on(aws, 0).await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000).unwrap()));
    let topic = Arc::new(Memory::default());
    let sweep = Sweep {
        heartbeats: world.heartbeats.clone(),
        ledger: world.ledger.clone(),
        topic: topic.clone(),
        system: world.system.clone(),
        clock: clock.clone(),
        ids: Arc::new(CountingIds::default()),
        settings: SweepSettings { segments, ..SweepSettings::local() },
    };
    (sweep, clock, topic, world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_is_one_update_and_nothing_else() {
    let aws = Aws::new();
    let (_, clock, _, world) = sweep(&aws, 1).await;
    aws.take_calls();
    for seconds in 0..3 {
        clock.advance(Duration::from_secs(seconds));
        world.heartbeats.record(&beat("web-01", clock.now())).await.unwrap();
        assert_eq!(aws.take_calls(), calls([("UpdateItem", 1)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_sweep_scans_once_and_asks_for_the_open_entries() {
    let aws = Aws::new();
    let (sweep, clock, _, world) = sweep(&aws, 4).await;
    for i in 0..100 {
        world.heartbeats.record(&beat(&format!("host-{i}"), clock.now())).await.unwrap();
    }
    sweep.run().await.unwrap();
    // What was first heard shortly before the last sweep still counts as news.
    clock.advance(Duration::from_secs(300));
    for i in 0..100 {
        world.heartbeats.record(&beat(&format!("host-{i}"), clock.now())).await.unwrap();
    }
    sweep.run().await.unwrap();
    clock.advance(Duration::from_secs(1));
    aws.take_calls();
    let report = sweep.run().await.unwrap();
    assert_eq!((report.hosts, report.missing), (100, 0));
    let mut quiet = aws.take_calls();
    // What the service remembers of itself: one read before, one conditional write after.
    let system = quiet.remove("GetItem").unwrap_or_default()
        + quiet.remove("UpdateItem").unwrap_or_default()
        + quiet.remove("PutItem").unwrap_or_default();
    assert_eq!((system, quiet), (2, calls([("Query", 16), ("Scan", 4)])), "16 shards, 4 segments");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_slows_a_sweep_down_and_loses_no_host() {
    let aws = Aws::new();
    let (sweep, clock, topic, world) = sweep(&aws, 2).await;
    for i in 0..60 {
        world.heartbeats.record(&beat(&format!("host-{i}"), clock.now())).await.unwrap();
    }
    clock.advance(Duration::from_secs(61));
    aws.throttle_every(3);
    let report = sweep.run().await.unwrap();
    assert_eq!((report.hosts, report.missing, topic.accepted().len()), (60, 60, 60));
    aws.throttle_every(1);
    let error = world.heartbeats.record(&beat("late", clock.now())).await.unwrap_err().to_string();
    assert!(error.contains("heartbeats") && error.contains("throttl"), "{error}");
}
