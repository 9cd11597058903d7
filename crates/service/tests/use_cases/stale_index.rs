//! An index that is minutes behind its table.

use std::sync::Arc;

use async_trait::async_trait;
use hb_domain::{Kind, Receiver, Region};
use hb_service::ports::{Cursor, Ledger, Page, PortResult, Segment, Stored, Swap, Version};
use hb_service::testing::memory::Memory;
use uuid::Uuid;

use crate::{Bench, host};

/// A ledger of receivers that lists some as they were.
struct Stale {
    listed: Vec<Stored<Receiver>>,
    memory: Arc<Memory>,
}

#[async_trait]
impl Ledger<Receiver> for Stale {
    async fn load(&self, region: &Region) -> PortResult<Option<Stored<Receiver>>> {
        self.memory.load(region).await
    }

    async fn swap(
        &self,
        receiver: &Receiver,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<Receiver>> {
        self.memory.swap(receiver, expected, writer).await
    }

    async fn open(
        &self,
        segment: Segment,
        after: Option<Cursor>,
    ) -> PortResult<Page<Stored<Receiver>>> {
        let mut page = Ledger::<Receiver>::open(&*self.memory, segment, after).await?;
        for stored in &mut page.items {
            let old = self.listed.iter();
            let mut old = old.filter(|old| old.record.region == stored.record.region);
            old.next().inspect(|old| stored.clone_from(old));
        }
        Ok(page)
    }
}

#[tokio::test]
async fn a_region_that_an_old_listing_shows_as_dead_is_asked() {
    let (bench, other) = (Bench::new(), "eu-west-1".parse::<Region>().unwrap());
    bench.canary_in(other.clone()).await;
    bench.canary().await;
    let memory = bench.memory.clone();
    let listed = memory.load(&other).await.unwrap().into_iter().collect();
    bench.beat("a").await;
    bench.swept().await;
    for _ in 0..6 * 60 {
        bench.pass(1);
        bench.canary_in(other.clone()).await;
        bench.canary().await;
    }
    let stale = Arc::new(Stale { listed, memory });
    let sweep = bench.sweep_with(|ports| ports.receivers = stale);
    assert_eq!(sweep.run().await.unwrap().decided[Kind::Missing], 0);
    let asked: Option<Stored> = bench.memory.load(&host("a")).await.unwrap();
    assert!(asked.unwrap().record.inquiry.is_some());
}
