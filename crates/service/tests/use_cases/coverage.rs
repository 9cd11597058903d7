use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Entry, HostId, Kind, Notice, Publication, Receiver, Region, Signal};
use hb_service::ports::{Clock, Echo, Heartbeats, Ledger, Segment};
use hb_service::{Caller, Canaries, Sweep, SweepReport, SweepSettings};

use crate::{Beats, Bench};

/// A way that is always open.
struct Open;

#[async_trait]
impl Caller for Open {
    async fn beat(&self, _: &HostId) -> Result<(), String> {
        Ok(())
    }
}

impl Bench {
    /// A canary that is heard. Gives how long the receiver was deaf before.
    async fn canary(&self) -> Option<Duration> {
        let settings = SweepSettings::local();
        let canaries = Canaries {
            ports: self.ports(),
            caller: Arc::new(Open),
            region: settings.region,
            fresh: settings.canaries.fresh,
        };
        canaries.send().await.unwrap()
    }

    /// Canaries for so many seconds.
    async fn hear_for(&self, seconds: u64) {
        for _ in 0..seconds {
            self.pass(1);
            self.canary().await;
        }
    }

    async fn swept(&self) -> SweepReport {
        self.sweep().run().await.unwrap()
    }

    /// The last notice of a kind.
    fn last(&self, kind: Kind) -> Notice {
        self.memory
            .accepted()
            .into_iter()
            .rfind(|notice| notice.kind == kind)
            .unwrap()
    }

    /// What people were told, of which host and how often, without registrations.
    fn told(&self) -> BTreeMap<(Kind, String), usize> {
        let mut told = BTreeMap::new();
        for notice in self
            .memory
            .accepted()
            .iter()
            .filter(|notice| notice.kind != Kind::Registered)
        {
            for host in notice.host_ids() {
                *told.entry((notice.kind, host.to_string())).or_default() += 1;
            }
        }
        told
    }
}

/// The end of a text that tells of silence of which nothing is sure.
const MARK: &str = " (or the receiver is deaf)";

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("host-{n}")).collect()
}

async fn all_beat(bench: &Bench, names: &[String]) {
    for name in names {
        bench.beat(name).await;
    }
}

/// A bench with hosts that beat just now, and have been known for so long that they are not news.
async fn known(names: &[String]) -> Bench {
    let bench = Bench::new();
    all_beat(&bench, names).await;
    bench.canary().await;
    bench.swept().await;
    bench.hear_for(130).await;
    all_beat(&bench, names).await;
    bench.swept().await;
    bench
}

/// What is told of the receiver itself.
fn receiver(kind: Kind) -> (Kind, String) {
    (kind, HostId::receiver().to_string())
}

#[tokio::test]
async fn an_hour_without_a_server_is_nobodys_silence() {
    let (bench, names) = (Bench::new(), names(500));
    all_beat(&bench, &names).await;
    bench.beat("dead").await;
    bench.canary().await;
    bench.swept().await;
    // Nobody listens. The sweep after the return may be faster than the canary, and than the hosts.
    bench.pass(3_600);
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    assert_eq!(bench.canary().await, Some(Duration::from_hours(1)));
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    bench.hear_for(50).await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    assert_eq!(bench.told(), BTreeMap::new(), "nobody is told anything");
    bench.hear_for(12).await;
    bench.swept().await;
    bench.swept().await;
    assert_eq!(
        bench.told(),
        [((Kind::Missing, "dead".to_owned()), 1)].into()
    );
}

#[tokio::test]
async fn while_the_receiver_is_deaf_news_are_held_and_people_told_so_once() {
    let names = names(60);
    let bench = known(&names).await;
    // Canaries and beats stop. Nobody is silent before that, so all are held, and the fleet is told so.
    bench.pass(130);
    assert_eq!(
        (bench.swept().await.held, bench.swept().await.held),
        (60, 60)
    );
    assert_eq!(bench.told(), [(receiver(Kind::Failing), 1)].into());
    bench.pass(14 * 60);
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    // A quarter of an hour is enough: late, and marked.
    bench.pass(60);
    assert_eq!(bench.swept().await.decided[Kind::Missing], 60);
    let marked = bench.last(Kind::Missing).text();
    assert!(marked.ends_with(MARK), "{marked}");
    // That nobody is left to be held says nothing of the receiver, nor does a canary that the next one does not follow.
    bench.swept().await;
    bench.canary().await;
    bench.pass(10);
    bench.swept().await;
    assert_eq!(bench.told().get(&receiver(Kind::Recovered)), None);
    // It hears again: said once, and so do the hosts.
    bench.canary().await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.told().remove(&receiver(Kind::Recovered)), Some(1));
    assert_eq!(
        bench.told().len(),
        2 + 2 * 60,
        "each went missing and came back"
    );
}

#[tokio::test]
async fn who_was_silent_before_the_receiver_went_deaf_is_told() {
    let mut names = names(60);
    names.push("dead".to_owned());
    let bench = known(&names).await;
    names.pop();
    bench.hear_for(50).await;
    all_beat(&bench, &names).await;
    bench.hear_for(20).await;
    bench.pass(60);
    let report = bench.swept().await;
    assert_eq!((report.decided[Kind::Missing], report.held), (1, 60));
    let told = bench.last(Kind::Missing).text();
    assert!(told.starts_with("dead ") && !told.ends_with(MARK), "{told}");
    let degraded = bench.last(Kind::Failing).text();
    assert!(
        degraded.contains("60 of 61 hosts seem silent"),
        "{degraded}"
    );
}

#[tokio::test]
async fn without_a_canary_many_at_once_are_held_but_no_other_news() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    assert_eq!(bench.swept().await.decided[Kind::Registered], 60);
    assert_eq!(
        bench.told(),
        BTreeMap::new(),
        "many that are new are no sign of a receiver at fault"
    );
    bench.pass(61);
    bench
        .signal("sick", Duration::from_mins(1), Signal::Fail)
        .await;
    assert_eq!(bench.swept().await.held, 60);
    let sick = (Kind::Failing, "sick".to_owned());
    assert_eq!(
        bench.told(),
        [(sick, 1), (receiver(Kind::Failing), 1)].into()
    );
    bench.pass(15 * 60);
    bench
        .signal("sick", Duration::from_mins(1), Signal::Fail)
        .await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 60);
    let marked = bench.last(Kind::Missing).text();
    assert!(marked.ends_with(MARK), "{marked}");
}

#[tokio::test]
async fn a_hold_without_a_canary_is_over_when_its_time_is_and_nobody_is_left() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.swept().await;
    bench.pass(61);
    assert_eq!(bench.swept().await.held, 60);
    // All but one speak again, and one alone is believed.
    all_beat(&bench, &names[1..]).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
    assert!(!bench.last(Kind::Missing).text().ends_with(MARK));
    bench.pass(15 * 60 - 1);
    all_beat(&bench, &names).await;
    bench.swept().await;
    assert_eq!(bench.told().get(&receiver(Kind::Recovered)), None);
    bench.pass(1);
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.told().get(&receiver(Kind::Recovered)), Some(&1));
    // The next one is held as long.
    bench.pass(61);
    assert_eq!(bench.swept().await.held, 60);
    assert_eq!(bench.told().get(&receiver(Kind::Failing)), Some(&2));
}

#[tokio::test]
async fn what_comes_after_the_last_canary_counts_when_the_next_one_shows_who_heard() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.canary().await;
    bench.hear_for(55).await;
    bench.pass(10);
    let report = bench.swept().await;
    assert_eq!(
        (report.decided[Kind::Missing], report.held),
        (0, 0),
        "overdue, and a canary is late"
    );
    assert_eq!(bench.canary().await, Some(Duration::from_secs(10)));
    bench.hear_for(60).await;
    assert_eq!(
        bench.swept().await.decided[Kind::Missing],
        0,
        "it has its grace"
    );
    bench.hear_for(1).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
}

/// A canary of another region, as it arrives from there now.
async fn canary_of(bench: &Bench, region: &Region, n: u8) {
    let name = HostId::canary(n).to_string();
    bench
        .signal_in(region.clone(), &name, Duration::from_mins(1), Signal::Ok)
        .await;
}

#[tokio::test]
async fn silence_counts_up_to_the_oldest_canary_of_another_region() {
    let (bench, other) = (Bench::new(), "eu-west-1".parse::<Region>().unwrap());
    let receiver =
        Receiver::new(other.clone()).with_canary(bench.clock.now(), Duration::from_secs(7));
    Ledger::<Receiver>::swap(&*bench.memory, &receiver, None, uuid::Uuid::nil())
        .await
        .unwrap();
    bench.canary().await;
    bench.beat("a").await;
    for n in 0..3 {
        canary_of(&bench, &other, n).await;
    }
    bench.hear_for(65).await;
    for n in [0, 2] {
        canary_of(&bench, &other, n).await;
    }
    let report = bench.swept().await;
    assert_eq!(
        (report.decided[Kind::Missing], report.held),
        (0, 0),
        "its beat may be under way, as a canary is"
    );
    canary_of(&bench, &other, 1).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
    let told = bench.last(Kind::Missing).text();
    assert!(
        told.ends_with("(1 min)"),
        "without a word of the other region: {told}"
    );
}

#[tokio::test]
async fn many_at_once_are_believed_while_canaries_are_heard() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.canary().await;
    bench.swept().await;
    bench.hear_for(65).await;
    let report = bench.swept().await;
    assert_eq!((report.decided[Kind::Missing], report.held), (60, 0));
    assert_eq!(
        bench
            .memory
            .accepted()
            .iter()
            .filter(|notice| notice.kind == Kind::Missing)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_failure_during_a_long_wait_for_an_echo_is_told_afterwards() {
    let bench = Bench::new();
    bench.beat("a").await;
    let distributed = SweepSettings::distributed(Region::local(), Duration::from_secs(70));
    let sweep = Sweep {
        settings: distributed,
        ..bench.sweep()
    };
    let unknown = Publication::Unknown("timed out".to_owned());
    bench.memory.next_publications([unknown]);
    sweep.run().await.unwrap();
    // It fails once, and all is well again; the echo comes when many sweeps have passed.
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
            .told()
            .keys()
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>(),
        [Kind::Failing, Kind::Recovered]
    );
}

/// A bench and a sweep, right after the echo of a notice that was pending for long came. The host beat a second ago.
async fn echoed_late() -> (Bench, Sweep) {
    let bench = Bench::new();
    bench.beat("a").await;
    let settings = SweepSettings::distributed(Region::local(), Duration::from_secs(70));
    let sweep = Sweep {
        settings,
        ..bench.sweep()
    };
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
async fn who_was_looked_at_once_more_after_a_long_wait_is_no_longer_in_the_way_of_sweeps() {
    let (bench, sweep) = echoed_late().await;
    assert_eq!(sweep.run().await.unwrap().echoed, 1);
    assert_eq!(
        Ledger::<Entry>::open(&*bench.memory, None)
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn the_look_after_a_long_wait_is_not_one_at_an_old_copy() {
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
    let sweep = Sweep {
        settings: sweep.settings,
        ..bench.sweep_with(|ports| ports.heartbeats = heartbeats)
    };
    assert_eq!(sweep.run().await.unwrap().decided[Kind::Failing], 1);
}
