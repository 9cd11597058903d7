//! Groups: what waits leaves together, and what is over before that is withdrawn.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hb_domain::{Fleet, FleetRecord, FleetSettings, Kind, Publication, Signal, State};
use hb_service::ports::{Clock, Heartbeats, Ledger, Ports};
use hb_service::{SweepReport, SweepSettings};

use crate::races::{Eventful, change, entry};
use crate::{Bench, host};

const MINUTE: Duration = Duration::from_mins(1);

impl Bench {
    /// Sweeps as a fresh machine does.
    async fn usual(&self) -> SweepReport {
        self.usual_with(|_| ()).await
    }

    async fn usual_with(&self, replace: impl FnOnce(&mut Ports)) -> SweepReport {
        let sweep = self.sweep_with(replace);
        let sweep = sweep.with_settings(SweepSettings::local());
        sweep.run().await.unwrap()
    }

    /// A beat of each, and then so many seconds without.
    async fn beats(&self, names: &[&str], seconds: u64) {
        for name in names {
            self.beat_every(name, MINUTE).await;
        }
        self.pass(seconds);
    }

    /// Hosts that are known, and whose registration was sent long ago.
    async fn known(names: &[&str]) -> Self {
        let bench = Self::new();
        bench.beats(names, 0).await;
        bench.sweep().run().await.unwrap();
        for _ in 0..10 {
            bench.beats(names, 50).await;
        }
        bench
    }

    /// The kinds of what was published, with how many hosts each was about, and clears that.
    fn news(&self, seen: &mut usize) -> Vec<(Kind, usize)> {
        let published = self.memory.published().split_off(*seen);
        *seen += published.len();
        published
            .iter()
            .map(|notice| (notice.kind, notice.count()))
            .collect()
    }

    async fn settings(&self, settings: FleetSettings) {
        let record = FleetRecord {
            settings,
            ..FleetRecord::new(Fleet::main())
        };
        let stored = Ledger::<FleetRecord>::load(&*self.memory, &Fleet::main()).await;
        let version = stored.unwrap().map(|stored| stored.version);
        let writer = uuid::Uuid::from_u128(7);
        self.memory.swap(&record, version, writer).await.unwrap();
    }
}

const THREE: [&str; 3] = ["a", "b", "c"];

#[tokio::test]
async fn an_outage_that_spreads_over_sweeps_is_one_message() {
    let bench = Bench::known(&THREE).await;
    let mut seen = bench.memory.published().len();
    let mut sent = Vec::new();
    for second in (0..500).step_by(10) {
        for (name, until) in [("a", 0), ("b", 10), ("c", 20)] {
            if second <= until {
                bench.beats(&[name], 0).await;
            }
        }
        bench.usual().await;
        sent.extend(bench.news(&mut seen).into_iter().map(|news| (second, news)));
        bench.pass(10);
    }
    // The first was found missing at 70 s.
    assert_eq!(sent, [(100, (Kind::Missing, 3))]);
}

#[tokio::test]
async fn two_messages_of_a_group_are_five_minutes_apart() {
    let bench = Bench::known(&["a", "b", "c", "lab|d"]).await;
    let mut seen = bench.memory.published().len();
    let mut sent = Vec::new();
    for second in (0..900).step_by(10) {
        // They fall silent at 0, 150 and 200 s, and the one of another fleet at 150 s.
        let beating = [("a", 0), ("b", 150), ("c", 200), ("lab|d", 150)];
        for (name, until) in beating {
            if second < until {
                bench.beats(&[name], 0).await;
            }
        }
        bench.usual().await;
        sent.extend(
            bench
                .news(&mut seen)
                .into_iter()
                .map(|news| (second, news.1)),
        );
        bench.pass(10);
    }
    let expected = [(50, 1), (240, 1), (350, 2)];
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_fleet_without_waits_hears_at_once() {
    let bench = Bench::known(&THREE).await;
    bench.settings(FleetSettings::AT_ONCE).await;
    let mut seen = bench.memory.published().len();
    bench.pass(11);
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Missing, 3)]);
    bench.beats(&["a"], 0).await;
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Recovered, 1)]);
    bench.beats(&["b", "c"], 1).await;
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Recovered, 2)]);
}

#[tokio::test]
async fn what_is_decided_when_others_are_due_leaves_with_them() {
    let bench = Bench::known(&["a", "b"]).await;
    let mut seen = bench.memory.published().len();
    bench.pass(9);
    bench.beats(&["b"], 2).await;
    bench.usual().await;
    bench.pass(59);
    let report = bench.usual().await;
    assert_eq!(
        report.decided[Kind::Missing],
        1,
        "b is decided now, and a was before"
    );
    assert_eq!(bench.news(&mut seen), [(Kind::Missing, 2)]);
}

#[tokio::test]
async fn a_host_that_beats_again_before_its_notice_is_sent_is_never_announced() {
    let bench = Bench::known(&["a", "b"]).await;
    let mut seen = bench.memory.published().len();
    bench.pass(11);
    assert_eq!(bench.usual().await.decided[Kind::Missing], 2);
    bench.pass(29);
    bench.beats(&["a"], 1).await;
    let report = bench.usual().await;
    assert_eq!(
        (report.withdrawn, report.decided.total()),
        (1, 0),
        "{report:?}"
    );
    assert_eq!(bench.news(&mut seen), [(Kind::Missing, 1)]);
    let entry = entry(&bench, "a").await;
    let last: Vec<_> = entry.history.iter().rev().take(2).collect();
    assert!(
        last.iter()
            .all(|last| last.withdrawn && last.accepted.is_none())
    );
    assert_eq!((entry.state, entry.pending), (State::Up, None));
    for _ in 0..60 {
        bench.beats(&["a"], 20).await;
        bench.usual().await;
    }
    assert_eq!(bench.news(&mut seen), []);
}

#[tokio::test]
async fn a_host_that_fails_when_it_comes_back_is_failing() {
    let bench = Bench::known(&["a"]).await;
    let mut seen = bench.memory.published().len();
    bench.pass(11);
    bench.usual().await;
    bench.signal("a", MINUTE, Signal::Fail).await;
    let report = bench.usual().await;
    assert_eq!((report.withdrawn, report.decided[Kind::Failing]), (1, 1));
    bench.pass(30);
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Failing, 1)]);
}

#[tokio::test]
async fn a_host_that_is_silent_again_before_people_hear_of_its_return_stays_missing() {
    let bench = Bench::known(&["a"]).await;
    let mut seen = bench.memory.published().len();
    bench.pass(11);
    bench.usual().await;
    bench.pass(30);
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Missing, 1)]);
    // The group of its recovery is not quiet.
    let sent = |record: FleetRecord| {
        let now = bench.clock.now();
        Some(record.sending(Kind::Recovered, now))
    };
    change::<FleetRecord>(&bench.memory, &Fleet::main(), sent);
    bench.beats(&["a"], 0).await;
    bench.usual().await;
    bench.pass(61);
    assert_eq!(bench.usual().await.withdrawn, 1);
    bench.pass(600);
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), []);
    assert_eq!(entry(&bench, "a").await.state, State::Missing);
}

#[tokio::test]
async fn of_two_sweeps_at_the_same_time_one_sends() {
    let bench = Bench::known(&THREE).await;
    let mut seen = bench.memory.published().len();
    bench.pass(11);
    bench.usual().await;
    bench.pass(30);
    let memory = bench.memory.clone();
    let now = bench.clock.now();
    let before = move |nth, _: &str| {
        if nth == 1 {
            let sending = |record: FleetRecord| Some(record.sending(Kind::Missing, now));
            change::<FleetRecord>(&memory, &Fleet::main(), sending);
        }
    };
    bench
        .usual_with(|ports| ports.fleets = Arc::new(Eventful::before(&bench, before)))
        .await;
    assert_eq!(bench.news(&mut seen), [], "the other sweep has what it saw");
    bench.pass(300);
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Missing, 3)]);
}

#[tokio::test]
async fn what_another_sweep_decides_first_leaves_with_the_group_of_this_one() {
    for hosts in [&THREE[..1], &THREE] {
        let bench = Bench::known(hosts).await;
        let group_wait = FleetSettings::AT_ONCE.group_wait;
        bench
            .settings(FleetSettings {
                group_wait,
                ..FleetSettings::default()
            })
            .await;
        let mut seen = bench.memory.published().len();
        bench.pass(11);
        let other = bench.sweep().with_settings(SweepSettings::local());
        let before = move |nth, _: &str| {
            if nth == 1 {
                let report = other.run().now_or_never().unwrap().unwrap();
                assert!(report.decided[Kind::Missing] > 0 && report.accepted == 0);
            }
        };
        let report = bench
            .usual_with(|ports| ports.ledger = Arc::new(Eventful::before(&bench, before)))
            .await;
        assert_eq!(report.lost_races, hosts.len() as u64);
        assert_eq!(bench.news(&mut seen), [(Kind::Missing, hosts.len())]);
    }
}

#[tokio::test]
async fn a_record_of_a_fleet_that_cannot_be_read_holds_nothing_back() {
    let bench = Bench::known(&THREE).await;
    let mut seen = bench.memory.published().len();
    bench.settings(FleetSettings::default()).await;
    bench.memory.spoil_record::<FleetRecord>(&Fleet::main());
    bench.pass(11);
    let report = bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Missing, 3)]);
    let trouble = "table fleets holds an unreadable item main, which was skipped";
    assert!(report.troubles[0].starts_with(trouble), "{report:?}");
}

#[tokio::test]
async fn a_host_that_is_back_when_a_digest_is_sent_again_is_marked() {
    let bench = Bench::known(&THREE).await;
    bench.settings(FleetSettings::AT_ONCE).await;
    let mut seen = bench.memory.published().len();
    let refused = Publication::Refused("throttled".to_owned());
    bench.memory.next_publications([refused]);
    bench.pass(11);
    bench.usual().await;
    bench.beats(&["b"], 10).await;
    bench.usual().await;
    assert_eq!(
        bench.news(&mut seen)[..2],
        [(Kind::Missing, 3), (Kind::Missing, 3)]
    );
    let texts = bench.memory.published();
    let texts: Vec<_> = texts
        .iter()
        .rev()
        .take(3)
        .map(hb_domain::Notice::text)
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains(", 1 back by now: a, b, c")),
        "{texts:?}"
    );
    assert_eq!(
        texts
            .iter()
            .filter(|text| text.contains("back by now"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_host_that_flaps_recovers_only_when_it_beats_steadily() {
    let bench = Bench::known(&["a"]).await;
    bench.settings(FleetSettings::AT_ONCE).await;
    let mut seen = bench.memory.published().len();
    for _ in 0..2 {
        bench.pass(61);
        bench.usual().await;
        bench.beats(&["a"], 0).await;
        bench.usual().await;
    }
    assert_eq!(bench.news(&mut seen).len(), 4);
    bench.pass(61);
    bench.usual().await;
    let texts = bench.memory.published();
    assert!(
        texts
            .last()
            .unwrap()
            .text()
            .ends_with("; flapping: 3rd time in 3 min")
    );
    bench.news(&mut seen);
    for _ in 0..5 {
        bench.beats(&["a"], 29).await;
        bench.usual().await;
    }
    assert_eq!(bench.news(&mut seen), []);
    bench.beats(&["a"], 5).await;
    bench.usual().await;
    assert_eq!(bench.news(&mut seen), [(Kind::Recovered, 1)]);
    assert_eq!(
        Heartbeats::load(&*bench.memory, &host("a"))
            .await
            .unwrap()
            .len(),
        1
    );
}
