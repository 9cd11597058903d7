//! One machine whose canaries do not leave it: when its network is lost, all hosts seem silent.

use std::collections::BTreeMap;
use std::time::Duration;

use hb_domain::{Kind, Publication, Receiver, Region};
use hb_service::ports::Ledger;

use crate::Bench;
use crate::coverage::{MARK, all_beat, known, names, receiver};

impl Bench {
    /// Sends a canary and sweeps every second.
    async fn run_for(&self, seconds: u64) {
        for _ in 0..seconds {
            self.canaries_for(1).await;
            self.swept().await;
        }
    }
}

#[tokio::test]
async fn a_machine_that_lost_its_network_reports_no_host_of_a_small_fleet() {
    let names = names(3);
    let bench = known(&names[..2]).await;
    // The last beats of three hosts are spread over some seconds.
    bench.canaries_for(20).await;
    bench.beat(&names[2]).await;
    bench.run_for(100).await;
    assert_eq!(
        bench.notified(),
        [(receiver(Kind::Failing), 1)].into(),
        "the fleet is told that nothing is heard"
    );
    let text = bench.last(Kind::Failing).text();
    assert!(text.contains("3 of 3 hosts seem silent"), "{text}");
    // The network works again, and the hosts are heard one after the other.
    bench.beat(&names[1]).await;
    bench.run_for(50).await;
    all_beat(&bench, &names).await;
    bench.run_for(20).await;
    let expected = [(receiver(Kind::Failing), 1), (receiver(Kind::Recovered), 1)];
    assert_eq!(bench.notified(), expected.into());
}

#[tokio::test]
async fn hosts_that_stay_silent_when_the_network_returns_are_reported_after_their_grace() {
    let names = names(3);
    let bench = known(&names).await;
    bench.run_for(300).await;
    bench.beat(&names[0]).await;
    bench.run_for(50).await;
    bench.beat(&names[0]).await;
    bench.run_for(11).await;
    assert_eq!(
        bench.notified().get(&(Kind::Missing, names[1].clone())),
        None
    );
    bench.beat(&names[0]).await;
    bench.run_for(1).await;
    for name in &names[1..] {
        let missing = (Kind::Missing, name.clone());
        assert_eq!(bench.notified().get(&missing), Some(&1));
    }
    assert!(!bench.last(Kind::Missing).text().ends_with(MARK));
}

#[tokio::test]
async fn a_small_fleet_that_is_really_silent_is_reported_after_the_hold() {
    let names = names(3);
    let bench = known(&names).await;
    bench.run_for(61 + 15 * 60 - 1).await;
    assert_eq!(bench.notified(), [(receiver(Kind::Failing), 1)].into());
    bench.run_for(2).await;
    assert_eq!(bench.notified().len(), 4);
    assert!(bench.last(Kind::Missing).text().ends_with(MARK));
    bench.run_for(30).await;
    let working = bench.notified().get(&receiver(Kind::Recovered)).copied();
    assert_eq!(working, None, "nothing was heard since");
}

/// A sweep that holds its silence is recorded: it is no news when it comes back.
#[tokio::test]
async fn a_new_host_whose_silence_is_held_is_registered() {
    let names = names(3);
    let bench = known(&names).await;
    bench.beat("new").await;
    bench.canaries_for(62).await;
    let report = bench.swept().await;
    assert_eq!((report.held, report.decided[Kind::Registered]), (4, 1));
    assert_eq!(bench.kinds("new"), [Kind::Registered]);
}

#[tokio::test]
async fn single_beats_put_no_silence_off_for_longer_than_a_hold() {
    let names = names(3);
    let bench = known(&names).await;
    let slow = Duration::from_mins(6);
    bench.beat_every("slow", slow).await;
    let missing = || {
        let notified = bench.notified().into_keys();
        notified.filter(|(kind, _)| *kind == Kind::Missing).count()
    };
    // Each of its beats comes after the graces of the others.
    for _ in 0..7 {
        bench.run_for(120).await;
        bench.beat_every("slow", slow).await;
    }
    bench.run_for(60).await;
    assert_eq!(missing(), 0);
    bench.run_for(2).await;
    assert_eq!(missing(), 3);
    assert!(bench.last(Kind::Missing).text().ends_with(MARK));
    // For others, that time is a blackout as well.
    bench.run_for(58).await;
    bench.beat_every("slow", slow).await;
    bench.run_for(1).await;
    let home = Region::local();
    let stored = Ledger::<Receiver>::load(&*bench.memory, &home).await;
    let receiver = stored.unwrap().unwrap().record;
    assert_eq!(receiver.blackouts.len(), 8);
}

#[tokio::test]
async fn one_or_two_hosts_of_a_machine_are_reported_at_once() {
    for count in [1, 2] {
        let names = names(count);
        let bench = known(&names).await;
        bench.run_for(61).await;
        let notified = bench.notified();
        assert_eq!(notified.len(), count, "{notified:?}");
    }
}

#[tokio::test]
async fn a_silent_host_is_reported_as_soon_as_another_one_is_heard() {
    let names = names(4);
    let bench = known(&names).await;
    let missing = (Kind::Missing, names[0].clone());
    bench.run_for(40).await;
    all_beat(&bench, &names[1..]).await;
    bench.run_for(25).await;
    assert_eq!(bench.notified(), BTreeMap::new(), "nothing was heard yet");
    bench.beat(&names[1]).await;
    bench.run_for(1).await;
    assert_eq!(bench.notified(), [(missing, 1)].into());
}

#[tokio::test]
async fn a_silent_host_among_slow_ones_waits_for_a_minute_at_most() {
    let bench = known(&["often".to_owned()]).await;
    for name in ["slow-1", "slow-2"] {
        bench.beat_every(name, Duration::from_hours(2)).await;
    }
    bench.run_for(119).await;
    assert_eq!(bench.notified(), BTreeMap::new());
    bench.run_for(2).await;
    let missing = (Kind::Missing, "often".to_owned());
    assert_eq!(bench.notified(), [(missing, 1)].into());
}

#[tokio::test]
async fn a_stop_of_the_whole_service_sends_no_notice_about_the_receiver() {
    let names = names(60);
    let bench = known(&names).await;
    // The machine slept. The first sweep comes before the first canary.
    bench.pass(3_600);
    assert_eq!(bench.swept().await.held, 60);
    bench.pass(3);
    bench.swept().await;
    bench.canary().await;
    bench.run_for(2).await;
    all_beat(&bench, &names).await;
    bench.run_for(20).await;
    assert_eq!(bench.notified(), BTreeMap::new());
}

#[tokio::test]
async fn a_hold_ends_only_when_its_end_can_be_told() {
    let names = names(60);
    let bench = known(&names).await;
    bench.pass(130);
    bench.swept().await;
    bench.pass(7);
    // The notice that the receiver is degraded is not accepted before the receiver works again.
    let refused = Publication::Refused("throttled".to_owned());
    bench.memory.next_publications([refused]);
    bench.swept().await;
    bench.canary().await;
    all_beat(&bench, &names).await;
    bench.swept().await;
    bench.canaries_for(4).await;
    for _ in 0..3 {
        bench.swept().await;
    }
    let expected = [(receiver(Kind::Failing), 1), (receiver(Kind::Recovered), 1)];
    assert_eq!(bench.notified(), expected.into());
}
