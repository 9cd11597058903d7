//! What happens between two steps of a digest: each condition that a later step relies on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::FutureExt;
use hb_domain::{
    Acceptance, Digest, DigestStage, Entry, HostKey, NoticeId, Phase, Publication, Rules, decide,
};
use hb_service::SweepSettings;
use hb_service::ports::{
    Clock, Cursor, Heartbeats, Ledger, Page, PortError, PortResult, Segment, Stored, Swap, Version,
};
use uuid::Uuid;

use crate::races::{Eventful, SIX, change, entry, put, restless, silent};
use crate::{Bench, host};

fn id(n: u8) -> NoticeId {
    NoticeId::of_bytes([n; 32])
}

/// The entries of six hosts whose silence is claimed and not published yet.
async fn claimed() -> (Bench, Vec<Entry>) {
    let bench = silent(&SIX).await;
    let now = bench.clock.now();
    let mut entries = Vec::new();
    for name in SIX {
        let beats = Heartbeats::load(&*bench.memory, &host(name))
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
async fn a_notice_that_no_digest_may_take_is_sent_alone() {
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
async fn a_digest_of_another_sweep_is_left_alone_until_it_is_abandoned() {
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
        "no host had joined"
    );
}

#[tokio::test]
async fn a_sweep_that_did_not_freeze_a_digest_does_not_publish_it() {
    let bench = silent(&SIX).await;
    let memory = bench.memory.clone();
    let before = move |nth, _: &str| {
        if nth == 2 {
            // Another sweep was faster, and saw no host join.
            let open = Ledger::<Digest>::open(&*memory, Segment::WHOLE, None)
                .now_or_never()
                .unwrap()
                .unwrap();
            let frozen = |digest: Digest| digest.frozen(&[], hb_domain::Timestamp::MIN);
            change(&memory, &open.items[0].record.id, frozen);
        }
    };
    let sweep =
        bench.sweep_with(|ports| ports.digests = Arc::new(Eventful::before(&bench, before)));
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
    // Swaps: six claims that join, then the releases.
    let bench = silent(&SIX).await;
    let inner = Eventful::new(&bench);
    let cut = bench.sweep_with(|ports| ports.ledger = Arc::new(Cut { inner, from: 7 }));
    cut.run().await.unwrap_err();
    for _ in 0..3 {
        bench.sweep().run().await.unwrap();
        bench.pass(11);
    }
    assert_eq!(bench.memory.published().len(), 1, "only by their digest");
    assert_eq!(entry(&bench, "a").await.pending, None);
}

/// A ledger that fails from the `from`-th swap on.
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

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        self.inner.inner.open(segment, after).await
    }
}

#[tokio::test]
async fn a_digest_is_not_closed_while_a_host_keeps_changing() {
    let bench = silent(&SIX).await;
    // Once the digest is published, another process is always faster.
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
async fn an_accepted_digest_releases_only_its_own_notices() {
    let (bench, mut entries) = claimed().await;
    let now = bench.clock.now();
    let accepted = Acceptance {
        attempt: 1,
        at: now,
        digest: None,
    };
    let first = Digest::new(id(1), &[&entries[0]], now).unwrap();
    put(
        &bench,
        &Digest {
            stage: DigestStage::Accepted,
            accepted: Some(accepted),
            ..first
        },
    )
    .await;
    // Meanwhile its host has another transition, in another digest.
    let second = Digest::new(id(2), &[&entries[0]], now).unwrap();
    put(&bench, &second).await;
    let mut next = entries.remove(0);
    next.epoch = 2;
    next.history.iter_mut().for_each(|last| last.epoch = 2);
    change(&bench.memory, &host("a"), |_: Entry| {
        next.clone().batched(&id(2), now)
    });
    bench.sweep().run().await.unwrap();
    let phase = entry(&bench, "a").await.pending.unwrap().phase;
    assert_eq!(phase, Phase::Batched { digest: id(2) });
}

#[tokio::test]
async fn no_notice_is_taken_back_from_an_unreadable_digest() {
    let (bench, entries) = claimed().await;
    let now = bench.clock.now();
    put(&bench, &Digest::new(id(1), &[&entries[0]], now).unwrap()).await;
    change(&bench.memory, &host("a"), |entry: Entry| {
        entry.batched(&id(1), now)
    });
    let unreachable = Eventful::unreachable(&bench);
    bench
        .sweep_with(|ports| ports.digests = Arc::new(unreachable))
        .run()
        .await
        .unwrap_err();
    assert_eq!(entry(&bench, "a").await.digest(), Some(&id(1)));
}

#[tokio::test]
async fn a_digest_stays_open_while_the_entry_of_a_host_cannot_be_read() {
    let (bench, entries) = claimed().await;
    let (now, policy) = (bench.clock.now(), SweepSettings::local().delivery);
    let batched = entries[0].clone().batched(&id(1), now).unwrap();
    let accepted = Digest::new(id(1), &[&entries[0]], now)
        .and_then(|digest| digest.frozen([&batched], now))
        .and_then(|digest| digest.leased(Uuid::nil(), now, &policy))
        .and_then(|digest| digest.published(Uuid::nil(), 1, &Publication::Accepted, now))
        .unwrap();
    assert_eq!(accepted.stage, DigestStage::Accepted);
    put(&bench, &accepted).await;
    change(&bench.memory, &host("a"), |_: Entry| Some(batched.clone()));
    bench.memory.spoil_record::<Entry>(&host("a"));
    bench.sweep().run().await.unwrap();
    let stage = digest(&bench, &id(1)).await.stage;
    assert_eq!(stage, DigestStage::Accepted, "a closed one lists no hosts");
}
