use std::sync::Arc;

use futures::future::join_all;
use hb_domain::{FleetSettings, Kind, Signal};

use super::{World, at, heard};
use crate::ports::{Ports, Segment, every_page};
use crate::testing::memory::{CountingIds, ManualClock};
use crate::{Sweep, SweepReport, SweepSettings};

/// The sweep over these ports, and its clock.
pub(super) fn sweep(world: &World) -> (Arc<Sweep>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(at(0)));
    let ports = Ports {
        clock: clock.clone(),
        ids: Arc::new(CountingIds::default()),
        ..world.ports.clone()
    };
    let sweep = Sweep::new(
        ports,
        SweepSettings {
            groups: FleetSettings::AT_ONCE,
            ..SweepSettings::local()
        },
    );
    (Arc::new(sweep), clock)
}

/// A host is registered, missing and recovered, each with one notice.
pub async fn silence_and_recovery_cause_one_notice_each(world: World) {
    let (sweep, clock) = sweep(&world);
    let steps = [
        (1, "beat", 1),
        (30, "", 0),
        (62, "", 1),
        (63, "", 0),
        (300, "beat", 1),
        (301, "", 0),
    ];
    for (seconds, what, transitions) in steps {
        if what == "beat" {
            world
                .ports
                .heartbeats
                .record(&heard("web-01", "local", seconds, Signal::Ok))
                .await
                .unwrap();
        }
        clock.set(at(seconds));
        let report = sweep.run().await.unwrap();
        let decided = report.decided.total();
        assert_eq!(
            (decided, report.accepted, report.hosts),
            (transitions, transitions, 1),
            "{report:?}"
        );
    }
}

/// Concurrent sweeps claim each transition once, and deliver it once.
pub async fn concurrent_sweeps_claim_each_transition_once(world: World) {
    let (sweep, clock) = sweep(&world);
    for i in 0..20 {
        world
            .ports
            .heartbeats
            .record(&heard(&format!("host-{i}"), "local", 1, Signal::Ok))
            .await
            .unwrap();
    }
    clock.set(at(62));
    let runs = (0..4).map(|_| {
        let sweep = sweep.clone();
        tokio::spawn(async move { sweep.run().await.unwrap() })
    });
    let reports: Vec<_> = join_all(runs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let sum = |of: fn(&SweepReport) -> u64| reports.iter().map(of).sum::<u64>();
    assert_eq!(sum(|r| r.decided[Kind::Missing]), 20, "{reports:?}");
    // A sweep that lost a race for a digest's hosts delivered the rest itself, or leaves them to the next sweep.
    clock.set(at(75));
    sweep.run().await.unwrap();
    let (open, _) = every_page(|after| world.ports.ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    let accepted = open
        .iter()
        .filter(|stored| stored.record.history.iter().all(|t| t.accepted.is_some()));
    assert_eq!((open.len(), accepted.count()), (20, 20));
}
