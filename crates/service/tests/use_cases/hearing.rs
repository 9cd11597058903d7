use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostId, Kind, Publication, Region, Signal};
use hb_service::ports::Echo;
use hb_service::{Caller, Canaries, Sweep, SweepReport, SweepSettings};

use crate::Bench;

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
            caller: Arc::new(Open),
            receivers: self.memory.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
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

    /// What people were told, of which host and how often, without registrations.
    fn told(&self) -> BTreeMap<(Kind, String), usize> {
        let mut told = BTreeMap::new();
        for notice in self.memory.accepted().iter().filter(|notice| notice.kind != Kind::Registered) {
            for host in notice.host_ids() {
                *told.entry((notice.kind, host.to_string())).or_default() += 1;
            }
        }
        told
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("host-{n}")).collect()
}

async fn all_beat(bench: &Bench, names: &[String]) {
    for name in names {
        bench.beat(name).await;
    }
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
    assert_eq!(bench.swept().await.missing, 0);
    assert_eq!(bench.canary().await, Some(Duration::from_hours(1)));
    assert_eq!(bench.swept().await.missing, 0);
    bench.hear_for(50).await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    assert_eq!(bench.told(), BTreeMap::new(), "nobody is told anything");
    bench.hear_for(12).await;
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.told(), [((Kind::Missing, "dead".to_owned()), 1)].into());
}

#[tokio::test]
async fn while_the_receiver_is_deaf_news_are_held_and_people_told_so_once() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.canary().await;
    bench.swept().await;
    bench.hear_for(130).await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    // Canaries and beats stop. Nobody is silent before that, so all are held, and the fleet is told so.
    bench.pass(130);
    assert_eq!((bench.swept().await.held, bench.swept().await.held), (60, 60));
    let receiver = |kind| ((kind, HostId::receiver().to_string()), 1);
    assert_eq!(bench.told(), [receiver(Kind::Failing)].into());
    bench.pass(14 * 60);
    assert_eq!(bench.swept().await.missing, 0);
    // A quarter of an hour is enough: late, and marked.
    bench.pass(60);
    assert_eq!(bench.swept().await.missing, 60);
    let marked = bench.memory.accepted();
    let marked = marked.iter().find(|notice| notice.kind == Kind::Missing).unwrap();
    assert!(marked.text().ends_with(" (or the receiver is deaf)"), "{}", marked.text());
    // It hears again: said once, and so do the hosts.
    bench.canary().await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    bench.swept().await;
    assert_eq!(bench.told().remove(&receiver(Kind::Recovered).0), Some(1));
    assert_eq!(bench.told().len(), 2 + 2 * 60, "each went missing and came back");
}

#[tokio::test]
async fn many_at_once_are_believed_while_canaries_are_heard() {
    let (bench, names) = (Bench::new(), names(60));
    all_beat(&bench, &names).await;
    bench.canary().await;
    bench.swept().await;
    bench.hear_for(65).await;
    let report = bench.swept().await;
    assert_eq!((report.missing, report.held), (60, 0));
    assert_eq!(bench.memory.accepted().iter().filter(|notice| notice.kind == Kind::Missing).count(), 1);
}

#[tokio::test]
async fn a_failure_during_a_long_wait_for_an_echo_is_told_afterwards() {
    let bench = Bench::new();
    bench.beat("a").await;
    let distributed = SweepSettings::distributed(Region::local(), Duration::from_secs(70));
    let sweep = Sweep { settings: distributed, ..bench.sweep() };
    let unknown = Publication::Unknown("timed out".to_owned());
    bench.memory.next_publications([unknown]);
    sweep.run().await.unwrap();
    // It fails once, and all is well again; the echo comes when many sweeps have passed.
    bench.signal("a", Duration::from_mins(1), Signal::Fail).await;
    for _ in 0..4 {
        bench.pass(40);
        bench.beat("a").await;
        sweep.run().await.unwrap();
    }
    let registered = bench.memory.published().remove(0);
    let echo = Echo { subject: registered.subject(), attempt: 1, receipt: "1".to_owned() };
    bench.memory.echo(echo);
    sweep.run().await.unwrap();
    bench.pass(40);
    bench.beat("a").await;
    sweep.run().await.unwrap();
    assert_eq!(
        bench.told().keys().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [Kind::Failing, Kind::Recovered]
    );
}
