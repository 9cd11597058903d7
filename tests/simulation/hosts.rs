//! The hosts: they send beats, and retry in the next region.

use std::time::Duration;

use hb_domain::{Beat, Heartbeat, HostKey, Interval, Region, Signal};
use hb_service::ports::{Clock, Heard, Heartbeats};

use crate::executor::Wait;
use crate::faults::Fault;
use crate::ports::SimulatedPorts;
use crate::world::Shared;

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

/// A host: a beat every 20 to 25 s with an interval of a minute, retried in the next region when there is no answer.
pub(crate) async fn send_beats(world: Shared, key: HostKey) {
    let (habit, mut turn) = {
        let mut world = world.get();
        (Habit::drawn(&mut world.rng), world.rng.usize(0..2))
    };
    loop {
        let pause = {
            let mut world = world.get();
            turn += usize::from(habit.changes(&mut world.rng));
            world.rng.i64(20_000..25_000)
        };
        Wait::new(&world, pause).await;
        for _ in 0..3 {
            let (region, up, down) = {
                let world = world.get();
                let region = world.regions[turn % world.regions.len()].clone();
                let down = world.receivers_down.contains(&region);
                (region, world.truth[&key].up, down)
            };
            if !up || (!down && record(&world, &region, &key).await) {
                break;
            }
            turn += 1;
            Wait::new(&world, 1_000).await;
        }
    }
}

/// Whether a beat of `key` was acknowledged in `region`.
pub(crate) async fn record(world: &Shared, region: &Region, key: &HostKey) -> bool {
    let ports = SimulatedPorts::new(world, region, 0);
    let interval = Interval::from_millis(60_000).unwrap();
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
    ports.record(&heard).await.is_ok()
}
