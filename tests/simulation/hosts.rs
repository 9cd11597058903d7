//! The hosts: they send beats, and retry in the next region.

use std::time::Duration;

use hb_domain::{Beat, Heartbeat, HostKey, Region, Signal};
use hb_service::ports::{Clock, Heard, Heartbeats};

use crate::executor::Wait;
use crate::faults::Fault;
use crate::intervals::millis;
use crate::ports::SimulatedPorts;
use crate::world::Shared;

/// How soon a host that comes back or has failed sends a beat, in milliseconds.
const SOON: std::ops::Range<i64> = 20_000..25_000;

/// To which region a host sends a beat, while it gets an answer there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// To the same as before.
    Stays,
    /// To another one at every beat.
    Alternates,
    /// To another one after some minutes.
    Moves,
}

impl Habit {
    fn drawn(rng: &mut fastrand::Rng) -> Self {
        [Self::Stays, Self::Stays, Self::Alternates, Self::Moves][rng.usize(0..4)]
    }

    /// Whether the next beat goes to another region.
    fn changes(self, rng: &mut fastrand::Rng) -> bool {
        match self {
            Self::Stays => false,
            Self::Alternates => true,
            Self::Moves => rng.u8(0..12) == 0,
        }
    }
}

/// A host: a beat after a third of its interval or a little later, retried in the next region when there is no answer.
/// When it comes back or has failed, it does not wait that long.
pub(crate) async fn send_beats(world: Shared, key: HostKey) {
    let (habit, mut turn) = {
        let mut world = world.get();
        (Habit::drawn(&mut world.rng), world.rng.usize(0..2))
    };
    let (mut due, mut tried) = {
        let mut world = world.get();
        let pause = world.pause_after_beat(&key);
        let beat = world.truth[&key].beat;
        (beat.map_or(world.now, |beat| beat + pause), world.now)
    };
    loop {
        let pause = world.get().rng.i64(SOON);
        let left = due - world.get().now;
        Wait::new(&world, if left > 0 { pause.min(left) } else { pause }).await;
        {
            let mut world = world.get();
            let truth = &world.truth[&key];
            let came_back = truth.up && truth.since > tried;
            if world.now < due && !came_back {
                continue;
            }
            turn += usize::from(habit.changes(&mut world.rng));
            world.may_change_interval(&key);
            tried = world.now;
        }
        let mut failed = None;
        for _ in 0..3 {
            let (region, up, down) = {
                let world = world.get();
                let regions = world.receiving();
                let region = regions[turn % regions.len()].clone();
                let down = world.receivers_down.contains(&region);
                (region, world.truth[&key].up, down)
            };
            if !up {
                break;
            }
            if !down && let Some(signal) = record(&world, &region, &key).await {
                failed = Some(signal == Signal::Fail);
                break;
            }
            turn += 1;
            Wait::new(&world, 1_000).await;
        }
        let mut world = world.get();
        let now = world.now;
        if let Some(truth) = world.truth.get_mut(&key)
            && truth.up
            && failed.is_none()
        {
            truth.lost = Some(now);
        }
        let pause = world.pause_after_beat(&key);
        due = if failed == Some(true) {
            tried
        } else {
            tried + pause
        };
    }
}

/// Sends a beat of `key` to `region`; `None` when it was not acknowledged.
pub(crate) async fn record(world: &Shared, region: &Region, key: &HostKey) -> Option<Signal> {
    let ports = SimulatedPorts::new(world, region, 0);
    let announced = world.get().truth.get(key).map(|truth| truth.announced);
    let interval = millis(announced.unwrap_or(60_000));
    let fails = !key.host.is_reserved() && world.get().strikes(Fault::HostFails);
    let ahead = if key.host.is_reserved() {
        0
    } else {
        world.get().ahead_of_beat()
    };
    let ahead = Duration::from_millis(ahead.unsigned_abs());
    let signal = if fails { Signal::Fail } else { Signal::Ok };
    let beat = Beat {
        interval,
        signal,
        ..Beat::ok(ports.now().plus(ahead))
    };
    let heard = Heard {
        key: key.clone(),
        region: region.clone(),
        heartbeat: Heartbeat::new(beat),
    };
    ports.record(&heard).await.ok()?;
    let mut world = world.get();
    let now = world.now;
    if let Some((truth, announced)) = world.truth.get_mut(key).zip(announced) {
        truth.interval = announced;
        truth.beat = Some(now);
    }
    Some(signal)
}
