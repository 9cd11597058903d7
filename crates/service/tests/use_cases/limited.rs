//! Sweeps with less time than they need: what comes first, that each makes progress, and that nothing waits for ever.

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Beat, Entry, Heartbeat, Kind, Publication, Receiver, Region, Signal, State};
use hb_service::ports::{
    Checkpoint, Clock, CompletedSweep, Heard, Heartbeats, Ledger, Position, System,
};
use hb_service::testing::memory::Slow;
use hb_service::{Sweep, SweepReport, SweepSettings};
use uuid::Uuid;

use crate::{Bench, at_once, host};

/// What a call costs in time, at the rate that a function of 128 MB reached against DynamoDB.
const CALL: Duration = Duration::from_micros(1_000_000 / 420);

/// A sweep of a fresh process whose calls take time.
fn slow(bench: &Bench) -> Sweep {
    let slow = Arc::new(Slow {
        inner: bench.memory.clone(),
        clock: bench.clock.clone(),
        call: CALL,
    });
    let sweep = bench.sweep_with(|ports| {
        ports.heartbeats = slow.clone();
        ports.ledger = slow;
    });
    sweep.with_settings(SweepSettings {
        concurrency: 32,
        ..at_once()
    })
}

/// Sweeps with time for `calls` calls, and passes the rest of the minute. The report, whether or not it completed.
async fn sweep_for(bench: &Bench, sweep: &Sweep, calls: u32) -> (SweepReport, bool) {
    let began = bench.clock.now();
    let swept = sweep.run_until(began.plus(CALL * calls)).await;
    let rest = began.plus(Duration::from_mins(1)).since(bench.clock.now());
    bench.clock.advance(rest);
    match swept {
        Ok(report) => (report, true),
        Err(error) => (*error.report, false),
    }
}

/// Canaries prove that all beats until now were received.
async fn hear(bench: &Bench) {
    let day = Duration::from_hours(24);
    bench.memory.hear(bench.clock.now(), day).await.unwrap();
}

/// So many hosts that beat every hour.
async fn fleet(bench: &Bench, hosts: usize) {
    for n in 0..hosts {
        bench
            .beat_every(&format!("host-{n:05}"), Duration::from_hours(1))
            .await;
    }
}

async fn state(bench: &Bench, name: &str) -> Option<State> {
    let stored = Ledger::<Entry>::load(&*bench.memory, &host(name)).await;
    stored.unwrap().map(|stored| stored.record.state)
}

/// The `system` table was lost, or a region is new: all hosts seem new, and all are known.
#[tokio::test]
async fn a_fleet_without_a_recorded_sweep_is_swept_although_time_is_short() {
    let bench = Bench::new();
    fleet(&bench, 2_000).await;
    bench.beat_every("silent", Duration::from_mins(10)).await;
    bench.sweep().run().await.unwrap();
    bench.memory.lose_sweeps();
    bench.pass(45 * 60);
    let (report, _) = sweep_for(&bench, &slow(&bench), 500).await;
    assert_eq!(report.decided[Kind::Missing], 1, "in the first sweep");
    let mut sweeps = 1;
    while bench
        .memory
        .last_sweep(&SweepSettings::local().region)
        .await
        .unwrap()
        .is_none()
    {
        sweep_for(&bench, &slow(&bench), 500).await;
        sweeps += 1;
        assert!(sweeps < 10, "no sweep completes");
    }
}

#[tokio::test]
async fn a_new_region_begins_with_what_the_other_one_has_swept() {
    let bench = Bench::new();
    fleet(&bench, 2_000).await;
    bench.sweep().run().await.unwrap();
    bench.pass(45 * 60);
    hear(&bench).await;
    bench.sweep().run().await.unwrap();
    let new = slow(&bench);
    let settings = SweepSettings {
        region: "us-east-1".parse().unwrap(),
        ..new.settings.clone()
    };
    let new = new.with_settings(settings);
    bench.pass(20);
    bench.beat("newcomer").await;
    let (report, completed) = sweep_for(&bench, &new, 60).await;
    assert!(completed, "{report:?}");
    assert_eq!(report.decided[Kind::Registered], 1);
}

#[tokio::test]
async fn a_new_region_relies_on_no_sweep_for_what_it_received_itself() {
    let bench = Bench::new();
    let region: Region = "us-east-1".parse().unwrap();
    let canary = Receiver::new(region.clone()).with_canary(bench.clock.now(), Duration::MAX);
    bench.memory.swap(&canary, None, Uuid::nil()).await.unwrap();
    bench.pass(60);
    let beat = Heard {
        key: host("a"),
        region: region.clone(),
        heartbeat: Heartbeat::new(Beat::ok(bench.clock.now())),
    };
    bench.pass(300);
    hear(&bench).await;
    bench.sweep().run().await.unwrap();
    bench.memory.record(&beat).await.unwrap();
    let mut new = bench.sweep();
    new.settings.region = region;
    assert_eq!(new.run().await.unwrap().decided[Kind::Registered], 1);
}

/// Also when each sweep runs in a process that remembers nothing.
#[tokio::test]
async fn every_sweep_with_little_time_registers_a_share_of_many_new_hosts() {
    let bench = Bench::new();
    fleet(&bench, 4_000).await;
    let (calls, mut registered) = (2_634, 0);
    for sweep in 1.. {
        let (report, completed) = sweep_for(&bench, &slow(&bench), calls).await;
        registered += report.decided[Kind::Registered];
        if completed {
            break;
        }
        // A new host costs four calls, and at least half of the time goes to them.
        assert!(report.decided[Kind::Registered] >= u64::from(calls / 8));
        assert!(sweep < 12, "{registered} registered");
    }
    assert_eq!(registered, 4_000);
    let listed: usize = bench
        .memory
        .accepted()
        .iter()
        .map(|notice| notice.host_ids().count())
        .sum();
    assert_eq!(listed, 4_000);
}

#[tokio::test]
async fn missing_and_failing_hosts_come_before_recovered_ones_and_those_before_new_ones() {
    let bench = Bench::new();
    bench.beat("missing").await;
    bench.beat("failing").await;
    bench.beat("recovered").await;
    bench.sweep().run().await.unwrap();
    bench.pass(90);
    bench.beat("missing").await;
    bench.beat("failing").await;
    bench.sweep().run().await.unwrap();
    bench.pass(61);
    // Names before and after these in a scan.
    fleet(&bench, 2_000).await;
    for n in 0..2_000 {
        bench
            .beat_every(&format!("z-{n}"), Duration::from_hours(1))
            .await;
    }
    bench
        .signal("failing", Duration::from_mins(1), Signal::Fail)
        .await;
    bench.beat("recovered").await;
    let (report, completed) = sweep_for(&bench, &slow(&bench), 300).await;
    assert!(!completed, "there is no time for all");
    let decided = |kind| report.decided[kind];
    assert_eq!(
        (
            decided(Kind::Missing),
            decided(Kind::Failing),
            decided(Kind::Recovered)
        ),
        (1, 1, 1)
    );
    let kinds: Vec<_> = bench
        .memory
        .published()
        .iter()
        .map(|notice| notice.kind)
        .collect();
    let first = |kind| kinds.iter().rposition(|one| *one == kind);
    assert!(first(Kind::Missing) < first(Kind::Recovered));
    assert!(first(Kind::Failing) < first(Kind::Recovered));
    assert_eq!(state(&bench, "missing").await, Some(State::Missing));
}

/// Neither a checkpoint nor a sweep that a wrong clock recorded hides a new host.
#[tokio::test]
async fn a_new_host_is_registered_after_a_wrong_clock_recorded_a_checkpoint() {
    let bench = Bench::new();
    let region = Region::local();
    let began = bench.clock.now().plus(Duration::from_hours(24));
    let checkpoint = Checkpoint {
        began,
        positions: vec![Position::End],
    };
    let saved = bench.memory.record_checkpoint(&region, &checkpoint, began);
    saved.await.unwrap();
    bench.beat("new").await;
    bench.sweep().run().await.unwrap();
    assert_eq!(state(&bench, "new").await, Some(State::Up));
}

#[tokio::test]
async fn a_sweep_that_a_wrong_clock_recorded_ends_no_round() {
    let bench = Bench::new();
    let region = Region::local();
    let began = bench.clock.now();
    let wrong = began.plus(Duration::from_hours(24));
    let sweep = CompletedSweep {
        began: wrong,
        ended: wrong,
        hosts: 0,
        program: String::new(),
    };
    bench.memory.record_sweep(&region, &sweep).await.unwrap();
    let round = Checkpoint {
        began,
        positions: vec![Position::End],
    };
    let saved = bench.memory.record_checkpoint(&region, &round, began);
    saved.await.unwrap();
    bench.pass(10);
    bench.sweep().run().await.unwrap();
    let last = bench.memory.last_sweep(&region).await.unwrap();
    assert_eq!(last.unwrap().began, began, "it goes on");
}

#[tokio::test]
async fn a_host_that_was_settled_as_new_costs_nothing_in_the_next_sweeps() {
    let bench = Bench::new();
    fleet(&bench, 1_000).await;
    let sweep = bench.sweep();
    sweep.run().await.unwrap();
    let mut costs = Vec::new();
    for _ in 0..3 {
        bench.pass(5);
        let before = bench.memory.calls();
        sweep.run().await.unwrap();
        costs.push(bench.memory.calls() - before);
    }
    // The pages of the scan, and a few calls whatever the fleet.
    assert!(costs.iter().all(|calls| *calls < 40), "{costs:?}");
    // Of a failure it would have to be told again.
    bench
        .signal("host-00007", Duration::from_hours(1), Signal::Fail)
        .await;
    assert_eq!(sweep.run().await.unwrap().decided[Kind::Failing], 1);
}

/// Its beats seem to be news for ever.
#[tokio::test]
async fn a_raised_interval_is_notified_once_and_costs_nothing_afterwards() {
    const HOSTS: usize = 1_000;
    let bench = Bench::new();
    fleet(&bench, HOSTS).await;
    bench.sweep().run().await.unwrap();
    bench.pass(600);
    for n in 0..HOSTS {
        let day = Duration::from_hours(24);
        bench.beat_every(&format!("host-{n:05}"), day).await;
    }
    let sweep = bench.sweep();
    let slowed = sweep.run().await.unwrap().decided[Kind::Slowed];
    assert_eq!(slowed, u64::try_from(HOSTS).unwrap());
    // Longer than a process remembers what it does not look for again.
    for minute in 0..20 {
        bench.pass(60);
        let before = bench.memory.calls();
        let report = sweep.run().await.unwrap();
        let calls = bench.memory.calls() - before;
        assert_eq!(report.decided.total(), 0, "minute {minute}");
        assert!(minute < 2 || calls < 40, "minute {minute}: {calls} calls");
    }
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(report.decided.total(), 0, "another process");
    assert_eq!(bench.kinds("host-00007"), [Kind::Registered, Kind::Slowed]);
}

#[tokio::test]
async fn a_silent_host_costs_at_most_four_calls() {
    let bench = Bench::new();
    fleet(&bench, 2_000).await;
    bench.beat("heard").await;
    bench.sweep().run().await.unwrap();
    bench.pass(2 * 3_600);
    hear(&bench).await;
    bench.beat("heard").await;
    let began = bench.clock.now();
    let report = slow(&bench).run().await.unwrap();
    assert_eq!(report.decided[Kind::Missing], 2_000);
    assert_eq!(report.accepted, 1);
    let calls = bench.clock.now().since(began).as_micros() / CALL.as_micros();
    assert!(calls <= 4 * 2_000, "{calls} calls");
}

/// A backlog of notices does not keep a sweep from finding silent hosts, and is worked off.
#[tokio::test]
async fn a_backlog_of_notices_does_not_delay_detection() {
    let bench = Bench::new();
    bench.beat("silent").await;
    bench.sweep().run().await.unwrap();
    fleet(&bench, 3_000).await;
    bench
        .memory
        .next_publications((0..3).map(|_| Publication::Refused("down".to_owned())));
    bench.sweep().run().await.unwrap();
    bench.pass(2 * 60);
    let (report, _) = sweep_for(&bench, &slow(&bench), 400).await;
    assert_eq!(report.decided[Kind::Missing], 1, "{report:?}");
    for sweep in 0.. {
        let (_, completed) = sweep_for(&bench, &slow(&bench), 400).await;
        if completed {
            break;
        }
        assert!(sweep < 120, "the backlog is not worked off");
    }
    assert_eq!(state(&bench, "host-00000").await, Some(State::Up));
}
