//! Conditions of a sweep about time and old copies, each with a test that fails without it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostKey, Kind, Signal, Timestamp, limits};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortResult, Segment};

use crate::{Beats, Bench, distributed};

#[tokio::test]
async fn silence_counts_only_after_what_clocks_may_differ() {
    let bench = Bench::new();
    bench.beat("a").await;
    let distributed = distributed(limits::GRACE);
    let skew = distributed.skew.as_secs();
    let sweep = bench.sweep().with_settings(distributed);
    sweep.run().await.unwrap();
    bench.pass(60 + skew);
    assert_eq!(sweep.run().await.unwrap().decided.total(), 0);
    bench.pass(1);
    assert_eq!(sweep.run().await.unwrap().decided[Kind::Missing], 1);
}

/// Scans as usual; then time passes, and a host sends its first beat.
struct SlowSweep(Arc<Bench>);

#[async_trait]
impl Heartbeats for SlowSweep {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.0.memory.record(heard).await
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        Heartbeats::load(&*self.0.memory, host).await
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        let page = self.0.memory.scan(segment, after).await;
        self.0.beat_every("late", limits::GRACE).await;
        self.0.clock.advance(2 * limits::NEWS_MARGIN);
        page
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        self.0.memory.mend(ahead, now).await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.0.memory.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        self.0.memory.forget(host, up_to).await
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_host_whose_first_beat_came_during_a_long_sweep_is_registered() {
    let bench = Arc::new(Bench::new());
    let slow = Arc::new(SlowSweep(bench.clone()));
    let report = bench
        .sweep_with(|ports| ports.heartbeats = slow)
        .run()
        .await
        .unwrap();
    assert_eq!(report.decided.total(), 0);
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(report.decided[Kind::Registered], 1);
}

#[tokio::test]
async fn an_old_copy_in_a_scan_does_not_recover_a_host_that_fails_again() {
    let bench = Bench::new();
    bench
        .signal("a", Duration::from_mins(1), Signal::Fail)
        .await;
    bench.sweep().run().await.unwrap();
    bench.pass(10);
    bench.beat("a").await;
    let old = Heartbeats::scan(&*bench.memory, Segment { index: 0, of: 1 }, None).await;
    bench.pass(1);
    bench
        .signal("a", Duration::from_mins(1), Signal::Fail)
        .await;
    let heartbeats = Arc::new(Beats {
        scans: Some(old.unwrap()),
        ..Beats::of(&bench)
    });
    let report = bench
        .sweep_with(|ports| ports.heartbeats = heartbeats)
        .run()
        .await
        .unwrap();
    assert_eq!(report.decided.total(), 0, "it is failing, as people know");
}
