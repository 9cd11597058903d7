use std::sync::Mutex;

use async_trait::async_trait;
use hb_domain::{Beat, FleetSettings, Heartbeat, HostKey, Notice, Publication, Region};
use hb_service::ports::{Heard, Heartbeats, PortResult, Topic};
use hb_service::testing::memory::{CountingIds, Memory, ports};
use tokio::time::Instant;

use super::*;

/// Stands still while work is done, and jumps to the next timer.
struct Paused(Instant);

#[async_trait]
impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
            .unwrap()
            .plus(self.0.elapsed())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct World {
    memory: Arc<Memory>,
    passes: Passes,
    lines: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(every_s: u64) -> Self {
        let memory = Arc::new(Memory::default());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "the paused clock of the tests needs an origin"
        )]
        let clock = Arc::new(Paused(Instant::now()));
        let sweep = Sweep::new(
            ports(&memory, clock.clone(), Arc::new(CountingIds::default())),
            SweepSettings {
                groups: FleetSettings::AT_ONCE,
                ..SweepSettings::distributed(Region::local(), SLACK)
            },
        );
        let passes = Passes {
            sweep,
            every: Duration::from_secs(every_s),
            stage: "dev".to_owned(),
            meter: Arc::default(),
            print: Arc::new(move |line| sink.lock().unwrap().push(line.to_owned())),
        };
        Self {
            memory,
            passes,
            lines,
        }
    }

    fn now(&self) -> Timestamp {
        self.passes.sweep.ports.clock.now()
    }

    async fn run(&self, function_s: u64) -> Result<Minute, PassesFailed> {
        self.passes
            .run(self.now().plus(Duration::from_secs(function_s)))
            .await
    }

    /// `SweepCompleted` of each line printed.
    fn completed(&self) -> Vec<bool> {
        let line = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap();
        self.lines
            .lock()
            .unwrap()
            .iter()
            .map(|text| line(text)["SweepCompleted"] == 1.0)
            .collect()
    }

    /// A host that has been silent for an hour.
    async fn silent_host(&self) {
        let key = HostKey::new(hb_domain::Fleet::main(), "web-01".parse().unwrap());
        let at = self.now().minus(Duration::from_hours(1));
        let beat = Beat::ok(at);
        let heard = Heard {
            key,
            region: Region::local(),
            heartbeat: Heartbeat::new(beat),
        };
        self.memory.record(&heard).await.unwrap();
    }
}

fn seconds_into(world: &World, minute: &Minute) -> Vec<u64> {
    let began = world.now().minus(
        world
            .passes
            .sweep
            .ports
            .clock
            .now()
            .since(minute.passes[0].began),
    );
    minute
        .passes
        .iter()
        .map(|pass| pass.began.since(began).as_secs())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn passes_start_one_period_apart() {
    for (every, places) in [
        (60, vec![0]),
        (30, vec![0, 30]),
        (25, vec![0, 25, 50]),
        (10, vec![0, 10, 20, 30, 40, 50]),
    ] {
        let world = World::new(every);
        let minute = world.run(120).await.unwrap();
        assert_eq!(seconds_into(&world, &minute), places);
        assert_eq!((minute.failed, minute.skipped), (0, 0));
        assert_eq!(world.completed(), vec![true; places.len()]);
    }
}

#[test]
fn several_late_passes_become_one() {
    let next = |now, elapsed| {
        World::new(20)
            .passes
            .next(now, Duration::from_secs(elapsed))
    };
    let cases = [
        (0, 1, Some(1)),
        (0, 21, Some(1)),
        (0, 41, Some(2)),
        (0, 59, Some(2)),
        (0, 60, None),
        (1, 25, Some(2)),
    ];
    for (now, elapsed, expected) in cases {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        assert_eq!(
            next(now, elapsed),
            expected,
            "after place {now}, {elapsed} s into the minute"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_pass_does_not_stop_the_others() {
    let world = World::new(20);
    let memory = world.memory.clone();
    let trouble = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        memory.fail_with(Some("throttled"));
        tokio::time::sleep(Duration::from_secs(20)).await;
        memory.fail_with(None);
    };
    let (result, ()) = tokio::join!(world.run(120), trouble);
    let error = result.unwrap_err();
    assert_eq!((error.failed, error.begun), (1, 3));
    assert!(
        error.to_string().contains("is unavailable: throttled"),
        "{error}"
    );
    assert_eq!(world.completed(), [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn passes_that_do_not_fit_into_the_time_are_skipped() {
    let world = World::new(20);
    let minute = world.run(45).await.unwrap();
    assert_eq!(seconds_into(&world, &minute), [0, 20]);
    assert_eq!((minute.failed, minute.skipped), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_without_enough_time_does_not_complete() {
    let world = World::new(60);
    world.silent_host().await;
    let error = world.run(19).await.unwrap_err();
    assert_eq!(error.cause, "it ran out of time");
    assert_eq!(world.completed(), [false]);
    assert!(world.memory.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_counts_as_a_failed_pass() {
    struct Broken;
    #[async_trait]
    impl Topic for Broken {
        async fn publish(&self, _: &Notice) -> Publication {
            panic!("the topic is broken")
        }
        async fn check(&self) -> PortResult<()> {
            Ok(())
        }
    }
    let mut world = World::new(30);
    world.silent_host().await;
    world.passes.sweep.ports.topic = Arc::new(Broken);
    let error = world.run(120).await.unwrap_err();
    assert_eq!(
        (error.failed, error.begun),
        (1, 2),
        "the lease keeps the second pass from publishing"
    );
    assert_eq!(world.completed(), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_the_function() {
    let world = World::new(60);
    let began = world.now();
    let sweep = world
        .passes
        .with_lease_until(began.plus(Duration::from_secs(90)), began);
    assert_eq!(sweep.settings.delivery.lease, Duration::from_secs(100));
    assert_eq!(sweep.settings.delivery.echo_wait, Duration::from_mins(3));
}
