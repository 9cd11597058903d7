use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Entry, HostId, Kind, Message, Phase, Receiver, Region, Signal, Timestamp};
use hb_service::RateLimit;
use hb_service::admin::HostAdmin;
use hb_service::doctor::{Doctor, Expectations, Verdict};
use hb_service::ports::{Clock, CompletedSweep, Heartbeats, Ledger, System};
use hb_service::testing::memory::auditor;
use uuid::Uuid;

use crate::races::change;
use crate::{Bench, distributed, host};

const MINUTE: Duration = Duration::from_mins(1);
const YEAR: Duration = Duration::from_hours(365 * 24);
/// From one sweep to the next.
pub(crate) const PERIOD: u64 = 20;

impl Bench {
    fn step_back(&self, by: Duration) {
        self.clock.set(self.clock.now().minus(by));
    }

    async fn receiver(&self) -> Option<Receiver> {
        let stored = Ledger::<Receiver>::load(&*self.memory, &Region::local()).await;
        stored.unwrap().map(|stored| stored.record)
    }

    async fn entry(&self, name: &str) -> Entry {
        let stored = Ledger::<Entry>::load(&*self.memory, &host(name)).await;
        stored.unwrap().unwrap().record
    }

    pub(crate) fn kinds(&self, name: &str) -> Vec<Kind> {
        let about = |notice: &hb_domain::Notice| notice.host_ids().any(|id| id.as_str() == name);
        let published = self.memory.published();
        let of_host = published.iter().filter(|notice| about(notice));
        of_host.map(|notice| notice.kind).collect()
    }
}

#[tokio::test]
async fn a_missing_host_does_not_recover_because_a_clock_was_wrong() {
    let bench = Bench::new();
    bench.pass(YEAR.as_secs());
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    bench.pass(61);
    bench.sweep().run().await.unwrap();
    bench.step_back(YEAR);
    for _ in 0..10 {
        bench.pass(PERIOD);
        bench.sweep().run().await.unwrap();
    }
    assert_eq!(bench.kinds("a"), [Kind::Registered, Kind::Missing]);
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.kinds("a")[2..], [Kind::Recovered]);
}

#[tokio::test]
async fn an_admin_with_a_wrong_clock_forgets_a_host_and_hides_no_beat() {
    for (wrong, back) in [(YEAR, false), (YEAR, true), (MINUTE * 4, true)] {
        let bench = Bench::new();
        bench.beat("a").await;
        bench.sweep().run().await.unwrap();
        let admin = Bench {
            memory: bench.memory.clone(),
            ..Bench::new()
        };
        admin.pass(wrong.as_secs());
        if back {
            admin.step_back(wrong * 2);
        }
        let hosts = HostAdmin {
            ports: admin.ports(),
            region: Region::local(),
            auditor: auditor(&admin.ports()),
        };
        hosts.forget(&host("a")).await.unwrap();
        assert!(hosts.show(&host("a")).await.is_err(), "it is gone");
        bench.pass(PERIOD);
        bench.sweep().run().await.unwrap();
        bench.beat("a").await;
        bench.pass(1);
        bench.sweep().run().await.unwrap();
        assert_eq!(bench.kinds("a"), [Kind::Registered, Kind::Registered]);
    }
}

#[tokio::test]
async fn a_lease_of_the_future_does_not_hold_a_notice() {
    let bench = Bench::new();
    bench.beat("a").await;
    let until = bench.clock.now().plus(YEAR);
    bench.sweep().run().await.unwrap();
    let accepted = bench.memory.published().len();
    bench.pass(61);
    // The second one reads the echo.
    for _ in 0..2 {
        bench.sweep().run().await.unwrap();
    }
    change(&bench.memory, &host("a"), |mut entry: Entry| {
        let last = entry.history.last_mut()?;
        last.accepted = None;
        let mut pending = bench_pending();
        pending.phase = Phase::Sending {
            owner: Uuid::from_u128(9),
            until,
        };
        entry.pending = Some(pending);
        Some(entry)
    });
    // For a topic that cannot recognise a notice: its outcome is unknown from now on, and its echo may still come.
    let settings = distributed(MINUTE);
    let sweep = bench.sweep().with_settings(settings);
    sweep.run().await.unwrap();
    let now = bench.clock.now();
    let pending = bench.entry("a").await.pending.unwrap();
    assert_eq!(pending.phase, Phase::Unknown { since: now });
    bench.pass(180);
    sweep.run().await.unwrap();
    assert_eq!(bench.memory.published().len(), accepted + 2);
}

fn bench_pending() -> hb_domain::Pending {
    hb_domain::Pending {
        phase: Phase::Pending {
            not_before: Timestamp::MIN,
        },
        attempt: 1,
        doubt: false,
        incarnation: None,
    }
}

#[tokio::test]
async fn a_receiver_of_the_future_is_overwritten_even_without_canaries() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.pass(YEAR.as_secs());
    bench.canary().await;
    bench.step_back(YEAR);
    bench.sweep().run().await.unwrap();
    assert_eq!(
        bench.receiver().await.unwrap().heard,
        Some(bench.clock.now()),
        "so that it becomes stale"
    );
    bench.pass(300);
    // To the first one the host may still be new, and the notice waits for a canary period.
    for _ in 0..3 {
        bench.sweep().run().await.unwrap();
        bench.pass(7);
    }
    let about = bench.kinds(HostId::receiver().as_str());
    assert_eq!(about, [Kind::Failing], "no canary since");
}

#[tokio::test]
async fn a_pause_that_a_wrong_clock_began_ends() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    let hosts = HostAdmin {
        ports: bench.ports(),
        region: Region::local(),
        auditor: auditor(&bench.ports()),
    };
    bench.pass(YEAR.as_secs());
    let until = bench.clock.now().plus(MINUTE * 10);
    hosts.pause(&host("a"), Some(until)).await.unwrap();
    bench.step_back(YEAR);
    bench.sweep().run().await.unwrap();
    bench.pass(599);
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.kinds("a"), [Kind::Registered]);
    bench.pass(62);
    bench.sweep().run().await.unwrap();
    assert_eq!(bench.kinds("a")[1..], [Kind::Missing]);
}

#[tokio::test]
async fn a_step_of_the_clock_is_told_once_and_seen_by_doctor() {
    let bench = Bench::new();
    let clock = HostId::clock().to_string();
    let jumped = "this machine's clock jumped";
    bench.sweep().run().await.unwrap();
    bench
        .clock
        .set_trouble(Some(Message::from(jumped.to_owned())));
    for _ in 0..3 {
        bench.sweep().run().await.unwrap();
    }
    assert_eq!(bench.kinds(&clock), [Kind::Failing]);
    let findings = async || {
        let doctor = Doctor {
            ports: bench.ports(),
            expectations: Expectations::local(),
        };
        let all = doctor.examine(bench.clock.now()).await.into_iter();
        let about = all.filter(|finding| finding.thing == "server's clock");
        about.map(|f| (f.verdict, f.cause)).collect::<Vec<_>>()
    };
    assert_eq!(findings().await, [(Verdict::Warning, jumped.to_owned())]);
    bench.clock.set_trouble(None);
    for _ in 0..3 {
        bench.sweep().run().await.unwrap();
    }
    assert_eq!(bench.kinds(&clock), [Kind::Failing, Kind::Recovered]);
    assert_eq!(findings().await, []);
}

#[tokio::test]
async fn doctor_does_not_call_a_right_clock_wrong() {
    let bench = Bench::new();
    let wrong = bench.clock.now().plus(YEAR);
    let sweep = CompletedSweep {
        began: wrong,
        ended: wrong,
        hosts: 1,
        program: String::new(),
    };
    bench
        .memory
        .record_sweep(&Region::local(), &sweep)
        .await
        .unwrap();
    let doctor = Doctor {
        ports: bench.ports(),
        expectations: Expectations::local(),
    };
    let finding = async || {
        let all = doctor.examine(bench.clock.now()).await;
        all.into_iter().find(|f| f.thing == "sweep").unwrap()
    };
    let before = finding().await;
    let next = before.next_step.unwrap();
    assert!(
        next.contains("if it is right, the next sweep corrects"),
        "{next}"
    );
    bench.sweep().run().await.unwrap();
    assert_eq!(finding().await.verdict, Verdict::Ok);
}

#[test]
fn a_rate_limit_goes_on_after_a_step_back() {
    let limit = RateLimit::new(std::num::NonZeroU32::new(1), 1);
    let key = hb_domain::KeyId::from_random([1; 7]);
    let at = |seconds: u64| Timestamp::MIN.plus(Duration::from_secs(seconds));
    assert!(limit.take(key, at(9_000)).is_ok());
    assert!(limit.take(key, at(100)).is_err(), "a step adds nothing");
    assert!(limit.take(key, at(102)).is_ok());
}

#[tokio::test]
async fn a_failure_under_a_wrong_clock_is_reported_once() {
    let bench = Bench::new();
    bench.beat_every("job", MINUTE * 60).await;
    bench.sweep().run().await.unwrap();
    bench.pass(YEAR.as_secs());
    bench.signal("job", MINUTE * 60, Signal::Fail).await;
    bench.signal("job", MINUTE * 60, Signal::Ok).await;
    bench.step_back(YEAR);
    for _ in 0..5 {
        bench.pass(PERIOD);
        bench.signal("job", MINUTE * 60, Signal::Ok).await;
        bench.sweep().run().await.unwrap();
    }
    assert_eq!(
        bench.kinds("job")[1..],
        [Kind::Failing, Kind::Recovered],
        "although no sweep saw it until the clock was right"
    );
}

#[tokio::test]
async fn one_beat_of_a_function_with_a_wrong_clock_hides_no_silence() {
    let bench = Bench::new();
    for _ in 0..20 {
        bench.pass(PERIOD);
        bench.beat("a").await;
        bench.sweep().run().await.unwrap();
    }
    let skewed = Bench {
        memory: bench.memory.clone(),
        ..Bench::new()
    };
    skewed.pass(YEAR.as_secs());
    skewed.beat("a").await;
    for _ in 0..5 {
        bench.pass(PERIOD);
        bench.sweep().run().await.unwrap();
    }
    assert_eq!(bench.kinds("a"), [Kind::Registered, Kind::Missing]);
}

/// A clock that jumps forward after the first reading, as for a sweep that is held up right after it began.
struct HeldUp {
    first: Timestamp,
    later: Timestamp,
    read: AtomicBool,
}

#[async_trait]
impl Clock for HeldUp {
    fn now(&self) -> Timestamp {
        if self.read.swap(true, Ordering::SeqCst) {
            self.later
        } else {
            self.first
        }
    }

    async fn sleep(&self, _: Duration) {}
}

#[tokio::test]
async fn a_sweep_that_was_held_up_takes_no_fresh_beat_for_the_future() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    let first = bench.clock.now();
    bench.pass(118);
    bench.beat("a").await;
    bench.canary().await;
    let later = bench.clock.now();
    let clock = HeldUp {
        first,
        later,
        read: AtomicBool::new(false),
    };
    let sweep = bench.sweep_with(|ports| ports.clock = Arc::new(clock));
    sweep.run().await.unwrap();
    let heard = Heartbeats::load(&*bench.memory, &host("a")).await.unwrap();
    assert_eq!(heard[0].heartbeat.last, later);
    assert_eq!(bench.receiver().await.unwrap().heard, Some(later));
}
