//! What the queue of echoes hides, and what cannot be read of it or behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use hb_domain::{Entry, Publication};
use hb_service::ports::{Echo, Echoes, Page, PortResult, Unreadable};
use hb_service::testing::memory::Memory;

use crate::races::{entry, silent};
use crate::{Bench, host};

/// A bench with notices of unknown outcome of these hosts, whose echoes have arrived.
async fn all_echoed(names: &[&str]) -> Bench {
    let bench = silent(names).await;
    let unknown = || Publication::Unknown("timed out".to_owned());
    bench
        .memory
        .next_publications(names.iter().map(|_| unknown()));
    bench.sweep().run().await.unwrap();
    for (n, notice) in bench.memory.published().iter().enumerate() {
        bench.memory.echo(Echo {
            subject: notice.subject(),
            attempt: 1,
            receipt: n.to_string(),
        });
    }
    bench
}

#[tokio::test]
async fn an_unreadable_record_behind_an_echo_fails_no_sweep_and_no_other_echo() {
    let bench = all_echoed(&["lab|a", "b", "test|c"]).await;
    bench.memory.spoil_record::<Entry>(&host("b"));
    let first = bench.sweep().run().await.unwrap();
    assert_eq!(first.echoed, 2);
    let skipped = "table ledger holds an unreadable item main/b, which was skipped";
    assert!(
        first
            .troubles
            .iter()
            .any(|trouble| trouble.starts_with(skipped)),
        "{first:?}"
    );
    for name in ["lab|a", "test|c"] {
        assert_eq!(entry(&bench, name).await.pending, None);
    }
    bench.pass(1);
    bench.beat("d").await;
    for _ in 0..60 {
        bench.sweep().run().await.unwrap();
        bench.pass(1);
    }
    assert_eq!(bench.memory.accepted().len(), 1, "d is registered");
    let left = bench.memory.receive(true).await.unwrap().items;
    let left: Vec<_> = left.iter().map(|echo| &echo.subject).collect();
    let published = bench.memory.published();
    let of_b = published
        .iter()
        .find(|notice| notice.about_whom() == "main/b");
    assert_eq!(left, [&of_b.unwrap().subject()], "it comes again");
}

/// A queue whose first message cannot be read and is hidden afterwards, as SQS does, and which finds nothing unless
/// all of it is searched.
struct Sparse {
    inner: Arc<Memory>,
    thorough: AtomicU32,
    quick: AtomicU32,
}

#[async_trait]
impl Echoes for Sparse {
    async fn receive(&self, thorough: bool) -> PortResult<Page<Echo>> {
        if !thorough {
            self.quick.fetch_add(1, Ordering::SeqCst);
            return Ok(Page::default());
        }
        if self.thorough.fetch_add(1, Ordering::SeqCst) > 0 {
            return self.inner.receive(thorough).await;
        }
        let (key, cause) = ("m-1".to_owned(), "not JSON".to_owned());
        Ok(Page {
            unreadable: vec![Unreadable { key, cause }],
            ..Page::default()
        })
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        self.inner.acknowledge(receipts).await
    }
}

#[tokio::test]
async fn a_notice_in_doubt_is_sent_again_only_after_all_of_the_queue_was_searched() {
    let bench = all_echoed(&["a"]).await;
    let echoes = Arc::new(Sparse {
        inner: bench.memory.clone(),
        thorough: AtomicU32::new(0),
        quick: AtomicU32::new(0),
    });
    let sweep = bench.sweep_with(|ports| ports.echoes = echoes.clone());
    let report = sweep.run().await.unwrap();
    assert_eq!((report.echoed, report.unreadable), (1, 1), "{report:?}");
    assert_eq!(bench.memory.published().len(), 1);
    // Nothing is in doubt any more: a second is not spent on it.
    let thorough = echoes.thorough.load(Ordering::SeqCst);
    sweep.run().await.unwrap();
    assert_eq!(echoes.thorough.load(Ordering::SeqCst), thorough);
    assert_eq!(echoes.quick.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_digest_in_doubt_is_sent_again_only_after_all_of_the_queue_was_searched() {
    let bench = Bench::new();
    for n in 0..6 {
        bench.beat(&format!("web-{n}")).await;
    }
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
    let echoes = Arc::new(Sparse {
        inner: bench.memory.clone(),
        thorough: AtomicU32::new(1),
        quick: AtomicU32::new(0),
    });
    let sweep = bench.sweep_with(|ports| ports.echoes = echoes);
    assert_eq!(sweep.run().await.unwrap().echoed, 1);
    assert_eq!(bench.memory.published().len(), 1);
}
