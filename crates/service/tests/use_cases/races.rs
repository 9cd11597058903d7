//! What comes between two steps of a sweep: each condition of a step that the next one relies on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use hb_domain::{
    Acceptance, DeliveryPolicy, Digest, DigestStage, Entry, HostKey, Kind, NoticeId, Phase,
    Publication, Receiver, Region, Rules, decide,
};
use hb_service::ports::{
    Clock, Cursor, Echo, Echoes, Ids, Ledger, Page, PortError, PortResult, Record, Stored, Swap,
    Version,
};
use hb_service::testing::memory::Memory;
use hb_service::{Sweep, SweepSettings};
use uuid::Uuid;

use crate::{Bench, host};

/// What happens at a swap, given its number from 1 and the key.
type Happens = Box<dyn Fn(u32, &str) + Send + Sync>;

/// A ledger in which something happens around swaps, or that cannot load.
pub(crate) struct Eventful {
    inner: Arc<Memory>,
    swaps: AtomicU32,
    before: Happens,
    after: Happens,
    loads: bool,
}

impl Eventful {
    fn new(bench: &Bench) -> Self {
        let nothing = || -> Happens { Box::new(|_, _| ()) };
        let (before, after) = (nothing(), nothing());
        Self {
            inner: bench.memory.clone(),
            swaps: AtomicU32::new(0),
            before,
            after,
            loads: true,
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

    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        self.inner.open(after).await
    }
}

/// Changes a record, if there is one, as somebody else would.
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

async fn entry(bench: &Bench, name: &str) -> Entry {
    Ledger::<Entry>::load(&*bench.memory, &host(name))
        .await
        .unwrap()
        .unwrap()
        .record
}

async fn silent(names: &[&str]) -> Bench {
    let bench = Bench::new();
    for name in names {
        bench.beat(name).await;
    }
    bench.pass(61);
    bench
}

const SIX: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Of the swaps of one host that is silent: its claim, its lease, and what publishing came to.
const LEASE: u32 = 2;
const OUTCOME: u32 = 3;

#[tokio::test]
async fn a_sender_that_was_held_up_past_its_lease_publishes_nothing() {
    let bench = silent(&["a"]).await;
    let clock = bench.clock.clone();
    let held_up = Eventful::after(&bench, move |nth, _| {
        if nth == LEASE {
            clock.advance(Duration::from_secs(11));
        }
    });
    let sweep = bench.sweep_with(|ports| ports.ledger = Arc::new(held_up));
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
async fn who_does_not_get_the_lease_publishes_nothing() {
    let bench = silent(&["a"]).await;
    let memory = bench.memory.clone();
    let before = Box::new(move |nth, _: &str| {
        if nth == LEASE {
            change(&memory, &host("a"), |entry: Entry| {
                Some(entry.with_interval(None))
            });
        }
    });
    let sweep = bench.sweep_with(|ports| {
        ports.ledger = Arc::new(Eventful {
            before,
            ..Eventful::new(&bench)
        })
    });
    assert_eq!(
        (
            sweep.run().await.unwrap().lost_races,
            bench.memory.published().len()
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn an_outcome_is_written_down_also_when_an_admin_changed_the_host_meanwhile() {
    let bench = silent(&["a"]).await;
    let memory = bench.memory.clone();
    let before = Box::new(move |nth, _: &str| {
        if nth == OUTCOME {
            change(&memory, &host("a"), |entry: Entry| {
                Some(entry.with_interval(None))
            });
        }
    });
    let sweep = bench.sweep_with(|ports| {
        ports.ledger = Arc::new(Eventful {
            before,
            ..Eventful::new(&bench)
        })
    });
    sweep.run().await.unwrap();
    assert_eq!(entry(&bench, "a").await.pending, None);
}

#[tokio::test]
async fn an_outcome_is_not_written_down_for_a_later_transition() {
    let bench = silent(&["a"]).await;
    let (memory, now) = (bench.memory.clone(), bench.clock.now());
    let beats = hb_service::ports::Heartbeats::load(&*bench.memory, &host("a"))
        .await
        .unwrap()
        .remove(0);
    let before = Box::new(move |nth, _: &str| {
        if nth == OUTCOME {
            // Forgotten, heard again, and silent again.
            change(&memory, &host("a"), |entry: Entry| {
                let entry = Entry {
                    basis: hb_domain::Timestamp::MIN,
                    ..entry.forgotten(now)
                };
                decide(&entry, &beats.heartbeat, now, &Rules::default())
            });
        }
    });
    let sweep = bench.sweep_with(|ports| {
        ports.ledger = Arc::new(Eventful {
            before,
            ..Eventful::new(&bench)
        })
    });
    sweep.run().await.unwrap();
    let entry = entry(&bench, "a").await;
    assert!(entry.epoch == 2 && entry.pending.is_some(), "{entry:?}");
}

#[tokio::test]
async fn messages_keep_their_distance_and_a_lease_begins_when_it_is_their_turn() {
    let bench = silent(&SIX[..5]).await;
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
        ..SweepSettings::local()
    };
    let sweep = Sweep {
        settings,
        ..bench.sweep()
    };
    assert_eq!(sweep.run().await.unwrap().accepted, 5);
    assert_eq!(bench.clock.now().since(began), Duration::from_secs(4));
}

#[tokio::test]
async fn who_waited_for_a_turn_until_time_was_over_publishes_nothing() {
    let bench = silent(&SIX[..5]).await;
    let settings = SweepSettings {
        messages_per_second: Some(1),
        ..SweepSettings::local()
    };
    let sweep = Sweep {
        settings,
        ..bench.sweep()
    };
    sweep
        .run_until(bench.clock.now().plus(Duration::from_secs(2)))
        .await
        .unwrap_err();
    assert_eq!(bench.memory.published().len(), 2);
}

/// A queue of echoes that cannot be reached.
struct Deaf;

#[async_trait]
impl Echoes for Deaf {
    async fn receive(&self) -> PortResult<Page<Echo>> {
        Err(PortError::unavailable("queue echo", "no route"))
    }
    async fn acknowledge(&self, _: &[String]) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_notice_of_unknown_outcome_waits_until_the_echoes_can_be_heard() {
    let bench = silent(&["a"]).await;
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    bench.sweep().run().await.unwrap();
    bench
        .sweep_with(|ports| ports.echoes = Arc::new(Deaf))
        .run()
        .await
        .unwrap_err();
    assert_eq!(
        bench.memory.published().len(),
        1,
        "it may have been accepted"
    );
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.memory.published().len(), 2);
}

/// A bench with one notice of unknown outcome, whose echo has come.
async fn echoed() -> Bench {
    let bench = silent(&["a"]).await;
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    bench.sweep().run().await.unwrap();
    let subject = bench.memory.published()[0].subject();
    bench.memory.echo(Echo {
        subject,
        attempt: 1,
        receipt: "1".to_owned(),
    });
    bench
}

#[tokio::test]
async fn an_echo_that_could_not_be_written_down_comes_again() {
    let bench = echoed().await;
    let unreachable = Eventful {
        loads: false,
        ..Eventful::new(&bench)
    };
    bench
        .sweep_with(|ports| ports.ledger = Arc::new(unreachable))
        .run()
        .await
        .unwrap_err();
    assert_eq!(bench.memory.receive().await.unwrap().items.len(), 1);
    bench.sweep().run().await.unwrap();
    assert_eq!(
        (
            entry(&bench, "a").await.pending,
            bench.memory.published().len()
        ),
        (None, 1)
    );
}

/// A ledger in which somebody else changes the host `name` before each of its swaps.
fn restless(
    bench: &Bench,
    name: &'static str,
    when: impl Fn(&Entry) -> bool + Send + Sync + 'static,
) -> Eventful {
    let memory = bench.memory.clone();
    let before = Box::new(move |_, key: &str| {
        if *key == host(name).to_string() {
            change(&memory, &host(name), |entry: Entry| {
                when(&entry).then(|| entry.with_interval(None))
            });
        }
    });
    Eventful {
        before,
        ..Eventful::new(bench)
    }
}

#[tokio::test]
async fn an_echo_of_a_host_that_goes_on_changing_comes_again() {
    let bench = echoed().await;
    let restless = restless(&bench, "a", |_| true);
    bench
        .sweep_with(|ports| ports.ledger = Arc::new(restless))
        .run()
        .await
        .unwrap_err();
    assert_eq!(bench.memory.receive().await.unwrap().items.len(), 1);
}

fn id(n: u8) -> NoticeId {
    NoticeId::of_bytes([n; 32])
}

async fn put<T: Record>(bench: &Bench, record: &T) {
    bench
        .memory
        .swap(record, None, bench.ids.token())
        .await
        .unwrap();
}

/// The entries of six hosts whose silence is claimed and not told yet.
async fn claimed() -> (Bench, Vec<Entry>) {
    let bench = silent(&SIX).await;
    let now = bench.clock.now();
    let mut entries = Vec::new();
    for name in SIX {
        let beats = hb_service::ports::Heartbeats::load(&*bench.memory, &host(name))
            .await
            .unwrap()
            .remove(0);
        let claim = decide(
            &Entry::new(host(name)),
            &beats.heartbeat,
            now,
            &Rules::default(),
        )
        .unwrap();
        put(&bench, &claim).await;
        entries.push(claim);
    }
    (bench, entries)
}

async fn digest(bench: &Bench, id: &NoticeId) -> Digest {
    Ledger::<Digest>::load(&*bench.memory, id)
        .await
        .unwrap()
        .unwrap()
        .record
}

#[tokio::test]
async fn a_notice_that_no_digest_may_take_is_sent_by_itself() {
    let (bench, entries) = claimed().await;
    let (now, policy) = (bench.clock.now(), SweepSettings::local().delivery);
    let unknown = Publication::Unknown("timed out".to_owned());
    let doubtful = Entry {
        key: host("g"),
        ..entries[0].clone()
    }
    .leased(Uuid::nil(), now, &policy)
    .unwrap();
    put(
        &bench,
        &doubtful
            .published(1, Uuid::nil(), 1, &unknown, now)
            .unwrap(),
    )
    .await;
    bench.sweep().run().await.unwrap();
    let hosts: Vec<_> = bench
        .memory
        .published()
        .iter()
        .map(|notice| notice.host_ids().count())
        .collect();
    assert_eq!(hosts, [1, 6]);
    assert_eq!(entry(&bench, "g").await.pending, None);
}

#[tokio::test]
async fn somebody_elses_digest_is_left_alone_until_its_builder_has_surely_ended() {
    let (bench, entries) = claimed().await;
    put(
        &bench,
        &Digest::new(id(1), &[&entries[0]], bench.clock.now()).unwrap(),
    )
    .await;
    bench.pass(9);
    bench.sweep().run().await.unwrap();
    assert_eq!(digest(&bench, &id(1)).await.stage, DigestStage::Open);
    bench.pass(1);
    bench.sweep().run().await.unwrap();
    assert_eq!(
        digest(&bench, &id(1)).await.stage,
        DigestStage::Closed,
        "nobody had joined"
    );
}

#[tokio::test]
async fn who_does_not_freeze_a_digest_does_not_publish_it() {
    let bench = silent(&SIX).await;
    let memory = bench.memory.clone();
    let before = Box::new(move |nth, _: &str| {
        if nth == 2 {
            // Somebody else was faster, and saw nobody join.
            let open = Ledger::<Digest>::open(&*memory, None)
                .now_or_never()
                .unwrap()
                .unwrap();
            let frozen = |digest: Digest| digest.frozen(&[], hb_domain::Timestamp::MIN);
            change(&memory, &open.items[0].record.id, frozen);
        }
    });
    let sweep = bench.sweep_with(|ports| {
        ports.digests = Arc::new(Eventful {
            before,
            ..Eventful::new(&bench)
        })
    });
    assert_eq!(
        (
            sweep.run().await.unwrap().accepted,
            bench.memory.published().len()
        ),
        (0, 0)
    );
    bench.sweep().run().await.unwrap();
    let published = bench.memory.published();
    assert_eq!(
        (published.len(), published[0].host_ids().count()),
        (1, 6),
        "all took their notices back"
    );
}

#[tokio::test]
async fn a_digest_is_closed_only_when_all_its_hosts_are_released() {
    // Swaps: six claims, six joins, then the releases.
    let bench = silent(&SIX).await;
    let fails = Eventful {
        loads: true,
        ..Eventful::new(&bench)
    };
    let cut = bench.sweep_with(|ports| {
        ports.ledger = Arc::new(Cut {
            inner: fails,
            from: 13,
        })
    });
    cut.run().await.unwrap_err();
    for _ in 0..3 {
        bench.sweep().run().await.unwrap();
        bench.pass(11);
    }
    assert_eq!(bench.memory.published().len(), 1, "by their digest alone");
    assert_eq!(entry(&bench, "a").await.pending, None);
}

/// A ledger that cannot be written from the `from`-th swap on.
struct Cut {
    inner: Eventful,
    from: u32,
}

#[async_trait]
impl Ledger for Cut {
    async fn load(&self, key: &HostKey) -> PortResult<Option<Stored>> {
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        entry: &Entry,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap> {
        if self.inner.swaps.load(Ordering::SeqCst) + 1 >= self.from {
            return Err(PortError::unavailable("table ledger", "no route"));
        }
        self.inner.swap(entry, expected, writer).await
    }

    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        self.inner.inner.open(after).await
    }
}

#[tokio::test]
async fn a_digest_is_not_closed_while_a_host_of_it_goes_on_changing() {
    let bench = silent(&SIX).await;
    // Once the digest was published, somebody else is always faster.
    let memory = bench.memory.clone();
    let restless = restless(&bench, "a", move |_| !memory.published().is_empty());
    bench
        .sweep_with(|ports| ports.ledger = Arc::new(restless))
        .run()
        .await
        .unwrap_err();
    bench.sweep().run().await.unwrap();
    assert_eq!(
        (
            entry(&bench, "a").await.pending,
            bench.memory.published().len()
        ),
        (None, 1)
    );
}

#[tokio::test]
async fn a_digest_that_was_told_lets_go_only_of_what_it_has() {
    let (bench, mut entries) = claimed().await;
    let now = bench.clock.now();
    let told = Acceptance {
        attempt: 1,
        at: now,
        digest: None,
    };
    let first = Digest::new(id(1), &[&entries[0]], now).unwrap();
    put(
        &bench,
        &Digest {
            stage: DigestStage::Accepted,
            accepted: Some(told),
            ..first
        },
    )
    .await;
    // Meanwhile its host has news again, and another digest has them.
    let second = Digest::new(id(2), &[&entries[0]], now).unwrap();
    put(&bench, &second).await;
    let mut news = entries.remove(0);
    news.epoch = 2;
    news.history.iter_mut().for_each(|last| last.epoch = 2);
    change(&bench.memory, &host("a"), |_: Entry| {
        news.clone().batched(&id(2), now)
    });
    bench.sweep().run().await.unwrap();
    let phase = entry(&bench, "a").await.pending.unwrap().phase;
    assert_eq!(phase, Phase::Batched { digest: id(2) });
}

#[tokio::test]
async fn no_notice_is_taken_back_from_a_digest_that_cannot_be_read() {
    let (bench, entries) = claimed().await;
    let now = bench.clock.now();
    put(&bench, &Digest::new(id(1), &[&entries[0]], now).unwrap()).await;
    change(&bench.memory, &host("a"), |entry: Entry| {
        entry.batched(&id(1), now)
    });
    let unreachable = Eventful {
        loads: false,
        ..Eventful::new(&bench)
    };
    bench
        .sweep_with(|ports| ports.digests = Arc::new(unreachable))
        .run()
        .await
        .unwrap_err();
    assert_eq!(entry(&bench, "a").await.digest(), Some(&id(1)));
}

#[tokio::test]
async fn a_host_of_two_regions_is_one_and_the_services_own_are_none() {
    let bench = silent(&["a", "hb:canary-0"]).await;
    let mut heard = hb_service::ports::Heartbeats::load(&*bench.memory, &host("a"))
        .await
        .unwrap()
        .remove(0);
    heard.region = "us-east-1".parse().unwrap();
    heard.heartbeat.last = bench.clock.now();
    hb_service::ports::Heartbeats::record(&*bench.memory, &heard)
        .await
        .unwrap();
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

#[tokio::test]
async fn a_receiver_record_that_keeps_changing_does_not_keep_a_sweep_for_ever() {
    let bench = Bench::new();
    for n in 0..60 {
        bench.beat(&format!("host-{n}")).await;
    }
    bench.sweep().run().await.unwrap();
    bench.pass(61);
    put(&bench, &Receiver::new(Region::local())).await;
    let memory = bench.memory.clone();
    let before = Box::new(move |nth, _: &str| {
        assert!(nth <= 100, "the sweep does not give up");
        change(&memory, &Region::local(), |receiver: Receiver| {
            Some(receiver)
        });
    });
    let sweep = bench.sweep_with(|ports| {
        ports.receivers = Arc::new(Eventful {
            before,
            ..Eventful::new(&bench)
        });
    });
    let error = sweep.run().await.unwrap_err();
    assert!(
        error.to_string().contains("local of table receivers"),
        "{error}"
    );
    assert_eq!(error.report.decided[Kind::Missing], 0, "they are held");
    let held = bench.sweep().run().await.unwrap().held;
    assert_eq!(held, 60, "the next sweep records the hold");
}
