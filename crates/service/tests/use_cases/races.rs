//! What happens between two steps of a sweep: each condition that a later step relies on.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use hb_domain::{
    DeliveryPolicy, Entry, Kind, Pending, Phase, Receiver, Region, Rules, Signal, decide,
};
use hb_service::ports::{
    Clock, Cursor, Ids, Ledger, Page, PortError, PortResult, Record, Segment, Stored, Swap, Version,
};
use hb_service::testing::memory::Memory;
use hb_service::{SweepError, SweepReport, SweepSettings};
use uuid::Uuid;

use crate::{Beats, Bench, at_once, host};

/// Called at a swap, with its number from 1 and the key.
type OnSwap = Box<dyn Fn(u32, &str) + Send + Sync>;

/// A ledger that calls back around swaps, or that cannot load.
pub(crate) struct Eventful {
    pub(crate) inner: Arc<Memory>,
    pub(crate) swaps: AtomicU32,
    before: OnSwap,
    after: OnSwap,
    loads: bool,
}

impl Eventful {
    pub(crate) fn new(bench: &Bench) -> Self {
        let nothing = || -> OnSwap { Box::new(|_, _| ()) };
        let (before, after) = (nothing(), nothing());
        Self {
            inner: bench.memory.clone(),
            swaps: AtomicU32::new(0),
            before,
            after,
            loads: true,
        }
    }

    pub(crate) fn unreachable(bench: &Bench) -> Self {
        Self {
            loads: false,
            ..Self::new(bench)
        }
    }

    pub(crate) fn before(
        bench: &Bench,
        before: impl Fn(u32, &str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            before: Box::new(before),
            ..Self::new(bench)
        }
    }

    pub(crate) fn after(bench: &Bench, after: impl Fn(u32, &str) + Send + Sync + 'static) -> Self {
        Self {
            after: Box::new(after),
            ..Self::new(bench)
        }
    }
}

#[async_trait]
impl<T: Record> Ledger<T> for Eventful {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        if self.loads {
            self.inner.load(key).await
        } else {
            Err(PortError::unavailable(T::TABLE, "no route"))
        }
    }

    async fn swap(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let (nth, key) = (
            self.swaps.fetch_add(1, Ordering::SeqCst) + 1,
            entry.key().to_string(),
        );
        (self.before)(nth, &key);
        let swap = self.inner.swap(entry, expected, writer).await;
        (self.after)(nth, &key);
        swap
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        self.inner.open(segment, after).await
    }
}

/// Changes a record, if there is one, as another process would.
pub(crate) fn change<T: Record>(memory: &Memory, key: &T::Key, rule: impl Fn(T) -> Option<T>) {
    let changed = async {
        let stored = Ledger::<T>::load(memory, key).await.unwrap();
        let Some(stored) = stored else { return };
        let Some(next) = rule(stored.record) else {
            return;
        };
        let done = memory
            .swap(&next, Some(stored.version), Uuid::from_u128(99))
            .await
            .unwrap();
        assert!(matches!(done, Swap::Done(_)));
    };
    changed.now_or_never().unwrap();
}

pub(crate) async fn entry(bench: &Bench, name: &str) -> Entry {
    Ledger::<Entry>::load(&*bench.memory, &host(name))
        .await
        .unwrap()
        .unwrap()
        .record
}

pub(crate) async fn silent(names: &[&str]) -> Bench {
    let bench = Bench::new();
    for name in names {
        bench.beat(name).await;
    }
    bench.pass(61);
    bench
}

/// Of five fleets, so that each notice is a message of its own.
const FLEETS: [&str; 5] = ["a|a", "b|b", "c|c", "d|d", "e|e"];

pub(crate) const SIX: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The swaps of one silent host are its claim, its lease and its outcome.
const LEASE: u32 = 2;
const OUTCOME: u32 = 3;

#[tokio::test]
async fn a_sender_delayed_past_its_lease_publishes_nothing() {
    let bench = silent(&["a"]).await;
    let clock = bench.clock.clone();
    let delayed = Eventful::after(&bench, move |nth, _| {
        if nth == LEASE {
            clock.advance(Duration::from_secs(11));
        }
    });
    let sweep = bench.sweep_with(|ports| ports.ledger = Arc::new(delayed));
    assert_eq!(
        (
            sweep.run().await.unwrap().lost_races,
            bench.memory.published().len()
        ),
        (1, 0)
    );
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.memory.published()[0].attempt, 2);
}

#[tokio::test]
async fn a_sender_without_the_lease_publishes_nothing() {
    let bench = silent(&["a"]).await;
    let memory = bench.memory.clone();
    let before = move |nth, _: &str| {
        if nth == LEASE {
            change(&memory, &host("a"), |entry: Entry| {
                Some(entry.with_interval(None))
            });
        }
    };
    let sweep = bench.sweep_with(|ports| ports.ledger = Arc::new(Eventful::before(&bench, before)));
    assert_eq!(
        (
            sweep.run().await.unwrap().lost_races,
            bench.memory.published().len()
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn an_outcome_is_recorded_although_an_admin_changed_the_host() {
    let bench = silent(&["a"]).await;
    let memory = bench.memory.clone();
    let before = move |nth, _: &str| {
        if nth == OUTCOME {
            change(&memory, &host("a"), |entry: Entry| {
                Some(entry.with_interval(None))
            });
        }
    };
    let sweep = bench.sweep_with(|ports| ports.ledger = Arc::new(Eventful::before(&bench, before)));
    sweep.run().await.unwrap();
    assert_eq!(entry(&bench, "a").await.pending, None);
}

#[tokio::test]
async fn an_outcome_is_not_recorded_for_a_later_transition() {
    let bench = silent(&["a"]).await;
    let (memory, now) = (bench.memory.clone(), bench.clock.now());
    let beats = hb_service::ports::Heartbeats::load(&*bench.memory, &host("a"))
        .await
        .unwrap()
        .remove(0);
    let before = move |nth, _: &str| {
        if nth == OUTCOME {
            // Forgotten, registered again, and silent again.
            change(&memory, &host("a"), |entry: Entry| {
                let entry = Entry {
                    basis: hb_domain::Timestamp::MIN,
                    ..entry.forgotten(now)
                };
                decide(&entry, &beats.heartbeat, now, &Rules::default())
            });
        }
    };
    let sweep = bench.sweep_with(|ports| ports.ledger = Arc::new(Eventful::before(&bench, before)));
    sweep.run().await.unwrap();
    let entry = entry(&bench, "a").await;
    assert!(entry.epoch == 2 && entry.pending.is_some(), "{entry:?}");
}

#[tokio::test]
async fn messages_are_paced_and_a_lease_begins_after_the_wait() {
    let bench = silent(&FLEETS).await;
    let (began, slow) = (
        bench.clock.now(),
        DeliveryPolicy {
            lease: Duration::from_millis(500),
            echo_wait: Duration::ZERO,
        },
    );
    let settings = SweepSettings {
        delivery: slow,
        messages_per_second: Some(1),
        ..at_once()
    };
    let sweep = bench.sweep().with_settings(settings);
    assert_eq!(sweep.run().await.unwrap().accepted, 5);
    assert_eq!(bench.clock.now().since(began), Duration::from_secs(4));
}

#[tokio::test]
async fn nothing_is_published_when_time_runs_out_during_the_wait() {
    let bench = silent(&FLEETS).await;
    let settings = SweepSettings {
        messages_per_second: Some(1),
        ..at_once()
    };
    let sweep = bench.sweep().with_settings(settings);
    sweep
        .run_until(bench.clock.now().plus(Duration::from_secs(2)))
        .await
        .unwrap_err();
    assert_eq!(bench.memory.published().len(), 2);
}

/// A ledger in which another process changes the host `name` before each of its swaps.
pub(crate) fn restless(
    bench: &Bench,
    name: &'static str,
    when: impl Fn(&Entry) -> bool + Send + Sync + 'static,
) -> Eventful {
    let memory = bench.memory.clone();
    let before = move |_, key: &str| {
        if *key == host(name).to_string() {
            change(&memory, &host(name), |entry: Entry| {
                when(&entry).then(|| entry.with_interval(None))
            });
        }
    };
    Eventful::before(bench, before)
}

pub(crate) async fn put<T: Record>(bench: &Bench, record: &T) {
    bench
        .memory
        .swap(record, None, bench.ids.token())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_receiver_record_that_keeps_changing_does_not_block_a_sweep_for_ever() {
    let bench = Bench::new();
    for n in 0..60 {
        bench.beat(&format!("host-{n}")).await;
    }
    bench.sweep().run().await.unwrap();
    bench.pass(61);
    put(&bench, &Receiver::new(Region::local())).await;
    let memory = bench.memory.clone();
    let before = move |nth, _: &str| {
        assert!(nth <= 100, "the sweep does not give up");
        change(&memory, &Region::local(), |receiver: Receiver| {
            Some(receiver)
        });
    };
    let sweep =
        bench.sweep_with(|ports| ports.receivers = Arc::new(Eventful::before(&bench, before)));
    let error = sweep.run().await.unwrap_err();
    assert!(
        error.to_string().contains("local of table receivers"),
        "{error}"
    );
    assert_eq!(error.report.decided[Kind::Missing], 0, "they are held");
    let held = bench.sweep().run().await.unwrap().held;
    assert_eq!(held, 60, "the next sweep records the hold");
}

/// A host that failed a second ago, and has sent `ok` since.
async fn failed() -> Bench {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    bench.pass(10);
    bench
        .signal("a", Duration::from_mins(1), Signal::Fail)
        .await;
    bench.pass(1);
    bench.beat("a").await;
    bench
}

/// After three sweeps in which nothing could be decided, the failure lies behind what a scan looks at again.
async fn reports_the_failure(bench: &Bench) {
    assert_eq!(bench.sweep().run().await.unwrap().decided[Kind::Failing], 1);
    assert!(!entry(bench, "a").await.needs_recheck);
}

#[tokio::test]
async fn a_failure_whose_claim_lost_the_race_is_reported_by_a_later_sweep() {
    let bench = failed().await;
    for _ in 0..3 {
        let memory = bench.memory.clone();
        let before = move |nth, _: &str| {
            if nth == 1 {
                change(&memory, &host("a"), |entry: Entry| {
                    let epoch = entry.epoch + 1;
                    Some(Entry { epoch, ..entry })
                });
            }
        };
        let ledger = Arc::new(Eventful::before(&bench, before));
        let sweep = bench.sweep_with(|ports| ports.ledger = ledger);
        assert_eq!(sweep.run().await.unwrap().lost_races, 1);
        bench.pass(60);
        bench.beat("a").await;
    }
    reports_the_failure(&bench).await;
}

/// A sweep of a host that failed, while admins change its entry before each of these swaps.
async fn changed_by_an_admin(
    swaps: RangeInclusive<u32>,
) -> (Bench, Result<SweepReport, SweepError>) {
    let bench = failed().await;
    let memory = bench.memory.clone();
    let before = move |nth, _: &str| {
        if swaps.contains(&nth) {
            change(&memory, &host("a"), |entry: Entry| {
                Some(entry.with_interval(None))
            });
        }
    };
    let ledger = Arc::new(Eventful::before(&bench, before));
    let sweep = bench.sweep_with(|ports| ports.ledger = ledger);
    let result = sweep.run().await;
    (bench, result)
}

#[tokio::test]
async fn a_host_that_an_admin_changes_while_it_is_decided_is_decided_all_the_same() {
    let (_, result) = changed_by_an_admin(1..=1).await;
    let report = result.unwrap();
    assert_eq!((report.lost_races, report.decided[Kind::Failing]), (1, 1));
}

#[tokio::test]
async fn a_host_that_admins_keep_changing_is_named_and_decided_by_the_next_sweep() {
    let (bench, result) = changed_by_an_admin(1..=99).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("main/a"), "{error}");
    reports_the_failure(&bench).await;
}

/// The host has this pending notice, or none.
fn pends(memory: &Memory, pending: Option<&Pending>) {
    change(memory, &host("a"), |entry: Entry| {
        Some(Entry {
            pending: pending.cloned(),
            ..entry
        })
    });
}

#[tokio::test]
async fn a_failure_behind_an_old_index_of_pending_notices_is_reported() {
    let bench = failed().await;
    let not_before = bench.clock.now().plus(Duration::from_mins(1));
    let pending = Pending {
        phase: Phase::Pending { not_before },
        attempt: 0,
        doubt: false,
        incarnation: None,
    };
    pends(&bench.memory, Some(&pending));
    // The entry is listed as it is now, and its notice accepted before the scan.
    let memory = bench.memory.clone();
    let beats = Beats {
        before_scan: Some(Box::new(move || pends(&memory, None))),
        ..Beats::of(&bench)
    };
    let sweep = bench.sweep_with(|ports| ports.heartbeats = Arc::new(beats));
    assert_eq!(sweep.run().await.unwrap().decided[Kind::Failing], 1);
}

#[tokio::test]
async fn a_failure_during_another_notice_is_reported_by_a_later_sweep() {
    let bench = failed().await;
    for _ in 0..3 {
        let memory = bench.memory.clone();
        let not_before = bench.clock.now();
        let pending = Pending {
            phase: Phase::Pending { not_before },
            // One that nobody was ever to send is withdrawn.
            attempt: 1,
            doubt: false,
            incarnation: None,
        };
        let beats = Beats {
            before_scan: Some(Box::new(move || pends(&memory, Some(&pending)))),
            ..Beats::of(&bench)
        };
        let sweep = bench.sweep_with(|ports| ports.heartbeats = Arc::new(beats));
        assert_eq!(sweep.run().await.unwrap().decided.total(), 0);
        pends(&bench.memory, None);
        bench.pass(60);
        bench.beat("a").await;
    }
    reports_the_failure(&bench).await;
}
