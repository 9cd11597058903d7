use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Entry, HostKey, Timestamp};
use uuid::Uuid;

use super::{ManualClock, Memory};
use crate::ports::{
    Cursor, Heard, Heartbeats, Ledger, Page, PortResult, Proposal, Segment, Stored, Swap, Version,
};

/// Records of one call that reads several (Amazon DynamoDB API reference, `BatchGetItem`).
const BATCH: usize = 100;

/// The ledger and the heartbeats of a [`Memory`], each call to which takes time.
pub struct Slow {
    /// Where they are kept.
    pub inner: Arc<Memory>,
    /// What advances with each call.
    pub clock: Arc<ManualClock>,
    /// How long a call takes.
    pub call: Duration,
}

impl Slow {
    fn call(&self, calls: usize) {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.clock.advance(self.call * calls);
    }
}

#[async_trait]
impl Ledger for Slow {
    async fn load(&self, key: &HostKey) -> PortResult<Option<Stored>> {
        self.call(1);
        Ledger::<Entry>::load(&*self.inner, key).await
    }

    async fn load_many(&self, keys: &[HostKey]) -> Vec<PortResult<Option<Stored>>> {
        self.call(keys.len().div_ceil(BATCH));
        Ledger::<Entry>::load_many(&*self.inner, keys).await
    }

    async fn swap(
        &self,
        record: &Entry,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap> {
        self.call(1);
        self.inner.swap(record, expected, writer).await
    }

    async fn swap_many(&self, swaps: &[Proposal]) -> Vec<PortResult<Swap>> {
        self.call(swaps.len());
        self.inner.swap_many(swaps).await
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        self.call(1);
        self.inner.open(segment, after).await
    }
}

#[async_trait]
impl Heartbeats for Slow {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.inner.record(heard).await
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        self.call(1);
        Heartbeats::load(&*self.inner, host).await
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.call(1);
        self.inner.scan(segment, after).await
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        self.call(1);
        self.inner.mend(ahead, now).await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.inner.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        self.inner.forget(host, up_to).await
    }

    async fn check(&self) -> PortResult<()> {
        self.inner.check().await
    }
}
