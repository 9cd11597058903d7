use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostId, Kind, Notice, Receiver, Region, Signal};
use hb_service::ports::{Clock, Ledger};
use hb_service::{Caller, Canaries, SweepReport, SweepSettings};

use crate::Bench;

/// A path on which every canary arrives.
struct Arrives;

#[async_trait]
impl Caller for Arrives {
    async fn beat(&self, _: &HostId) -> Result<(), String> {
        Ok(())
    }
}

impl Bench {
    /// Sends a canary that arrives. Returns the length of the blackout that it ends.
    async fn canary(&self) -> Option<Duration> {
        let settings = SweepSettings::local();
        let canaries = Canaries {
            ports: self.ports(),
            caller: Arc::new(Arrives),
            region: settings.region,
            fresh: settings.canaries.fresh,
        };
        canaries.send().await.unwrap()
    }

    /// Sends a canary every second.
    async fn canaries_for(&self, seconds: u64) {
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

    /// How often each host had a notice of each kind, without registrations.
    pub(crate) fn notified(&self) -> BTreeMap<(Kind, String), usize> {
        let mut notified = BTreeMap::new();
        for notice in self
            .memory
            .accepted()
            .iter()
            .filter(|notice| notice.kind != Kind::Registered)
        {
            for host in notice.host_ids() {
                *notified.entry((notice.kind, host.to_string())).or_default() += 1;
            }
        }
        notified
    }
}

/// The end of the text of a notice that was held.
const MARK: &str = " (or the receiver is down)";

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("host-{n}")).collect()
}

async fn all_beat(bench: &Bench, names: &[String]) {
    for name in names {
        bench.beat(name).await;
    }
}

/// A bench with hosts that sent a beat just now, and registered long enough ago.
async fn known(names: &[String]) -> Bench {
    let bench = Bench::new();
    all_beat(&bench, names).await;
    bench.canary().await;
    bench.swept().await;
    bench.canaries_for(130).await;
    all_beat(&bench, names).await;
    bench.swept().await;
    bench
}

/// A notice about the receiver itself.
fn receiver(kind: Kind) -> (Kind, String) {
    (kind, HostId::receiver().to_string())
}

#[tokio::test]
async fn an_hour_without_a_server_does_not_count_as_silence() {
    let (bench, names) = (Bench::new(), names(500));
    all_beat(&bench, &names).await;
    bench.beat("dead").await;
    bench.canary().await;
    bench.swept().await;
    // The server is down. The first sweep afterwards may precede the first canary, and the hosts' beats.
    bench.pass(3_600);
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    assert_eq!(bench.canary().await, Some(Duration::from_hours(1)));
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    bench.canaries_for(50).await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    assert_eq!(bench.notified(), BTreeMap::new(), "no notices are sent");
    bench.canaries_for(12).await;
    bench.swept().await;
    bench.swept().await;
    assert_eq!(
        bench.notified(),
        [((Kind::Missing, "dead".to_owned()), 1)].into()
    );
}

#[tokio::test]
async fn notices_are_held_while_the_receiver_is_down_and_one_notice_says_so() {
    let names = names(60);
    let bench = known(&names).await;
    // Canaries and beats stop. No host was silent before, so all are held, and the fleet is notified.
    bench.pass(130);
    assert_eq!(
        (bench.swept().await.held, bench.swept().await.held),
        (60, 60)
    );
    assert_eq!(bench.notified(), [(receiver(Kind::Failing), 1)].into());
    bench.pass(14 * 60);
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    // After a quarter of an hour the notices are sent, marked.
    bench.pass(60);
    assert_eq!(bench.swept().await.decided[Kind::Missing], 60);
    let marked = bench.last(Kind::Missing).text();
    assert!(marked.ends_with(MARK), "{marked}");
    // That no host is left to hold proves nothing about the receiver, nor does a single canary.
    bench.swept().await;
    bench.canary().await;
    bench.pass(10);
    bench.swept().await;
    assert_eq!(bench.notified().get(&receiver(Kind::Recovered)), None);
    // The receiver works again: one notice, and one for each host.
    bench.canary().await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.notified().remove(&receiver(Kind::Recovered)), Some(1));
    assert_eq!(
        bench.notified().len(),
        2 + 2 * 60,
        "each went missing and recovered"
    );
}

#[tokio::test]
async fn hosts_silent_before_the_receiver_went_down_are_reported() {
    let mut names = names(60);
    names.push("dead".to_owned());
    let bench = known(&names).await;
    names.pop();
    bench.canaries_for(50).await;
    all_beat(&bench, &names).await;
    bench.canaries_for(20).await;
    bench.pass(60);
    let report = bench.swept().await;
    assert_eq!((report.decided[Kind::Missing], report.held), (1, 60));
    let text = bench.last(Kind::Missing).text();
    assert!(text.starts_with("dead ") && !text.ends_with(MARK), "{text}");
    let degraded = bench.last(Kind::Failing).text();
    assert!(
        degraded.contains("60 of 61 hosts seem silent"),
        "{degraded}"
    );
}

#[tokio::test]
async fn without_canaries_only_mass_silence_is_held() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    assert_eq!(bench.swept().await.decided[Kind::Registered], 60);
    assert_eq!(
        bench.notified(),
        BTreeMap::new(),
        "registrations do not suggest a fault of the receiver"
    );
    bench.pass(61);
    bench
        .signal("sick", Duration::from_mins(1), Signal::Fail)
        .await;
    assert_eq!(bench.swept().await.held, 60);
    let sick = (Kind::Failing, "sick".to_owned());
    assert_eq!(
        bench.notified(),
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
async fn a_hold_without_canaries_ends_after_its_time_when_no_host_is_held() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.swept().await;
    bench.pass(61);
    assert_eq!(bench.swept().await.held, 60);
    // All but one send beats again, and one alone is not held.
    all_beat(&bench, &names[1..]).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
    assert!(!bench.last(Kind::Missing).text().ends_with(MARK));
    bench.pass(15 * 60 - 1);
    all_beat(&bench, &names).await;
    bench.swept().await;
    assert_eq!(bench.notified().get(&receiver(Kind::Recovered)), None);
    bench.pass(1);
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.notified().get(&receiver(Kind::Recovered)), Some(&1));
    // The next hold lasts as long.
    bench.pass(61);
    assert_eq!(bench.swept().await.held, 60);
    assert_eq!(bench.notified().get(&receiver(Kind::Failing)), Some(&2));
}

#[tokio::test]
async fn silence_after_the_last_canary_counts_from_the_next_one() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.canary().await;
    bench.canaries_for(55).await;
    bench.pass(10);
    let report = bench.swept().await;
    assert_eq!(
        (report.decided[Kind::Missing], report.held),
        (0, 0),
        "overdue, but the next canary is late"
    );
    assert_eq!(bench.canary().await, Some(Duration::from_secs(10)));
    bench.canaries_for(60).await;
    assert_eq!(
        bench.swept().await.decided[Kind::Missing],
        0,
        "it has its grace period"
    );
    bench.canaries_for(1).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
}

/// A canary of another region that arrives now.
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
    bench.canaries_for(65).await;
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
    let text = bench.last(Kind::Missing).text();
    assert!(text.ends_with("(1 min)"), "without a caveat: {text}");
}

#[tokio::test]
async fn mass_silence_is_reported_while_canaries_arrive() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.canary().await;
    bench.swept().await;
    bench.canaries_for(65).await;
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
