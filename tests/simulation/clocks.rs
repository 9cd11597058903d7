//! Wrong clocks: all clocks of the service step, the one of a process differs by more than it may, and the one that
//! dates a beat is far ahead.

use hb_domain::HostKey;

use crate::executor::{Executor, Wait};
use crate::faults::Fault;
use crate::intervals::in_time;
use crate::world::{START, Shared, Truth, World};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const YEAR: i64 = 365 * 24 * HOUR;

/// How far the clocks of two processes differ without a fault, from the right time.
const DRIFT: i64 = 2 * SECOND;
/// How soon a silence is decided around a step of the clocks, besides [`in_time`]. To the service, a step forward is a
/// time in which nothing was received: hosts have the grace of an interval.
const AFTER_STEP: i64 = 60 * SECOND;
/// After a step back, what is of the future is brought to now by the first sweep that has a canary of the new time, and
/// what is ahead by a minute at most is not brought to now.
const MENDING: i64 = 120 * SECOND;

impl World {
    /// Far from the right time, in either direction.
    fn far(&mut self) -> i64 {
        let size = match self.rng.u8(0..4) {
            0 => self.rng.i64(SECOND..5 * SECOND),
            1 => self.rng.i64(80 * SECOND..300 * SECOND),
            2 => self.rng.i64(HOUR..48 * HOUR),
            _ => YEAR,
        };
        if self.rng.bool() { size } else { -size }
    }

    /// The clocks of the whole service step: away, or back to the right time.
    fn step_clocks(&mut self) {
        let right = self.clocks != 0 && self.rng.bool();
        let clocks = if right { 0 } else { self.far() };
        let by = clocks - self.clocks;
        self.say(|| format!("all clocks step by {} s", by / SECOND));
        self.clocks = clocks;
        self.wrong_clock = Some(self.now);
        self.stepped = Some(self.now);
    }

    /// The clocks may step, once the last canary of each region is of a right clock and shows the step before: beats that
    /// a clock far behind dates, and no canary, let hosts seem silent when it is right again; and a canary of a clock far
    /// ahead hides a step forward. Limits of the product.
    pub(crate) fn may_step(&mut self) {
        if self.has_canaries_of_now() && self.strikes(Fault::ClockStep) {
            self.step_clocks();
        }
    }

    /// Whether the last canary of each region is from after the last step of the clocks.
    pub(crate) fn has_canaries_of_now(&self) -> bool {
        let stepped = self.stepped.unwrap_or(START);
        self.regions.iter().all(|region| {
            let last = self.canaries.get(region);
            last.is_some_and(|at| *at > Some(stepped))
        })
    }

    /// How far the clock of a new process differs from the others.
    pub(crate) fn drift(&mut self) -> i64 {
        // Not while a step is news: a canary that is far behind ends the blackout of a step forward too early, and with it
        // the grace of all hosts. A limit of the product.
        let news = self.stepped.is_some_and(|at| self.now - at < 120 * SECOND);
        if !news && self.strikes(Fault::ClockDrift) {
            self.wrong_clock = Some(self.now);
            let size = self.rng.i64(5 * SECOND..90 * SECOND);
            // A canary whose clock is behind hides that another one is behind by more: the same limit.
            let hidden = self.behind.is_some_and(|at| self.now - at < 120 * SECOND);
            let drift = if hidden || self.rng.bool() {
                size
            } else {
                self.behind = Some(self.now);
                -without_blind_spot(size)
            };
            self.say(|| format!("a clock differs by {} s", drift / SECOND));
            drift
        } else {
            self.rng.i64(-DRIFT..DRIFT)
        }
    }

    /// How far the clock that dates a beat is ahead.
    pub(crate) fn ahead_of_beat(&mut self) -> i64 {
        if self.strikes(Fault::BeatAhead) {
            self.wrong_clock = Some(self.now);
            self.far().abs()
        } else {
            0
        }
    }
}

/// Of a clock that is behind by a minute and as much as clocks may differ, the last canary of a minute ago does not show
/// that it is wrong, while the beats of just now seem to be of the future: it brings them to its time, and the others
/// take those hosts for silent. A limit of the product.
fn without_blind_spot(behind: i64) -> i64 {
    if (58 * SECOND..68 * SECOND).contains(&behind) {
        behind + 10 * SECOND
    } else {
        behind
    }
}

/// A host falls silent, and a moment later all clocks step.
pub(crate) fn step_around_a_silence(world: &Shared, executor: &mut Executor) {
    let Some(key) = silence_one(world) else {
        return;
    };
    let world = world.clone();
    executor.outside("clock", async move {
        let wait = world.get().rng.i64(0..150 * SECOND);
        Wait::new(&world, wait).await;
        let mut world = world.get();
        let before = world.clocks;
        world.step_clocks();
        let forward = world.clocks > before;
        let step = if forward { "forward" } else { "back" };
        world.faults.note(step);
        let interval = world.truth[&key].interval;
        let more = if forward { interval } else { MENDING };
        let until = world.now + in_time(interval) + AFTER_STEP + more;
        world.silent.insert(key, until);
    });
}

/// Without faults, one more host falls silent. Returns which.
pub(crate) fn silence_one(world: &Shared) -> Option<HostKey> {
    let mut world = world.get();
    // A pause under a wrong clock may hold once more.
    let simple = |key: &HostKey| !world.administered.contains(key);
    // So that it is due before the end.
    let soon = |truth: &Truth| truth.up && truth.longest <= 120 * SECOND;
    let mut up = world.truth.iter().filter(|(_, truth)| soon(truth));
    let key = up
        .find(|(key, _)| simple(key))
        .map(|(key, _)| key.clone())?;
    world.turn(&key, false);
    let until = world.now + in_time(world.truth[&key].interval);
    world.silent.insert(key.clone(), until);
    Some(key)
}
