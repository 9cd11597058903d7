//! Silence while the clock steps: by any size, at any time, with the service running or not.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hb_domain::{Interval, Kind, Receiver, Region, Timestamp};
use hb_service::admin::HostAdmin;
use hb_service::ports::{Clock, Heard, Heartbeats, Page, Segment, System};
use hb_service::testing::memory::auditor;
use proptest::prelude::*;

use crate::clock_steps::PERIOD;
use crate::races::change;
use crate::{Beats, Bench, host};

/// A clock that steps once, and hosts of which one falls silent before, at or after the step.
#[derive(Clone, Debug)]
struct Steps {
    /// When the clock steps, and how far, in seconds.
    at: u64,
    by: i64,
    /// The last beat of the host that falls silent.
    silent_from: u64,
    interval: u64,
    /// How long the service is down when the clock steps.
    down: u64,
}

fn steps() -> impl Strategy<Value = Steps> {
    let by = prop_oneof![
        -200..200_i64,
        -20_000..20_000_i64,
        -40_000_000..40_000_000_i64
    ];
    let intervals = prop::sample::select(vec![30_u64, 60, 600]);
    let fields = (
        100..300_u64,
        by,
        0..400_u64,
        intervals,
        prop_oneof![Just(0_u64), 1..200_u64],
    );
    fields.prop_map(|(at, by, silent_from, interval, down)| Steps {
        at,
        by,
        silent_from,
        interval,
        down,
    })
}

/// When the silent host was reported, and whether the beating one was.
async fn live(steps: &Steps) -> (Option<u64>, bool) {
    const TICK: u64 = 5;
    let bench = Bench::new();
    let start = bench.clock.now().as_millis();
    let interval = Duration::from_secs(steps.interval);
    let mut reported = None;
    let end = steps.at + steps.silent_from + steps.down + 3 * steps.interval + 600;
    for now in (0..end).step_by(usize::try_from(TICK).unwrap()) {
        let ahead = if now < steps.at { 0 } else { steps.by };
        let millis = start + (i64::try_from(now).unwrap() + ahead) * 1_000;
        bench.clock.set(Timestamp::from_millis(millis).unwrap());
        if (steps.at..steps.at + steps.down).contains(&now) {
            continue;
        }
        bench.canary().await;
        bench.beat_every("beating", interval).await;
        if now <= steps.silent_from {
            bench.beat_every("silent", interval).await;
        }
        if now % PERIOD == 0 {
            bench.sweep().run().await.unwrap();
            if bench.kinds("silent").contains(&Kind::Missing) {
                reported = reported.or(Some(now));
            }
        }
    }
    (reported, bench.kinds("beating").contains(&Kind::Missing))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn silence_is_seen_in_time_after_a_step_of_any_size(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (reported, false_alarm) = runtime.block_on(live(&steps));
        prop_assert!(!false_alarm, "the beating host was reported");
        let from = steps.silent_from.max(steps.at + steps.down);
        // The interval, the grace after a blackout, a minute, a sweep, and the resolution of the story.
        let bound = 2 * steps.interval + 60 + PERIOD + 5;
        prop_assert!(reported.is_some_and(|at| at <= from + bound), "{:?}, from {}", reported, from);
    }
}

#[tokio::test]
async fn a_sweep_whose_clock_is_behind_the_canaries_mends_nothing() {
    // The last canary was just now, or some time ago: then it is not far ahead of the sweep.
    for canaries in [9, 5] {
        let bench = Bench::new();
        bench.beat("a").await;
        bench.canary().await;
        bench.sweep().run().await.unwrap();
        let behind = Bench {
            memory: bench.memory.clone(),
            ..Bench::new()
        };
        for n in 0..9 {
            bench.pass(10);
            bench.beat("a").await;
            if n < canaries {
                bench.canary().await;
            }
        }
        let stored = async || Heartbeats::load(&*bench.memory, &host("a")).await.unwrap();
        let swept = async || {
            System::last_sweep(&*bench.memory, &Region::local())
                .await
                .unwrap()
        };
        let before = (stored().await, swept().await);
        behind.sweep().run().await.unwrap();
        assert_eq!((stored().await, swept().await), before);
        bench.sweep().run().await.unwrap();
        assert_eq!(bench.kinds("a"), [Kind::Registered], "it beats");
    }
}

/// What happens when the clock is set back by two hours while a sweep begins to scan, and the host beats right after.
async fn set_back_at_scan(bench: Arc<Bench>, scans: Option<Page<Heard>>) {
    // Beats could be received all the time.
    change(&bench.memory, &Region::local(), |receiver: Receiver| {
        Some(Receiver {
            first: Some(Timestamp::MIN),
            blackouts: Vec::new(),
            ..receiver
        })
    });
    let at_scan = bench.clone();
    let set_back = move || {
        let hours = Duration::from_hours(2);
        at_scan.clock.set(at_scan.clock.now().minus(hours));
        at_scan.beat("a").now_or_never().unwrap();
    };
    let beats = Beats {
        scans,
        before_scan: Some(Box::new(set_back)),
        ..Beats::of(&bench)
    };
    let sweep = bench.sweep_with(|ports| ports.heartbeats = Arc::new(beats));
    sweep.run().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_back_during_a_sweep_makes_no_beating_host_silent() {
    let bench = Arc::new(Bench::new());
    bench.beat("a").await;
    bench.canary().await;
    bench.sweep().run().await.unwrap();
    bench.pass(30);
    bench.canary().await;
    set_back_at_scan(bench.clone(), None).await;
    assert_eq!(bench.kinds("a"), [Kind::Registered]);
}

#[tokio::test]
async fn nor_one_with_settings_whose_scan_shows_what_was_before() {
    let bench = Arc::new(Bench::new());
    let hosts = HostAdmin {
        ports: bench.ports(),
        region: Region::local(),
        auditor: auditor(&bench.ports()),
    };
    bench.canary().await;
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    let interval = Interval::from_millis(60_000).ok();
    hosts.set_interval(&host("a"), interval).await.unwrap();
    let page = bench.memory.scan(Segment::WHOLE, None).await.unwrap();
    set_back_at_scan(bench.clone(), Some(page)).await;
    assert_eq!(bench.kinds("a"), [Kind::Registered]);
}

#[tokio::test]
async fn nor_does_it_mend_what_a_stale_scan_did_not_show() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.canary().await;
    bench.sweep().run().await.unwrap();
    let scans = bench.memory.scan(Segment::WHOLE, None).await.ok();
    let behind = Bench {
        memory: bench.memory.clone(),
        ..Bench::new()
    };
    behind.pass(70);
    // Without a blackout.
    for _ in 0..32 {
        bench.pass(5);
        bench.canary().await;
    }
    bench.beat("a").await;
    let beats = Beats {
        scans,
        ..Beats::of(&behind)
    };
    let sweep = behind.sweep_with(|ports| ports.heartbeats = Arc::new(beats));
    sweep.run().await.unwrap();
    let stored = Heartbeats::load(&*bench.memory, &host("a")).await.unwrap();
    assert_eq!(stored[0].heartbeat.last, bench.clock.now());
}
