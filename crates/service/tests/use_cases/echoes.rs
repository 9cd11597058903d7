//! Publishes of unknown outcome, and the echoes that settle them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{DeliveryPolicy, Entry, Kind, Publication, Signal};
use hb_service::ports::{Echo, Echoes, Heartbeats, Ledger, Page, PortError, PortResult, Segment};
use hb_service::{Sweep, SweepSettings};

use crate::races::{Eventful, entry, restless, silent};
use crate::sweep::kinds;
use crate::{Beats, Bench, at_once, distributed};

/// A queue of echoes that cannot be reached.
struct Unreachable;

#[async_trait]
impl Echoes for Unreachable {
    async fn receive(&self, _: bool) -> PortResult<Page<Echo>> {
        Err(PortError::unavailable("queue echo", "no route"))
    }
    async fn acknowledge(&self, _: &[String]) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_notice_of_unknown_outcome_waits_until_echoes_can_be_read() {
    let bench = silent(&["a"]).await;
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    bench.sweep().run().await.unwrap();
    bench
        .sweep_with(|ports| ports.echoes = Arc::new(Unreachable))
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

/// A bench with one notice of unknown outcome, whose echo has arrived.
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
async fn an_echo_that_could_not_be_recorded_is_not_acknowledged() {
    let bench = echoed().await;
    let unreachable = Eventful::unreachable(&bench);
    bench
        .sweep_with(|ports| ports.ledger = Arc::new(unreachable))
        .run()
        .await
        .unwrap_err();
    assert_eq!(bench.memory.receive(true).await.unwrap().items.len(), 1);
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
async fn an_echo_is_not_acknowledged_while_its_host_keeps_changing() {
    let bench = echoed().await;
    let restless = restless(&bench, "a", |_| true);
    bench
        .sweep_with(|ports| ports.ledger = Arc::new(restless))
        .run()
        .await
        .unwrap_err();
    assert_eq!(bench.memory.receive(true).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_waits_for_the_echo() {
    let bench = silent(&["a"]).await;
    let echo_wait = Duration::from_mins(3);
    let delivery = DeliveryPolicy {
        lease: Duration::from_secs(10),
        echo_wait,
    };
    let sweep = bench.sweep().with_settings(SweepSettings {
        delivery,
        ..at_once()
    });
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

#[tokio::test]
async fn a_digest_of_unknown_outcome_waits_until_echoes_can_be_read() {
    let bench = Bench::new();
    for n in 0..6 {
        bench.beat(&format!("web-{n}")).await;
    }
    bench.sweep().run().await.unwrap();
    bench.pass(61);
    let before = bench.memory.published().len();
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    assert_eq!(bench.sweep().run().await.unwrap().unknown, 1);
    let unreachable = bench.sweep_with(|ports| ports.echoes = Arc::new(Unreachable));
    unreachable.run().await.unwrap_err();
    assert_eq!(
        bench.memory.published().len(),
        before + 1,
        "it may have been accepted"
    );
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.memory.published().len(), before + 2);
}

#[tokio::test]
async fn a_failure_during_a_long_wait_for_an_echo_is_reported_afterwards() {
    let bench = Bench::new();
    bench.beat("a").await;
    let distributed = distributed(Duration::from_secs(70));
    let sweep = bench.sweep().with_settings(distributed);
    let unknown = Publication::Unknown("timed out".to_owned());
    bench.memory.next_publications([unknown]);
    sweep.run().await.unwrap();
    // It fails once and recovers; the echo arrives many sweeps later.
    bench
        .signal("a", Duration::from_mins(1), Signal::Fail)
        .await;
    for _ in 0..4 {
        bench.pass(40);
        bench.beat("a").await;
        sweep.run().await.unwrap();
    }
    let registered = bench.memory.published().remove(0);
    let echo = Echo {
        subject: registered.subject(),
        attempt: 1,
        receipt: "1".to_owned(),
    };
    bench.memory.echo(echo);
    sweep.run().await.unwrap();
    bench.pass(40);
    bench.beat("a").await;
    sweep.run().await.unwrap();
    assert_eq!(
        bench
            .notified()
            .keys()
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>(),
        [Kind::Failing, Kind::Recovered]
    );
}

/// A bench and a sweep, right after the late echo of a notice. The host sent a beat a second ago.
async fn echoed_late() -> (Bench, Sweep) {
    let bench = Bench::new();
    bench.beat("a").await;
    let settings = distributed(Duration::from_secs(70));
    let sweep = bench.sweep().with_settings(settings);
    bench
        .memory
        .next_publications([Publication::Unknown("timed out".to_owned())]);
    sweep.run().await.unwrap();
    bench.pass(60);
    bench.beat("a").await;
    bench.pass(1);
    let subject = bench.memory.published()[0].subject();
    bench.memory.echo(Echo {
        subject,
        attempt: 1,
        receipt: "1".to_owned(),
    });
    (bench, sweep)
}

#[tokio::test]
async fn a_rechecked_host_is_closed_after_its_echo() {
    let (bench, sweep) = echoed_late().await;
    assert_eq!(sweep.run().await.unwrap().echoed, 1);
    assert_eq!(
        Ledger::<Entry>::open(&*bench.memory, Segment::WHOLE, None)
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn a_recheck_does_not_read_a_stale_copy() {
    let (bench, sweep) = echoed_late().await;
    let old = Heartbeats::scan(&*bench.memory, Segment { index: 0, of: 1 }, None)
        .await
        .unwrap();
    bench
        .signal("a", Duration::from_mins(1), Signal::Fail)
        .await;
    let heartbeats = Arc::new(Beats {
        scans: Some(old),
        ..Beats::of(&bench)
    });
    let sweep = bench
        .sweep_with(|ports| ports.heartbeats = heartbeats)
        .with_settings(sweep.settings);
    assert_eq!(sweep.run().await.unwrap().decided[Kind::Failing], 1);
}
