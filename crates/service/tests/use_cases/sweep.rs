use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Beat, Entry, Fleet, Heartbeat, HostId, HostKey, Kind, Notice, Publication, Receiver, Timestamp,
    limits,
};
use hb_service::ports::{
    Clock, Cursor, Heard, Heartbeats, Ledger, Page, PortError, PortResult, Segment, Stored, Swap,
    System, Version,
};
use hb_service::testing::memory::Memory;
use hb_service::{HostCounts, Sweep, SweepReport, SweepSettings};
use uuid::Uuid;

use crate::races::silent;
use crate::{Beats, Bench, at_once, host};

pub(crate) fn kinds(notices: &[Notice]) -> Vec<(Kind, u32)> {
    notices
        .iter()
        .map(|notice| (notice.kind, notice.attempt))
        .collect()
}

/// A ledger whose `n`-th swap, counted from 1, fails or loses its reply.
struct Flaky {
    inner: Arc<Memory>,
    swaps: AtomicU32,
    /// The swap that fails, and whether it is done nevertheless.
    nth: u32,
    done: bool,
    /// All swaps from the `nth` on fail: the process was killed there.
    for_ever: bool,
}

#[async_trait]
impl Ledger for Flaky {
    async fn load(&self, host: &HostKey) -> PortResult<Option<Stored>> {
        Ledger::load(&*self.inner, host).await
    }

    async fn swap(
        &self,
        entry: &Entry,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap> {
        let count = self.swaps.fetch_add(1, Ordering::SeqCst) + 1;
        let wrong = if self.for_ever {
            count >= self.nth
        } else {
            count == self.nth
        };
        if wrong && (!self.done || count > self.nth) {
            return Err(PortError::unavailable("table ledger", "not done"));
        }
        let swap = self.inner.swap(entry, expected, writer).await;
        if wrong {
            Err(PortError::unavailable("table ledger", "reply lost"))
        } else {
            swap
        }
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        self.inner.open(segment, after).await
    }
}

fn flaky(bench: &Bench, nth: u32, done: bool, for_ever: bool) -> Sweep {
    let ledger = Flaky {
        inner: bench.memory.clone(),
        swaps: AtomicU32::new(0),
        nth,
        done,
        for_ever,
    };
    bench.sweep_with(|ports| ports.ledger = Arc::new(ledger))
}

#[tokio::test]
async fn a_report_counts_hosts_by_state_and_unreachable_regions() {
    let bench = silent(&["a"]).await;
    let seen = |report: SweepReport| (report.counts, report.regions_unheard);
    assert_eq!(
        seen(bench.sweep().run().await.unwrap()),
        (HostCounts::default(), 0),
        "the state at the beginning"
    );
    let missing = HostCounts {
        missing: 1,
        ..HostCounts::default()
    };
    assert_eq!(seen(bench.sweep().run().await.unwrap()), (missing, 0));
    let unreachable = Receiver::new("eu-central-1".parse().unwrap())
        .with_canary(bench.clock.now(), limits::GRACE);
    bench
        .memory
        .swap(&unreachable, None, Uuid::nil())
        .await
        .unwrap();
    for n in 0..limits::CANARIES {
        let beat = Beat::ok(bench.clock.now());
        let key = HostKey::new(Fleet::main(), HostId::canary(n));
        let heard = Heard {
            key,
            region: unreachable.region.clone(),
            heartbeat: Heartbeat::new(beat),
        };
        bench.memory.record(&heard).await.unwrap();
    }
    bench.pass(limits::REGION_DEAD_AFTER.as_secs());
    assert_eq!(
        bench.sweep().run().await.unwrap().regions_unheard,
        0,
        "it is still waited for"
    );
    bench.pass(1);
    assert_eq!(bench.sweep().run().await.unwrap().regions_unheard, 1);
}

#[tokio::test]
async fn a_lost_reply_of_any_swap_changes_nothing() {
    for nth in 1..=3 {
        for done in [true, false] {
            let bench = silent(&["a"]).await;
            let report = flaky(&bench, nth, done, false).run().await.unwrap();
            assert_eq!(
                (report.decided[Kind::Missing], report.accepted),
                (1, 1),
                "swap {nth}, done: {done}"
            );
            assert_eq!(kinds(&bench.memory.published()), [(Kind::Missing, 1)]);
        }
    }
}

#[tokio::test]
async fn a_crash_after_any_step_delays_a_notice_and_loses_none() {
    for nth in 1..=3 {
        for done in [true, false] {
            let bench = silent(&["a"]).await;
            flaky(&bench, nth, done, true).run().await.unwrap_err();
            for _ in 0..3 {
                bench.sweep().run().await.unwrap();
                bench.pass(11);
            }
            let accepted = bench.memory.accepted();
            assert_eq!(accepted.len(), 1, "swap {nth}, done: {done}");
            let stored = Ledger::<Entry>::load(&*bench.memory, &host("a"))
                .await
                .unwrap()
                .unwrap();
            assert_eq!((stored.record.pending, stored.record.epoch), (None, 1));
        }
    }
}

#[tokio::test]
async fn a_beat_during_the_scan_cancels_the_candidate() {
    let bench = silent(&["a"]).await;
    let old = bench.memory.scan(Segment::WHOLE, None).await.unwrap();
    bench.beat("a").await;
    let beats = Beats {
        scans: Some(old),
        ..Beats::of(&bench)
    };
    let sweep = bench.sweep_with(|ports| ports.heartbeats = Arc::new(beats));
    let report = sweep.run().await.unwrap();
    assert_eq!(
        (
            report.decided[Kind::Missing],
            report.decided[Kind::Registered]
        ),
        (0, 1),
        "it is new, and it sends beats"
    );
}

#[tokio::test]
async fn a_scan_error_is_an_error_and_never_silence() {
    let bench = silent(&["a"]).await;
    bench.memory.fail_with(Some("disk full"));
    let error = bench.sweep().run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sweep stopped after 0 hosts: table fleets is unavailable: disk full"
    );
    bench.memory.fail_with(None);
    assert_eq!(
        bench
            .memory
            .last_sweep(&SweepSettings::local().region)
            .await
            .unwrap(),
        None
    );
    assert_eq!(bench.memory.published(), []);
}

#[tokio::test]
async fn an_unreadable_item_is_reported_and_does_not_stop_the_sweep() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.beat(name).await;
    }
    bench.pass(61);
    bench.memory.spoil(&host("a"));
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(
        (
            report.hosts,
            report.unreadable,
            report.decided[Kind::Missing]
        ),
        (1, 1, 1)
    );
    assert_eq!(report.troubles.len(), 1);
    assert!(
        report.troubles[0].contains("main/a"),
        "{:?}",
        report.troubles
    );
}

#[tokio::test]
async fn a_refused_notice_is_retried_with_the_same_id() {
    let bench = silent(&["a"]).await;
    bench
        .memory
        .next_publications([Publication::Refused("throttled".to_owned())]);
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(
        (
            report.decided[Kind::Missing],
            report.refused,
            report.accepted
        ),
        (1, 1, 0)
    );
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    assert_eq!(
        bench.memory.published().len(),
        1,
        "not before the pause is over; `recovered` waits for it"
    );
    bench.pass(2);
    bench.sweep().run().await.unwrap();
    bench.sweep().run().await.unwrap();
    let published = bench.memory.published();
    assert_eq!(
        kinds(&published),
        [(Kind::Missing, 1), (Kind::Missing, 2), (Kind::Recovered, 1)]
    );
    assert_eq!(published[0].id, published[1].id);
}

/// A clock that advances by a second whenever it is read.
struct Ticking(Arc<hb_service::testing::memory::ManualClock>);

#[async_trait]
impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        self.0.advance(Duration::from_secs(1));
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.advance(duration);
    }
}

#[tokio::test]
async fn a_sweep_that_runs_out_of_time_reports_its_progress_and_is_not_completed() {
    let bench = Bench::new();
    for i in 0..300 {
        bench
            .beat_every(&format!("host-{i}"), Duration::from_hours(1))
            .await;
    }
    let sweep = bench.sweep_with(|ports| ports.clock = Arc::new(Ticking(bench.clock.clone())));
    let sweep = sweep.with_settings(SweepSettings {
        part: 5,
        ..at_once()
    });
    let soon = bench.clock.now().plus(Duration::from_secs(14));
    let error = sweep.run_until(soon).await.unwrap_err();
    let hosts = error.report.hosts;
    assert!((1..300).contains(&hosts), "{hosts}");
    assert_eq!(
        error.to_string(),
        format!("the sweep stopped after {hosts} hosts: it ran out of time")
    );
    assert_eq!(
        bench
            .memory
            .last_sweep(&SweepSettings::local().region)
            .await
            .unwrap(),
        None
    );

    let soon = bench.clock.now().plus(Duration::from_secs(200));
    let error = sweep.run_until(soon).await.unwrap_err();
    let claimed = error.report.decided[Kind::Registered];
    assert!(
        (1..300).contains(&claimed),
        "work under way is finished: {error:?}"
    );
    let rest = bench.sweep().run().await.unwrap();
    assert_eq!(
        rest.decided[Kind::Registered],
        300 - claimed,
        "the next sweep does the rest"
    );
    bench.pass(11);
    bench.sweep().run().await.unwrap();
    let notified: Vec<_> = bench
        .memory
        .accepted()
        .iter()
        .flat_map(|n| n.host_ids().cloned().collect::<Vec<_>>())
        .collect();
    assert_eq!(
        (
            notified.len(),
            notified.iter().collect::<BTreeSet<_>>().len()
        ),
        (300, 300)
    );
}

#[tokio::test]
async fn a_claim_counts_although_its_notice_could_not_be_leased() {
    let bench = silent(&["a"]).await;
    let error = flaky(&bench, 2, false, true).run().await.unwrap_err();
    assert_eq!(
        (error.report.decided[Kind::Missing], error.report.accepted),
        (1, 0)
    );
}

#[tokio::test]
async fn a_host_of_two_regions_counts_once_and_canaries_not_at_all() {
    let bench = silent(&["a", "hb:canary-0"]).await;
    let mut heard = Heartbeats::load(&*bench.memory, &host("a"))
        .await
        .unwrap()
        .remove(0);
    heard.region = "us-east-1".parse().unwrap();
    heard.heartbeat.last = bench.clock.now();
    Heartbeats::record(&*bench.memory, &heard).await.unwrap();
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(
        (
            report.hosts,
            report.decided[Kind::Registered],
            report.decided[Kind::Missing]
        ),
        (1, 1, 0)
    );
}
