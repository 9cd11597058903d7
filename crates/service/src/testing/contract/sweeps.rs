use std::sync::Arc;

use futures::future::join_all;
use hb_domain::{Kind, Signal};

use super::{World, at, heard};
use crate::ports::{Ports, every_page};
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
    let sweep = Sweep {
        ports,
        settings: SweepSettings::local(),
    };
    (Arc::new(sweep), clock)
}

/// The whole main job over these ports: registered, missing, recovered, each once.
pub async fn silence_is_told_once_and_so_is_the_return(world: World) {
    let (sweep, clock) = sweep(&world);
    let story = [
        (1, "beat", 1),
        (30, "", 0),
        (62, "", 1),
        (63, "", 0),
        (300, "beat", 1),
        (301, "", 0),
    ];
    for (seconds, what, transitions) in story {
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
        let told = report.decided.total();
        assert_eq!(
            (told, report.accepted, report.hosts),
            (transitions, transitions, 1),
            "{report:?}"
        );
    }
}

/// Sweeps that run at the same time claim and tell each transition once between them.
pub async fn of_two_sweeps_at_once_one_claims(world: World) {
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
    // Whoever lost a race for a digest's hosts has told the rest by itself, or leaves it to the next sweep.
    clock.set(at(75));
    sweep.run().await.unwrap();
    let (open, _) = every_page(|after| world.ports.ledger.open(after))
        .await
        .unwrap();
    let told = open
        .iter()
        .filter(|stored| stored.record.history.iter().all(|t| t.accepted.is_some()));
    assert_eq!((open.len(), told.count()), (20, 20));
}
