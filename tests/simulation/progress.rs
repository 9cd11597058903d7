//! Progress: when faults have ended, and even while all calls are still slow for some minutes, everything that was decided
//! is published within a bound.

use std::time::Duration;

use hb_domain::{HostKey, limits};

use crate::faults::Fault;
use crate::invariants::SETTLES;
use crate::run::{CALM_FROM, IN_TIME, LEASE, MINUTE};
use crate::world::World;

/// How long calls are still slow when all other faults have ended.
const THROTTLED: i64 = 6 * MINUTE;
/// The mean time of a call while they are, half of which is the reply's: [`World::slowness`].
const CALL: i64 = 1_000;
/// A sweep that has time for so many calls settles one host for certain.
const CALLS: i64 = 8;
/// Waits for an echo, as long as clocks may differ.
const ECHO_WAIT: i64 = 180_000 + 12_000;
/// Sweeps to take back from a digest what it does not list, to complete it, and to send it.
pub(crate) const DIGEST: i64 = 3 * MINUTE;

impl World {
    /// Whether all processes are slow although faults have ended.
    pub(crate) fn throttled(&self) -> bool {
        self.faults.drawn_chance(Fault::SlowCalls) > 0 && self.now < CALM_FROM + THROTTLED
    }

    /// How long half a call of a slow process takes, at most.
    pub(crate) fn slowness(&mut self) -> i64 {
        if self.faults.on {
            self.rng.i64(200..2_000)
        } else {
            CALL
        }
    }

    /// How soon a notice is published when faults have ended: a lease runs out, its echo is waited for, a topic that
    /// refused it has its pause, and sweeps with little time settle the hosts bit by bit.
    fn settles_within(&self) -> i64 {
        let hosts = i64::try_from(self.truth.len()).unwrap();
        let each_sweep = (IN_TIME / CALL / CALLS).max(1);
        let sweeps = (hosts + each_sweep - 1) / each_sweep;
        let pause = i64::try_from(limits::PAUSE_LONGEST.as_millis()).unwrap();
        LEASE + ECHO_WAIT + pause + DIGEST + sweeps * MINUTE + self.waits_in_group()
    }

    /// How long a notice waits in its group at most: another sweep may take the turn of the group, and end before it sends.
    /// The end of each wait is seen by the next sweep.
    pub(crate) fn waits_in_group(&self) -> i64 {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap();
        let (wait, interval) = (self.groups.wait(), self.groups.interval());
        millis(wait) + 2 * millis(interval) + 3 * MINUTE
    }

    /// Whether people need not have heard of a transition yet.
    pub(crate) fn still_waits(&self, id: &(HostKey, u64)) -> bool {
        let since = self.held_until.get(id).or_else(|| self.claimed.get(id));
        since.is_some_and(|since| since + self.waits_in_group() > self.now)
    }

    /// A transition is published for the first time.
    pub(crate) fn settled(&mut self, host: &HostKey, epoch: u64) {
        let Some(claimed) = self.claimed.get(&(host.clone(), epoch)) else {
            return;
        };
        // Its own entry may be unreadable for longer; no other host waits for that.
        let readable = self.damage.end(host, CALM_FROM);
        let held = self.held_until.get(&(host.clone(), epoch));
        let waited = self.now - readable.max(*held.unwrap_or(claimed));
        let bound = self.settles_within();
        if claimed < &CALM_FROM && waited > 0 {
            self.faults.note("left when faults ended");
        }
        // A wrong clock may begin waits anew; and while copies are late, a recovery waits for the region that doubts it, a limit
        // of the product.
        let excused = self.wrong_clock.is_some() || self.replication_down;
        if waited > bound && !excused {
            let words = format!("{host} epoch {epoch} waited for {waited} ms, of {bound}");
            self.violated(SETTLES, words);
        }
    }
}
