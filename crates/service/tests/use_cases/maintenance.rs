//! Maintenance windows: no silence of their hosts counts, and failures wait.

use std::time::Duration;

use hb_domain::{
    Blackout, Fleet, FleetRecord, FleetSettings, HostPrefix, Kind, Signal, State, Times, Window,
    Zone,
};
use hb_service::SweepSettings;
use hb_service::admin::{FleetAdmin, HostAdmin, MaintenanceError};
use hb_service::ports::{Audit, Clock};
use hb_service::testing::memory::auditor;

use crate::races::{change, entry};
use crate::{Bench, host};

const FIVE_MINUTES: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);

impl Bench {
    fn fleets(&self) -> FleetAdmin {
        FleetAdmin {
            ports: self.ports(),
            auditor: auditor(&self.ports()),
        }
    }

    /// A window of fleet `main` from so many seconds on, for so many.
    async fn window(&self, prefixes: &[&str], from: u64, long: u64) -> Window {
        let since = self.clock.now().plus(Duration::from_secs(from));
        let until = since.plus(Duration::from_secs(long));
        let prefixes = prefixes.iter().map(|one| one.parse().unwrap()).collect();
        let times = Times::Once(Blackout { since, until });
        self.add(prefixes, times).await.unwrap()
    }

    async fn add(
        &self,
        prefixes: Vec<HostPrefix>,
        times: Times,
    ) -> Result<Window, MaintenanceError> {
        let fleets = self.fleets();
        fleets
            .add_window(&Fleet::main(), prefixes, times, None)
            .await
    }

    /// Sweeps every ten seconds for so many, and returns the kinds of what was published, with the hosts.
    async fn live(&self, seconds: u64) -> Vec<(Kind, String)> {
        let before = self.memory.published().len();
        for _ in 0..seconds / 10 {
            self.pass(10);
            self.sweep().run().await.unwrap();
        }
        let published = self.memory.published().split_off(before);
        let named = published.iter().map(|notice| {
            let hosts: Vec<_> = notice.host_ids().map(ToString::to_string).collect();
            (notice.kind, hosts.join(" "))
        });
        named.collect()
    }

    /// Hosts that are known.
    async fn with_hosts(names: &[&str]) -> Self {
        let bench = Self::new();
        for name in names {
            bench.beat(name).await;
        }
        bench.sweep().run().await.unwrap();
        bench
    }
}

fn told(kind: Kind, hosts: &str) -> (Kind, String) {
    (kind, hosts.to_owned())
}

#[tokio::test]
async fn no_silence_counts_in_a_window_and_only_its_hosts_are_covered() {
    let bench = Bench::with_hosts(&["shop-1/a", "shop-1/b", "shop-2/a", "lab|shop-1/a"]).await;
    bench.window(&["shop-1/"], 30, 600).await;
    let others = [
        told(Kind::Missing, "shop-1/a"),
        told(Kind::Missing, "shop-2/a"),
    ];
    assert_eq!(bench.live(620).await, others, "of the lab, and of shop 2");
    bench.beat("shop-1/b").await;
    assert_eq!(bench.live(60).await, [], "time to beat again");
    assert_eq!(
        bench.live(20).await,
        [told(Kind::Missing, "shop-1/a shop-1/b")]
    );
}

#[tokio::test]
async fn a_failure_in_a_window_is_told_when_it_lasts_and_withdrawn_when_it_is_over() {
    let bench = Bench::with_hosts(&["a", "b"]).await;
    bench.window(&[], 0, 600).await;
    for name in ["a", "b"] {
        bench.signal(name, FIVE_MINUTES, Signal::Fail).await;
    }
    assert_eq!(bench.live(300).await, []);
    assert_eq!(
        entry(&bench, "a").await.state,
        State::Failing,
        "shown at once"
    );
    bench.beat_every("b", FIVE_MINUTES).await;
    assert_eq!(bench.live(290).await, []);
    assert_eq!(entry(&bench, "b").await.state, State::Up);
    assert_eq!(bench.live(20).await, [told(Kind::Failing, "a")]);
    bench.beat_every("a", FIVE_MINUTES).await;
    assert_eq!(bench.live(20).await, [told(Kind::Recovered, "a")]);
    let withdrawn = entry(&bench, "b").await.history;
    assert!(
        withdrawn[1..].iter().all(|last| last.withdrawn),
        "{withdrawn:?}"
    );
}

#[tokio::test]
async fn a_silence_whose_notice_waits_when_a_window_opens_waits_for_its_end() {
    let bench = Bench::with_hosts(&["a", "b"]).await;
    let settings = FleetSettings {
        group_wait: FleetSettings::AT_ONCE.group_wait,
        ..FleetSettings::default()
    };
    let now = bench.clock.now();
    bench.window(&[], 65, 600).await;
    change(&bench.memory, &Fleet::main(), |record: FleetRecord| {
        let record = FleetRecord { settings, ..record };
        Some(record.sending(Kind::Missing, now))
    });
    bench.pass(61);
    let as_usual = bench.sweep().with_settings(SweepSettings::local());
    as_usual.run().await.unwrap();
    assert_eq!(entry(&bench, "a").await.state, State::Missing);
    bench.pass(400);
    as_usual.run().await.unwrap();
    bench.beat("b").await;
    as_usual.run().await.unwrap();
    let told = |bench: &Bench| {
        let published = bench.memory.published().into_iter();
        let missing = published.filter(|notice| notice.kind == Kind::Missing);
        missing
            .map(|notice| notice.about_whom())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&bench), [""; 0]);
    bench.pass(210);
    as_usual.run().await.unwrap();
    assert_eq!(told(&bench), ["main/a"]);
}

#[tokio::test]
async fn what_is_missing_in_a_window_is_left_out_of_reminders() {
    let bench = Bench::with_hosts(&["shop-1/a", "shop-2/a"]).await;
    bench.live(80).await;
    let daily = SweepSettings {
        groups: FleetSettings {
            repeat_interval: None,
            ..FleetSettings::AT_ONCE
        },
        ..SweepSettings::local()
    };
    bench.window(&["shop-1/"], 24 * 3_600 - 60, 3_600).await;
    bench.pass(24 * 3_600);
    bench.sweep().with_settings(daily).run().await.unwrap();
    let last = bench.memory.published().pop().unwrap();
    let hosts: Vec<_> = last.host_ids().map(ToString::to_string).collect();
    assert!(last.reminder.is_some(), "{last:?}");
    assert_eq!(hosts, ["shop-2/a"]);
}

#[tokio::test]
async fn a_nightly_window_counts_every_night() {
    let bench = Bench::with_hosts(&["a"]).await;
    // The clock shows 22:13.
    let times = Times::Repeated {
        cron: "0 2 * * *".parse().unwrap(),
        tz: Zone::default(),
        for_ms: 2 * 3_600_000,
    };
    bench.add(vec![], times).await.unwrap();
    bench.pass(3 * 3_600 + 46 * 60 + 20);
    for night in 0..2 {
        bench.beat("a").await;
        assert_eq!(
            bench.live(2 * 3_600 + 60).await,
            [],
            "silent from 1:59:40 to 4:00:40, night {night}"
        );
        bench.beat_every("a", FIVE_MINUTES).await;
        bench.pass(22 * 3_600 - 60);
    }
    bench.pass(3_600);
    assert_eq!(bench.live(20).await, [], "in the third night");
    bench.pass(2 * 3_600);
    assert_eq!(bench.live(20).await, [told(Kind::Missing, "a")]);
}

#[tokio::test]
async fn admins_see_windows_and_what_is_in_them() {
    let bench = Bench::with_hosts(&["shop-1/a", "shop-2/a"]).await;
    let (fleets, hosts) = (
        bench.fleets(),
        HostAdmin {
            ports: bench.ports(),
            region: hb_domain::Region::local(),
            auditor: auditor(&bench.ports()),
        },
    );
    let window = bench.window(&["shop-1/"], 10, 600).await;
    let in_window = async |name: &str| hosts.show(&host(name)).await.unwrap().window;
    assert_eq!(in_window("shop-1/a").await, None, "not yet");
    bench.pass(11);
    let (found, open) = in_window("shop-1/a").await.unwrap();
    assert_eq!(found, window);
    assert_eq!(open.until.since(bench.clock.now()).as_secs(), 599);
    assert_eq!(in_window("shop-2/a").await, None);
    let view = hosts.show(&host("shop-1/a")).await.unwrap();
    assert_eq!(view.deadline, Some(open.until.plus(Duration::from_mins(1))));
    let listed = vec![(Fleet::main(), window.clone())];
    assert_eq!(fleets.windows().await.unwrap().0, listed);
    let removed = fleets.remove_window(&window.id).await.unwrap();
    assert_eq!(removed, (Fleet::main(), window.clone()));
    assert_eq!(in_window("shop-1/a").await, None);
    let again = fleets.remove_window(&window.id).await;
    assert!(
        matches!(again, Err(MaintenanceError::NoSuchWindow(_))),
        "{again:?}"
    );
    let acts = Audit::list(&*bench.memory, bench.clock.now().minus(HOUR), None).await;
    let acts: Vec<_> = acts
        .unwrap()
        .items
        .iter()
        .map(|act| act.kind.as_str())
        .collect();
    assert_eq!(acts, ["maintenance add", "maintenance remove"]);
}

#[tokio::test]
async fn windows_of_a_fleet_that_cannot_be_read_do_not_count_and_that_is_reported() {
    let bench = Bench::with_hosts(&["a"]).await;
    bench.window(&[], 0, 600).await;
    bench.memory.spoil_record::<FleetRecord>(&Fleet::main());
    bench.pass(61);
    let report = bench.sweep().run().await.unwrap();
    assert!(
        report.troubles[0].starts_with("table fleets holds an unreadable item main"),
        "{report:?}"
    );
    assert_eq!(entry(&bench, "a").await.state, State::Missing);
}

#[tokio::test]
async fn a_window_that_is_over_is_not_added() {
    let bench = Bench::with_hosts(&["a"]).await;
    let until = bench.clock.now();
    let since = until.minus(HOUR);
    let refused = bench
        .add(vec![], Times::Once(Blackout { since, until }))
        .await;
    assert!(matches!(refused, Err(MaintenanceError::Window(_))));
    assert_eq!(bench.fleets().windows().await.unwrap().0, []);
}
