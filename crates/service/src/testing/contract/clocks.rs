//! Stories of clocks that step: silence, failures and new hosts are seen all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostId, Kind, Signal, limits};

use super::sweeps::sweep;
use super::{World, at, heard, host};
use crate::admin::HostAdmin;
use crate::testing::memory::{ManualClock, auditor};
use crate::{Caller, Canaries, Sweep};

const YEAR: i64 = 365 * 86_400;
/// From one sweep to the next, in seconds.
const PERIOD: i64 = 20;
/// The interval of every host.
const INTERVAL: i64 = 60;

/// A path on which every canary arrives.
struct Arrives;

#[async_trait]
impl Caller for Arrives {
    async fn beat(&self, _: &HostId) -> Result<(), String> {
        Ok(())
    }
}

/// A service whose clock differs from the right time.
struct Story {
    world: World,
    sweep: Arc<Sweep>,
    clock: Arc<ManualClock>,
    canaries: Canaries,
    /// The right time, and how far the clock is ahead of it, in seconds.
    now: i64,
    ahead: i64,
    /// When each host was first reported, by the right time.
    reported: BTreeMap<(Kind, String), i64>,
}

impl Story {
    fn new(world: World) -> Self {
        let (sweep, clock) = sweep(&world);
        let canaries = Canaries {
            caller: Arc::new(Arrives),
            ports: sweep.ports.clone(),
            region: sweep.settings.region.clone(),
            fresh: Duration::from_secs(7),
        };
        Self {
            world,
            sweep,
            clock,
            canaries,
            now: 0,
            ahead: 0,
            reported: BTreeMap::new(),
        }
    }

    async fn beat(&self, name: &str, signal: Signal) {
        let heard = heard(name, "local", self.now + self.ahead, signal);
        self.world.ports.heartbeats.record(&heard).await.unwrap();
    }

    /// Goes on to `until` of the right time, with a canary every second, and a sweep and a beat of `beating` every
    /// [`PERIOD`].
    async fn go_on(&mut self, until: i64) {
        while self.now < until {
            self.now += 1;
            self.clock.set(at(self.now + self.ahead));
            self.canaries.send().await.unwrap();
            if self.now % PERIOD == 0 {
                self.beat("beating", Signal::Ok).await;
                self.sweep().await;
            }
        }
    }

    async fn sweep(&mut self) {
        self.sweep.run().await.unwrap();
        for name in ["silent", "failing", "beating", "new", "forgotten"] {
            let stored = self.world.ports.ledger.load(&host(name)).await.unwrap();
            let history = stored.map(|stored| stored.record.history);
            for transition in history.into_iter().flatten() {
                let what = (transition.kind, name.to_owned());
                self.reported.entry(what).or_insert(self.now);
            }
        }
    }

    fn at(&self, kind: Kind, name: &str) -> Option<i64> {
        self.reported.get(&(kind, name.to_owned())).copied()
    }

    /// Checks that nothing was hidden for longer than the bound of a sweep and a minute: neither silence from `since` on,
    /// nor what happened at `acted`.
    fn check(&self, since: i64, acted: i64) {
        let skew = i64::try_from(limits::FUTURE_SKEW.as_secs()).unwrap();
        let within = |kind, name: &str, from: i64, bound: i64| {
            let at = self.at(kind, name);
            assert!(
                at.is_some_and(|at| at <= from + bound),
                "{kind} of {name} from {from}: {at:?}"
            );
        };
        within(Kind::Missing, "silent", since, INTERVAL + PERIOD + skew);
        within(Kind::Failing, "failing", acted, PERIOD);
        within(Kind::Registered, "new", acted, PERIOD);
        assert_eq!(self.at(Kind::Missing, "beating"), None);
    }
}

/// The clock shows the next year for six seconds, in which beats arrive and a sweep runs; then it is right again.
pub async fn six_seconds_at_another_year_hide_nothing(world: World) {
    let mut story = Story::new(world);
    for name in ["silent", "failing", "beating", "forgotten"] {
        story.beat(name, Signal::Ok).await;
    }
    story.go_on(40).await;
    story.ahead = YEAR;
    story.go_on(43).await;
    for name in ["silent", "failing", "beating", "forgotten"] {
        story.beat(name, Signal::Ok).await;
    }
    story.beat("failing", Signal::Fail).await;
    story.beat("failing", Signal::Ok).await;
    story.sweep().await;
    story.go_on(46).await;
    story.ahead = 0;
    let admin = HostAdmin {
        ports: story.sweep.ports.clone(),
        region: story.sweep.settings.region.clone(),
        auditor: auditor(&story.sweep.ports),
    };
    story.go_on(50).await;
    admin.forget(&host("forgotten")).await.unwrap();
    assert!(admin.show(&host("forgotten")).await.is_err());
    story.go_on(96).await;
    story.beat("failing", Signal::Fail).await;
    story.beat("failing", Signal::Ok).await;
    story.beat("new", Signal::Ok).await;
    story.beat("forgotten", Signal::Ok).await;
    let deadline = admin.show(&host("new")).await.unwrap().deadline;
    assert_eq!(deadline, Some(at(96 + INTERVAL)));
    story.go_on(300).await;
    story.check(46, 96);
    let failed = Kind::Failing;
    assert_eq!(
        story.at(failed, "failing"),
        Some(43),
        "the failure of the wrong time"
    );
    let entry = story
        .world
        .ports
        .ledger
        .load(&host("failing"))
        .await
        .unwrap();
    let history = entry.unwrap().record.history;
    let failures = history.iter().filter(|last| last.kind == failed).count();
    assert_eq!(failures, 2, "each failure is reported once: {history:?}");
    let again = story
        .world
        .ports
        .ledger
        .load(&host("forgotten"))
        .await
        .unwrap();
    assert_eq!(
        again.unwrap().record.history.last().unwrap().kind,
        Kind::Missing
    );
}

/// The clock is set back by two hours: what is silent from then on is reported as fast as ever.
pub async fn a_clock_set_back_hides_nothing(world: World) {
    let mut story = Story::new(world);
    for name in ["silent", "failing", "beating"] {
        story.beat(name, Signal::Ok).await;
    }
    story.go_on(40).await;
    story.beat("silent", Signal::Ok).await;
    story.ahead = -7_200;
    story.go_on(70).await;
    story.beat("failing", Signal::Fail).await;
    story.beat("new", Signal::Ok).await;
    story.go_on(300).await;
    story.check(40, 70);
}
