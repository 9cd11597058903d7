//! A DynamoDB that throttles and breaks. Time stands still and jumps to the next timer.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hb_aws::DynamoHeartbeats;
use hb_domain::{Kind, Receiver, Region};
use hb_service::ports::{Heartbeats, Segment};
use uuid::Uuid;

use crate::dynoxide::Account;
use crate::fleet::{at, beat, heard, sweep};

pub(crate) const THROTTLED: &str = "ProvisionedThroughputExceededException";
pub(crate) const BROKEN: &str = "InternalServerError";

/// True for about `percent` of all questions, from one seed always the same ones.
pub(crate) fn dice(percent: u64) -> impl Fn() -> bool + Send + Sync {
    let state = AtomicU64::new(0x9E37_79B9_7F4A_7C15);
    move || {
        // Xorshift (Marsaglia, 2003).
        let next = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        let before = state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |x| Some(next(x)))
            .unwrap();
        (next(before) >> 32) % 100 < percent
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_under_heavy_throttling_completes() {
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    beat(&DynamoHeartbeats::new(&clients, &stage), 300, 1).await;
    let (sweep, clock) = sweep(&clients, &stage);
    clock.set(at(62));
    // Canaries were heard all the time: the hosts are silent, not the receiver deaf.
    let canary = [at(0), at(62)]
        .into_iter()
        .fold(Receiver::new(Region::local()), |receiver, at| {
            receiver.with_canary(at, Duration::MAX)
        });
    sweep
        .ports
        .receivers
        .swap(&canary, None, Uuid::nil())
        .await
        .unwrap();
    let unlucky = dice(40);
    account.fail(move |operation| (operation != "Publish" && unlucky()).then_some(THROTTLED));
    let report = sweep.run().await.unwrap();
    assert_eq!(
        (report.hosts, report.decided[Kind::Missing], report.accepted),
        (300, 300, 1),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_that_fail_at_random_lose_no_host() {
    const HOSTS: usize = 2_000;
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    let heartbeats = DynamoHeartbeats::new(&clients, &stage);
    beat(&heartbeats, HOSTS, 1).await;
    // More than the retries stand: some pages end as errors, and are asked for again.
    let (throttled, broken) = (dice(60), dice(60));
    account.fail(move |_| {
        throttled()
            .then_some(THROTTLED)
            .or_else(|| broken().then_some(BROKEN))
    });
    let (mut found, mut failed) = (Vec::new(), 0);
    for index in 0..64 {
        let segment = Segment { index, of: 64 };
        let mut after = None;
        loop {
            match heartbeats.scan(segment, after.clone()).await {
                Ok(page) => {
                    found.extend(page.items.into_iter().map(|heard| heard.key));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                Err(_) => failed += 1,
            }
        }
    }
    assert!(failed > 0, "otherwise this shows nothing");
    assert_eq!(found.len(), HOSTS);
    assert_eq!(found.into_iter().collect::<HashSet<_>>().len(), HOSTS);
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_never_answers_is_an_error_and_no_silence() {
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    let heartbeats = DynamoHeartbeats::new(&clients, &stage);
    beat(&heartbeats, 10, 1).await;
    account.fail(|operation| (operation == "Scan").then_some(THROTTLED));
    let (sweep, clock) = sweep(&clients, &stage);
    clock.set(at(600));
    let error = sweep.run().await.unwrap_err();
    assert!(error.to_string().contains("throttled: Scan"), "{error}");
    assert_eq!(error.report.decided[Kind::Missing], 0);
}

#[tokio::test(start_paused = true)]
async fn a_beat_under_constant_throttling_is_an_error_soon() {
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    account.fail(|_| Some(THROTTLED));
    let heartbeats = DynamoHeartbeats::new(&clients, &stage);
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of tokio, which this test holds"
    )]
    let begin = tokio::time::Instant::now();
    heartbeats.record(&heard("web-01", 1)).await.unwrap_err();
    assert!(begin.elapsed().as_secs() < 3, "{:?}", begin.elapsed());
}
