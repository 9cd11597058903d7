//! One run: a phase with faults, a calm phase, then the final checks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{CanaryPolicy, DeliveryPolicy, Fleet, FleetSettings, HostId, HostKey, Receiver};
use hb_service::admin::HostAdmin;
use hb_service::ports::Clock;
use hb_service::testing::memory::{CountingIds, Memory, auditor, ports};
use hb_service::{Caller, Canaries, Stop, Sweep, SweepSettings};
use uuid::Uuid;

use crate::clocks::{silence_one, step_around_a_silence};
use crate::executor::{Executor, LIFE, Wait};
use crate::faults::{Fault, Faults};
use crate::hosts::{record, send_beats};
use crate::intervals::{BEFORE, millis};
use crate::invariants;
use crate::mutants::Variant;
use crate::operations::operate;
use crate::ports::SimulatedPorts;
use crate::windows;
use crate::world::{PARTITIONS, Quiet, START, Shared, Violation, World, instant};

pub(crate) const MINUTE: i64 = 60_000;
/// The lease: longer than a process lives.
pub(crate) const LEASE: i64 = LIFE + 10_000;
/// Minutes with faults.
const FAULTY: i64 = 14;
/// Minutes without: longer than the latest echo and the longest hold.
const CALM: i64 = 24;
/// When faults end.
pub(crate) const CALM_FROM: i64 = START + FAULTY * MINUTE;
/// How long a sweep begins new work.
pub(crate) const IN_TIME: i64 = 40_000;
/// How long before the end one more host falls silent.
const LAST_SILENCE: i64 = 5;
/// How long before the end the clocks step once more, around the silence of another host.
const LAST_STEP: i64 = 14;

pub(crate) struct RunResult {
    pub(crate) violations: Vec<Violation>,
    pub(crate) trace: Vec<String>,
    pub(crate) faults: Faults,
}

/// Runs the production protocol in the world of a seed.
pub(crate) fn run(seed: u64) -> RunResult {
    run_variant(seed, Variant::Sound, Variant::Sound)
}

/// Runs a protocol in the world of a seed, under the faults that `faults_for` fails under.
pub(crate) fn run_variant(seed: u64, variant: Variant, faults_for: Variant) -> RunResult {
    let mut rng = fastrand::Rng::with_seed(seed);
    let regions = faults_for.regions().unwrap_or_else(|| rng.u8(1..=2));
    let faults = faults_for.faults(Faults::drawn(&mut rng));
    let steps = faults.chance(Fault::ClockStep) > 0;
    let world = Shared::new(
        rng.u64(..),
        regions,
        faults,
        variant == Variant::EventualLedger,
    );
    if faults_for.regions().is_none() {
        world.get().plan_region();
    }
    // Drawn apart, so that the seeds stay what they were.
    let mut apart = fastrand::Rng::with_seed(!seed);
    let repeat = Duration::from_mins([0, 0, 4, 8][apart.usize(0..4)]);
    world.get().groups = FleetSettings {
        repeat_interval: repeat.try_into().ok(),
        ..groups(&mut rng)
    };
    world.get().window = windows::planned(&mut apart);
    world.get().flapper = (rng.u8(0..8) == 0).then_some(0);
    let mut executor = Executor::new(world.clone());
    populate(&world, &mut executor);
    for minute in 0..FAULTY + CALM {
        let calm = minute >= FAULTY;
        if calm {
            clear(&world);
        }
        if minute == FAULTY + CALM - LAST_SILENCE {
            silence_one(&world);
        }
        if minute == FAULTY + CALM - LAST_STEP && steps {
            step_around_a_silence(&world, &mut executor);
        }
        for part in 0..2 {
            let now = START + minute * MINUTE + part * MINUTE / 2;
            executor.run_until(now);
            world.get().remove_record();
            world.get().repair();
            if !calm {
                disturb(&world);
                administer(&world, &mut executor);
                operate(&world, &mut executor);
            }
            schedule(&world, &mut executor, part == 0, variant);
        }
        // After a first violation others follow; a broken variant must reach the one it is meant for.
        if variant == Variant::Sound && !world.get().violations.is_empty() {
            return outcome(&world);
        }
    }
    executor.run_until(START + (FAULTY + CALM) * MINUTE);
    invariants::at_the_end(&mut world.get());
    outcome(&world)
}

/// How long notices wait in groups: not at all, or for a sweep or two, so that a run sees several messages of a group.
pub(crate) fn groups(rng: &mut fastrand::Rng) -> FleetSettings {
    let (wait, interval) = [(0, 0), (30, 60), (60, 120)][rng.usize(0..3)];
    let time = |seconds| Duration::from_secs(seconds).try_into().ok();
    FleetSettings {
        group_wait: time(wait),
        group_interval: time(interval),
        repeat_interval: time(0),
    }
}

fn outcome(world: &Shared) -> RunResult {
    let mut end = world.get();
    RunResult {
        violations: end.violations.clone(),
        trace: std::mem::take(&mut end.trace),
        faults: end.faults.clone(),
    }
}

/// Receivers with a canary, hosts that send beats, and stale copies.
pub(crate) fn populate(world: &Shared, executor: &mut Executor) {
    let regions = world.get().regions.clone();
    for region in regions {
        let ports = SimulatedPorts::new(world, &region, 0);
        let fresh = sweep(&ports).settings.canaries.fresh;
        let receiver = Receiver {
            first: Some(instant(START - BEFORE)),
            ..Receiver::new(region.clone()).with_canary(ports.now(), fresh)
        };
        let _ = ports.write(&receiver, None, Uuid::nil());
        let mut world = world.get();
        world
            .without_canary
            .insert(region.clone(), Quiet::until(START));
        // One that never completes is away as well.
        world.without_sweep.insert(region, Quiet::until(START));
    }
    let window = world.get().window.clone();
    if let Some(window) = window {
        let region = world.get().regions[0].clone();
        windows::add(&SimulatedPorts::new(world, &region, 0), &window);
    }
    let sizes = {
        let mut world = world.get();
        [world.rng.u8(2..5), world.rng.u8(6..12)]
    };
    for (fleet, size) in ["lab", "main"].into_iter().zip(sizes) {
        for n in 0..size {
            let key = HostKey::new(
                fleet.parse::<Fleet>().unwrap(),
                format!("{fleet}-{n}").parse().unwrap(),
            );
            world.get().add_host(&key);
            executor.outside("host", send_beats(world.clone(), key));
        }
    }
    let shared = world.clone();
    executor.outside("copies", async move {
        loop {
            Wait::new(&shared, 5_000).await;
            let mut world = shared.get();
            if world.faults.on {
                world.tables.old_beats = world.tables.beats.clone();
                // An index may be behind by minutes.
                if world.rng.u8(0..20) == 0 {
                    world.tables.old_records = world.tables.records.clone();
                }
            }
        }
    });
}

/// What happens in the phase with faults.
fn disturb(world: &Shared) {
    let mut world = world.get();
    world.may_step();
    world.may_damage();
    if world.strikes(Fault::SystemLost) {
        world.say(|| "last sweeps and checkpoints are lost".to_owned());
        world.tables.sweeps.clear();
        world.tables.checkpoints.clear();
    }
    let now = world.now;
    let hosts: Vec<_> = world.truth.keys().cloned().collect();
    let mut flips = Vec::new();
    if world.strikes(Fault::MassOutage) {
        let up = world.rng.bool();
        flips.extend(
            hosts
                .iter()
                .filter(|key| key.fleet.is_main())
                .map(|key| (key.clone(), up)),
        );
    } else if let Some(place) = world.flapper
        && world.rng.bool()
    {
        let key = hosts[place].clone();
        let up = !world.truth[&key].up;
        flips.push((key, up));
    } else if world.rng.u8(0..3) == 0 {
        let key = hosts[world.rng.usize(0..hosts.len())].clone();
        let up = !world.truth[&key].up;
        flips.push((key, up));
    }
    for (key, up) in flips {
        world.turn(&key, up);
    }
    let count = world.regions.len();
    if count > 1 {
        disturb_copies(&mut world);
    }
    let place = world.rng.usize(0..count);
    let region = world.regions[place].clone();
    for fault in [Fault::ReceiverDown, Fault::RegionCutOff] {
        if world.regions.len() == 1 && fault == Fault::RegionCutOff {
            continue;
        }
        let strikes = world.strikes(fault);
        let begins = world.rng.bool();
        let set = if fault == Fault::ReceiverDown {
            &mut world.receivers_down
        } else {
            &mut world.cut_off
        };
        let changed = match (strikes, set.is_empty()) {
            (true, true) => set.insert(region.clone()),
            // It lasts for some minutes.
            (false, false) if begins && set.remove(&region) => true,
            _ => false,
        };
        if changed {
            if fault == Fault::ReceiverDown {
                world.last_receiver_down = now;
            }
            let begins = if fault == Fault::ReceiverDown {
                &world.receivers_down
            } else {
                &world.cut_off
            }
            .contains(&region);
            world.say(|| format!("{region}: {fault:?}: {begins}"));
        }
    }
}

/// Copies of heartbeats are late, in all partitions or in one, or do not arrive at all.
fn disturb_copies(world: &mut World) {
    let lag = world.rng.i64(1_000..120_000);
    if world.strikes(Fault::SlowReplication) {
        world.lags = [lag; PARTITIONS];
    } else if world.strikes(Fault::SlowPartition) {
        let partition = world.rng.usize(0..PARTITIONS);
        world.lags[partition] = lag * 5;
    } else if world.rng.bool() {
        world.lags = [0; PARTITIONS];
    }
    let down = world.replication_down;
    if !down && world.strikes(Fault::ReplicationDown) || down && world.rng.u8(0..15) == 0 {
        world.replication_down = !down;
        world.say(|| format!("heartbeats are copied: {down}"));
    }
}

/// Ends all faults.
fn clear(world: &Shared) {
    let mut world = world.get();
    if world.faults.on {
        world.say(|| "all faults end".to_owned());
        world.faults.on = false;
        world.lags = [0; PARTITIONS];
        world.replication_down = false;
        if !world.receivers_down.is_empty() {
            world.last_receiver_down = world.now;
            world.receivers_down.clear();
        }
        world.cut_off.clear();
        world.operations.stopped_until = 0;
    }
}

/// At times an admin changes a host, from a machine that may fail as well.
fn administer(world: &Shared, executor: &mut Executor) {
    let (key, region, action, interval) = {
        let mut world = world.get();
        if !world.strikes(Fault::Admin) {
            return;
        }
        let hosts: Vec<_> = world.truth.keys().cloned().collect();
        let key = hosts[world.rng.usize(0..hosts.len())].clone();
        let action = world.rng.u8(0..4);
        world.administered.insert(key.clone());
        if action == 3 {
            world.forgotten.insert(key.clone());
        }
        let words = ["pauses", "resumes", "sets the interval of", "forgets"][usize::from(action)];
        world.say(|| format!("an admin {words} {key}"));
        let truth = world.truth.get_mut(&key).unwrap();
        // None that is too short for the beats under way.
        let interval = truth.longest;
        truth.announced = truth.interval;
        (key, world.regions[0].clone(), action, millis(interval))
    };
    let all = SimulatedPorts::new(world, &region, 0);
    executor.process("admin", &region, async move {
        let hosts = HostAdmin {
            ports: all.all(),
            region: all.region.clone(),
            // Of its own: the acts take no chances and no time from the world.
            auditor: auditor(&ports(
                &Arc::new(Memory::default()),
                Arc::new(all.clone()),
                Arc::new(CountingIds::default()),
            )),
        };
        let _ = match action {
            0 => hosts
                .pause(&key, Some(all.now().plus(Duration::from_mins(3))))
                .await
                .map(drop),
            1 => hosts.resume(&key).await.map(drop),
            2 => hosts.set_interval(&key, Some(interval)).await.map(drop),
            _ => hosts.forget(&key).await,
        };
    });
}

/// The schedules: a sweep and a canary a minute in each region.
pub(crate) fn schedule(
    world: &Shared,
    executor: &mut Executor,
    whole_minute: bool,
    variant: Variant,
) {
    let regions = world.get().regions.clone();
    for region in regions {
        let ports = |world: &Shared| {
            let drift = world.get().drift();
            SimulatedPorts::new(world, &region, drift).perhaps_slow()
        };
        if !whole_minute {
            continue;
        }
        let stopped = world.get().is_stopped();
        let alone = world.get().is_one_machine();
        if !(stopped && alone) {
            executor.process("canary", &region, send_canary(ports(world)));
        }
        if stopped {
            continue;
        }
        let twice = world.get().strikes(Fault::DoubleInvocation);
        for _ in 0..=u8::from(twice) {
            // The reserved concurrency of the function: more sweeps could send more than 10 messages a second.
            if executor.sweeping(&region) < 2 {
                let sweep = variant.sweep(&ports(world).perhaps_older());
                let in_time = if world.get().strikes(Fault::OutOfTime) {
                    300
                } else {
                    IN_TIME.unsigned_abs()
                };
                let (trace, region, began) = (world.clone(), region.clone(), world.get().now);
                executor.process("sweep", &region.clone(), async move {
                    let until = sweep.ports.clock.now().plus(Duration::from_millis(in_time));
                    // Whatever the outcome, the next one starts from the beginning.
                    let swept = sweep.run_until(until).await;
                    let mut world = trace.get();
                    let Err(stopped) = swept else {
                        let completed = world.completed.entry(region).or_default();
                        *completed = began.max(*completed);
                        return;
                    };
                    if matches!(stopped.source, Stop::OutOfTime) && in_time > 1_000 {
                        world.faults.note("out of time");
                    }
                    world.say(|| stopped.to_string());
                });
            }
        }
    }
}

/// The sweep of production.
pub(crate) fn sweep(ports: &SimulatedPorts) -> Sweep {
    let settings = SweepSettings {
        delivery: DeliveryPolicy {
            lease: Duration::from_millis(LEASE.unsigned_abs()),
            echo_wait: Duration::from_mins(3),
        },
        segments: 1,
        concurrency: 4,
        groups: ports.world.get().groups,
        ..SweepSettings::distributed(ports.region.clone(), Duration::ZERO)
    };
    Sweep::new(ports.all(), settings)
}

/// A canary, which arrives unless the region's receiver is down.
async fn send_canary(ports: SimulatedPorts) {
    let policy: CanaryPolicy = sweep(&ports).settings.canaries;
    let canaries = Canaries {
        caller: Arc::new(SimulatedCaller(ports.clone())),
        ports: ports.all(),
        region: ports.region,
        fresh: policy.fresh,
    };
    let _ = canaries.send().await;
}

struct SimulatedCaller(SimulatedPorts);

#[async_trait]
impl Caller for SimulatedCaller {
    async fn beat(&self, host: &HostId) -> Result<(), String> {
        let SimulatedPorts { world, region, .. } = &self.0;
        let down = world.get().receivers_down.contains(region);
        let key = HostKey::new(Fleet::main(), host.clone());
        // Retried once, as hosts do with curl.
        let heard = !down
            && (record(world, region, &key).await.is_some()
                || record(world, region, &key).await.is_some());
        if heard {
            Ok(())
        } else {
            Err("no answer".to_owned())
        }
    }
}
