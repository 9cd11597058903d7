use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Beat, DeliveryPolicy, Entry, Fleet, Heartbeat, HostId, HostKey, Interval, Kind, Notice,
    Publication, Receiver, Signal, Timestamp, limits,
};
use hb_service::ports::{
    Clock, Cursor, Heard, Heartbeats, Ledger, Page, PortError, PortResult, Segment, Stored, Swap,
    System, Version,
};
use hb_service::testing::memory::Memory;
use hb_service::{HostCounts, Sweep, SweepReport, SweepSettings};
use uuid::Uuid;

use crate::{Beats, Bench, host};

fn kinds(notices: &[Notice]) -> Vec<(Kind, u32)> {
    notices
        .iter()
        .map(|notice| (notice.kind, notice.attempt))
        .collect()
}

/// A ledger that does every swap, but loses or fails the `n`-th one, counted from 1.
struct Flaky {
    inner: Arc<Memory>,
    swaps: AtomicU32,
    /// Which swap goes wrong, and whether it is done all the same.
    nth: u32,
    done: bool,
    /// From the `nth` on all fail: the process was killed there.
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

    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        self.inner.open(after).await
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

/// A bench with one silent host.
async fn silent() -> Bench {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.pass(61);
    bench
}

#[tokio::test]
async fn a_report_counts_hosts_by_state_and_regions_that_are_gone() {
    let bench = silent().await;
    let seen = |report: SweepReport| (report.counts, report.regions_unheard);
    assert_eq!(
        seen(bench.sweep().run().await.unwrap()),
        (HostCounts::default(), 0),
        "as it was before"
    );
    let missing = HostCounts {
        missing: 1,
        ..HostCounts::default()
    };
    assert_eq!(seen(bench.sweep().run().await.unwrap()), (missing, 0));
    let gone = Receiver::new("eu-central-1".parse().unwrap())
        .with_canary(bench.clock.now(), limits::GRACE);
    bench.memory.swap(&gone, None, Uuid::nil()).await.unwrap();
    for n in 0..limits::CANARIES {
        let beat = Beat {
            at: bench.clock.now(),
            interval: Interval::default(),
            signal: Signal::Ok,
            message: None,
        };
        let key = HostKey::new(Fleet::main(), HostId::canary(n));
        let heard = Heard {
            key,
            region: gone.region.clone(),
            heartbeat: Heartbeat::new(beat),
        };
        bench.memory.record(&heard).await.unwrap();
    }
    bench.pass(limits::REGION_DEAD_AFTER.as_secs());
    assert_eq!(
        bench.sweep().run().await.unwrap().regions_unheard,
        0,
        "it is waited for"
    );
    bench.pass(1);
    assert_eq!(bench.sweep().run().await.unwrap().regions_unheard, 1);
}

#[tokio::test]
async fn a_lost_reply_of_any_swap_changes_nothing() {
    for nth in 1..=3 {
        for done in [true, false] {
            let bench = silent().await;
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
            let bench = silent().await;
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
async fn a_beat_that_lands_during_the_scan_cancels_the_candidate() {
    let bench = silent().await;
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
        "it is new, and it beats"
    );
}

#[tokio::test]
async fn a_scan_error_is_an_error_and_never_silence() {
    let bench = silent().await;
    bench.memory.fail_with(Some("disk full"));
    let error = bench.sweep().run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sweep stopped after 0 hosts: table system is unavailable: disk full"
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
async fn an_unreadable_item_is_named_and_stops_no_sweep() {
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
async fn a_refused_notice_is_tried_again_with_the_same_id() {
    let bench = silent().await;
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
        "not before the pause is over, and `recovered` waits behind it"
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

#[tokio::test]
async fn an_unknown_outcome_waits_for_the_echo() {
    let bench = silent().await;
    let echo_wait = Duration::from_mins(3);
    let delivery = DeliveryPolicy {
        lease: Duration::from_secs(10),
        echo_wait,
    };
    let sweep = Sweep {
        settings: SweepSettings {
            delivery,
            ..SweepSettings::local()
        },
        ..bench.sweep()
    };
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    assert_eq!(sweep.run().await.unwrap().unknown, 1);
    bench.pass(179);
    sweep.run().await.unwrap();
    assert_eq!(bench.memory.published().len(), 1);
    bench.pass(1);
    sweep.run().await.unwrap();
    assert_eq!(
        kinds(&bench.memory.published()),
        [(Kind::Missing, 1), (Kind::Missing, 2)]
    );
}

/// A queue of echoes that cannot be reached.
struct Deaf;

#[async_trait]
impl hb_service::ports::Echoes for Deaf {
    async fn receive(&self) -> PortResult<Page<hb_service::ports::Echo>> {
        Err(PortError::unavailable("queue echo", "no route"))
    }
    async fn acknowledge(&self, _: &[String]) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_digest_of_unknown_outcome_waits_until_the_echoes_can_be_heard() {
    let bench = Bench::new();
    for n in 0..=hb_domain::limits::DIGEST_ABOVE {
        bench.beat(&format!("web-{n}")).await;
    }
    bench.sweep().run().await.unwrap();
    bench.pass(61);
    let before = bench.memory.published().len();
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    assert_eq!(bench.sweep().run().await.unwrap().unknown, 1);
    let deaf = bench.sweep_with(|ports| ports.echoes = Arc::new(Deaf));
    deaf.run().await.unwrap_err();
    assert_eq!(
        bench.memory.published().len(),
        before + 1,
        "it may have been accepted"
    );
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.memory.published().len(), before + 2);
}

/// A clock that shows a second later each time it is asked.
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
async fn a_sweep_that_runs_out_of_time_says_how_far_it_came_and_is_not_completed() {
    let bench = Bench::new();
    for i in 0..300 {
        bench
            .beat_every(&format!("host-{i}"), Duration::from_hours(1))
            .await;
    }
    let sweep = bench.sweep_with(|ports| ports.clock = Arc::new(Ticking(bench.clock.clone())));
    let soon = bench.clock.now().plus(Duration::from_secs(5));
    let error = sweep.run_until(soon).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sweep stopped after 199 hosts: its time is over"
    );
    assert_eq!(
        bench
            .memory
            .last_sweep(&SweepSettings::local().region)
            .await
            .unwrap(),
        None
    );

    let soon = bench.clock.now().plus(Duration::from_secs(100));
    let error = sweep.run_until(soon).await.unwrap_err();
    let claimed = error.report.decided[Kind::Registered];
    assert!(
        (1..300).contains(&claimed),
        "what was begun is finished: {error:?}"
    );
    let rest = bench.sweep().run().await.unwrap();
    assert_eq!(
        rest.decided[Kind::Registered],
        300 - claimed,
        "the next one does the rest"
    );
    bench.pass(11);
    bench.sweep().run().await.unwrap();
    let told: Vec<_> = bench
        .memory
        .accepted()
        .iter()
        .flat_map(|n| n.host_ids().cloned().collect::<Vec<_>>())
        .collect();
    assert_eq!(
        (told.len(), told.iter().collect::<BTreeSet<_>>().len()),
        (300, 300)
    );
}

#[tokio::test]
async fn a_claim_counts_also_when_its_notice_could_not_be_leased() {
    let bench = silent().await;
    let error = flaky(&bench, 2, false, true).run().await.unwrap_err();
    assert_eq!(
        (error.report.decided[Kind::Missing], error.report.accepted),
        (1, 0)
    );
}
