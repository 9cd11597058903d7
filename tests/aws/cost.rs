//! What a sweep costs, as DynamoDB charges it.

use hb_aws::{DynamoHeartbeats, DynamoKeys, Operation, Usage};
use hb_domain::{KeyId, Kind};
use hb_service::ports::Keys;

use crate::dynoxide::Account;
use crate::fleet::{at, beat, sweep};

/// How often `operation` was called between two looks.
fn calls(before: &Usage, after: &Usage, operation: Operation) -> u64 {
    let count = |usage: &Usage| usage.calls.get(&operation).copied().unwrap_or(0);
    count(after) - count(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_reads_each_host_once_and_the_open_entries() {
    const HOSTS: usize = 3_000;
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    let heartbeats = DynamoHeartbeats::new(&clients, &stage);
    let (sweep, clock) = sweep(&clients, &stage);
    // After the second sweep no host is news any more (`limits::NEWS_MARGIN`).
    for (seconds, registered) in [(1, HOSTS), (300, 0)] {
        beat(&heartbeats, HOSTS, seconds).await;
        clock.set(at(seconds + 1));
        let report = sweep.run().await.unwrap();
        assert_eq!(
            (report.hosts, report.decided[Kind::Registered]),
            (HOSTS as u64, registered as u64),
            "{report:?}"
        );
    }

    let before = clients.meter().usage();
    let quiet = sweep.run().await.unwrap();
    let after = clients.meter().usage();
    assert_eq!((quiet.hosts, quiet.decided.total()), (HOSTS as u64, 0));
    let scans = calls(&before, &after, Operation::Scan);
    assert!(
        (4..=8).contains(&scans),
        "four segments, a page or two each: {scans}"
    );
    assert_eq!(
        calls(&before, &after, Operation::Query),
        19,
        "one for each shard of open entries, digests, fleets and receivers"
    );
    assert_eq!(
        calls(&before, &after, Operation::ReceiveMessage),
        1,
        "no echo is left"
    );
    assert_eq!(
        calls(&before, &after, Operation::GetItem),
        2,
        "the last sweep and the checkpoint"
    );
    assert_eq!(calls(&before, &after, Operation::PutItem), 1, "this sweep");
    assert_eq!(calls(&before, &after, Operation::UpdateItem), 0);
    assert_eq!(calls(&before, &after, Operation::Publish), 0);
    // 128 bytes a host at half a unit for 4 KiB, rounded up a page, and half a unit for each other question.
    let reads = after.read_millis - before.read_millis;
    let most = (HOSTS as u64 * 128 / 4096 + scans) * 500 + 18 * 500 + 2_000;
    assert!(
        reads <= most,
        "{reads} thousandths of a unit, at most {most}"
    );
    assert_eq!(after.write_millis - before.write_millis, 1_000);
}

#[tokio::test]
async fn a_beat_is_one_write_unit_and_a_cold_one_a_key_read_more() {
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    let before = clients.meter().usage();
    DynamoKeys::new(&clients, &stage)
        .load(&KeyId::from_random([1; 7]))
        .await
        .unwrap();
    beat(&DynamoHeartbeats::new(&clients, &stage), 1, 1).await;
    beat(&DynamoHeartbeats::new(&clients, &stage), 1, 2).await;
    let after = clients.meter().usage();
    assert_eq!(after.write_millis - before.write_millis, 2_000);
    assert!(
        after.read_millis - before.read_millis <= 1_000,
        "one strong read of a small item"
    );
    assert_eq!(calls(&before, &after, Operation::GetItem), 1);
    assert_eq!(calls(&before, &after, Operation::UpdateItem), 2);
}
