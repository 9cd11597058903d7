use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Entry, HostId, Inquiry, Interval, Kind, Notice, Receiver, Region, Signal, State, Timestamp,
};
use hb_service::ports::{Clock, Ledger};
use hb_service::testing::memory::ManualClock;
use hb_service::{Caller, Canaries, SweepReport, SweepSettings};

use crate::{Bench, host};

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
    pub(crate) async fn canary(&self) -> Option<Duration> {
        self.canary_in(Region::local()).await
    }

    pub(crate) async fn canary_in(&self, region: Region) -> Option<Duration> {
        let canaries = Canaries {
            ports: self.ports(),
            caller: Arc::new(Arrives),
            region,
            fresh: SweepSettings::local().canaries.fresh,
        };
        canaries.send().await.unwrap()
    }

    /// Sends a canary every second.
    pub(crate) async fn canaries_for(&self, seconds: u64) {
        for _ in 0..seconds {
            self.pass(1);
            self.canary().await;
        }
    }

    pub(crate) async fn swept(&self) -> SweepReport {
        self.sweep().run().await.unwrap()
    }

    /// The last notice of a kind.
    pub(crate) fn last(&self, kind: Kind) -> Notice {
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
pub(crate) const MARK: &str = " (or the receiver is down)";

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("host-{n}")).collect()
}

pub(crate) async fn all_beat(bench: &Bench, names: &[String]) {
    for name in names {
        bench.beat(name).await;
    }
}

/// A bench with hosts that sent a beat just now, and registered long enough ago.
pub(crate) async fn known(names: &[String]) -> Bench {
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
pub(crate) fn receiver(kind: Kind) -> (Kind, String) {
    (kind, HostId::receiver().to_string())
}

/// A path on which a canary is held up, while another one arrives.
struct HeldUp {
    clock: Arc<ManualClock>,
    other: Canaries,
}

#[async_trait]
impl Caller for HeldUp {
    async fn beat(&self, _: &HostId) -> Result<(), String> {
        self.clock.advance(Duration::from_secs(70));
        let sent = self.other.send().await;
        sent.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_canary_that_is_held_up_makes_no_later_one_seem_of_the_future() {
    let bench = Bench::new();
    bench.canary().await;
    let canaries = |caller| Canaries {
        ports: bench.ports(),
        caller,
        region: Region::local(),
        fresh: Duration::from_secs(75),
    };
    let held_up = canaries(Arc::new(HeldUp {
        clock: bench.clock.clone(),
        other: canaries(Arc::new(Arrives)),
    }));
    assert_eq!(held_up.send().await.unwrap(), None);
    bench.pass(7);
    assert_eq!(bench.canary().await, None, "the last one was 7 s ago");
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
    // One beat after its deadline shows that the network works.
    bench.beat(&names[0]).await;
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
    // Canaries and beats stop. No host was silent before, so all are held.
    bench.pass(130);
    assert_eq!(
        (bench.swept().await.held, bench.swept().await.held),
        (60, 60)
    );
    // The fleet is notified once a canary would have arrived.
    bench.pass(7);
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.notified(), [(receiver(Kind::Failing), 1)].into());
    bench.pass(14 * 60 - 7);
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
    bench.pass(7);
    bench.swept().await;
    let text = bench.last(Kind::Missing).text();
    assert!(
        text.starts_with("MISSING dead: ") && !text.ends_with(MARK),
        "{text}"
    );
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
    bench.pass(7);
    bench.swept().await;
    let sick = (Kind::Failing, "sick".to_owned());
    assert_eq!(
        bench.notified(),
        [(sick, 1), (receiver(Kind::Failing), 1)].into()
    );
    bench.pass(15 * 60 - 7);
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
    bench.pass(7);
    bench.swept().await;
    // All but one send beats again, and one alone is not held.
    all_beat(&bench, &names[1..]).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
    assert!(!bench.last(Kind::Missing).text().ends_with(MARK));
    bench.pass(15 * 60 - 8);
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
    bench.pass(7);
    bench.swept().await;
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

/// Stores the receiver of a region with its last canary at `heard`.
async fn store_receiver(bench: &Bench, region: &Region, heard: Timestamp) {
    let receiver = Receiver::new(region.clone()).with_canary(heard, Duration::from_secs(7));
    Ledger::<Receiver>::swap(&*bench.memory, &receiver, None, uuid::Uuid::nil())
        .await
        .unwrap();
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
    // By its record it does not live.
    let long_ago = bench.clock.now().minus(Duration::from_mins(6));
    store_receiver(&bench, &other, long_ago).await;
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
    assert!(
        text.ends_with("(region eu-west-1 is unreachable)"),
        "{text}"
    );
}

#[tokio::test]
async fn a_region_asks_the_other_one_before_a_host_is_missing() {
    let (bench, other) = (Bench::new(), "eu-west-1".parse::<Region>().unwrap());
    bench.canary_in(other.clone()).await;
    bench.canary().await;
    for name in ["stays", "moves"] {
        bench.beat(name).await;
    }
    bench.swept().await;
    for _ in 0..65 {
        bench.canaries_for(1).await;
        bench.canary_in(other.clone()).await;
    }
    // No canary of the other region was ever copied. That it lives stands in the ledger.
    assert_eq!(bench.swept().await.decided[Kind::Missing], 0);
    let sweep_there = async |bench: &Bench| {
        let mut sweep = bench.sweep();
        sweep.settings.region = other.clone();
        sweep.run().await.unwrap()
    };
    let minute = Duration::from_mins(1);
    bench
        .signal_in(other.clone(), "moves", minute, Signal::Ok)
        .await;
    assert_eq!(sweep_there(&bench).await.decided[Kind::Missing], 1);
    assert_eq!(
        bench.notified(),
        [((Kind::Missing, "stays".to_owned()), 1)].into()
    );
    let moved = bench.memory.load(&host("moves")).await.unwrap().unwrap();
    let moved: Entry = moved.record;
    assert_eq!((moved.inquiry, moved.basis), (None, bench.clock.now()));
}

#[tokio::test]
async fn silence_counts_up_to_the_last_canary_of_a_region_that_lives() {
    let (bench, other) = (Bench::new(), "eu-west-1".parse::<Region>().unwrap());
    bench.canary_in(other.clone()).await;
    bench.canary().await;
    bench.beat("a").await;
    bench.swept().await;
    let asked = async |bench: &Bench| {
        bench.swept().await;
        let stored = Ledger::<Entry>::load(&*bench.memory, &host("a")).await;
        stored.unwrap().unwrap().record.inquiry.is_some()
    };
    bench.canaries_for(65).await;
    assert!(!asked(&bench).await, "the other region could not hear it");
    for _ in 0..62 {
        bench.canary_in(other.clone()).await;
        bench.canaries_for(1).await;
    }
    assert!(asked(&bench).await, "both have heard nothing since");
}

#[tokio::test]
async fn a_region_answers_for_a_host_that_it_never_heard() {
    let (bench, other) = (Bench::new(), "eu-west-1".parse::<Region>().unwrap());
    store_receiver(&bench, &other, bench.clock.now()).await;
    bench.canary().await;
    let asked = Entry {
        state: State::Up,
        epoch: 1,
        inquiry: Some(Inquiry {
            last_beat: bench.clock.now(),
            interval: Interval::default(),
            at: bench.clock.now().plus(Duration::from_secs(601)),
            silent_in: [other].into(),
        }),
        ..Entry::new(host("elsewhere"))
    };
    let nil = uuid::Uuid::nil();
    bench.memory.swap(&asked, None, nil).await.unwrap();
    bench.canaries_for(602).await;
    assert_eq!(bench.swept().await.decided[Kind::Missing], 1);
}

#[tokio::test]
async fn mass_silence_is_reported_while_canaries_arrive_and_another_host_is_heard() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.canary().await;
    bench.swept().await;
    bench.canaries_for(65).await;
    bench.beat("heard").await;
    let report = bench.swept().await;
    assert_eq!((report.decided[Kind::Missing], report.held), (60, 0));
    let missing = |notice: &&Notice| notice.kind == Kind::Missing;
    assert_eq!(bench.memory.accepted().iter().filter(missing).count(), 1);
}

#[tokio::test]
async fn a_fleet_that_falls_silent_bit_by_bit_is_held() {
    let (bench, names) = (Bench::new(), names(300));
    all_beat(&bench, &names).await;
    bench.swept().await;
    // A tenth of the fleet a minute, without canaries.
    let mut decided = Vec::new();
    for minute in 1..=4 {
        bench.pass(60);
        all_beat(&bench, &names[minute * 30..]).await;
        bench.pass(2);
        let report = bench.swept().await;
        decided.push((report.decided[Kind::Missing], report.held));
    }
    assert_eq!(decided, [(30, 0), (30, 0), (0, 30), (0, 60)]);
}
